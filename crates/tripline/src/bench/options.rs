//! The options of `tripline bench`, and what its figures mean.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Scenario;
use super::deployment::Backing;
use super::door::Door;
use super::gateway;
use super::neighbours::{self, Neighbours};
use super::processes::NamedProcess;
use super::waiting::{self, Waiting};
use crate::failure::Failure;

/// A ledger of more slots than this would itself be what is measured.
const DELIVERIES_MAX: usize = 100_000_000;

/// As many events as one stream may have unanswered.
const STREAM_CONCURRENCY: usize = 1_024;

/// With a few dozen that each wait for their answer, the machine is idle part of the time, and it is
/// their number that is measured.
const POST_CONCURRENCY: usize = 256;

/// Long enough for figures that repeat, short enough to wait for.
const QUIET_RATE: f64 = 300.0;
const QUIET_SECONDS: usize = 20;

pub(crate) const FIGURES: &str = "\
What the figures mean:
  accepted/s   events the door said yes to, from the first one sent to the last answer
  delivered/s  calls that arrived, from the first event sent to the last call
  latency      from the moment a request with the event is begun to the moment the call arrives;
               with --rate, from the moment the event was due, whether or not the generator or the
               door was late
  CPU          microseconds of user and system time for each delivery, from the first event sent
               until the processes are quiet again (what they write afterwards is counted), with
               their child processes; this process, which generates and receives, is left out
  peak memory  the most at any time during the run: private memory of the process and its children,
               and once what they share; of several processes the sum of their peaks
  refused      events the door said no to; not sent again
  unanswered   events whose answer never came: they may have been accepted
  lost         calls that are owed for accepted events and did not arrive; with any, exit code 1
  duplicates   calls that arrived again; at-least-once delivery allows them";

/// A scenario of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Beside(Neighbours),
    Waits(Waiting),
    /// What passing through the gateway costs.
    Gateway,
}

/// `tripline bench`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = FIGURES)]
pub(crate) struct Bench {
    /// Events that are sent and measured
    #[arg(long, value_name = "N", default_value = "20000", value_parser = at_least_one)]
    pub(crate) events: usize,

    /// Events a second, evenly spread, however long answers take [default: as many as are taken;
    /// with --scenario 100 for each group of functions, in-flight 1,000, backlog 500, gateway 200]
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    pub(crate) rate: Option<f64>,

    /// Functions that each event calls
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) functions: usize,

    /// Size of each event's data, 16 bytes to 256 KiB
    #[arg(long, value_name = "BYTES", default_value = "500", value_parser = payload_size)]
    pub(crate) payload_bytes: usize,

    /// Requests that wait for their answer at a time; by stream: events, at most 1024
    #[arg(long, value_name = "N", default_value = "64", value_parser = at_least_one)]
    pub(crate) concurrency: usize,

    /// How events are sent
    #[arg(long, value_enum, default_value_t = Door::Post)]
    pub(crate) door: Door,

    /// Events that are sent before, as fast as they are taken, and not measured
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) warmup_events: usize,

    /// What has not arrived is lost when nothing at all has arrived for this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,

    /// A process whose CPU time and memory are measured, with its children; may be repeated
    #[arg(long = "pid", value_name = "NAME=PID")]
    pub(crate) processes: Vec<NamedProcess>,

    /// Address the receivers listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) receive_on: IpAddr,

    /// Host by which the server reaches the receivers [default: the address they listen on]
    #[arg(long, value_name = "HOST")]
    pub(crate) receiver_host: Option<String>,

    /// Start what is measured, and stop it afterwards
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) spawn: Option<Backing>,

    /// Run the set of `make bench`, embedded and full (or only what --spawn says), and compare
    #[arg(long, conflicts_with_all = ["rate", "functions", "door", "processes"])]
    pub(crate) suite: bool,

    /// What healthy functions notice of others, or what becomes of deliveries that wait, instead
    #[arg(long, value_enum, value_name = "WHICH", conflicts_with_all = ["suite", "functions", "door"])]
    pub(crate) scenario: Option<Special>,

    /// With --scenario: how long each phase at a rate takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) seconds: u32,

    #[command(flatten)]
    pub(crate) servers: Servers,
}

/// The servers that `--spawn full` stands on, as `test-servers run` tells them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Servers for --spawn full")]
pub(crate) struct Servers {
    /// RabbitMQ, an empty virtual host
    #[arg(
        long,
        value_name = "URL",
        env = "TRIPLINE_TEST_AMQP_URL",
        hide_env_values = true
    )]
    pub(crate) amqp_url: Option<String>,

    /// PostgreSQL, an empty database
    #[arg(
        long,
        value_name = "URL",
        env = "TRIPLINE_TEST_POSTGRES_URL",
        hide_env_values = true
    )]
    pub(crate) postgres_url: Option<String>,

    /// Redis
    #[arg(
        long,
        value_name = "URL",
        env = "TRIPLINE_TEST_REDIS_URL",
        hide_env_values = true
    )]
    pub(crate) redis_url: Option<String>,

    /// Process of RabbitMQ, if it is on this machine
    #[arg(long, value_name = "PID", env = "TRIPLINE_TEST_RABBITMQ_PID")]
    pub(crate) rabbitmq_pid: Option<u32>,

    /// Process of PostgreSQL, if it is on this machine
    #[arg(long, value_name = "PID", env = "TRIPLINE_TEST_POSTGRES_PID")]
    pub(crate) postgres_pid: Option<u32>,

    /// Process of Redis, if it is on this machine
    #[arg(long, value_name = "PID", env = "TRIPLINE_TEST_REDIS_PID")]
    pub(crate) redis_pid: Option<u32>,
}

