//! What can be set about logs and traces.

use serde::{Deserialize, Serialize};
use url::Url;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    pub log_format: LogFormat,
    /// Directives as in `info,delivery_worker=debug`.
    pub log_filter: String,
    /// The address of an OTLP collector (gRPC), such as `http://collector:4317`; without one
    /// no spans are recorded.
    pub otlp_endpoint: Option<Url>,
    /// Directives for the spans that are sent to the collector.
    pub trace_filter: String,
    /// The share of traces begun here that is recorded, from 0 to 1. A trace begun elsewhere
    /// is recorded if its beginner said so.
    pub trace_share: f64,
    /// Tells the copies of a service apart; made up at the start if absent.
    pub service_instance: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for a person at a terminal.
    #[default]
    Human,
    /// One JSON object to the line, with dotted field names.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_format: LogFormat::default(),
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            trace_filter: "info".to_owned(),
            trace_share: 1.0,
            service_instance: None,
        }
    }
}
