//! The rules together: what one endpoint bears after what it answered.

use jiff::Timestamp;

use super::*;

const CEILING: u32 = 100;
const MS: Duration = Duration::from_millis(1);

fn ended(status: u16) -> Exchange {
    Exchange {
        reaction: Reaction::of(&Outcome::Answered { status }),
        took: MS,
        rest: None,
        is_probe: false,
    }
}

#[test]
fn what_an_outcome_says_about_the_endpoint() {
    let answered = |status| Reaction::of(&Outcome::Answered { status });
    let unreachable = |class| {
        Reaction::of(&Outcome::Unreachable {
            class,
            message: String::new(),
        })
    };
    for status in [200, 204, 302, 400, 404, 410, 422] {
        assert_eq!(answered(status), Reaction::Answered);
    }
    assert_eq!(answered(429), Reaction::Refused);
    assert_eq!(answered(503), Reaction::Overloaded);
    assert_eq!(unreachable(ErrorClass::Timeout), Reaction::Overloaded);
    assert_eq!(answered(500), Reaction::Failed);
    assert_eq!(unreachable(ErrorClass::Connect), Reaction::Failed);
}

#[test]
fn a_request_starts_until_the_limit_is_reached() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let first = Start::Now { is_probe: false };
    assert_eq!(pace.may_start(0, CEILING, now), first);
    assert_eq!(
        pace.may_start(concurrency::INITIAL, CEILING, now),
        Start::AtLimit
    );
    assert_eq!(
        pace.may_start(1, 1, now),
        Start::AtLimit,
        "the ceiling counts"
    );
}

#[test]
fn an_endpoint_that_asks_for_a_rest_gets_it() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let rest = Exchange {
        rest: Some(MS * 5_000),
        ..ended(503)
    };
    pace.ended(&rest, 1, CEILING, now);
    let until = now + MS * 5_000;
    assert_eq!(pace.may_start(0, CEILING, now), Start::TooFast { until });
    assert_eq!(pace.closed_until(now), Some(until));
    assert_eq!(
        pace.may_start(0, CEILING, until),
        Start::Now { is_probe: false }
    );
    let for_ever = Exchange {
        rest: Some(Duration::from_hours(24)),
        ..ended(429)
    };
    pace.ended(&for_ever, 1, CEILING, until);
    assert_eq!(
        pace.closed_until(until),
        Some(until + REST_MAX),
        "within limits"
    );
}

#[test]
fn a_broken_endpoint_is_probed_and_closes_again() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    for _ in 0..10 {
        pace.ended(&ended(500), 1, CEILING, now);
    }
    let Start::Broken { until: Some(until) } = pace.may_start(0, CEILING, now) else {
        panic!("the breaker should be open");
    };
    assert_eq!(
        pace.may_start(0, CEILING, until),
        Start::Now { is_probe: true }
    );
    pace.started(true, until);
    assert_eq!(
        pace.may_start(0, CEILING, until),
        Start::Broken { until: None }
    );
    let probe = Exchange {
        is_probe: true,
        ..ended(200)
    };
    pace.ended(&probe, 1, CEILING, until);
    assert_eq!(
        pace.may_start(0, CEILING, until),
        Start::Now { is_probe: false }
    );
}

#[test]
fn what_it_bears_is_the_lowest_of_what_is_known() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    assert_eq!(pace.per_second(CEILING, now), None);
    pace.ended(
        &Exchange {
            took: MS * 100,
            ..ended(200)
        },
        1,
        CEILING,
        now,
    );
    let by_concurrency = pace.per_second(CEILING, now).unwrap();
    assert!((by_concurrency - 100.0).abs() < 1.0, "{by_concurrency}");
    pace.rate = LearnedRate::with(20.0, now);
    assert_eq!(pace.per_second(CEILING, now), Some(20.0));
}

#[test]
fn what_was_learned_reads_back_and_goes_on() {
    let (now, time) = (Instant::now(), Timestamp::UNIX_EPOCH);
    let mut pace = Pace::resume(
        &"concurrency=37 rate=180.5 opened=2 until=4000"
            .parse()
            .unwrap(),
        now,
        time,
    );
    let learned = pace.learned(now, time);
    assert_eq!(
        learned.to_string(),
        "concurrency=37 rate=180.5 opened=2 until=4000"
    );
    assert_eq!(pace.concurrency.limit(CEILING), 37);
    assert_eq!(
        pace.may_start(0, CEILING, now),
        Start::Broken {
            until: Some(now + MS * 4_000)
        }
    );
    for wrong in [
        "",
        "concurrency",
        "concurrency=x",
        "concurrency=-1",
        "rate=5",
        "concurrency=1 until=x",
    ] {
        assert!(wrong.parse::<Learned>().is_err(), "{wrong:?}");
    }
    let busy: Learned = "concurrency=5 later=x busy=3 busy-until=7".parse().unwrap();
    let seventh = Timestamp::from_millisecond(7).unwrap();
    assert_eq!(busy.busy, Some((3, seventh)));
    assert_eq!(busy.to_string(), "concurrency=5 busy=3 busy-until=7");
}
