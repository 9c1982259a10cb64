//! What waits: many deliveries for a time to come, and the backlog of an endpoint that was down.

mod report;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use protocol::events::v1::{EmitEventsRequest, NewEvent};
use protocol::functions::v1::{CreateTriggerRequest, RetryPolicy, Trigger};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::report::{Drained, Lateness, WaitingReport};
use super::door::{Door, Emission};
use super::functions::{Group, TemporaryFunctions};
use super::interrupt::Interrupt;
use super::ledger::{Latency, Ledger};
use super::measure::{Target, random_name};
use super::pace::Pace;
use super::processes::{self, Meter};
use super::progress::Progress;
use super::receivers::{Behaviour, Receivers};
use super::sample::Sample;
use super::told::Told;
use crate::failure::Failure;

const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const EVENTS_IN_A_CALL: usize = 100;
/// Where the rate is given, so many calls a second keep it even.
const CALLS_PER_SECOND: f64 = 50.0;
const CALLS_AT_ONCE: usize = 8;

/// Times to come begin so late that all events are in before.
const TAKEN_PER_SECOND_MIN: u64 = 1_500;
const LEAD_MIN: Duration = Duration::from_secs(5);

/// What the endpoint bears that comes back, and how many keys its backlog has.
const BEARS_PER_SECOND: f64 = 200.0;
const KEYS: usize = 1_000;

/// How fast a backlog grows. As fast as events are taken, everybody would wait behind them at the
/// door and in the handler, whatever became of them afterwards.
const GROWS_PER_SECOND: f64 = 500.0;

/// How fast the healthy function beside it is called.
const HEALTHY_PER_SECOND: f64 = 100.0;

/// What is made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// `--events` deliveries, each for a time of its own within `--seconds`.
    Scheduled,
    /// `--events` deliveries for an endpoint that is down, and then bears 200 a second.
    Backlog,
}

impl Waiting {
    pub(crate) const ALL: [Self; 2] = [Self::Scheduled, Self::Backlog];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Backlog => "backlog",
        }
    }
}

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) waiting: Waiting,
    pub(crate) events: usize,
    /// How fast a backlog grows, in events a second.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: u32,
    pub(crate) payload_bytes: usize,
    pub(crate) concurrency: usize,
    /// What has not arrived is lost when nothing has arrived for this long.
    pub(crate) silence_max: Duration,
}

/// Does a run; what was made for it is gone afterwards, also when it is interrupted.
pub(crate) async fn run(
    run: &Run,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<WaitingReport, Failure> {
    processes::check(&target.processes)?;
    let mut functions = TemporaryFunctions::new(&target.connection)?;
    let scene = Scene {
        run,
        target,
        name: random_name(),
    };
    let meter = Meter::start(&target.processes)?;
    let work = async {
        match run.waiting {
            Waiting::Scheduled => Ok((Some(scene.scheduled(&mut functions).await?), Vec::new())),
            Waiting::Backlog => Ok((None, scene.backlog(&mut functions).await?)),
        }
    };
    let played: Result<_, Failure> = interrupt.or(Box::pin(work)).await;
    functions.delete().await;
    let (lateness, drained) = played?;
    Ok(WaitingReport::new(
        &target.name,
        run.waiting.name(),
        lateness,
        drained,
        meter.finish()?,
    ))
}

struct Scene<'a> {
    run: &'a Run,
    target: &'a Target,
    name: String,
}

