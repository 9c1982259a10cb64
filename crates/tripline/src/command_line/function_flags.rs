//! The flags that say how a function is called and what it is shown.

use std::time::Duration;

use clap::Args;

/// How a function is called.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How it is called")]
pub(crate) struct FunctionFlags {
    /// Requests under way at a time, 1 to 10000 [default: as many as it bears]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,

    /// Deliveries a second, minute or hour, for example 50/s or 100/m [default: no limit]
    #[arg(long, value_name = "N/s|m|h", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,

    /// How many deliveries may come at once after a rest [default: as many as come in a second]
    #[arg(long, value_name = "N", requires = "rate")]
    pub(crate) burst: Option<u32>,

    /// Deliveries in one request, 2 to 1000, for the formats cloudevents-batch and yandex
    /// [default: one]
    #[arg(long, value_name = "N")]
    pub(crate) batch_size: Option<u32>,

    /// The first delivery of a request waits no longer for others, 1ms to 60s [default: 1s]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        requires = "batch_size"
    )]
    pub(crate) batch_cutoff: Option<Duration>,

    /// A header sent with every request, 'name: value'; all of them are given together
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(String, String)>,

    /// An answer of 410 switches the function off
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) disable_on_gone: Option<bool>,

    /// Switch the function off when it has failed for so long, 1m to 30d [default: never]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) disable_after: Option<Duration>,

    /// Kind of Standard Webhooks signature: v1 (the default), v1a or both
    #[arg(long)]
    pub(crate) signing: Option<String>,

    /// Send an X-SC-Token, signed with hs256 or eddsa
    #[arg(long, value_name = "ALGORITHM")]
    pub(crate) token: Option<String>,

    /// HTTP proxy that requests go through
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,

    /// Authorities trusted for this function instead of the machine's own, a PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<String>,

    /// A second name for direct calls, by Kii's rule: onOrderCreated
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,

    /// JSON Schema that the parameters of direct calls must satisfy
    #[arg(long, value_name = "JSON|@FILE")]
    pub(crate) parameters_schema: Option<String>,

    /// What direct calls over HTTP are answered: raw (the default) or enveloped
    #[arg(long, value_name = "SHAPE")]
    pub(crate) answer: Option<String>,

    /// What it has methods for: main, on_storage_trigger, on_signal, pre_process, post_process,
    /// queued, schedule; all of them are given together
    #[arg(long = "handler", value_name = "NAME", value_delimiter = ',')]
    pub(crate) handlers: Vec<String>,

    #[command(flatten)]
    pub(crate) credentials: CredentialFlags,
}

/// What the endpoint is shown; never printed again. `@FILE` keeps a secret off the command line.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What it is shown")]
pub(crate) struct CredentialFlags {
    /// Certificate chain shown to the endpoint, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<String>,

    /// Key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<String>,

    /// User and password of the Authorization header
    #[arg(long, value_name = "USER:PASSWORD|@FILE")]
    pub(crate) basic: Option<String>,

    /// Token of the Authorization header
    #[arg(long, value_name = "TOKEN|@FILE", conflicts_with = "basic")]
    pub(crate) bearer: Option<String>,

    /// Where a token for the Authorization header is got, by client credentials
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["basic", "bearer"],
        requires_all = ["oauth2_client_id", "oauth2_client_secret"]
    )]
    pub(crate) oauth2_token_url: Option<String>,

    /// The client's id there
    #[arg(long, value_name = "ID", requires = "oauth2_token_url")]
    pub(crate) oauth2_client_id: Option<String>,

    /// The client's secret there
    #[arg(long, value_name = "SECRET|@FILE", requires = "oauth2_token_url")]
    pub(crate) oauth2_client_secret: Option<String>,

    /// What the token is asked for
    #[arg(long, value_name = "TEXT", requires = "oauth2_token_url")]
    pub(crate) oauth2_scope: Option<String>,
}

/// `50/s`, `100/m`, `1000/h`, or a plain number a second.
pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number and /s, /m or /h".to_owned()),
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_not_a_number| "give a number and /s, /m or /h".to_owned())?;
    Ok(number / seconds)
}

pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "give a name, a colon and a value".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_second_whatever_their_unit() {
        assert_eq!(parse_rate("50/s"), Ok(50.0));
        assert_eq!(parse_rate("50"), Ok(50.0));
        assert_eq!(parse_rate("120/m"), Ok(2.0));
        assert_eq!(parse_rate("36/h"), Ok(0.01));
        assert!(parse_rate("50/d").is_err() && parse_rate("fast").is_err());
    }

    #[test]
    fn a_header_is_split_at_its_first_colon() {
        let header = ("x-time".to_owned(), "12:30".to_owned());
        assert_eq!(parse_header("x-time: 12:30"), Ok(header));
        assert!(parse_header("x-time").is_err());
    }
}
