//! Waits, limits and what an endpoint may ask for.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn by_default_three_retries_five_seconds_apart() {
    let policy = RetryPolicy::default();
    let waits: Vec<_> = (1..=4)
        .map(|attempt| policy.wait_after(attempt, 0.3))
        .collect();
    assert_eq!(
        waits,
        [Some(SECOND * 5), Some(SECOND * 5), Some(SECOND * 5), None]
    );
    assert_eq!(policy.check(), Ok(()));
}

#[test]
fn exponential_waits_double_up_to_the_cap() {
    let policy = RetryPolicy {
        retries_max: 5,
        interval: SECOND,
        interval_max: SECOND * 6,
        backoff: Backoff::Exponential,
        ..RetryPolicy::default()
    };
    let waits: Vec<_> = (1..=5).filter_map(|n| policy.wait_after(n, 0.5)).collect();
    assert_eq!(
        waits,
        [SECOND, SECOND * 2, SECOND * 4, SECOND * 6, SECOND * 6]
    );
    assert_eq!(policy.wait_after(u32::MAX, 0.5), None);
}

#[test]
fn jitter_spreads_to_both_sides() {
    let policy = RetryPolicy {
        jitter: 0.5,
        ..RetryPolicy::default()
    };
    assert_eq!(policy.wait_after(1, 0.0), Some(Duration::from_millis(2500)));
    assert_eq!(policy.wait_after(1, 1.0), Some(Duration::from_millis(7500)));
}

#[test]
fn no_retries_is_expressible() {
    let policy = RetryPolicy {
        retries_max: 0,
        ..RetryPolicy::default()
    };
    assert_eq!(policy.wait_after(1, 0.5), None);
    assert_eq!(policy.check(), Ok(()));
}

#[test]
fn a_policy_outside_its_limits_names_the_field() {
    let field = |policy: RetryPolicy| policy.check().unwrap_err().field;
    let base = RetryPolicy::default;
    assert_eq!(
        field(RetryPolicy {
            retries_max: 101,
            ..base()
        }),
        "retries"
    );
    assert_eq!(
        field(RetryPolicy {
            interval: Duration::ZERO,
            ..base()
        }),
        "interval"
    );
    assert_eq!(
        field(RetryPolicy {
            interval_max: SECOND,
            ..base()
        }),
        "interval_max"
    );
    assert_eq!(
        field(RetryPolicy {
            jitter: f64::NAN,
            ..base()
        }),
        "jitter"
    );
    assert_eq!(
        field(RetryPolicy {
            timeout: SECOND * 301,
            ..base()
        }),
        "timeout"
    );
    let endless = RetryPolicy {
        retries_max: 100,
        interval: Duration::from_hours(2),
        interval_max: Duration::from_hours(2),
        ..base()
    };
    assert_eq!(field(endless), "retries");
}

#[test]
fn listed_waits_come_one_after_the_other_and_the_last_repeats() {
    let policy = RetryPolicy {
        retries_max: 4,
        backoff: Backoff::Listed,
        waits: vec![SECOND, SECOND * 30, SECOND * 300],
        ..RetryPolicy::default()
    };
    let waits: Vec<_> = (1..=5).filter_map(|n| policy.wait_after(n, 0.5)).collect();
    assert_eq!(waits, [SECOND, SECOND * 30, SECOND * 300, SECOND * 300]);
    assert_eq!(policy.check(), Ok(()));
}

#[test]
fn what_was_added_has_limits_too() {
    let field = |policy: RetryPolicy| policy.check().unwrap_err().field;
    let base = RetryPolicy::default;
    let listed = |waits: Vec<Duration>| RetryPolicy {
        backoff: Backoff::Listed,
        waits,
        ..base()
    };
    assert_eq!(field(listed(Vec::new())), "waits");
    assert_eq!(field(listed(vec![SECOND; 101])), "waits");
    assert_eq!(field(listed(vec![SECOND, Duration::ZERO])), "waits");
    let waits = vec![SECOND];
    assert_eq!(field(RetryPolicy { waits, ..base() }), "waits");
    for total_max in [Duration::ZERO, TOTAL_MAX + SECOND] {
        assert_eq!(
            field(RetryPolicy {
                total_max,
                ..base()
            }),
            "total_max"
        );
    }
    let retry_after_max = DAY + SECOND;
    assert_eq!(
        field(RetryPolicy {
            retry_after_max,
            ..base()
        }),
        "retry_after_max"
    );
    let connect_timeout = Some(SECOND * 6);
    assert_eq!(
        field(RetryPolicy {
            connect_timeout,
            ..base()
        }),
        "connect_timeout"
    );
    let first_byte_timeout = Some(Duration::from_millis(9));
    assert_eq!(
        field(RetryPolicy {
            first_byte_timeout,
            ..base()
        }),
        "first_byte_timeout"
    );
}

#[test]
fn an_endpoint_asks_for_a_rest_in_seconds_or_until_a_time() {
    let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
    assert_eq!(retry_after(" 120 ", now), Some(SECOND * 120));
    assert_eq!(
        retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now),
        Some(SECOND * 7)
    );
    let passed = "Sun, 06 Nov 1994 08:49:07 GMT";
    assert_eq!(retry_after(passed, now), Some(Duration::ZERO));
    for nothing in ["", "soon", "-3", "1.5"] {
        assert_eq!(retry_after(nothing, now), None, "{nothing:?}");
    }
}
