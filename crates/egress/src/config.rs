//! What can be set about where calls may go.

use domain::address::EgressPolicy;
use serde::{Deserialize, Serialize};

/// The section `egress` of whoever calls out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses, networks (`10.0.0.0/8`) and host names that may be called although they are not
    /// public.
    pub allow: Vec<String>,
    /// Prefixes by which this network reaches IPv4 addresses through IPv6, beside `64:ff9b::/96`: what
    /// lies behind them is judged as the IPv4 address it is.
    pub nat64_prefixes: Vec<String>,
}

impl Config {
    /// The rule that requests obey; `section` is where these settings stand.
    ///
    /// # Errors
    /// Names the setting and the entry that cannot be read.
    pub fn policy(&self, section: &str, allow_loopback: bool) -> Result<EgressPolicy, String> {
        EgressPolicy::parse(&self.allow, allow_loopback)
            .map_err(|error| format!("{section}.egress.allow: {error}"))?
            .with_nat64_prefixes(&self.nat64_prefixes)
            .map_err(|error| format!("{section}.egress.nat64_prefixes: {error}"))
    }
}
