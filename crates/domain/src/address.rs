//! Which addresses an endpoint may have: the rule against calling into our own network.
//!
//! What is not plainly public is refused, unless the operator's `egress.allow` names it. A name
//! is checked before it is resolved, and every address it resolves to is checked before a
//! connection is opened.

mod nat64;
mod port;
mod public;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};
use url::Host;

use self::public::canonical;
pub use self::public::is_public;

/// An endpoint that may not be called. The text keeps to itself what a name resolved to: a person
/// who probes the inside learns no more than that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EgressRefusal {
    #[error("the address may not be called from here")]
    Address,
    #[error("the host name may not be called from here")]
    HostName,
    #[error("the host name is malformed")]
    Malformed,
    #[error("the port may not be called from here")]
    Port,
}

/// How far a host is trusted, judged by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostTrust {
    /// The operator named it: it may be called wherever it resolves to.
    Named,
    /// Each of its addresses has to be checked.
    Unknown,
}

/// Why an entry of `egress.allow` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{entry:?} {problem}: expected an address, a network such as 10.0.0.0/8, HOST, *.DOMAIN or HOST:PORT"
)]
pub struct ParseEgressError {
    pub entry: String,
    pub problem: &'static str,
}

/// Why an entry of `egress.nat64_prefixes` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} {problem}")]
pub struct ParsePrefixError {
    pub entry: String,
    pub problem: &'static str,
}

/// What may be called beyond the public internet. The default allows nothing more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    networks: Vec<AllowedNetwork>,
    hosts: Vec<AllowedHost>,
    allow_loopback: bool,
    /// Prefixes by which this network reaches IPv4 addresses, beside the well-known one.
    nat64_prefixes: Vec<Ipv6Net>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedNetwork {
    network: IpNet,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedHost {
    /// Lower case, without a trailing dot, and without the `*.` of a domain.
    name: String,
    any_subdomain: bool,
    port: Option<u16>,
}

impl EgressPolicy {
    /// Reads the entries of `egress.allow`.
    ///
    /// # Errors
    /// Names the first entry that cannot be read, and what is wrong with it.
    pub fn parse<Entry: AsRef<str>>(
        entries: &[Entry],
        allow_loopback: bool,
    ) -> Result<Self, ParseEgressError> {
        let mut policy = Self {
            allow_loopback,
            ..Self::default()
        };
        for entry in entries {
            policy
                .allow(entry.as_ref().trim())
                .map_err(|problem| ParseEgressError {
                    entry: entry.as_ref().to_owned(),
                    problem,
                })?;
        }
        Ok(policy)
    }

    /// Also looks for an IPv4 address within the addresses of these prefixes, which the operator's
    /// own NAT64 turns back into it: `egress.nat64_prefixes`.
    ///
    /// # Errors
    /// Names the first entry that is no such prefix.
    pub fn with_nat64_prefixes<Entry: AsRef<str>>(
        mut self,
        entries: &[Entry],
    ) -> Result<Self, ParsePrefixError> {
        for entry in entries {
            let entry = entry.as_ref().trim();
            let prefix = nat64::parse(entry).map_err(|problem| ParsePrefixError {
                entry: entry.to_owned(),
                problem,
            })?;
            self.nat64_prefixes.push(prefix);
        }
        Ok(self)
    }

    fn allow(&mut self, entry: &str) -> Result<(), &'static str> {
        if entry.contains('/') {
            let network: IpNet = entry
                .parse()
                .map_err(|_cause| "is not an address, slash and prefix length")?;
            self.networks.push(AllowedNetwork {
                network: network.trunc(),
                port: None,
            });
            return Ok(());
        }
        if let Ok(address) = entry.parse::<IpAddr>() {
            return self.allow_address(address, false, None);
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (
                host,
                Some(
                    port.parse()
                        .map_err(|_cause| "has a port that is not 0 to 65535")?,
                ),
            ),
            None => (entry, None),
        };
        let (host, any_subdomain) = match host.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (host, false),
        };
        match Host::parse(host).map_err(|_cause| "is not a host name")? {
            Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_owned();
                if name.is_empty() {
                    return Err("is not a host name");
                }
                self.hosts.push(AllowedHost {
                    name,
                    any_subdomain,
                    port,
                });
            }
            Host::Ipv4(address) => self.allow_address(IpAddr::V4(address), any_subdomain, port)?,
            Host::Ipv6(address) => self.allow_address(IpAddr::V6(address), any_subdomain, port)?,
        }
        Ok(())
    }

    fn allow_address(
        &mut self,
        address: IpAddr,
        any_subdomain: bool,
        port: Option<u16>,
    ) -> Result<(), &'static str> {
        if any_subdomain {
            return Err("asks for the subdomains of an address");
        }
        self.networks.push(AllowedNetwork {
            network: canonical(address).into(),
            port,
        });
        Ok(())
    }

    /// Whether a connection to this address may be opened.
    ///
    /// # Errors
    /// The address is neither public nor allowed, or nobody serves HTTP at that port of it.
    pub fn check_ip(&self, address: IpAddr, port: u16) -> Result<(), EgressRefusal> {
        let address = self.unwrapped(address);
        let is_allowed = (self.allow_loopback && address.is_loopback())
            || self.networks.iter().any(|allowed| {
                allowed.network.contains(&address) && allowed.port.is_none_or(|only| only == port)
            });
        if is_allowed {
            Ok(())
        } else if !is_public(address) {
            Err(EgressRefusal::Address)
        } else if port::is_for_http(port) {
            Ok(())
        } else {
            Err(EgressRefusal::Port)
        }
    }

    /// The address that packets to this one end up at.
    fn unwrapped(&self, address: IpAddr) -> IpAddr {
        let IpAddr::V6(v6) = address else {
            return address;
        };
        let prefixes = self.nat64_prefixes.iter();
        match prefixes
            .filter_map(|prefix| nat64::unwrap(prefix, v6))
            .next()
        {
            Some(carried) => IpAddr::V4(carried),
            None => canonical(address),
        }
    }

    /// Whether a host of a URL may be looked up and called, before anything is resolved.
    ///
    /// Literal addresses are judged here, in every notation that a browser would read as one.
    ///
    /// # Errors
    /// The host is a refused address, or a name that only means something inside a network.
    pub fn check_host(&self, host: &str, port: u16) -> Result<HostTrust, EgressRefusal> {
        let name = match Host::parse(host).map_err(|_cause| EgressRefusal::Malformed)? {
            Host::Ipv4(address) => {
                return self
                    .check_ip(IpAddr::V4(address), port)
                    .map(|()| HostTrust::Unknown);
            }
            Host::Ipv6(address) => {
                return self
                    .check_ip(IpAddr::V6(address), port)
                    .map(|()| HostTrust::Unknown);
            }
            Host::Domain(name) => name,
        };
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            return Err(EgressRefusal::Malformed);
        }
        if self.hosts.iter().any(|allowed| allowed.covers(name, port)) {
            return Ok(HostTrust::Named);
        }
        if is_within(name, "localhost") && self.allow_loopback {
            return Ok(HostTrust::Unknown);
        }
        if INTERNAL_DOMAINS
            .iter()
            .any(|domain| is_within(name, domain))
        {
            return Err(EgressRefusal::HostName);
        }
        Ok(HostTrust::Unknown)
    }
}

