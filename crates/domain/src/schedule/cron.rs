//! Cron expressions, in the dialects of the systems that write them.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// An expression may have so many bytes, as at Yandex Cloud.
const CRON_BYTES_MAX: usize = 100;

/// Whose rules an expression follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Five fields: minute, hour, day, month, weekday (0 or 7 is Sunday); also names, `L`, `W`,
    /// `#` and `?`. Where day and weekday are both limited, either is enough.
    #[default]
    Cron,
    /// Kii's: five fields with `* - / ,` and names, in UTC.
    Kii,
    /// Yandex Cloud's: six fields, the last one the year; weekday 1 is Sunday; `?` for day or
    /// weekday; `L`, `W` and `#`; in UTC.
    Yandex,
}

impl Dialect {
    pub const ALL: [Self; 3] = [Self::Cron, Self::Kii, Self::Yandex];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Kii => "kii",
            Self::Yandex => "yandex",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.as_str() == text)
    }

    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Cron | Self::Kii => &["minute", "hour", "day", "month", "weekday"],
            Self::Yandex => &["minute", "hour", "day", "month", "weekday", "year"],
        }
    }
}

/// A cron expression that was understood. Cheap to clone beside its text.
#[derive(Clone)]
pub struct Cron {
    text: String,
    dialect: Dialect,
    pattern: croner::Cron,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("it has more than {CRON_BYTES_MAX} bytes")]
    TooLong,
    #[error("it has {found} fields and not {}: {}{hint}", .fields.len(), .fields.join(", "))]
    Fields {
        found: usize,
        fields: &'static [&'static str],
        hint: &'static str,
    },
    #[error("the field {field} is {text:?}: {reason}")]
    Field {
        field: &'static str,
        text: String,
        reason: &'static str,
    },
    #[error("one of day and weekday is \"?\", and only one")]
    QuestionMark,
    #[error("{0}")]
    Unreadable(String),
    #[error("it never comes")]
    Never,
}

impl Cron {
    /// Understands an expression.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, CronError> {
        if text.len() > CRON_BYTES_MAX {
            return Err(CronError::TooLong);
        }
        let fields: Vec<String> = text
            .split_whitespace()
            .map(str::to_ascii_uppercase)
            .collect();
        let names = dialect.fields();
        if fields.len() != names.len() {
            let hint = match (dialect, fields.len()) {
                (Dialect::Kii | Dialect::Cron, 6 | 7) => "; seconds and years are not written here",
                (Dialect::Yandex, 5) => "; the year is missing, \"*\" for every one",
                _ => "",
            };
            return Err(CronError::Fields {
                found: fields.len(),
                fields: names,
                hint,
            });
        }
        for (name, field) in names.iter().zip(&fields) {
            check_field(dialect, name, field)?;
        }
        if dialect == Dialect::Yandex {
            let marks = fields.iter().filter(|field| *field == "?").count();
            if marks != 1 {
                return Err(CronError::QuestionMark);
            }
        }
        let year = match dialect {
            Dialect::Cron | Dialect::Kii => Year::Disallowed,
            Dialect::Yandex => Year::Required,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Required)
            .year(year)
            .alternative_weekdays(dialect == Dialect::Yandex)
            // `0/10` means from 0 on, every tenth.
            .sloppy_ranges(true)
            .build();
        // At its full minute.
        let full = format!("0 {}", fields.join(" "));
        let pattern = parser
            .parse(&full)
            .map_err(|error| CronError::Unreadable(error.to_string()))?;
        let cron = Self {
            text: text.to_owned(),
            dialect,
            pattern,
        };
        // A year that has gone by is no mistake of the expression's.
        if dialect != Dialect::Yandex
            && cron
                .next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC)
                .is_none()
        {
            return Err(CronError::Never);
        }
        Ok(cron)
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The first strike after a time; `None` when there is none.
    pub fn next_after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let from = Zoned::new(time, zone.clone());
        let next = self.pattern.find_next_occurrence(&from, false).ok()?;
        Some(next.timestamp()).filter(|next| *next > time)
    }

    /// The last strike at or before a time; `None` when there is none.
    pub fn last_before(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let from = Zoned::new(time, zone.clone());
        let last = self.pattern.find_previous_occurrence(&from, true).ok()?;
        Some(last.timestamp()).filter(|last| *last <= time)
    }
}

