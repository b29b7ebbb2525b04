//! Where outgoing connections may go, by address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Networks to which Squelch never connects, even if they are allowed. Their hosts are the machine's own
/// cloud, its neighbours on the wire, or unassigned. A name under an attacker's control must not make
/// Squelch a client of the metadata service.
const NEVER: [&str; 8] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "100.100.100.200/32",
    "224.0.0.0/3",
    "::/128",
    "fe80::/10",
    "ff00::/8",
    "fd00:ec2::254/128",
];

/// Which addresses may be connected to. The default allows all but link-local, metadata and multicast
/// addresses: receivers in private networks are the norm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressPolicy {
    /// `allow_addresses`: only these, unless it is empty.
    pub allow: Vec<Network>,
    /// `deny_addresses`: none of these, even if they are allowed.
    pub deny: Vec<Network>,
}

/// A network in CIDR notation. An address alone is a network of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network. Write one such as 10.0.0.0/8")]
pub struct NotANetwork;

impl AddressPolicy {
    /// Whether it says nothing beyond the default.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether a connection to `address` is allowed. An IPv4 address in IPv6 clothes is that IPv4 address.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = plain(address);
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        let never = NEVER.iter().filter_map(|text| text.parse::<Network>().ok());
        !never.into_iter().any(|network| network.contains(address))
            && !within(&self.deny)
            && (self.allow.is_empty() || within(&self.allow))
    }
}

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                (u32::from(net) ^ u32::from(address)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                (u128::from(net) ^ u128::from(address)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>()).map_err(|_| NotANetwork)?;
        if bits > most {
            return Err(NotANetwork);
        }
        Ok(Network { address, bits })
    }
}

/// Takes an IPv4 address out of its IPv6 forms: mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`), 6to4
/// (`2002::/16`).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else { return address.to_canonical() };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        [0x2002, ..] => {
            let [_, _, a, b, c, d, ..] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        _ => Ipv6Addr::from(v6.octets()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_never_allowed() {
        let all = AddressPolicy {
            allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            deny: vec![],
        };
        for policy in [AddressPolicy::default(), all] {
            for never in [
                "169.254.169.254",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
                "fe80::1",
                "fd00:ec2::254",
                "100.100.100.200",
                "0.0.0.0",
                "::",
                "224.0.0.1",
                "255.255.255.255",
                "ff02::1",
            ] {
                assert!(!policy.allows(never.parse().unwrap()), "{never}");
            }
            for fine in ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd00::1", "93.184.216.34", "2606::1"]
            {
                assert!(policy.allows(fine.parse().unwrap()), "{fine}");
            }
        }
    }

    #[test]
    fn deny_beats_allow_and_allow_shuts_out_the_rest() {
        let nets = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<Network>>();
        let policy =
            AddressPolicy { allow: nets(&["10.0.0.0/8", "fd12::/16"]), deny: nets(&["10.9.0.0/16"]) };
        let allows = |text: &str| policy.allows(text.parse().unwrap());
        assert!(allows("10.1.0.1") && allows("::ffff:10.1.0.1") && allows("fd12:3::4"));
        assert!(!allows("10.9.0.1") && !allows("11.0.0.1") && !allows("fd13::1") && !allows("127.0.0.1"));
    }

    #[test]
    fn networks_are_read_strictly() {
        for bad in ["", "x", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert!("10.1.1.1".parse::<Network>().unwrap().contains("10.1.1.1".parse().unwrap()));
    }
}