impl AllowedHost {
    fn covers(&self, name: &str, port: u16) -> bool {
        let named = if self.any_subdomain {
            name.len() > self.name.len() && is_within(name, &self.name)
        } else {
            name == self.name
        };
        named && self.port.is_none_or(|only| only == port)
    }
}

/// Names that mean something only inside a machine, a cluster or a cloud's private network.
const INTERNAL_DOMAINS: [&str; 7] = [
    "localhost",
    "localdomain",
    "local",
    "svc",
    "internal",
    "cluster.local",
    "home.arpa",
];

/// Whether `name` is `domain` or lies below it.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn policy(entries: &[&str]) -> EgressPolicy {
        EgressPolicy::parse(entries, false).unwrap()
    }

    #[test]
    fn an_allowed_network_is_called_in_every_notation() {
        let policy = policy(&["10.1.2.3/8", "192.168.7.7", "fd00::/8", "172.16.0.1:8080"]);
        let check = |address: &str, port| policy.check_ip(ip(address), port).is_ok();
        assert!(check("10.200.0.1", 80));
        assert!(check("::ffff:10.200.0.1", 80));
        assert!(check("192.168.7.7", 80));
        assert!(check("fd00::1", 80));
        assert!(check("172.16.0.1", 8080));
        assert!(!check("172.16.0.1", 80));
        assert!(!check("192.168.7.8", 80));
        assert!(!check("127.0.0.1", 80));
        assert_eq!(policy.check_host("10.9.9.9", 80), Ok(HostTrust::Unknown));
        assert_eq!(
            policy.check_host("[::ffff:a01:1]", 80),
            Ok(HostTrust::Unknown)
        );
    }

    #[test]
    fn loopback_is_called_only_where_it_is_allowed() {
        let strict = EgressPolicy::default();
        let local = EgressPolicy::parse::<&str>(&[], true).unwrap();
        for host in [
            "localhost",
            "LOCALHOST.",
            "hook.localhost",
            "127.0.0.1",
            "[::1]",
            "127.1",
        ] {
            assert!(strict.check_host(host, 80).is_err(), "{host}");
            assert_eq!(local.check_host(host, 80), Ok(HostTrust::Unknown), "{host}");
        }
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(strict.check_ip(ip(address), 80).is_err(), "{address}");
            assert!(local.check_ip(ip(address), 80).is_ok(), "{address}");
        }
        assert!(local.check_host("0.0.0.0", 80).is_err());
        assert!(local.check_host("localhost.localdomain", 80).is_err());
    }

    #[test]
    fn r3_literal_addresses_are_recognised_in_every_notation() {
        for host in [
            "0x7f000001",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "１２７.0.0.1",
            "%31%32%37.0.0.1",
        ] {
            let verdict = EgressPolicy::default().check_host(host, 80);
            assert_eq!(verdict, Err(EgressRefusal::Address), "{host}");
        }
        assert_eq!(
            EgressPolicy::default().check_host("8.8.8.8", 80),
            Ok(HostTrust::Unknown)
        );
    }

    #[test]
    fn r3_names_from_inside_a_cluster_are_refused() {
        for host in [
            "orders.shop.svc",
            "orders.shop.svc.",
            "orders.shop.svc.cluster.local",
            "ORDERS.shop.SVC.cluster.local..",
            "metadata.google.internal",
            "printer.local",
            "router.home.arpa",
        ] {
            let verdict = EgressPolicy::default().check_host(host, 80);
            assert_eq!(verdict, Err(EgressRefusal::HostName), "{host}");
        }
        for host in [
            "example.com",
            "mysvc",
            "notinternal",
            "svc.example.com",
            "internal.example",
        ] {
            let verdict = EgressPolicy::default().check_host(host, 80);
            assert_eq!(verdict, Ok(HostTrust::Unknown), "{host}");
        }
        for host in ["", ".", "a b", "[::1", "exa<mple.com"] {
            let verdict = EgressPolicy::default().check_host(host, 80);
            assert_eq!(verdict, Err(EgressRefusal::Malformed), "{host:?}");
        }
    }

    #[test]
    fn a_named_host_is_trusted_on_its_port() {
        let policy = policy(&[
            "orders.shop.svc:8080",
            "Billing.svc.",
            "*.hooks.internal",
            "*.lab.svc:9000",
        ]);
        let is_named = |host: &str, port| policy.check_host(host, port) == Ok(HostTrust::Named);
        assert!(is_named("orders.shop.svc", 8080));
        assert!(!is_named("orders.shop.svc", 9090));
        assert!(is_named("billing.SVC", 1));
        assert!(!is_named("other.billing.svc", 1));
        assert!(is_named("a.b.hooks.internal", 443));
        assert!(!is_named("hooks.internal", 443));
        assert!(!is_named("evilhooks.internal", 443));
        assert!(is_named("a.lab.svc", 9000));
        assert!(!is_named("a.lab.svc", 9001));
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_with_its_fault() {
        let check = |entry: &str| EgressPolicy::parse(&[entry], false).unwrap_err().problem;
        assert_eq!(
            check("10.0.0.0/33"),
            "is not an address, slash and prefix length"
        );
        assert_eq!(
            check("http://example.com/"),
            "is not an address, slash and prefix length"
        );
        assert_eq!(
            check("example.com:http"),
            "has a port that is not 0 to 65535"
        );
        assert_eq!(check("exa mple"), "is not a host name");
        assert_eq!(check(""), "is not a host name");
        assert_eq!(
            check("*.127.0.0.1"),
            "asks for the subdomains of an address"
        );
        let error = EgressPolicy::parse(&["ok.example", "10.0.0.0/33"], false).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("\"10.0.0.0/33\" is not an address"),
            "{error}"
        );
        assert!(EgressPolicy::parse(&["[fd00::1]:8080", "fd00::1", " 10.0.0.1 "], false).is_ok());
    }

    #[test]
    fn r2_an_address_behind_the_operators_own_nat64_prefix_is_judged_by_what_is_inside() {
        let prefixes = ["2a00:64::/96", " 2a00:640::/32 "];
        let policy = EgressPolicy::default()
            .with_nat64_prefixes(&prefixes)
            .unwrap();
        let check = |address: &str| policy.check_ip(ip(address), 443).is_ok();
        assert!(check("2a00:64::8.8.8.8"));
        assert!(!check("2a00:64::169.254.169.254"));
        assert!(!check("2a00:640:a00:1::"));
        assert!(check("2a00:65::a9fe:a9fe"), "of no prefix");
        let error = EgressPolicy::default().with_nat64_prefixes(&["2a00::/33"]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "\"2a00::/33\" has a length that is not 32, 40, 48, 56, 64 or 96"
        );
    }

    #[test]
    fn r3_a_port_of_another_service_is_refused_unless_it_is_allowed() {
        let policy = policy(&["9.9.9.9:25", "10.0.0.0/8"]);
        let check = |address: &str, port| policy.check_ip(ip(address), port);
        assert_eq!(check("8.8.8.8", 25), Err(EgressRefusal::Port));
        assert_eq!(check("8.8.8.8", 443), Ok(()));
        assert_eq!(check("9.9.9.9", 25), Ok(()));
        assert_eq!(check("10.0.0.1", 25), Ok(()), "the operator named it");
        assert_eq!(policy.check_host("8.8.8.8", 6667), Err(EgressRefusal::Port));
    }

    #[test]
    fn r5_a_refusal_does_not_say_what_was_found() {
        for refusal in [
            EgressRefusal::Address,
            EgressRefusal::HostName,
            EgressRefusal::Malformed,
            EgressRefusal::Port,
        ] {
            assert!(
                !refusal
                    .to_string()
                    .contains(|character: char| character.is_ascii_digit())
            );
        }
    }
}
