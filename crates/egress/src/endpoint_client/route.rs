//! Ways to an endpoint that a function asks for: own authorities, a client certificate, a proxy.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::function::ClientCertificate;
use http::Uri;
use moka::sync::Cache;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};

use super::{Channels, Foundation};

/// Clients of their own are kept for this many ways; each holds its connections.
const ROUTES_MAX: u64 = 500;

/// A way that nobody took for this long is forgotten, with its connections.
const ROUTE_IDLE: Duration = Duration::from_secs(600);

/// What differs from how every other endpoint is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Trusted instead of the usual ones, PEM.
    pub authorities: Option<String>,
    pub certificate: Option<ClientCertificate>,
    /// Asked by CONNECT for every connection; `http` only.
    pub proxy: Option<Uri>,
}

/// Why a way cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("the function's authorities are not PEM certificates")]
    Authorities,
    #[error("the function's client certificate or its key cannot be used")]
    Certificate,
}

type Key = [u8; 32];

/// Clients for the ways in use. Clones share them.
#[derive(Clone)]
pub(super) struct Routes {
    foundation: Foundation,
    channels: Cache<Key, Result<Channels, RouteError>>,
}

impl Routes {
    pub(super) fn new(foundation: Foundation) -> Self {
        let channels = Cache::builder()
            .max_capacity(ROUTES_MAX)
            .time_to_idle(ROUTE_IDLE)
            .build();
        Self {
            foundation,
            channels,
        }
    }

    pub(super) const fn foundation(&self) -> &Foundation {
        &self.foundation
    }

    /// # Errors
    /// Certificates or key cannot be read, or do not belong together.
    pub(super) fn channels(&self, route: &Route) -> Result<Channels, RouteError> {
        self.channels.get_with(route.key(), || {
            let tls = self.tls(route)?;
            Ok(self.foundation.channels(tls, route.proxy.clone()))
        })
    }

    fn tls(&self, route: &Route) -> Result<ClientConfig, RouteError> {
        let roots = match &route.authorities {
            None => Arc::clone(&self.foundation.roots),
            Some(pem) => Arc::new(roots_of(pem)?),
        };
        let builder = self.foundation.tls.clone().with_root_certificates(roots);
        let Some(ClientCertificate { chain_pem, key_pem }) = &route.certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let unusable = |_cause| RouteError::Certificate;
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(unusable)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(unusable)?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|_cause| RouteError::Certificate)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Routes({} open)", self.channels.entry_count())
    }
}

impl Route {
    /// Whether it is the way that every endpoint is reached.
    pub fn is_usual(&self) -> bool {
        self.authorities.is_none() && self.certificate.is_none() && self.proxy.is_none()
    }

    /// Connections are never shared between two ways that differ in anything.
    fn key(&self) -> Key {
        let certificate = self.certificate.as_ref();
        let proxy = self.proxy.as_ref().map(ToString::to_string);
        let parts = [
            self.authorities.as_deref(),
            certificate.map(|certificate| certificate.chain_pem.as_str()),
            certificate.map(|certificate| certificate.key_pem.as_str()),
            proxy.as_deref(),
        ];
        digest(&parts.map(Option::unwrap_or_default))
    }
}

/// Tells texts apart without keeping them: some are secret.
pub(super) fn digest(parts: &[&str]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

fn roots_of(pem: &str) -> Result<RootCertStore, RouteError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_cause| RouteError::Authorities)?;
        roots
            .add(certificate)
            .map_err(|_cause| RouteError::Authorities)?;
    }
    if roots.is_empty() {
        return Err(RouteError::Authorities);
    }
    Ok(roots)
}
