//! Which ports of the public internet may be called: those where people serve HTTP.

/// Below it are the ports of the classic services; only these two of them speak HTTP.
const CLASSIC_PORTS: u16 = 1024;
const HTTP_PORTS: [u16; 2] = [80, 443];

/// Higher ports where something else listens, by the Fetch standard's list of bad ports: a request
/// there would be a message to a mail, file or telephone server.
const OTHER_SERVICES: [u16; 16] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
];
const MORE_OTHER_SERVICES: [u16; 3] = [6679, 6697, 10080];

/// Whether a web server may be expected at this port.
pub(super) fn is_for_http(port: u16) -> bool {
    if port < CLASSIC_PORTS {
        return HTTP_PORTS.contains(&port);
    }
    !OTHER_SERVICES.contains(&port) && !MORE_OTHER_SERVICES.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r3_only_ports_where_http_is_served_are_called() {
        for port in [80, 443, 1024, 3000, 8080, 8443, 9000, 65_535] {
            assert!(is_for_http(port), "{port}");
        }
        for port in [0, 1, 22, 23, 25, 53, 110, 139, 389, 445, 465, 587, 636, 993] {
            assert!(!is_for_http(port), "{port}");
        }
        for port in [2049, 5060, 6000, 6667, 6697, 10_080] {
            assert!(!is_for_http(port), "{port}");
        }
    }
}
