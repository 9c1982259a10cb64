//! Telling the public internet from everything else, by IANA's registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IANA's special-purpose registry for IPv4, and what clouds put on public addresses.
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4_net([0, 0, 0, 0], 8),
    v4_net([10, 0, 0, 0], 8),
    v4_net([100, 64, 0, 0], 10),
    v4_net([127, 0, 0, 0], 8),
    v4_net([169, 254, 0, 0], 16),
    v4_net([172, 16, 0, 0], 12),
    v4_net([192, 0, 0, 0], 24),
    v4_net([192, 0, 2, 0], 24),
    v4_net([192, 88, 99, 0], 24),
    v4_net([192, 168, 0, 0], 16),
    v4_net([198, 18, 0, 0], 15),
    v4_net([198, 51, 100, 0], 24),
    v4_net([203, 0, 113, 0], 24),
    v4_net([224, 0, 0, 0], 4),
    v4_net([240, 0, 0, 0], 4),
    // Azure's platform address: public by number, but every machine there reaches its host by it.
    v4_net([168, 63, 129, 16], 32),
];

/// The only part of IPv6 that is handed out for the public internet.
const GLOBAL_V6: Ipv6Net = v6_net([0x2000, 0], 3);

/// What lies within [`GLOBAL_V6`] and is not public all the same.
const SPECIAL_V6: [Ipv6Net; 3] = [
    v6_net([0x2001, 0], 23),
    v6_net([0x2001, 0xdb8], 32),
    v6_net([0x3fff, 0], 20),
];

const fn v4_net(octets: [u8; 4], prefix_len: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_len)
}

const fn v6_net(head: [u16; 2], prefix_len: u8) -> Ipv6Net {
    let [first, second] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix_len)
}

/// Whether an address belongs to the public internet; whatever is not known to is not.
///
/// An IPv6 address that carries an IPv4 address is as public as what it carries.
pub fn is_public(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|special| special.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [head, second, third, fourth, .., high, low] = address.segments();
    if head == 0x2002 {
        return is_public_v4(v4_of(second, third)) && isatap_is_public(address);
    }
    if (head, second) == (0x2001, 0) {
        // Teredo: the server's address in the open, the client's with every bit turned over.
        return is_public_v4(v4_of(third, fourth)) && is_public_v4(v4_of(!high, !low));
    }
    GLOBAL_V6.contains(&address)
        && !SPECIAL_V6.iter().any(|special| special.contains(&address))
        && isatap_is_public(address)
}

/// ISATAP puts an IPv4 address behind a marker in the lower half of any IPv6 address.
fn isatap_is_public(address: Ipv6Addr) -> bool {
    let [_, _, _, _, scope, marker, high, low] = address.segments();
    let is_isatap = scope & 0xfcff == 0 && marker == 0x5efe;
    !is_isatap || is_public_v4(v4_of(high, low))
}

/// Takes an IPv4 address out of the IPv6 forms that stand for nothing else.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if v6.is_loopback() || v6.is_unspecified() {
        return address;
    }
    match v6.segments() {
        // Mapped, compatible, translated, and NAT64 by its well-known prefix.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => IpAddr::V4(v4_of(high, low)),
        _ => address,
    }
}

fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn r2_the_public_internet_is_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001:81b::200e",
            "2001:200::1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:808:808:0:0:f7f7:f7f7",
            "2606:4700::5efe:8.8.8.8",
        ] {
            assert!(is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn r2_what_has_a_special_purpose_is_not_public() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "100::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn r2_an_address_wrapped_in_another_is_judged_by_what_is_inside() {
        for address in [
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "::127.0.0.1",
            "::10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::1",
            "2002:a00:1::1",
            "2002:808:808:0:0:5efe:a00:1",
            // Teredo by an inside server, and to an inside client (10.0.0.1 turned over).
            "2001:0:a00:1:0:0:f7f7:f7f7",
            "2001:0:808:808:0:0:f5ff:fffe",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:169.254.169.254",
        ] {
            assert!(!is_public(ip(address)), "{address}");
        }
    }
}
