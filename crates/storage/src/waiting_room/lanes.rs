//! Whose turn it is, and how much may go: fair to projects, then to functions, within what is allowed.

use std::collections::HashMap;

use domain::name::{FunctionName, ProjectName};

use super::IsPaused;

/// A lane that is paused is looked at this often, should nobody tell that it goes on.
const PAUSED_LOOK_US: i64 = 15_000_000;

/// Where a rate limits a lane it is looked at when so much of a second's deliveries may go: one
/// look for each of thousands would cost more than it is worth. `lanes.opens_at_us` of `PostgreSQL`
/// says the same.
const GATHERED_SECONDS: f64 = 0.02;

/// A lane as both databases hold it: project, function, deliveries a second, burst, tokens, as of
/// when, closed until.
pub(crate) type StoredLane = (String, String, Option<f64>, i64, f64, i64, Option<i64>);

/// One lane's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) project: String,
    pub(crate) function: String,
    /// So many rows that were called may be taken: neither a pause nor a rate holds them up.
    pub(crate) called_max: i64,
    /// So many rows that are due may be taken.
    pub(crate) due_max: i64,
    now: i64,
    gate: Gate,
}

#[derive(Debug)]
enum Gate {
    Open,
    ShutUntil(i64),
    Paced {
        per_second: f64,
        burst: f64,
        tokens: f64,
    },
}

/// What is noted about a lane after its turn.
#[derive(Debug, PartialEq)]
pub(crate) struct Noted {
    pub(crate) tokens: f64,
    /// It need not be looked at before.
    pub(crate) not_before: i64,
}

/// Shares a round of `limit` rows out: to each project the same, and of that to each of its lanes.
/// What a lane leaves over goes to the next round, which follows at once.
pub(crate) fn turns(
    lanes: Vec<StoredLane>,
    now: i64,
    limit: u32,
    is_paused: &IsPaused,
) -> Vec<Turn> {
    let mut lanes_of: HashMap<String, i64> = HashMap::new();
    for (project, ..) in &lanes {
        *lanes_of.entry(project.clone()).or_default() += 1;
    }
    let projects = i64::try_from(lanes_of.len()).unwrap_or(i64::MAX).max(1);
    let of_project = (i64::from(limit) / projects).max(1);
    let turn = |lane: StoredLane| {
        let (project, function, per_second, burst, tokens, tokens_at, closed_until) = lane;
        let of_lane: i64 = lanes_of.get(&project).map_or(1, |lanes| of_project / lanes);
        let of_lane = of_lane.max(1);
        let gate = if paused(&project, &function, is_paused) {
            Gate::ShutUntil(now.saturating_add(PAUSED_LOOK_US))
        } else {
            gate(per_second, burst, (tokens, tokens_at), closed_until, now)
        };
        Turn {
            due_max: gate.room().min(of_lane),
            called_max: of_lane,
            project,
            function,
            now,
            gate,
        }
    };
    lanes.into_iter().map(turn).collect()
}

/// A name that cannot be read is nobody's to pause.
fn paused(project: &str, function: &str, is_paused: &IsPaused) -> bool {
    let project: Result<ProjectName, _> = project.parse();
    let function: Result<FunctionName, _> = function.parse();
    matches!((project, function), (Ok(project), Ok(function)) if is_paused(&project, &function))
}

fn gate(
    per_second: Option<f64>,
    burst: i64,
    (tokens, tokens_at): (f64, i64),
    closed_until: Option<i64>,
    now: i64,
) -> Gate {
    match (closed_until, per_second) {
        (Some(until), _) if until > now => Gate::ShutUntil(until),
        (_, None) => Gate::Open,
        (_, Some(per_second)) => {
            let burst = number(burst.max(1));
            let grown = tokens + seconds(now.saturating_sub(tokens_at).max(0)) * per_second;
            Gate::Paced {
                per_second,
                burst,
                tokens: grown.min(burst),
            }
        }
    }
}

impl Gate {
    fn room(&self) -> i64 {
        match self {
            Self::Open => i64::MAX,
            Self::ShutUntil(_) => 0,
            Self::Paced { tokens, .. } => whole(*tokens),
        }
    }
}

