//! The services as processes of their own on RabbitMQ, PostgreSQL and Redis.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{TestDatabase, TestRedis, TestVhost, free_port};

use crate::client::{Client, Servers};
use crate::command::{self, Outcome};
use crate::embedded::wait_until_ready;
use crate::process::Process;

/// What is under way has this long to finish when a service is told to stop.
const GRACE_PERIOD: &str = "15s";
const STOP_DEADLINE: Duration = Duration::from_secs(25);

/// One of the services, or all of them in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    FunctionHandler,
    TriggerEmitter,
    DeliveryWorker,
    LogService,
    All,
}

impl Role {
    pub const SERVICES: [Self; 4] = [
        Self::FunctionHandler,
        Self::TriggerEmitter,
        Self::DeliveryWorker,
        Self::LogService,
    ];

    /// As `tripline serve` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FunctionHandler => "function-handler",
            Self::TriggerEmitter => "trigger-emitter",
            Self::DeliveryWorker => "delivery-worker",
            Self::LogService => "log-service",
            Self::All => "all",
        }
    }

    fn variable(self, name: &str) -> String {
        format!(
            "TRIPLINE__{}__{name}",
            self.as_str().replace('-', "_").to_uppercase()
        )
    }
}

/// Which processes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// This many of each service.
    Replicas(usize),
    /// One process, `tripline serve all`.
    AllInOne,
}

/// How a cluster differs from the usual one.
#[derive(Debug, Clone)]
pub struct Options {
    pub shape: Shape,
    /// A broker of the test's own; a virtual host of the shared one where there is none.
    pub broker_url: Option<String>,
    /// A database of the test's own; one on the shared server where there is none.
    pub database_url: Option<String>,
    /// A Redis of the test's own; a part of the shared one where there is none.
    pub redis_url: Option<String>,
    /// What may be called although it is not public.
    pub egress_allow: Vec<String>,
    /// Where spans are sent.
    pub collector_url: Option<String>,
    /// Further settings of every process.
    pub variables: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shape: Shape::Replicas(1),
            broker_url: None,
            database_url: None,
            redis_url: None,
            egress_allow: vec!["127.0.0.1".to_owned()],
            collector_url: None,
            variables: Vec::new(),
        }
    }
}

// Fields are dropped in this order: the processes before what they stand on.
/// Processes with a database, a virtual host and a Redis of their own.
#[derive(Debug)]
pub struct Cluster {
    processes: BTreeMap<(Role, usize), Process>,
    ports: BTreeMap<(Role, usize), u16>,
    environment: Vec<(String, String)>,
    /// The key with all scopes that `tripline migrate` printed.
    pub api_key: String,
    pub database_url: String,
    _ground: Ground,
    folder: TempDir,
}

/// Its parts of the shared servers, given back when dropped.
#[derive(Debug, Default)]
struct Ground {
    database: Option<TestDatabase>,
    vhost: Option<TestVhost>,
    redis: Option<TestRedis>,
}

impl Ground {
    /// Takes parts of the shared servers where the test brings none of its own.
    async fn of(options: &Options) -> Self {
        let mut ground = Self::default();
        if options.database_url.is_none() {
            ground.database = Some(testkit::postgres().await);
        }
        if options.broker_url.is_none() {
            ground.vhost = Some(testkit::rabbitmq_vhost().await);
        }
        if options.redis_url.is_none() {
            ground.redis = Some(testkit::redis());
        }
        ground
    }
}

/// The test's own, or else the shared one's.
fn either(own: Option<&String>, shared: Option<String>) -> String {
    own.cloned().or(shared).expect("a server to stand on")
}

impl Cluster {
    /// What lets a caller create projects.
    pub const OPERATOR_TOKEN: &str = "operators-token-for-tests";

    pub async fn start(replicas: usize) -> Self {
        Self::start_with(Options {
            shape: Shape::Replicas(replicas),
            ..Options::default()
        })
        .await
    }

    /// Migrates, starts every process, and waits until all are ready.
    pub async fn start_with(options: Options) -> Self {
        let ground = Ground::of(&options).await;
        let own = options.broker_url.as_ref();
        let broker_url = either(own, ground.vhost.as_ref().map(TestVhost::url));
        let own = options.database_url.as_ref();
        let database_url = either(own, ground.database.as_ref().map(TestDatabase::url));
        let own = options.redis_url.as_ref();
        let redis_url = either(own, ground.redis.as_ref().map(TestRedis::url));
        let mut environment = variables(&[
            ("TRIPLINE__BROKER__URL", &broker_url),
            ("TRIPLINE__STORAGE__URL", &database_url),
            ("TRIPLINE__STORAGE__ENCRYPTION_KEY", &"5a".repeat(32)),
            ("TRIPLINE__COORDINATION__URL", &redis_url),
            ("TRIPLINE__ACCESS__OPERATOR_TOKEN", Self::OPERATOR_TOKEN),
            ("TRIPLINE__REGISTRY__TOKEN", "internal-token-for-tests"),
            // A list is written as in the file.
            (
                "TRIPLINE__DELIVERY_WORKER__EGRESS__ALLOW",
                &format!("{:?}", options.egress_allow),
            ),
        ]);
        for role in [&Role::SERVICES[..], &[Role::All]].concat() {
            environment.push((role.variable("GRACE_PERIOD"), GRACE_PERIOD.to_owned()));
        }
        if let Some(url) = options.collector_url {
            environment.push(("TRIPLINE__TELEMETRY__OTLP_ENDPOINT".to_owned(), url));
        }
        environment.extend(options.variables);
        let migrated = command::run(&["migrate".into()], &environment, None)
            .await
            .done();
        let folder = tempfile::Builder::new()
            .prefix("tripline-test-serve-")
            .tempdir();
        let mut cluster = Self {
            processes: BTreeMap::new(),
            ports: ports(options.shape),
            environment,
            api_key: migrated.stdout.trim().to_owned(),
            database_url,
            _ground: ground,
            folder: folder.expect("a folder of its own"),
        };
        for (role, index) in cluster.members() {
            cluster.launch(role, index);
        }
        for (role, index) in cluster.members() {
            cluster.ready(role, index).await;
        }
        cluster
    }

