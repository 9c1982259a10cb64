//! Each setting is held to its limit, and a refusal names the field and never a secret.

use url::Url;

use super::*;
use crate::function::ClientCertificate;

fn field(settings: &FunctionSettings) -> String {
    let error = settings.check().unwrap_err();
    assert!(!error.allowed.is_empty());
    error.field
}

fn with_header(name: &str, value: &str) -> FunctionSettings {
    FunctionSettings {
        headers: vec![
            ("x-first".to_owned(), "1".to_owned()),
            (name.to_owned(), value.to_owned()),
        ],
        ..FunctionSettings::default()
    }
}

#[test]
fn nothing_set_is_allowed() {
    assert_eq!(FunctionSettings::default().check(), Ok(()));
    assert_eq!(Credentials::default().check(), Ok(()));
}

#[test]
fn headers_that_break_a_request_or_pose_as_ours_are_refused() {
    for name in [
        "host",
        "content-length",
        "content-type",
        "connection",
        "transfer-encoding",
        "te",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "webhook-signature",
        "webhook-anything",
        "x-delivery-id",
        "x-event-id",
        "x-attempt",
        "x-max-attempts",
        "x-function",
        "x-sc-token",
        "traceparent",
        "authorization",
        "ce-id",
        "",
        "with space",
        "colon:",
        "line\nbreak",
        "X-Upper",
        "ümlaut",
    ] {
        assert_eq!(
            field(&with_header(name, "value")),
            "settings.headers[1].name",
            "{name:?}"
        );
    }
    for value in [
        "a\r\nx-evil: 1",
        "a\nb",
        "a\0b",
        "\u{7f}",
        " blank",
        "tab\t",
    ] {
        assert_eq!(
            field(&with_header("x-ours", value)),
            "settings.headers[1].value",
            "{value:?}"
        );
    }
    for value in ["", "plain", "with\ttab and blank", "grün"] {
        assert_eq!(with_header("x-tenant", value).check(), Ok(()), "{value:?}");
    }
    assert_eq!(
        field(&with_header("x-first", "again")),
        "settings.headers[1].name"
    );
}

#[test]
fn headers_are_few_and_small() {
    let many = |count: usize, bytes: usize| FunctionSettings {
        headers: (0..count)
            .map(|number| (format!("x-{number:03}"), "v".repeat(bytes)))
            .collect(),
        ..FunctionSettings::default()
    };
    assert_eq!(many(32, 10).check(), Ok(()));
    assert_eq!(field(&many(33, 10)), "settings.headers");
    assert_eq!(field(&many(3, 3000)), "settings.headers");
    assert_eq!(
        field(&with_header(&"n".repeat(129), "")),
        "settings.headers[1].name"
    );
}

#[test]
fn numbers_are_held_to_their_ranges() {
    let rate = |per_second, burst| FunctionSettings {
        rate: Some(RateLimit { per_second, burst }),
        ..FunctionSettings::default()
    };
    assert_eq!(rate(0.001, 1).check(), Ok(()));
    for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 100_001.0] {
        assert_eq!(field(&rate(per_second, 1)), "settings.rate.per_second");
    }
    assert_eq!(field(&rate(1.0, 0)), "settings.rate.burst");
    let concurrency = |most| FunctionSettings {
        concurrency_max: Some(most),
        ..FunctionSettings::default()
    };
    assert_eq!(concurrency(10_000).check(), Ok(()));
    assert_eq!(field(&concurrency(0)), "settings.concurrency_max");
    assert_eq!(field(&concurrency(10_001)), "settings.concurrency_max");
    let batching = |size_max, millis| FunctionSettings {
        batching: Some(Batching {
            size_max,
            cutoff: Duration::from_millis(millis),
        }),
        ..FunctionSettings::default()
    };
    assert_eq!(batching(2, 1).check(), Ok(()));
    assert_eq!(field(&batching(1, 1)), "settings.batching.size_max");
    assert_eq!(field(&batching(2, 60_001)), "settings.batching.cutoff");
    let disable = |after| FunctionSettings {
        disable_after: Some(after),
        ..FunctionSettings::default()
    };
    assert_eq!(disable(Duration::from_hours(5 * 24)).check(), Ok(()));
    assert_eq!(
        field(&disable(Duration::from_secs(59))),
        "settings.disable_after"
    );
}

#[test]
fn a_proxy_is_a_host_and_a_port() {
    let proxy = |text: &str| FunctionSettings {
        proxy: Some(Url::parse(text).unwrap()),
        ..FunctionSettings::default()
    };
    assert_eq!(proxy("http://proxy.example:3128").check(), Ok(()));
    assert_eq!(field(&proxy("socks5://proxy.example")), "settings.proxy");
    assert_eq!(field(&proxy("http://proxy.example/way")), "settings.proxy");
}

#[test]
fn a_wrong_credential_is_named_and_not_repeated() {
    let check = |authorization| {
        let credentials = Credentials {
            authorization,
            ..Credentials::default()
        };
        credentials.check().unwrap_err()
    };
    let error = check(Authorization::Basic {
        user: "me".to_owned(),
        password: "hidden\nword".to_owned(),
    });
    assert_eq!(error.field, "credentials.authorization.basic.password");
    assert!(!error.to_string().contains("hidden"));
    let error = check(Authorization::Bearer {
        token: "hidden word".to_owned(),
    });
    assert_eq!(error.field, "credentials.authorization.bearer.token");
    assert!(!error.to_string().contains("hidden"));
    let error = check(Authorization::OAuth2 {
        token_url: Url::parse("http://tokens.example/").unwrap(),
        client_id: "me".to_owned(),
        client_secret: "hidden".to_owned(),
        scope: String::new(),
    });
    assert_eq!(error.field, "credentials.authorization.oauth2.token_url");
    let credentials = Credentials {
        client_certificate: Some(ClientCertificate {
            chain_pem: "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n".to_owned(),
            key_pem: "hidden".to_owned(),
        }),
        ..Credentials::default()
    };
    let error = credentials.check().unwrap_err();
    assert_eq!(error.field, "credentials.client_certificate.key");
    assert!(!error.to_string().contains("hidden"));
}
