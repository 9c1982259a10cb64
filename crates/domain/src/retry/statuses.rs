//! A set of HTTP statuses, as people write it: `400-404,410`.

use std::fmt;
use std::str::FromStr;

/// More ranges than this say nothing that fewer would not.
const RANGES_MAX: usize = 32;

/// Statuses from 300 to 599, as ranges. Those below are no failures, or no answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

/// Why a text is no set of statuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status from 300 to 599 or a range of them")]
pub struct StatusError(pub String);

impl Statuses {
    pub fn contains(&self, status: u16) -> bool {
        let ranges = self.0.iter();
        ranges
            .clone()
            .any(|(first, last)| (*first..=*last).contains(&status))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Statuses {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let parts = text.split(',').map(str::trim);
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        if parts.len() > RANGES_MAX {
            return Err(StatusError(format!("{} ranges", parts.len())));
        }
        let ranges = parts.into_iter().map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse(), last.trim().parse()) {
                (Ok(first), Ok(last)) if 300 <= first && first <= last && last <= 599 => {
                    Ok((first, last))
                }
                _ => Err(StatusError(part.to_owned())),
            }
        });
        ranges.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            if place > 0 {
                formatter.write_str(",")?;
            }
            if first == last {
                write!(formatter, "{first}")?;
            } else {
                write!(formatter, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_ranges_are_read_and_written() {
        let statuses: Statuses = " 400-404, 410 ".parse().unwrap();
        for status in [400, 402, 404, 410] {
            assert!(statuses.contains(status), "{status}");
        }
        for status in [200, 399, 405, 409, 411, 500] {
            assert!(!statuses.contains(status), "{status}");
        }
        assert_eq!(statuses.to_string(), "400-404,410");
        assert_eq!("".parse(), Ok(Statuses::default()));
    }

    #[test]
    fn what_is_no_failure_or_no_status_is_refused() {
        for text in [
            "200", "99", "600", "404-400", "4xx", "-", "299-400", "400--404",
        ] {
            assert!(text.parse::<Statuses>().is_err(), "{text}");
        }
        let many = vec!["400"; 33].join(",");
        assert!(many.parse::<Statuses>().is_err());
    }
}