/// What the library would pass over in silence or read by other rules.
fn check_field(dialect: Dialect, name: &'static str, field: &str) -> Result<(), CronError> {
    let fault = |reason| {
        Err(CronError::Field {
            field: name,
            text: field.to_owned(),
            reason,
        })
    };
    if field
        .split(',')
        .any(|item| item.is_empty() || item.starts_with('/'))
    {
        return fault("an item of the list is empty");
    }
    let is_day = matches!(name, "day" | "weekday");
    let has_special = field.contains(['#', '?', '+', '@'])
        || field.ends_with('L')
        || (name == "day" && field.contains(['L', 'W']));
    if has_special {
        let is_special_here = is_day && dialect != Dialect::Kii;
        if !is_special_here || field.contains(['+', '@']) {
            return fault("this sign is not known here");
        }
        if field.contains('?') && field != "?" {
            return fault("\"?\" stands alone");
        }
    }
    if name == "weekday" && dialect == Dialect::Yandex {
        // Behind a `/` and a `#` stand other numbers than days.
        let days = field.split([',', '-']).filter_map(|item| {
            let day = item.split(['/', '#', 'L']).next().unwrap_or_default();
            day.parse::<u32>().ok()
        });
        if days.into_iter().any(|day| !(1..=7).contains(&day)) {
            return fault("weekdays are 1 (Sunday) to 7 (Saturday) or SUN to SAT");
        }
    }
    Ok(())
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.dialect == other.dialect
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} ({})", self.text, self.dialect.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(text: &str, dialect: Dialect, from: &str, zone: &TimeZone) -> Vec<String> {
        let cron = Cron::parse(text, dialect).unwrap();
        let mut time: Timestamp = from.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..4 {
            let Some(next) = cron.next_after(time, zone) else {
                break;
            };
            found.push(next.to_string());
            time = next;
        }
        found
    }

    #[test]
    fn s3_26_five_fields_in_utc_with_steps_from_a_start_and_names() {
        let utc = TimeZone::UTC;
        let tens = strikes("0/10 * * * *", Dialect::Kii, "2026-11-26T10:35:00Z", &utc);
        assert_eq!(
            tens,
            [
                "2026-11-26T10:40:00Z",
                "2026-11-26T10:50:00Z",
                "2026-11-26T11:00:00Z",
                "2026-11-26T11:10:00Z"
            ]
        );
        let minutes: Vec<i8> = strikes("0/10 * * * *", Dialect::Kii, "2026-11-26T10:59:00Z", &utc)
            .iter()
            .map(|text| {
                text.parse::<Timestamp>()
                    .unwrap()
                    .to_zoned(utc.clone())
                    .minute()
            })
            .collect();
        assert_eq!(minutes, [0, 10, 20, 30]);
        // A Thursday: Friday, then over the weekend.
        let weekdays = strikes(
            "0 5 * * MON-FRI",
            Dialect::Kii,
            "2026-11-26T06:00:00Z",
            &utc,
        );
        assert_eq!(
            weekdays,
            [
                "2026-11-27T05:00:00Z",
                "2026-11-30T05:00:00Z",
                "2026-12-01T05:00:00Z",
                "2026-12-02T05:00:00Z"
            ]
        );
    }

    #[test]
    fn what_is_no_expression_of_a_dialect_is_refused_with_the_reason() {
        let reason = |text: &str, dialect| Cron::parse(text, dialect).unwrap_err().to_string();
        assert!(reason("0 0 * * * *", Dialect::Kii).contains("seconds"));
        assert!(reason("0 0 0 * * ? *", Dialect::Kii).contains("not 5"));
        assert!(reason("0 0 * *", Dialect::Kii).contains("4 fields"));
        assert!(reason("60 * * * *", Dialect::Kii).len() > 10);
        assert!(reason("1,,2 * * * *", Dialect::Kii).contains("empty"));
        assert!(reason("0 0 L * *", Dialect::Kii).contains("not known here"));
        assert!(reason("0 0 ? * *", Dialect::Kii).contains("not known here"));
        assert_eq!(reason("0 0 30 2 *", Dialect::Kii), "it never comes");
        assert!(reason("@daily", Dialect::Cron).contains("1 fields"));
        assert!(reason("0 0 * * * *", Dialect::Yandex).contains('?'));
        assert!(reason("0 0 ? * ? *", Dialect::Yandex).contains('?'));
        assert!(reason("0 0 ? * 0 *", Dialect::Yandex).contains("Sunday"));
        assert!(reason("0 0 ? * 8 *", Dialect::Yandex).contains("Sunday"));
        assert!(reason("0 0 ? * SUN", Dialect::Yandex).contains("year"));
        assert!(reason(&"1,".repeat(60), Dialect::Cron).contains("bytes"));
    }

    #[test]
    fn s4_34_six_fields_with_a_year_and_one_is_sunday() {
        let utc = TimeZone::UTC;
        let sundays = strikes(
            "0 12 ? * 1 *",
            Dialect::Yandex,
            "2026-11-26T00:00:00Z",
            &utc,
        );
        assert_eq!(sundays.first().unwrap(), "2026-11-29T12:00:00Z");
        let named = strikes(
            "0 12 ? * SUN *",
            Dialect::Yandex,
            "2026-11-26T00:00:00Z",
            &utc,
        );
        assert_eq!(named, sundays);
        let saturdays = strikes(
            "0 12 ? * 7 *",
            Dialect::Yandex,
            "2026-11-26T00:00:00Z",
            &utc,
        );
        assert_eq!(saturdays.first().unwrap(), "2026-11-28T12:00:00Z");
        let last_days = strikes(
            "0 0 L * ? 2027",
            Dialect::Yandex,
            "2026-11-26T00:00:00Z",
            &utc,
        );
        assert_eq!(last_days.first().unwrap(), "2027-01-31T00:00:00Z");
        let second_mondays = strikes(
            "0 0 ? * 2#2 *",
            Dialect::Yandex,
            "2026-11-26T00:00:00Z",
            &utc,
        );
        assert_eq!(second_mondays.first().unwrap(), "2026-12-14T00:00:00Z");
        let last_fridays = strikes(
            "0 0 ? * 6L *",
            Dialect::Yandex,
            "2026-11-26T00:00:00Z",
            &utc,
        );
        assert_eq!(last_fridays.first().unwrap(), "2026-11-27T00:00:00Z");
        // The 15th of August 2026 is a Saturday.
        let nearest = strikes(
            "0 0 15W 8 ? *",
            Dialect::Yandex,
            "2026-07-26T00:00:00Z",
            &utc,
        );
        assert_eq!(nearest.first().unwrap(), "2026-08-14T00:00:00Z");
        assert_eq!(
            strikes(
                "0 0 1 1 ? 2020",
                Dialect::Yandex,
                "2026-11-26T00:00:00Z",
                &utc
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_zone_moves_the_strikes_and_a_missing_hour_loses_none() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let nightly = strikes("30 2 * * *", Dialect::Cron, "2026-03-28T00:00:00Z", &berlin);
        // On the 29th there is no half past two.
        assert_eq!(nightly.first().unwrap(), "2026-03-28T01:30:00Z");
        assert!(
            nightly.iter().any(|at| at.starts_with("2026-03-29")),
            "{nightly:?}"
        );
        assert!(
            nightly.contains(&"2026-03-30T00:30:00Z".to_owned()),
            "{nightly:?}"
        );
    }

    #[test]
    fn the_last_strike_is_found_backwards() {
        let cron = Cron::parse("0 3 * * *", Dialect::Cron).unwrap();
        let last = |time: &str| {
            cron.last_before(time.parse().unwrap(), &TimeZone::UTC)
                .unwrap()
                .to_string()
        };
        assert_eq!(last("2026-11-26T02:59:59Z"), "2026-11-25T03:00:00Z");
        assert_eq!(last("2026-11-26T03:00:00Z"), "2026-11-26T03:00:00Z");
    }
}
