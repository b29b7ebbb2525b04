//! Identifiers in label values: a new container, device or request changes them, while the broken thing
//! keeps its name.
//!
//! An address is no identifier: two machines are two series.

/// `value` without the part that differs each time, if it has any such part.
pub(crate) fn stable(value: &str) -> Option<String> {
    let uuid = || is_uuid(value).then(|| "*".to_owned());
    pod(value).or_else(uuid).or_else(|| device(value)).or_else(|| hash(value)).or_else(|| number(value))
}

/// `frontend-579b9bff58-t2dbm`: the suffix of a ReplicaSet or a CronJob. `proxy-x7k2p`: the suffix of a
/// DaemonSet.
fn pod(value: &str) -> Option<String> {
    let (head, suffix) = value.rsplit_once('-').filter(|(head, _)| !head.is_empty())?;
    match head.rsplit_once('-') {
        Some((owner, hash)) if !owner.is_empty() && is_template_hash(hash) && is_pod_suffix(suffix) => {
            Some(format!("{owner}-*-*"))
        }
        _ => is_daemon_suffix(suffix).then(|| format!("{head}-*")),
    }
}

fn is_uuid(value: &str) -> bool {
    let mut lengths = value.split('-').map(str::len);
    [8, 4, 4, 4, 12].iter().all(|n| lengths.next() == Some(*n))
        && lengths.next().is_none()
        && value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Interfaces that a container runtime names, and block devices that are numbered as they come.
fn device(value: &str) -> Option<String> {
    const INTERFACES: [&str; 4] = ["veth", "cali", "lxc", "tap"];
    const NUMBERED: [&str; 5] = ["dm-", "loop", "nbd", "rbd", "vnet"];
    let with = |prefixes: &[&str], rest: fn(&str) -> bool| {
        prefixes.iter().find(|p| value.strip_prefix(**p).is_some_and(rest)).map(|p| format!("{p}*"))
    };
    let hex = |rest: &str| (7..=12).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit());
    with(&INTERFACES, hex).or_else(|| with(&NUMBERED, all_digits))
}

/// Of containers, commits and images: at the end, 12, 32, 40 or 64 hexadecimal digits, not all of one sort.
fn hash(value: &str) -> Option<String> {
    let id = value.rsplit_once([':', '/', '@']).map_or(value, |(_, id)| id);
    let any = |is: fn(&u8) -> bool| id.bytes().any(|b| is(&b));
    let mixed = any(u8::is_ascii_digit) && any(u8::is_ascii_alphabetic);
    let hex = [12, 32, 40, 64].contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && mixed).then(|| format!("{}*", &value[..value.len() - id.len()]))
}

/// Numbers of nine digits and more: times, and counters without an end.
fn number(value: &str) -> Option<String> {
    const LONG: usize = 9;
    let mut stable = String::with_capacity(value.len());
    let (mut rest, mut any) = (value, false);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let length = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        any |= length >= LONG;
        stable.push_str(&rest[..start]);
        stable.push_str(if length >= LONG { "*" } else { &rest[start..start + length] });
        rest = &rest[start + length..];
    }
    stable.push_str(rest);
    any.then_some(stable)
}

/// Eight to ten characters of Kubernetes' alphabet for random names, with a digit among them.
fn is_template_hash(text: &str) -> bool {
    (8..=10).contains(&text.len()) && is_random(text) && text.bytes().any(|b| b.is_ascii_digit())
}

fn is_pod_suffix(text: &str) -> bool {
    text.len() == 5 && is_random(text)
}

/// Alone it must leave no doubt: five characters, only such as Kubernetes takes, letters and digits.
fn is_daemon_suffix(text: &str) -> bool {
    let any = |is: fn(&u8) -> bool| text.bytes().any(|b| is(&b));
    text.len() == 5
        && text.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_alphabetic)
}

/// Lower-case letters and digits. Random names hold no vowels, so that they spell no words, but old
/// template hashes are hexadecimal.
fn is_random(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        && !text.bytes().any(|b| matches!(b, b'i' | b'o' | b'u'))
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_is_left_out_and_what_names_stays() {
        for (value, left) in [
            ("frontend-579b9bff58-t2dbm", "frontend-*-*"),
            ("backup-28374650-x7k2p", "backup-*-*"),
            ("kube-proxy-x7k2p", "kube-proxy-*"),
            ("123e4567-e89b-12d3-a456-426614174000", "*"),
            ("veth1a2b3c4", "veth*"),
            ("cali01234567890", "cali*"),
            ("dm-12", "dm-*"),
            ("9f86d081884c", "*"),
            ("app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "app@sha256:*"),
            ("order-1767571200-retry-2", "order-*-retry-2"),
            ("web-frontend-t2dbm", "web-frontend-*"),
            ("web-bcdfghjk-t2dbm", "web-bcdfghjk-*"),
            ("web-v12-t2dbm", "web-v12-*"),
        ] {
            assert_eq!(stable(value).as_deref(), Some(left), "{value}");
        }
        for name in [
            "eth0",
            "nvme0n1",
            "sda",
            "vethernet",
            "calico",
            "tapas",
            "node-1a2b",
            "20260101",
            "deadbeef",
            "db-1",
            "10.0.0.1:9100",
            "203.0.113.7",
            "2001:db8::7",
            "web-eu-paris",
            "web-eu-milan",
            "kube-proxy",
            "v1.2.3",
            "loopback",
            "a-12345",
            "",
            "-x7k2p",
            "größe-7",
            "calico-node",
            "abcdefabcdef",
            "worldwide123",
            "1a2b3c",
            "node-2b4c",
            "frontend-579b9bff58-paris",
            "frontend-579b9bff58-abc",
            "frontend-579b9bff58-T2DBM",
        ] {
            assert_eq!(stable(name), None, "{name}");
        }
    }
}
