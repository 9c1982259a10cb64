//! One run: functions are made, a first call is waited for, the system is warmed up, and then it
//! is measured.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::events::v1::EmitEventRequest;
use tokio::time::sleep;

use super::door::{Door, Emission};
use super::functions::{Group, TemporaryFunctions};
use super::interrupt::Interrupt;
use super::ledger::Ledger;
use super::pace::Pace;
use super::processes::{self, Meter, NamedProcess};
use super::progress::Progress;
use super::receivers::{Behaviour, Receivers};
use super::report::Report;
use super::sample::Sample;
use super::scenario::Scenario;
use crate::command_line::Connection;
use crate::failure::Failure;

/// The first call tells that functions and their triggers are known everywhere.
const FIRST_CALL_TIMEOUT: Duration = Duration::from_secs(20);
const FIRST_CALL_INTERVAL: Duration = Duration::from_millis(100);

/// Arrivals are noted to the microsecond; this is only how soon the end is noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Processes that use less than a tenth of one core over half a second are done with the run.
const QUIET_INTERVAL: Duration = Duration::from_millis(500);
const QUIET_CPU_MAX: Duration = Duration::from_millis(50);
/// A system that is never quiet is measured all the same.
const QUIET_TIMEOUT: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// How it is called in reports.
    pub(crate) name: String,
    pub(crate) connection: Connection,
    pub(crate) processes: Vec<NamedProcess>,
    pub(crate) receive_on: IpAddr,
    pub(crate) receiver_host: Option<String>,
}

/// Runs a scenario; what was made for it is gone afterwards, also when it is interrupted.
pub(crate) async fn measure(
    scenario: &Scenario,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<Report, Failure> {
    processes::check(&target.processes)?;
    let name = random_name();
    let receivers = Receivers::start(target.receive_on, scenario.functions, Behaviour::Answers)?;
    let mut functions = TemporaryFunctions::new(&target.connection)?;
    let event_type = format!("bench.{name}");
    let run = Run {
        sample: Arc::new(Sample::new(&event_type, scenario.payload_bytes)),
        name,
        scenario,
        target,
        receivers,
    };
    let host = target.receiver_host.as_deref();
    let addresses = run.receivers.addresses();
    let work = async {
        let group = Group {
            name: &run.name,
            receivers: addresses,
            host,
            retry: None,
        };
        functions
            .create(&group, |_function| event_type.clone())
            .await?;
        run.wait_for_first_calls().await?;
        run.warm_up().await?;
        run.measure().await
    };
    let measured = interrupt.or(work).await;
    functions.delete().await;
    measured
}

#[derive(Debug)]
struct Run<'a> {
    name: String,
    scenario: &'a Scenario,
    target: &'a Target,
    receivers: Receivers,
    sample: Arc<Sample>,
}

impl Run<'_> {
    async fn wait_for_first_calls(&self) -> Result<(), Failure> {
        let ledger = self.ledger("first", 1 + probes_max())?;
        let mut client = self.target.connection.events()?;
        for event in 0..ledger.events() {
            let message = self.sample.message(ledger.tag(), event);
            let request = EmitEventRequest {
                event: Some(message),
                idempotency_key: String::new(),
            };
            client.emit_event(request).await?;
            let until = Instant::now() + FIRST_CALL_INTERVAL;
            while Instant::now() < until {
                sleep(LOOK_INTERVAL).await;
                if ledger.has_reached_all() {
                    return Ok(());
                }
            }
        }
        Err(Failure::local(format!(
            "no call arrived within {FIRST_CALL_TIMEOUT:?}: can the server reach {:?}? \
             (see --receive-on and --receiver-host, and the server's egress.allow)",
            self.receivers.addresses()
        )))
    }

    async fn warm_up(&self) -> Result<(), Failure> {
        if self.scenario.warmup_events > 0 {
            let ledger = self.ledger("warm", self.scenario.warmup_events)?;
            self.send_and_wait(&ledger, None, "warming up").await?;
        }
        let meter = Meter::start(&self.target.processes)?;
        wait_until_quiet(&meter).await
    }

    async fn measure(&self) -> Result<Report, Failure> {
        let ledger = self.ledger("run", self.scenario.events)?;
        let meter = Meter::start(&self.target.processes)?;
        let title = format!("{} {}", self.target.name, self.scenario.title());
        self.send_and_wait(&ledger, self.scenario.rate, title.trim_start())
            .await?;
        if ledger.accepted() == 0 {
            let reason = ledger.first_refusal().unwrap_or("no reason was given");
            return Err(Failure::local(format!("no event was accepted: {reason}")));
        }
        wait_until_quiet(&meter).await?;
        let spent = meter.finish()?;
        let first_refusal = ledger.first_refusal().map(str::to_owned);
        Ok(Report::new(
            &self.target.name,
            self.scenario,
            &ledger.tally(),
            spent,
            first_refusal,
        ))
    }

    fn ledger(&self, phase: &str, events: usize) -> Result<Arc<Ledger>, Failure> {
        let tag = format!("{}-{phase}", self.name);
        let ledger = Arc::new(Ledger::new(tag, events, self.scenario.functions)?);
        self.receivers.desk().open(&ledger);
        Ok(ledger)
    }

    /// Sends all events of a ledger and waits until everything owed has arrived, or for silence.
    async fn send_and_wait(
        &self,
        ledger: &Arc<Ledger>,
        rate: Option<f64>,
        title: &str,
    ) -> Result<(), Failure> {
        let deliveries = ledger.events() * self.scenario.functions;
        let mut progress = Progress::new(title.to_owned(), deliveries);
        let emission = Emission {
            ledger: Arc::clone(ledger),
            pace: Pace::new(rate, ledger)?,
            sample: Arc::clone(&self.sample),
            concurrency: self.scenario.concurrency,
        };
        let door: Door = self.scenario.door;
        let look = async {
            loop {
                sleep(LOOK_INTERVAL).await;
                progress.show(ledger);
            }
        };
        tokio::select! {
            sent = door.emit(emission, &self.target.connection) => sent?,
            () = look => {}
        }
        let (mut delivered, mut heard) = (ledger.delivered(), Instant::now());
        while !ledger.is_complete() && heard.elapsed() < self.scenario.silence_max {
            sleep(LOOK_INTERVAL).await;
            progress.show(ledger);
            if ledger.delivered() > delivered {
                (delivered, heard) = (ledger.delivered(), Instant::now());
            }
        }
        Ok(())
    }
}

/// What the processes still write about the run belongs to its cost, and not to the next one's.
async fn wait_until_quiet(meter: &Meter) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut before = meter.cpu()?;
    while begun.elapsed() < QUIET_TIMEOUT {
        sleep(QUIET_INTERVAL).await;
        let now = meter.cpu()?;
        if now.saturating_sub(before) <= QUIET_CPU_MAX {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

fn probes_max() -> usize {
    let probes = FIRST_CALL_TIMEOUT.as_millis() / FIRST_CALL_INTERVAL.as_millis();
    usize::try_from(probes).unwrap_or(usize::MAX)
}

/// So that two runs at a time do not hear each other.
pub(crate) fn random_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{:08x}", random & 0xffff_ffff)
}