impl Bench {
    /// What one run does.
    pub(crate) fn scenario(&self) -> Result<Scenario, Failure> {
        let deliveries = self
            .events
            .max(self.warmup_events)
            .saturating_mul(self.functions);
        if deliveries > DELIVERIES_MAX {
            return Err(Failure::usage(format!(
                "--events times --functions is {deliveries}; at most {DELIVERIES_MAX} can be kept count of"
            )));
        }
        Ok(Scenario {
            events: self.events,
            warmup_events: self.warmup_events,
            rate: self.rate,
            functions: self.functions,
            payload_bytes: self.payload_bytes,
            concurrency: self.concurrency,
            door: self.door,
            silence_max: self.timeout,
        })
    }

    /// What the run of a scenario with neighbours does.
    pub(crate) fn neighbours(&self, neighbours: Neighbours) -> neighbours::Run {
        neighbours::Run {
            neighbours,
            rate: self.rate,
            seconds: self.seconds,
            payload_bytes: self.payload_bytes,
            concurrency: self.concurrency,
            silence_max: self.timeout,
        }
    }

    /// What the run of a scenario with deliveries that wait does.
    pub(crate) fn waiting(&self, waiting: Waiting) -> waiting::Run {
        waiting::Run {
            waiting,
            events: self.events,
            rate: self.rate,
            seconds: self.seconds,
            payload_bytes: self.payload_bytes,
            concurrency: self.concurrency,
            silence_max: self.timeout,
        }
    }

    /// What the run through the gateway does.
    pub(crate) const fn gateway(&self) -> gateway::Run {
        gateway::Run {
            rate: self.rate,
            seconds: self.seconds,
        }
    }

    /// What the runs of the suite do, one after the other.
    pub(crate) fn suite(&self) -> Result<Vec<Scenario>, Failure> {
        let given = self.scenario()?;
        let one_to_one = Scenario {
            concurrency: self.concurrency.max(POST_CONCURRENCY),
            ..given
        };
        // As many as a stream may have on their way: that is what fills it.
        let stream = Scenario {
            door: Door::Stream,
            concurrency: self.concurrency.max(STREAM_CONCURRENCY),
            events: self.events.saturating_mul(2),
            ..one_to_one
        };
        // Fewer events, so that a run takes about as long as the others.
        let fan_out = Scenario {
            functions: 10,
            events: (self.events / 4).max(1),
            warmup_events: self.warmup_events / 4,
            ..one_to_one
        };
        let quiet = Scenario {
            rate: Some(QUIET_RATE),
            events: self.events.min(300 * QUIET_SECONDS),
            ..given
        };
        Ok(vec![one_to_one, stream, fan_out, quiet])
    }
}

impl ValueEnum for Door {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Post, Self::Stream, Self::Batch]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Post => "one event for each HTTP POST, on connections that are kept",
            Self::Stream => "gRPC StreamEvents, each event acknowledged by itself",
            Self::Batch => "gRPC EmitEvents, 100 events in each call",
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for Special {
    fn value_variants<'a>() -> &'a [Self] {
        const BESIDE: [Neighbours; 3] = Neighbours::ALL;
        const WAITS: [Waiting; 2] = Waiting::ALL;
        const ALL: [Special; 6] = [
            Special::Beside(BESIDE[0]),
            Special::Beside(BESIDE[1]),
            Special::Beside(BESIDE[2]),
            Special::Waits(WAITS[0]),
            Special::Waits(WAITS[1]),
            Special::Gateway,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let (name, help) = match self {
            Self::Beside(neighbours) => (
                neighbours.name(),
                match neighbours {
                    Neighbours::Isolation => {
                        "one that hangs beside a healthy one, at a rate each and then saturated"
                    }
                    Neighbours::ManyHanging => "1,000 that hang beside 100 healthy ones",
                    Neighbours::InFlight => {
                        "500 that answer after 10 s, 10,000 requests under way at once"
                    }
                },
            ),
            Self::Gateway => (
                "gateway",
                "calls that somebody waits for: through the API gateway, without a script and with one, and of a function directly, at 200/s or --rate",
            ),
            Self::Waits(waiting) => (
                waiting.name(),
                match waiting {
                    Waiting::Scheduled => {
                        "--events deliveries, each for a time of its own within --seconds"
                    }
                    Waiting::Backlog => {
                        "--events deliveries for an endpoint that is down and then bears 200 a second"
                    }
                },
            ),
        };
        Some(clap::builder::PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for Backing {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Embedded, Self::Full]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Embedded => "`tripline up` on a free port, with data that is thrown away",
            Self::Full => "the four services, one process each, on the servers named below",
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("a whole number from 1 up is needed".to_owned()),
    }
}

fn payload_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 16..=262_144) => Ok(size),
        _ => Err("a whole number from 16 to 262144 is needed".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(rate),
        _ => Err("a number from 0.001 up is needed".to_owned()),
    }
}
