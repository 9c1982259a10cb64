//! Free ports for servers that cannot be told to choose one themselves.

use std::net::{Ipv4Addr, TcpListener};

/// Below the kernel's own range for outgoing connections (from 32768), so that no connection of a
/// neighbouring test takes the port while its server is being restarted.
const LOWEST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// Enough tries to find a free one also on a machine that runs many test servers.
const TRIES_MAX: u32 = 200;

/// A port of 127.0.0.1 nobody listens on at the moment.
///
/// # Panics
///
/// When none is found among many tries.
pub fn free_port() -> u16 {
    for _ in 0..TRIES_MAX {
        let port = LOWEST + random() % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!(
        "no free port between {LOWEST} and {} in {TRIES_MAX} tries",
        LOWEST + COUNT
    )
}

/// Two random bytes: test processes start at the same moment, so a counter or the clock collide.
fn random() -> u16 {
    let [.., high, low] = uuid::Uuid::now_v7().into_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_listened_on_and_is_below_the_kernels_own_range() {
        let port = free_port();
        assert!(port < 32_768);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
