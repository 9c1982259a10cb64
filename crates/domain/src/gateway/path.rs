//! Paths of calls through the gateway: which are understood by everybody alike, and where they lead.

use url::Url;

use crate::pattern::decode;

/// Why a path is not passed on. Whoever serves it might read it as another one than the scripts that
/// guard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    #[error("a segment of the path is '.' or '..'")]
    Dots,
    #[error("a segment of the path is empty")]
    EmptySegment,
    #[error("the path holds a backslash, a control character or an escaped '/'")]
    Ambiguous,
}

/// Checks what follows the service's name, percent-encoded, without a `/` in front.
///
/// # Errors
/// Different programs would take the path for different ones.
pub fn check_path(path: &str) -> Result<(), PathFault> {
    let inner = path.strip_suffix('/').unwrap_or(path);
    if inner.is_empty() && !path.is_empty() {
        return Err(PathFault::EmptySegment);
    }
    for segment in inner.split('/').filter(|_| !inner.is_empty()) {
        if segment.is_empty() {
            return Err(PathFault::EmptySegment);
        }
        let mut decoded = decode(segment);
        // Twice: some servers decode what they have decoded.
        for _ in 0..2 {
            if matches!(&*decoded, "." | "..") {
                return Err(PathFault::Dots);
            }
            if decoded.contains(['/', '\\']) || decoded.chars().any(char::is_control) {
                return Err(PathFault::Ambiguous);
            }
            decoded = decode(&decoded).into_owned().into();
        }
    }
    Ok(())
}

/// Where a call leads: the path behind the base URL's own, and the query as it is.
pub fn target(base: &Url, path: &str, query: Option<&str>) -> String {
    let mut target = base.as_str().trim_end_matches('/').to_owned();
    // A base without a path of its own is called at its root.
    if !path.is_empty() || base.path() == "/" || base.path().ends_with('/') {
        target.push('/');
    }
    target.push_str(path);
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        target.push('?');
        target.push_str(query);
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_somebody_might_read_otherwise_are_refused() {
        for (path, fault) in [
            ("", None),
            ("_table/contact", None),
            ("docs/2026.old/", None),
            ("a%20b/c.txt", None),
            ("../secret", Some(PathFault::Dots)),
            ("a/%2e%2E/b", Some(PathFault::Dots)),
            ("a/%252e%252e/b", Some(PathFault::Dots)),
            ("./a", Some(PathFault::Dots)),
            ("a//b", Some(PathFault::EmptySegment)),
            ("/a", Some(PathFault::EmptySegment)),
            ("/", Some(PathFault::EmptySegment)),
            ("_table%2Fcontact", Some(PathFault::Ambiguous)),
            ("_table%252Fcontact", Some(PathFault::Ambiguous)),
            ("a%5Cb", Some(PathFault::Ambiguous)),
            ("a\\b", Some(PathFault::Ambiguous)),
            ("a%00", Some(PathFault::Ambiguous)),
        ] {
            assert_eq!(check_path(path).err(), fault, "{path:?}");
        }
    }

    #[test]
    fn a_call_leads_below_the_base() {
        for (base, path, query, target_url) in [
            ("http://s.example", "", None, "http://s.example/"),
            ("http://s.example/v1", "", None, "http://s.example/v1"),
            (
                "http://s.example/v1/",
                "a/b",
                None,
                "http://s.example/v1/a/b",
            ),
            (
                "http://s.example/v1",
                "docs/",
                Some("x=%20&y"),
                "http://s.example/v1/docs/?x=%20&y",
            ),
            (
                "http://s.example/v1",
                "a",
                Some(""),
                "http://s.example/v1/a",
            ),
        ] {
            let base: Url = base.parse().unwrap();
            assert_eq!(target(&base, path, query), target_url);
        }
    }
}