impl Scene<'_> {
    async fn scheduled(&self, functions: &mut TemporaryFunctions) -> Result<Lateness, Failure> {
        let receivers = Receivers::start(self.target.receive_on, 1, Behaviour::Answers)?;
        let event_type = format!("bench.{}.scheduled", self.name);
        let name = format!("{}-scheduled", self.name);
        let group = self.group(&name, &receivers, None);
        functions
            .create(&group, |_function| event_type.clone())
            .await?;
        let sample = Sample::new(&event_type, self.run.payload_bytes);
        self.wait_for_first_call(&receivers, &sample).await?;

        let ledger = self.ledger("due", self.run.events)?;
        receivers.desk().open(&ledger);
        let events = u64::try_from(self.run.events).unwrap_or(u64::MAX).max(1);
        let lead = LEAD_MIN + Duration::from_secs(events / TAKEN_PER_SECOND_MIN);
        let (begun, begun_at) = (Instant::now(), SystemTime::now());
        let window = Duration::from_secs(u64::from(self.run.seconds));
        let due_after = |event: usize| {
            let share = u64::try_from(event).unwrap_or(u64::MAX) as f64 / events as f64;
            lead + window.mul_f64(share)
        };
        self.emit(&ledger, None, |event| {
            ledger.begin(event, ledger.at_us(begun + due_after(event)));
            NewEvent {
                deliver_at: Some((begun_at + due_after(event)).into()),
                ..sample.message(ledger.tag(), event)
            }
        })
        .await?;
        let taken_in = begun.elapsed();
        if taken_in > lead {
            return Err(Failure::local(format!(
                "taking the events in took {taken_in:.1?}, longer than the {lead:?} until the first is due: \
                 give fewer --events"
            )));
        }
        sleep((lead + window).saturating_sub(begun.elapsed())).await;
        self.wait_until_complete("scheduled", &ledger).await;
        let tally = ledger.tally();
        Ok(Lateness {
            delivered: tally.delivered,
            lost: tally.lost,
            duplicates: tally.duplicates,
            early: tally.early,
            lateness: tally.latency,
        })
    }

    async fn backlog(&self, functions: &mut TemporaryFunctions) -> Result<Vec<Drained>, Failure> {
        let healthy = Receivers::start(self.target.receive_on, 1, Behaviour::Answers)?;
        let event_type = |group: &str| format!("bench.{}.{group}", self.name);
        let beside = Arc::new(Sample::new(&event_type("healthy"), self.run.payload_bytes));
        let name = format!("{}-healthy", self.name);
        let group = self.group(&name, &healthy, None);
        functions
            .create(&group, |_function| event_type("healthy"))
            .await?;
        self.wait_for_first_call(&healthy, &beside).await?;
        let alone = self.healthy("alone", &healthy, &beside).await?;

        let mut drained = Vec::new();
        for backlog in ["all", "latest"] {
            let told = Arc::new(Told::new(BEARS_PER_SECOND, KEYS));
            let behaviour = Behaviour::AsTold(Arc::clone(&told));
            let receivers = Receivers::start(self.target.receive_on, 1, behaviour)?;
            let sample = Sample::new(&event_type(backlog), self.run.payload_bytes);
            self.create_ordered(functions, backlog, &receivers, &event_type(backlog))
                .await?;
            self.wait_for_first_call(&receivers, &sample).await?;

            told.be_down(true);
            let ledger = self.ledger(backlog, self.run.events)?;
            receivers.desk().open(&ledger);
            let per_second = Some(self.run.rate.unwrap_or(GROWS_PER_SECOND));
            let emission = self.emit(&ledger, per_second, |event| NewEvent {
                partition_key: format!("k{}", event % KEYS),
                ..sample.message(ledger.tag(), event)
            });
            let (emitted, while_down) =
                tokio::join!(emission, self.healthy("down", &healthy, &beside));
            emitted?;
            let while_down = while_down?;
            told.be_down(false);
            let begun = Instant::now();
            let drain = async {
                match backlog {
                    "all" => self.wait_until_complete(backlog, &ledger).await,
                    _ => self.wait_for_the_latest(&told, &ledger).await,
                }
                Ok(begun.elapsed())
            };
            let (took, while_draining) =
                tokio::join!(drain, self.healthy("draining", &healthy, &beside));
            let took: Result<Duration, Failure> = took;
            drained.push(Drained::new(
                backlog,
                &ledger.tally(),
                told.seen(),
                took?,
                [alone, while_down, while_draining?],
            ));
        }
        Ok(drained)
    }

    /// How long the healthy function's calls take meanwhile.
    async fn healthy(
        &self,
        phase: &str,
        receivers: &Receivers,
        sample: &Arc<Sample>,
    ) -> Result<Latency, Failure> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both factors are small positive numbers"
        )]
        let events = (HEALTHY_PER_SECOND * f64::from(self.run.seconds)) as usize;
        let ledger = self.ledger(&format!("{phase}{}", random_name()), events.max(1))?;
        receivers.desk().open(&ledger);
        let emission = Emission {
            ledger: Arc::clone(&ledger),
            pace: Pace::new(Some(HEALTHY_PER_SECOND), &ledger)?,
            sample: Arc::clone(sample),
            concurrency: self.run.concurrency,
        };
        Door::Post.emit(emission, &self.target.connection).await?;
        let until = Instant::now() + self.run.silence_max;
        while !ledger.is_complete() && Instant::now() < until {
            sleep(LOOK_INTERVAL).await;
        }
        match ledger.tally() {
            tally if tally.lost == 0 => Ok(tally.latency),
            tally => Err(Failure::local(format!(
                "{} of {} calls of the healthy function did not arrive",
                tally.lost, tally.accepted
            ))),
        }
    }

    async fn create_ordered(
        &self,
        functions: &mut TemporaryFunctions,
        backlog: &str,
        receivers: &Receivers,
        event_type: &str,
    ) -> Result<(), Failure> {
        let retry = RetryPolicy {
            retries: Some(100),
            interval: Some(protocol::to_duration(Duration::from_secs(1))),
            ..RetryPolicy::default()
        };
        let name = format!("{}-{backlog}", self.name);
        let group = self.group(&name, receivers, Some(retry.clone()));
        // The function's own trigger would call it once more.
        functions
            .create(&group, |_function| format!("{event_type}.never"))
            .await?;
        let name = format!("bench-{name}-1");
        let trigger = Trigger {
            name: format!("{name}-ordered"),
            function: name,
            on: vec![event_type.to_owned()],
            ordering: "key".to_owned(),
            backlog: backlog.to_owned(),
            retry: Some(retry),
            ..Trigger::default()
        };
        let request = CreateTriggerRequest {
            trigger: Some(trigger),
        };
        self.target
            .connection
            .triggers()?
            .create_trigger(request)
            .await?;
        Ok(())
    }

    fn group<'b>(
        &'b self,
        name: &'b str,
        receivers: &'b Receivers,
        retry: Option<RetryPolicy>,
    ) -> Group<'b> {
        Group {
            name,
            receivers: receivers.addresses(),
            host: self.target.receiver_host.as_deref(),
            retry,
        }
    }

    /// Sends every event of the ledger, many in each call, as fast as they are taken or no faster
    /// than it is said.
    async fn emit(
        &self,
        ledger: &Arc<Ledger>,
        per_second: Option<f64>,
        message: impl Fn(usize) -> NewEvent,
    ) -> Result<(), Failure> {
        let client = self.target.connection.events()?;
        let mut calls = JoinSet::new();
        let mut ended = Ok(());
        let mut progress = Progress::new("events".to_owned(), ledger.events());
        let begun = Instant::now();
        let in_a_call = per_second.map_or(EVENTS_IN_A_CALL, events_in_a_call);
        for first in (0..ledger.events()).step_by(in_a_call) {
            if let Some(per_second) = per_second {
                let due_after = Duration::from_secs_f64(first as f64 / per_second);
                sleep(due_after.saturating_sub(begun.elapsed())).await;
                progress.show(ledger);
            }
            let numbers = first..(first + in_a_call).min(ledger.events());
            let events = numbers.clone().map(&message).collect();
            let (mut client, ledger) = (client.clone(), Arc::clone(ledger));
            if calls.len() >= CALLS_AT_ONCE {
                ended = ended.and(joined(calls.join_next().await));
            }
            calls.spawn(async move {
                client.emit_events(EmitEventsRequest { events }).await?;
                numbers.for_each(|event| ledger.accept(event));
                Ok(())
            });
        }
        while let Some(call) = calls.join_next().await {
            ended = ended.and(joined(Some(call)));
        }
        ended
    }

    async fn wait_until_complete(&self, what: &str, ledger: &Ledger) {
        let mut progress = Progress::new(what.to_owned(), ledger.accepted());
        let (mut delivered, mut heard) = (ledger.delivered(), Instant::now());
        while !(ledger.delivered() >= ledger.accepted() && ledger.is_complete())
            && heard.elapsed() < self.run.silence_max
        {
            sleep(LOOK_INTERVAL).await;
            progress.show(ledger);
            if ledger.delivered() > delivered {
                (delivered, heard) = (ledger.delivered(), Instant::now());
            }
        }
    }

    /// Until of each key the newest event has arrived.
    async fn wait_for_the_latest(&self, told: &Told, ledger: &Ledger) {
        let newest = ledger.events().saturating_sub(KEYS);
        let begun = Instant::now();
        loop {
            let last = told.last_of_keys();
            let arrived = last.values().filter(|event| **event >= newest).count();
            if arrived >= KEYS.min(ledger.events()) || begun.elapsed() > self.run.silence_max * 4 {
                return;
            }
            sleep(LOOK_INTERVAL * 5).await;
        }
    }

    async fn wait_for_first_call(
        &self,
        receivers: &Receivers,
        sample: &Sample,
    ) -> Result<(), Failure> {
        const ROUNDS_MAX: usize = 60;
        let ledger = self.ledger(&format!("first{}", random_name()), ROUNDS_MAX)?;
        receivers.desk().open(&ledger);
        let mut client = self.target.connection.events()?;
        for round in 0..ROUNDS_MAX {
            let events = vec![sample.message(ledger.tag(), round)];
            client.emit_events(EmitEventsRequest { events }).await?;
            ledger.accept(round);
            let until = Instant::now() + Duration::from_millis(500);
            while Instant::now() < until {
                sleep(LOOK_INTERVAL).await;
                if ledger.is_complete() {
                    return Ok(());
                }
            }
        }
        Err(Failure::local("the function was never called"))
    }

    fn ledger(&self, phase: &str, events: usize) -> Result<Arc<Ledger>, Failure> {
        let phase: String = phase.chars().filter(char::is_ascii_alphanumeric).collect();
        let tag = format!("{}-{phase}", self.name);
        Ok(Arc::new(Ledger::new(tag, events, 1)?))
    }
}

/// So many that the calls are even.
fn events_in_a_call(per_second: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and rates are positive"
    )]
    let events = (per_second / CALLS_PER_SECOND) as usize;
    events.clamp(1, EVENTS_IN_A_CALL)
}

fn joined(
    call: Option<Result<Result<(), Failure>, tokio::task::JoinError>>,
) -> Result<(), Failure> {
    match call {
        None => Ok(()),
        Some(Ok(ended)) => ended,
        Some(Err(error)) => Err(Failure::local(format!("a sender failed: {error}"))),
    }
}
