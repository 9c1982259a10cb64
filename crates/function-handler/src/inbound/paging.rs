//! Pages of a listing: their size, and the token that leads to the next one.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::fault::Fault;

const SIZE_DEFAULT: u32 = 100;
const SIZE_MAX: u32 = 1_000;

/// Says what kind of token it is, so that another kind can be told apart later.
const AFTER: &str = "after:";

/// The number of items asked for.
pub(crate) fn size(asked: u32) -> Result<u32, Fault> {
    match asked {
        0 => Ok(SIZE_DEFAULT),
        1..=SIZE_MAX => Ok(asked),
        more => Err(Fault::invalid(
            "page_size",
            more.to_string(),
            "is too large",
            format!("1 to {SIZE_MAX}, or 0 for {SIZE_DEFAULT}"),
        )),
    }
}

/// The name the page begins after; `None` for the first one.
pub(crate) fn start<Name: FromStr>(token: &str) -> Result<Option<Name>, Fault> {
    if token.is_empty() {
        return Ok(None);
    }
    let text = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let name = text
        .as_deref()
        .and_then(|text| text.strip_prefix(AFTER)?.parse().ok());
    name.map(Some).ok_or_else(|| {
        let allowed = "the `next_page_token` of the page before, as it is";
        Fault::invalid("page_token", token, "is not understood", allowed)
    })
}

/// The token of the next page; empty when there is none.
pub(crate) fn next(last: Option<impl fmt::Display>, has_more: bool) -> String {
    match last {
        Some(last) if has_more => URL_SAFE_NO_PAD.encode(format!("{AFTER}{last}")),
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use domain::name::FunctionName;

    use super::*;

    #[test]
    fn a_token_leads_to_the_name_it_was_made_of() {
        let name: FunctionName = "my-package/number-func".parse().unwrap();
        let token = next(Some(&name), true);
        assert_eq!(start(&token).unwrap(), Some(name.clone()));
        assert_eq!(start::<FunctionName>("").unwrap(), None);
        assert_eq!(next(Some(&name), false), "");
        assert_eq!(
            start::<FunctionName>("made-up").unwrap_err().field.unwrap(),
            "page_token"
        );
    }

    #[test]
    fn a_page_has_100_items_unless_asked_and_at_most_1000() {
        assert_eq!(size(0).unwrap(), 100);
        assert_eq!(size(1_000).unwrap(), 1_000);
        assert_eq!(size(1_001).unwrap_err().field.unwrap(), "page_size");
    }
}
