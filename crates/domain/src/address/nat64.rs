//! IPv4 addresses within IPv6 ones, where a network has a NAT64 prefix of its own (RFC 6052).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// Lengths a prefix may have; the address follows it, around the 9th byte, which is always 0.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// Reads a prefix such as `2001:db8:64::/96`.
pub(super) fn parse(entry: &str) -> Result<Ipv6Net, &'static str> {
    let prefix: Ipv6Net = entry
        .parse()
        .map_err(|_cause| "is not an IPv6 network such as 2001:db8:64::/96")?;
    if LENGTHS.contains(&prefix.prefix_len()) {
        Ok(prefix.trunc())
    } else {
        Err("has a length that is not 32, 40, 48, 56, 64 or 96")
    }
}

/// The IPv4 address that this one stands for, if it lies within the prefix.
pub(super) fn unwrap(prefix: &Ipv6Net, address: Ipv6Addr) -> Option<Ipv4Addr> {
    if !prefix.contains(&address) {
        return None;
    }
    let first = usize::from(prefix.prefix_len() / 8);
    let octets = address.octets();
    let mut carried = octets
        .iter()
        .enumerate()
        .filter(|(place, _)| *place >= first && *place != 8)
        .map(|(_, octet)| *octet);
    let mut next = || carried.next().unwrap_or(0);
    Some(Ipv4Addr::new(next(), next(), next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_a_prefix_of_every_length_gives_its_address_back() {
        // The table of RFC 6052, 2.4.
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
        ] {
            let prefix = parse(prefix).unwrap();
            let carried = unwrap(&prefix, address.parse().unwrap());
            assert_eq!(carried, Some(Ipv4Addr::new(192, 0, 2, 33)), "{address}");
        }
        let prefix = parse("2001:db8:64::/96").unwrap();
        assert_eq!(unwrap(&prefix, "2001:db8:65::1".parse().unwrap()), None);
        assert!(parse("2001:db8::/50").is_err());
        assert!(parse("10.0.0.0/8").is_err());
    }
}