impl Turn {
    /// After so many rows that are due were taken.
    pub(crate) fn after(&self, taken: i64) -> Noted {
        let more_may_be_due = if taken >= self.due_max { self.now } else { 0 };
        match self.gate {
            Gate::Open => Noted {
                tokens: 1.0,
                not_before: more_may_be_due,
            },
            Gate::ShutUntil(until) => Noted {
                tokens: 1.0,
                not_before: until,
            },
            Gate::Paced {
                per_second,
                burst,
                tokens,
            } => {
                let tokens = tokens - number(taken);
                let gathered = (per_second * GATHERED_SECONDS).clamp(1.0, burst);
                let not_before = if tokens >= gathered {
                    more_may_be_due
                } else if per_second > 0.0 {
                    let wait = (gathered - tokens) / per_second;
                    self.now.saturating_add(whole(wait * 1e6).saturating_add(1))
                } else {
                    self.now.saturating_add(PAUSED_LOOK_US)
                };
                Noted { tokens, not_before }
            }
        }
    }
}

fn seconds(micros: i64) -> f64 {
    number(micros) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times within years, and counts of rows, are exact enough"
)]
const fn number(count: i64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and fractions are dropped on purpose"
)]
const fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn open(project: &str, function: &str) -> StoredLane {
        (
            project.to_owned(),
            function.to_owned(),
            None,
            1,
            0.0,
            0,
            None,
        )
    }

    fn quotas(lanes: Vec<StoredLane>, limit: u32) -> Vec<i64> {
        turns(lanes, 0, limit, &|_, _| false)
            .iter()
            .map(|turn| turn.due_max)
            .collect()
    }

    fn paced(per_second: f64, burst: i64, tokens: f64) -> StoredLane {
        let names = ("acme".to_owned(), "welcome".to_owned());
        (names.0, names.1, Some(per_second), burst, tokens, 0, None)
    }

    #[test]
    fn a_project_of_many_lanes_gets_no_more_than_one_of_a_single_lane() {
        let mut lanes: Vec<_> = (0..10).map(|n| open("crowd", &format!("f{n}x"))).collect();
        lanes.push(open("single", "alone"));
        let quotas = quotas(lanes, 100);
        assert_eq!(quotas.iter().take(10).sum::<i64>(), 50);
        assert_eq!(quotas.last(), Some(&50));
    }

    #[test]
    fn each_lane_may_take_at_least_one() {
        let lanes = (0..10).map(|n| open("acme", &format!("f{n}x"))).collect();
        assert_eq!(quotas(lanes, 3), [1; 10]);
    }

    #[test]
    fn tokens_grow_with_time_up_to_the_burst_and_the_next_look_is_when_some_are_there() {
        let turn = |lane, now| turns(vec![lane], now, 500, &|_, _| false).remove(0);
        let first = turn(paced(10.0, 4, 0.0), 200_000);
        assert_eq!(first.due_max, 2);
        let noted = first.after(2);
        assert!(noted.tokens.abs() < 1e-9);
        assert_eq!(noted.not_before, 300_001);
        assert_eq!(turn(paced(10.0, 4, 0.0), 60 * SECOND).due_max, 4);
        let slow = turn(paced(10.0, 4, 0.5), 0);
        assert_eq!(slow.due_max, 0);
        assert_eq!(slow.after(0).not_before, 50_001);
        assert_eq!(turn(paced(0.0, 1, 0.0), SECOND).due_max, 0);
    }

    #[test]
    fn what_is_closed_or_paused_lets_nothing_out_but_what_was_called() {
        let mut closed = open("acme", "welcome");
        closed.6 = Some(SECOND);
        let shut = turns(vec![closed], 0, 500, &|_, _| false).remove(0);
        assert_eq!((shut.due_max, shut.called_max), (0, 500));
        assert_eq!(shut.after(0).not_before, SECOND);
        let paused = turns(vec![open("acme", "welcome")], 0, 500, &|_, _| true).remove(0);
        assert_eq!((paused.due_max, paused.called_max), (0, 500));
        assert_eq!(paused.after(0).not_before, PAUSED_LOOK_US);
    }

    #[test]
    fn a_lane_that_used_up_its_turn_goes_behind_the_others() {
        let turn = turns(vec![open("acme", "welcome")], 7, 5, &|_, _| false).remove(0);
        assert_eq!(turn.after(5).not_before, 7);
        assert_eq!(turn.after(4).not_before, 0);
    }
}