    /// Runs `tripline migrate` once more; gives what it printed.
    pub async fn migrate_again(&self) -> String {
        command::run(&["migrate".into()], &self.environment, None)
            .await
            .done()
            .stdout
    }

    /// Every process there is.
    pub fn members(&self) -> Vec<(Role, usize)> {
        self.ports.keys().copied().collect()
    }

    /// Somebody with the first key, who talks to the first replica of each service.
    pub fn client(&self) -> Client {
        self.client_of(0)
    }

    /// Somebody with the first key, who talks to this replica of each service.
    pub fn client_of(&self, index: usize) -> Client {
        let servers = if self.ports.contains_key(&(Role::All, 0)) {
            Servers::one(&self.url(Role::All, 0))
        } else {
            let handlers = self
                .ports
                .keys()
                .filter(|(role, _)| *role == Role::FunctionHandler);
            Servers {
                emitter: self.url(Role::TriggerEmitter, index),
                functions: self.url(Role::FunctionHandler, index),
                worker: self.url(Role::DeliveryWorker, index),
                logs: self.url(Role::LogService, index),
                handlers: handlers
                    .map(|(role, index)| self.url(*role, *index))
                    .collect(),
            }
        };
        Client::new(servers, Some(self.api_key.clone()))
    }

    pub fn url(&self, role: Role, index: usize) -> String {
        let port = self
            .ports
            .get(&(role, index))
            .expect("a replica of this number");
        format!("http://127.0.0.1:{port}")
    }

    /// What a process printed so far.
    pub fn output(&self, role: Role, index: usize) -> String {
        self.processes
            .get(&(role, index))
            .map(Process::output)
            .unwrap_or_default()
    }

    pub fn kill9(&mut self, role: Role, index: usize) {
        self.process(role, index).kill9();
    }

    /// Starts it again on its port; a running one is killed first.
    pub async fn restart(&mut self, role: Role, index: usize) {
        self.kill9(role, index);
        self.launch(role, index);
        self.ready(role, index).await;
    }

    /// SIGTERM to one process, and its exit code.
    pub async fn stop(&mut self, role: Role, index: usize) -> Option<i32> {
        let process = self.process(role, index);
        process.terminate();
        process.ended(STOP_DEADLINE).await.code()
    }

    /// SIGTERM to all processes at once, and the exit code of each.
    pub async fn stop_all(&mut self) -> BTreeMap<(Role, usize), Option<i32>> {
        for process in self.processes.values_mut() {
            process.terminate();
        }
        let mut codes = BTreeMap::new();
        for (member, process) in &mut self.processes {
            codes.insert(*member, process.ended(STOP_DEADLINE).await.code());
        }
        codes
    }

    fn process(&mut self, role: Role, index: usize) -> &mut Process {
        self.processes
            .get_mut(&(role, index))
            .expect("a replica of this number")
    }

    async fn ready(&mut self, role: Role, index: usize) {
        let url = self.url(role, index);
        wait_until_ready(self.process(role, index), &url).await;
    }

    fn launch(&mut self, role: Role, index: usize) {
        let port = self
            .ports
            .get(&(role, index))
            .expect("a replica of this number");
        let mut environment = self.environment.clone();
        environment.push((role.variable("LISTEN"), format!("127.0.0.1:{port}")));
        if role != Role::All {
            // As behind a load balancer, each follows one of the replicas there are.
            let handler = self.url(Role::FunctionHandler, index);
            environment.push(("TRIPLINE__REGISTRY__SERVER".to_owned(), handler));
        }
        let name = format!("{}-{index}", role.as_str());
        let words = ["serve", role.as_str()];
        let process = Process::start(&name, &words, &environment, self.folder.path());
        self.processes.insert((role, index), process);
    }
}

/// Runs `tripline serve` with a settings file and variables that it is expected to refuse.
pub async fn serve_with_settings(role: Role, file: &Path, variables: &[(&str, &str)]) -> Outcome {
    let words = ["serve", role.as_str(), "--config"].map(Into::into);
    let words = [&words[..], &[file.into()]].concat();
    let environment: Vec<_> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    command::run(&words, &environment, None).await
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn ports(shape: Shape) -> BTreeMap<(Role, usize), u16> {
    match shape {
        Shape::AllInOne => BTreeMap::from([((Role::All, 0), free_port())]),
        Shape::Replicas(replicas) => {
            let members = Role::SERVICES
                .into_iter()
                .flat_map(|role| (0..replicas).map(move |index| (role, index)));
            members.map(|member| (member, free_port())).collect()
        }
    }
}
