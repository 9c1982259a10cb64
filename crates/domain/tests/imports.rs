//! Whatever a file holds, its reader says what it comes to: no panic, no hang, no flood of findings.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use domain::import::{FILE_BYTES_MAX, Kind, Target, read};
use domain::schedule::{Cron, Dialect};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// What files are made of, so that chance gets past the first brace.
const PIECES: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u",
    "\n",
    " ",
    "/*",
    "*/",
    "//",
    "null",
    "true",
    "-1.5e9",
    "\"kiicloud://users\"",
    "\"kiicloud://buckets/b\"",
    "\"kiicloud://scheduler\"",
    "\"when\"",
    "\"USER_CREATED\"",
    "\"what\"",
    "\"EXECUTE_SERVER_CODE\"",
    "\"endpoint\"",
    "\"main\"",
    "\"cron\"",
    "\"0/10 * * * MON-FRI\"",
    "\"parameters\"",
    "\"id\"",
    "\"type\"",
    "\"url\"",
    "\"http://a/\"",
    "\"filter\"",
    "\"rule\"",
    "\"match\"",
    "\"clauses\"",
    "\"f1\"",
    "\"args.data.x\"",
    "\"name\"",
    "\"db.get.queued\"",
    "storage.b.create:",
    "- p.f",
    "é日",
];

fn target(is_lenient: bool) -> Target {
    Target {
        project: "acme".parse().unwrap(),
        package: "shop".parse().unwrap(),
        functions: [("shop/main".to_owned(), "shop/main".parse().unwrap())].into(),
        renamed: std::collections::BTreeMap::new(),
        is_lenient,
        now: domain::Timestamp::UNIX_EPOCH,
    }
}

fn check(file: &[u8]) {
    for kind in Kind::ALL {
        for is_lenient in [false, true] {
            let reading = read(kind, file, &target(is_lenient));
            assert!(reading.findings.len() <= 1_001);
            if reading.has_errors() {
                assert_eq!(reading.plan, domain::import::Plan::default());
            }
            for finding in &reading.findings {
                assert!(finding.line >= 1 && finding.column >= 1);
            }
        }
    }
}

proptest! {
    // A fixed budget: the same number of cases wherever it runs.
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_are_read_to_the_end(file in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&file);
    }

    #[test]
    fn any_file_of_likely_pieces_is_read_to_the_end(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..60),
    ) {
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn any_cron_expression_is_understood_or_refused(
        text in "[0-9*/,\\-LW#? A-Z]{0,30}",
        fields in proptest::collection::vec("[0-9*?LW#/,-]{1,4}", 5..7),
    ) {
        for dialect in Dialect::ALL {
            for text in [&text, &fields.join(" ")] {
                if let Ok(cron) = Cron::parse(text, dialect) {
                    let utc = jiff_utc();
                    let next = cron.next_after(domain::Timestamp::UNIX_EPOCH, &utc);
                    prop_assert!(next.is_none_or(|next| next > domain::Timestamp::UNIX_EPOCH));
                }
            }
        }
    }
}

fn jiff_utc() -> domain::schedule::TimeZone {
    domain::schedule::TimeZone::UTC
}

#[test]
fn nesting_and_size_have_no_effect_on_the_stack() {
    for (open, close) in [
        ("[", "]"),
        ("{\"a\":", "}"),
        ("{\"rule\":\"and\",\"clauses\":[", "]}"),
    ] {
        let depth = 30_000;
        let file = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        check(file.as_bytes());
    }
    check(&vec![b'['; FILE_BYTES_MAX]);
    check(" ".repeat(FILE_BYTES_MAX).as_bytes());
    check("\"".repeat(FILE_BYTES_MAX / 2).as_bytes());
    check("[1],\n".repeat(FILE_BYTES_MAX / 5).as_bytes());
    check(format!("[{}1]", "1,".repeat(FILE_BYTES_MAX / 3)).as_bytes());
}
