//! Endpoints beside each other: what healthy ones notice of those that hang, and how many requests
//! to slow ones are under way at once.
//!
//! Each run compares within itself: the same healthy functions are called alone, and then beside
//! the others.

mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::functions::v1::RetryPolicy;
use tokio::time::sleep;

use self::report::{NeighbourReport, Phase};
use super::door::{Door, Emission};
use super::functions::{Group, TemporaryFunctions};
use super::interrupt::Interrupt;
use super::ledger::Ledger;
use super::measure::{Target, random_name};
use super::pace::Pace;
use super::processes::{self, Meter};
use super::receivers::{Behaviour, Receivers};
use super::sample::Sample;
use crate::failure::Failure;

/// A first call to each function tells that it is known everywhere.
const FIRST_CALLS_TIMEOUT: Duration = Duration::from_secs(60);
/// As long as a round of first calls may take on a busy machine.
const FIRST_CALLS_INTERVAL: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Answers of slow endpoints.
const SLOW_ANSWER: Duration = Duration::from_secs(10);

/// Which endpoints stand beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// One that hangs beside a healthy one, at a rate and as fast as events are taken.
    Isolation,
    /// 1,000 that hang beside 100 healthy ones.
    ManyHanging,
    /// 500 that answer after 10 s, so many events a second that 10,000 requests are under way.
    InFlight,
}

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) neighbours: Neighbours,
    /// Events a second for each group of functions.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: u32,
    pub(crate) payload_bytes: usize,
    pub(crate) concurrency: usize,
    /// What has not arrived is lost when nothing has arrived for this long.
    pub(crate) silence_max: Duration,
}

impl Neighbours {
    pub(crate) const ALL: [Self; 3] = [Self::Isolation, Self::ManyHanging, Self::InFlight];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Isolation => "isolation",
            Self::ManyHanging => "many-hanging",
            Self::InFlight => "in-flight",
        }
    }

    const fn measured(self) -> (usize, Behaviour) {
        match self {
            Self::Isolation => (1, Behaviour::Answers),
            Self::ManyHanging => (100, Behaviour::Answers),
            Self::InFlight => (500, Behaviour::AnswersAfter(SLOW_ANSWER)),
        }
    }

    const fn others(self) -> (usize, Behaviour) {
        match self {
            Self::Isolation => (1, Behaviour::Hangs),
            Self::ManyHanging => (1_000, Behaviour::Hangs),
            Self::InFlight => (0, Behaviour::Hangs),
        }
    }

    const fn rate(self) -> f64 {
        match self {
            Self::Isolation | Self::ManyHanging => 100.0,
            Self::InFlight => 1_000.0,
        }
    }

    /// Settings without which the run shows nothing.
    pub(crate) fn variables(self) -> Vec<(String, String)> {
        match self {
            Self::Isolation | Self::ManyHanging => Vec::new(),
            // Slow endpoints together have half of the slots.
            Self::InFlight => vec![(
                "TRIPLINE__DELIVERY_WORKER__IN_FLIGHT_MAX".to_owned(),
                "20000".to_owned(),
            )],
        }
    }
}

/// Does a run; what was made for it is gone afterwards, also when it is interrupted.
pub(crate) async fn run(
    run: &Run,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<NeighbourReport, Failure> {
    processes::check(&target.processes)?;
    let name = random_name();
    let (measured, answers) = run.neighbours.measured();
    let (others, hangs) = run.neighbours.others();
    let receivers = Receivers::start(target.receive_on, measured, answers)?;
    let hanging = Receivers::start(target.receive_on, others, hangs)?;
    let mut functions = TemporaryFunctions::new(&target.connection)?;
    let event_type = |group: &str| format!("bench.{name}.{group}");
    let sample = |group: &str, count: usize| {
        Arc::new(Sample::spread(&event_type(group), count, run.payload_bytes))
    };
    let scene = Scene {
        run,
        target,
        receivers,
        measured: sample("measured", measured),
        others: sample("others", others.max(1)),
        name: name.clone(),
        meter: Meter::start(&target.processes)?,
    };
    let host = target.receiver_host.as_deref();
    let work = async {
        for (group, sample, addresses) in [
            ("o", &scene.others, hanging.addresses()),
            ("m", &scene.measured, scene.receivers.addresses()),
        ] {
            let types = |number| sample.event_type(number).to_owned();
            let group = Group {
                name: &format!("{name}-{group}"),
                receivers: addresses,
                host,
                retry: patient(run.neighbours),
            };
            functions.create(&group, types).await?;
        }
        scene.wait_for_first_calls().await?;
        scene.play().await
    };
    let played = interrupt.or(Box::pin(work)).await;
    functions.delete().await;
    scene.report(played?)
}

/// Slow answers need time; hanging ones are given up by the default.
fn patient(neighbours: Neighbours) -> Option<RetryPolicy> {
    (neighbours == Neighbours::InFlight).then(|| RetryPolicy {
        timeout: Some(protocol::to_duration(SLOW_ANSWER * 3)),
        ..RetryPolicy::default()
    })
}

struct Scene<'a> {
    run: &'a Run,
    target: &'a Target,
    receivers: Receivers,
    measured: Arc<Sample>,
    others: Arc<Sample>,
    name: String,
    meter: Meter,
}

