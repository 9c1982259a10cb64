//! `CloudEvents` attribute values as HTTP header values, there and back.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What the HTTP binding wants encoded, besides everything that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A header value that holds no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("percent-decodes to something that is not UTF-8")]
pub struct DecodeError;

/// Writes an attribute's value so that it may stand in a `ce-*` header.
pub fn encode_header_value(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    // As nearly all are.
    if value.bytes().all(is_plain) {
        return value.to_owned();
    }
    utf8_percent_encode(value, ENCODED).to_string()
}

/// Reads the value of a `ce-*` header: quoted or not, percent-decoded once.
///
/// # Errors
/// The sequences do not spell UTF-8.
pub fn decode_header_value(value: &str) -> Result<String, DecodeError> {
    let unquoted = unquote(value);
    percent_decode_str(&unquoted)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_position_says_nothing_more| DecodeError)
}

/// Senders of older versions of the binding quote values instead of encoding them.
fn unquote(value: &str) -> Cow<'_, str> {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(value);
    };
    let mut unquoted = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => unquoted.extend(characters.next()),
            other => unquoted.push(other),
        }
    }
    Cow::Owned(unquoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_03_encodes_the_example_of_the_binding() {
        assert_eq!(
            encode_header_value("Euro € 😀"),
            "Euro%20%E2%82%AC%20%F0%9F%98%80"
        );
        assert_eq!(
            encode_header_value("a\"b%c\r\n\u{7f}"),
            "a%22b%25c%0D%0A%7F"
        );
        assert_eq!(
            encode_header_value("/datasets/main~1?x=[2]"),
            "/datasets/main~1?x=[2]"
        );
    }

    #[test]
    fn decodes_once_and_in_either_case() {
        let check = |value: &str| decode_header_value(value).unwrap();
        assert_eq!(check("Euro%20%e2%82%AC%20%F0%9f%98%80"), "Euro € 😀");
        assert_eq!(check("100%2525"), "100%25");
        assert_eq!(check("50% of it"), "50% of it");
        assert_eq!(check(r#""a \"quoted\" \\ one""#), r#"a "quoted" \ one"#);
        assert_eq!(check("\""), "\"");
    }

    #[test]
    fn x_05_what_is_not_utf_8_is_refused() {
        for value in ["%C0%A0", "%ED%A0%80", "%FF", "abc%E2%82"] {
            assert_eq!(decode_header_value(value), Err(DecodeError), "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_survives_a_header(text in "\\PC*|.*") {
            let encoded = encode_header_value(&text);
            proptest::prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
            proptest::prop_assert_eq!(decode_header_value(&encoded), Ok(text));
        }
    }
}
