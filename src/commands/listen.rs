//! Addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Reads an address to listen on. As for Alertmanager, `:9096` means every interface. The only name is
/// `localhost`, since another one may stand for several addresses.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let port = |prefix| text.strip_prefix(prefix).and_then(|port: &str| port.parse::<u16>().ok());
    if let Some(port) = port(":") {
        return Ok((every_interface(), port).into());
    }
    if let Some(port) = port("localhost:") {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        let port = text.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
        let port = port.unwrap_or("9096");
        format!("write an IP address and a port: 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface")
    })
}

/// All addresses of this machine: those of IPv6 include those of IPv4. A machine may have no IPv6.
fn every_interface() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_alertmanager_means_what_it_means_there() {
        let every = address(":9093").unwrap();
        assert!(every.ip().is_unspecified() && every.port() == 9093, "{every}");
        assert_eq!(address("localhost:9096"), Ok(SocketAddr::from(([127, 0, 0, 1], 9096))));
        assert!(address(":70000").is_err() && address("localhost:").is_err());
    }
}
