//! From the text of a URL to the verdict about its host: what a URL hides is seen through.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use domain::address::{EgressPolicy, EgressRefusal, HostTrust};
use domain::function::{UrlError, parse_url};

fn verdict(text: &str) -> Result<HostTrust, EgressRefusal> {
    let url = parse_url(text).unwrap();
    let port = url.port_or_known_default().unwrap();
    EgressPolicy::default().check_host(url.host_str().unwrap(), port)
}

#[test]
fn r3_an_address_in_disguise_is_refused() {
    for text in [
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://１２７.０.０.１/",
        "http://①②⑦.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://127。0。0。1/",
    ] {
        assert_eq!(verdict(text), Err(EgressRefusal::Address), "{text}");
    }
}

#[test]
fn r3_an_inside_name_in_disguise_is_refused() {
    for text in [
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
        "http://LOCALHOST./",
        "http://orders.shop.ｓｖｃ/",
        "http://metadata.google。internal/",
    ] {
        assert_eq!(verdict(text), Err(EgressRefusal::HostName), "{text}");
    }
    assert_eq!(verdict("https://bücher.example/"), Ok(HostTrust::Unknown));
}

#[test]
fn r3_a_user_before_the_host_is_refused() {
    for text in [
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://:secret@example.com/",
    ] {
        assert_eq!(parse_url(text), Err(UrlError::Credentials), "{text}");
    }
}
