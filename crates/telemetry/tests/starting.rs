//! What can be set has defaults, and what makes no sense is refused before anything starts.

use telemetry::{Config, Error, LogFormat, start};

#[test]
fn an_empty_section_means_the_defaults() {
    assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    let json: Config = toml::from_str("log_format = \"json\"").unwrap();
    assert_eq!(json.log_format, LogFormat::Json);
}

#[test]
fn a_filter_that_cannot_be_read_is_refused() {
    let config = Config {
        log_filter: "a=b=c".to_owned(),
        ..Config::default()
    };
    let error = start("log-service", &config).unwrap_err();
    assert!(matches!(error, Error::Filter { .. }), "{error}");
}

#[test]
fn a_share_above_one_is_refused() {
    let config = Config {
        trace_share: 1.5,
        ..Config::default()
    };
    let error = start("log-service", &config).unwrap_err();
    assert!(matches!(error, Error::TraceShare(_)), "{error}");
}

#[test]
fn starting_twice_is_no_fault() {
    let first = start("log-service", &Config::default()).unwrap();
    let second = start("log-service", &Config::default()).unwrap();
    first.shutdown();
    second.shutdown();
}

#[test]
fn without_a_collector_nobody_makes_spans_and_events_are_logged_all_the_same() {
    let config = Config::default();
    assert_eq!(config.otlp_endpoint, None);
    let guard = start("log-service", &config).unwrap();
    assert!(tracing::info_span!("deliver").is_disabled());
    assert!(tracing::error_span!("deliver").is_disabled());
    assert!(tracing::event_enabled!(tracing::Level::INFO));
    assert!(!tracing::event_enabled!(tracing::Level::TRACE));
    guard.shutdown();
}