impl Scene<'_> {
    async fn play(&self) -> Result<Vec<Phase>, Failure> {
        let at_rate = Some(self.run.rate.unwrap_or_else(|| self.run.neighbours.rate()));
        let phases: &[(&'static str, Option<f64>, bool)] = match self.run.neighbours {
            Neighbours::Isolation => &[
                ("alone", at_rate, false),
                ("beside one that hangs", at_rate, true),
                ("saturated, alone", None, false),
                ("saturated, beside one that hangs", None, true),
            ],
            Neighbours::ManyHanging => &[
                ("alone", at_rate, false),
                ("beside 1,000 that hang", at_rate, true),
            ],
            Neighbours::InFlight => &[("answers after 10 s", at_rate, false)],
        };
        let mut played = Vec::new();
        for (title, rate, with_others) in phases {
            played.push(self.phase(title, *rate, *with_others).await?);
        }
        Ok(played)
    }

    /// Calls the measured functions for a while, and the others with them if so asked.
    async fn phase(
        &self,
        title: &'static str,
        rate: Option<f64>,
        with_others: bool,
    ) -> Result<Phase, Failure> {
        let events = self.events(rate);
        let ledger = self.ledger(title, events)?;
        self.receivers.desk().open(&ledger);
        let emission = |ledger: &Arc<Ledger>, sample: &Arc<Sample>| {
            Ok::<_, Failure>(Emission {
                ledger: Arc::clone(ledger),
                pace: Pace::new(rate, ledger)?,
                sample: Arc::clone(sample),
                concurrency: self.run.concurrency,
            })
        };
        let measured = Door::Post.emit(emission(&ledger, &self.measured)?, &self.target.connection);
        // More than the measured ones are sent, so that they are never alone.
        let beside = self.ledger("others", events.saturating_mul(2))?;
        let others = async {
            if with_others {
                let emission = emission(&beside, &self.others)?;
                Door::Post.emit(emission, &self.target.connection).await?;
            }
            std::future::pending::<Result<(), Failure>>().await
        };
        let all_arrived = async {
            measured.await?;
            let (mut delivered, mut heard) = (ledger.delivered(), Instant::now());
            while !ledger.is_complete() && heard.elapsed() < self.run.silence_max {
                sleep(LOOK_INTERVAL).await;
                if ledger.delivered() > delivered {
                    (delivered, heard) = (ledger.delivered(), Instant::now());
                }
            }
            Ok::<(), Failure>(())
        };
        tokio::select! {
            arrived = all_arrived => arrived?,
            failed = others => failed?,
        }
        Ok(Phase::new(
            title,
            with_others,
            &ledger.tally(),
            beside.accepted(),
        ))
    }

    fn events(&self, rate: Option<f64>) -> usize {
        /// At saturation so many, which takes a few seconds.
        const SATURATING: usize = 20_000;
        let events = rate.map(|rate| rate * f64::from(self.run.seconds));
        events.map_or(SATURATING, |events| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "both factors are small positive numbers"
            )]
            let whole = events as usize;
            whole.max(1)
        })
    }

    async fn wait_for_first_calls(&self) -> Result<(), Failure> {
        let functions = self.receivers.addresses().len();
        let begun = Instant::now();
        let mut round = 0;
        while begun.elapsed() < FIRST_CALLS_TIMEOUT {
            round += 1;
            let ledger = self.ledger(&format!("first{round}"), functions)?;
            self.receivers.desk().open(&ledger);
            let emission = Emission {
                ledger: Arc::clone(&ledger),
                pace: Pace::new(None, &ledger)?,
                sample: Arc::clone(&self.measured),
                concurrency: self.run.concurrency,
            };
            Door::Post.emit(emission, &self.target.connection).await?;
            let until = Instant::now() + FIRST_CALLS_INTERVAL;
            while Instant::now() < until {
                sleep(LOOK_INTERVAL).await;
                if ledger.accepted() == functions && ledger.is_complete() {
                    return Ok(());
                }
            }
        }
        Err(Failure::local(format!(
            "not every function was called within {FIRST_CALLS_TIMEOUT:?}"
        )))
    }

    fn ledger(&self, phase: &str, events: usize) -> Result<Arc<Ledger>, Failure> {
        let phase: String = phase.chars().filter(char::is_ascii_alphanumeric).collect();
        let tag = format!("{}-{phase}", self.name);
        Ok(Arc::new(Ledger::new(tag, events, 1)?))
    }

    fn report(self, phases: Vec<Phase>) -> Result<NeighbourReport, Failure> {
        Ok(NeighbourReport::new(
            &self.target.name,
            self.run.neighbours.name(),
            phases,
            self.receivers.most_at_once(),
            self.meter.finish()?,
        ))
    }
}
