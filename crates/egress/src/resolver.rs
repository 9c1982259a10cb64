//! From a host's name to the addresses that may be dialled, every one of them checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::address::{EgressPolicy, EgressRefusal, HostTrust};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;

/// An address that moved is noticed after this time, whatever its record promises.
const CACHED_FOR_MAX: Duration = Duration::from_secs(60);

/// A name that was missing may have been created meanwhile.
const MISSING_FOR_MAX: Duration = Duration::from_secs(5);

/// Why a name leads nowhere. Nothing here says what it resolved to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error(transparent)]
    Refused(#[from] EgressRefusal),
    #[error("the host name does not exist or has no address")]
    NoAddress,
    #[error("the host name could not be resolved")]
    LookupFailed,
}

/// Who is asked for names.
#[derive(Debug, Clone, Default)]
pub enum NameServers {
    /// Those of the machine's own settings.
    #[default]
    System,
    /// These and no others.
    Only(Vec<SocketAddr>),
}

/// Resolves the hosts of endpoints, by the machine's name servers and hosts file but without its
/// search domains: a public URL must not turn into a name of the cluster.
#[derive(Debug, Clone)]
pub struct Resolver {
    lookup: TokioResolver,
    egress: EgressPolicy,
}

impl Resolver {
    /// # Errors
    /// The name servers' settings contradict themselves.
    pub fn new(egress: EgressPolicy, name_servers: NameServers) -> Result<Self, NetError> {
        let (config, mut options) = read_system_conf().unwrap_or_else(|error| {
            tracing::warn!(%error, "no usable name server settings: only literal addresses and the hosts file are resolved");
            (ResolverConfig::default(), ResolverOpts::default())
        });
        let (_domain, _search, of_the_machine) = config.into_parts();
        let name_servers = match name_servers {
            NameServers::System => of_the_machine,
            NameServers::Only(addresses) => addresses.into_iter().map(name_server).collect(),
        };
        options.use_hosts_file = ResolveHosts::Always;
        // Both families at once: a name is refused if any of its addresses is.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.positive_max_ttl = Some(CACHED_FOR_MAX);
        options.negative_max_ttl = Some(MISSING_FOR_MAX);
        let lookup = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(name_servers),
            TokioRuntimeProvider::default(),
        )
        .with_options(options)
        .build()?;
        Ok(Self { lookup, egress })
    }

    /// The addresses to dial for a host of a URL, a name or a literal address.
    ///
    /// # Errors
    /// The host, or any one of its addresses, may not be called; or there is no address.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, ResolveError> {
        let trust = self.egress.check_host(host, port)?;
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_it_is_a_name) => self.look_up(host).await?,
        };
        match trust {
            HostTrust::Named => {}
            HostTrust::Unknown => {
                // One refused address is enough: a name with a public and an inside address is
                // how a check is slipped past.
                for address in &addresses {
                    self.egress.check_ip(*address, port)?;
                }
            }
        }
        Ok(addresses)
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        // RFC 6761: these never reach a name server.
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // With the final dot the name is complete: nothing is appended to it.
        let found = self
            .lookup
            .lookup_ip(format!("{name}."))
            .await
            .map_err(|error| {
                tracing::debug!(%error, name, "name not resolved");
                if error.is_nx_domain() || error.is_no_records_found() {
                    ResolveError::NoAddress
                } else {
                    ResolveError::LookupFailed
                }
            })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            Err(ResolveError::NoAddress)
        } else {
            Ok(addresses)
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut udp = ConnectionConfig::udp();
    udp.port = address.port();
    let mut tcp = ConnectionConfig::tcp();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_resolver::Hosts;

    use super::*;

    /// A resolver that knows a few names without asking anybody.
    fn resolver(entries: &[&str]) -> Resolver {
        let mut hosts = Hosts::default();
        hosts
            .read_hosts_conf(
                &b"8.8.8.8 public.example\n\
                   8.8.8.8 both.example\n\
                   10.0.0.1 both.example\n\
                   8.8.8.8 six.example\n\
                   fd00::1 six.example\n\
                   10.0.0.1 orders.shop.svc\n"[..],
            )
            .unwrap();
        let mut resolver = Resolver::new(
            EgressPolicy::parse(entries, false).unwrap(),
            NameServers::System,
        )
        .unwrap();
        resolver.lookup.set_hosts(Arc::new(hosts));
        resolver
    }

    #[tokio::test]
    async fn r1_one_inside_address_among_public_ones_refuses_the_name() {
        let resolver = resolver(&[]);
        let public = resolver.resolve("public.example", 80).await.unwrap();
        assert_eq!(public, ["8.8.8.8".parse::<IpAddr>().unwrap()]);
        for name in ["both.example", "six.example", "Both.Example."] {
            let refused = resolver.resolve(name, 80).await.unwrap_err();
            assert_eq!(
                refused,
                ResolveError::Refused(EgressRefusal::Address),
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn what_the_operator_names_may_lead_inside() {
        let by_network = resolver(&["10.0.0.0/8"]);
        assert_eq!(
            by_network.resolve("both.example", 80).await.unwrap().len(),
            2
        );
        assert!(by_network.resolve("six.example", 80).await.is_err());
        assert!(
            by_network.resolve("orders.shop.svc", 80).await.is_err(),
            "the name is inside"
        );

        let by_name = resolver(&["orders.shop.svc:8080"]);
        let inside = ["10.0.0.1".parse::<IpAddr>().unwrap()];
        assert_eq!(
            by_name.resolve("orders.shop.svc", 8080).await.unwrap(),
            inside
        );
        assert!(by_name.resolve("orders.shop.svc", 80).await.is_err());
    }

    #[tokio::test]
    async fn literal_addresses_and_localhost_ask_nobody() {
        let strict = resolver(&[]);
        assert_eq!(strict.resolve("8.8.8.8", 80).await.unwrap().len(), 1);
        assert_eq!(strict.resolve("[2606:4700::1]", 80).await.unwrap().len(), 1);
        assert!(strict.resolve("10.0.0.1", 80).await.is_err());
        let mut local = strict;
        local.egress = EgressPolicy::parse::<&str>(&[], true).unwrap();
        for name in ["localhost", "hook.localhost."] {
            assert_eq!(local.resolve(name, 80).await.unwrap().len(), 2, "{name}");
        }
    }
}
