//! A user of a running system: the real command line, and events by HTTP.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;
use testkit::eventually;
use tokio::time::MissedTickBehavior;

use crate::command::{self, Outcome, Running};
use crate::http_client::{Answer, Http};
use crate::{Ledger, SOON};

/// A caller whose event is not accepted tries again after this time,
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// and gives up after this: longer than a killed broker needs to come back.
const ACCEPT_DEADLINE: Duration = Duration::from_secs(180);

/// Where the services are; all the same where one process serves all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    pub emitter: String,
    pub functions: String,
    pub worker: String,
    pub logs: String,
    /// Every function-handler: each has its own index.
    pub handlers: Vec<String>,
}

impl Servers {
    pub(crate) fn one(url: &str) -> Self {
        Self {
            emitter: url.to_owned(),
            functions: url.to_owned(),
            worker: url.to_owned(),
            logs: url.to_owned(),
            handlers: vec![url.to_owned()],
        }
    }
}

/// Somebody with a key, or without.
#[derive(Debug, Clone)]
pub struct Client {
    pub servers: Servers,
    pub api_key: Option<String>,
    /// The project in the path of events.
    pub project: String,
    /// Whether commands name the project too.
    names_project: bool,
    pub http: Http,
}

impl Client {
    pub(crate) fn new(servers: Servers, api_key: Option<String>) -> Self {
        let project = "default".to_owned();
        Self {
            servers,
            api_key,
            project,
            names_project: false,
            http: Http::default(),
        }
    }

    /// The same user with another key.
    #[must_use]
    pub fn with_key(&self, api_key: &str) -> Self {
        Self {
            api_key: Some(api_key.to_owned()),
            ..self.clone()
        }
    }

    /// Somebody who sends no key.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self {
            api_key: None,
            ..self.clone()
        }
    }

    /// The same user, who names this project.
    #[must_use]
    pub fn in_project(&self, project: &str) -> Self {
        Self {
            project: project.to_owned(),
            names_project: true,
            ..self.clone()
        }
    }

    /// Runs a command and has it print JSON.
    pub async fn run(&self, words: &[&str]) -> Outcome {
        command::run(&self.words(words, true), &[], None).await
    }

    /// Runs a command as people do: it prints tables.
    pub async fn run_as_people_do(&self, words: &[&str]) -> Outcome {
        command::run(&self.words(words, false), &[], None).await
    }

    /// Runs a command of which everything is given, with these variables.
    pub async fn run_bare(words: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        command::run(&words, &environment, None).await
    }

    /// Runs a command with this on its standard input.
    pub async fn run_with_input(&self, words: &[&str], input: impl Into<Vec<u8>>) -> Outcome {
        command::run(&self.words(words, true), &[], Some(input.into())).await
    }

    /// Starts a command that goes on until what is given back is dropped.
    pub fn start(&self, words: &[&str]) -> Running {
        command::start(&self.words(words, true))
    }

    fn words(&self, words: &[&str], as_json: bool) -> Vec<OsString> {
        let mut all: Vec<OsString> = words.iter().map(Into::into).collect();
        let servers = &self.servers;
        let mut option = |name: &str, value: &str| {
            all.push(format!("{name}={value}").into());
        };
        option("--server", &servers.functions);
        if servers.emitter != servers.functions {
            option("--emitter", &servers.emitter);
            option("--worker", &servers.worker);
            option("--logs-server", &servers.logs);
        }
        if let Some(key) = &self.api_key {
            option("--api-key", key);
        }
        if self.names_project {
            option("--project", &self.project);
        }
        if as_json {
            option("--output", "json");
        }
        all
    }

    /// Creates a function; with a condition (`--on`, `--subject`) it is in force everywhere when
    /// this returns.
    pub async fn create_function(&self, name: &str, url: &str, options: &[&str]) -> Value {
        let words = [&["functions", "create", name, "--url", url], options].concat();
        let has_trigger = options
            .iter()
            .any(|word| matches!(*word, "--on" | "--subject"));
        self.create(&words, has_trigger).await
    }

    /// Creates a trigger; it is in force everywhere when this returns.
    pub async fn create_trigger(&self, name: &str, function: &str, options: &[&str]) -> Value {
        let words = [
            &["triggers", "create", name, "--function", function],
            options,
        ]
        .concat();
        self.create(&words, true).await
    }

    async fn create(&self, words: &[&str], has_trigger: bool) -> Value {
        let before = self.triggers_in_force().await;
        let created = self.run(words).await.done().object();
        if has_trigger {
            eventually(SOON, "a trigger in every replica's index", async || {
                let now = self.triggers_in_force().await;
                now.iter()
                    .zip(&before)
                    .all(|(now, before)| now > before)
                    .then_some(())
            })
            .await;
        }
        created
    }

    /// How many triggers each function-handler has in its index.
    pub async fn triggers_in_force(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for handler in &self.servers.handlers {
            counts.push(
                self.metric(handler, "tripline_registry_triggers")
                    .await
                    .unwrap_or(0),
            );
        }
        counts
    }

    /// A number from a server's metrics.
    pub async fn metric(&self, server: &str, name: &str) -> Option<u64> {
        let answer = self.http.get(&format!("{server}/metrics")).await.ok()?;
        let text = answer.text();
        let line = text
            .lines()
            .find(|line| line.split([' ', '{']).next() == Some(name))?;
        line.rsplit(' ').next()?.split('.').next()?.parse().ok()
    }

    /// Emits by the command line and gives what it answered.
    pub async fn emit(&self, event_type: &str, options: &[&str]) -> Value {
        let words = [&["emit", event_type], options].concat();
        self.run(&words).await.done().object()
    }

    /// Where events are posted.
    pub fn events_url(&self) -> String {
        format!(
            "{}/v1/projects/{}/events",
            self.servers.emitter, self.project
        )
    }

    /// Posts a JSON document as an event.
    pub async fn post_event(&self, event: &Value) -> Answer {
        let key = self.api_key.as_deref();
        self.http
            .post_json(&self.events_url(), key, event)
            .await
            .expect("an answer")
    }

    /// Posts a body as it is, with these headers and the key.
    pub async fn post_raw(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let bearer = self.api_key.as_ref().map(|key| format!("Bearer {key}"));
        let mut headers = headers.to_vec();
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.http
            .post(&self.events_url(), &headers, body)
            .await
            .expect("an answer")
    }

    /// Posts an event again and again until it is accepted, and notes it down.
    pub async fn post_until_accepted(&self, id: &str, event: &Value, ledger: &Ledger) {
        let (url, key) = (self.events_url(), self.api_key.as_deref());
        // Not `eventually`: what it makes of a closure cannot move between threads.
        let mut pause = tokio::time::interval(RETRY_INTERVAL);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let accepted = tokio::time::timeout(ACCEPT_DEADLINE, async {
            loop {
                match self.http.post_json(&url, key, event).await {
                    Ok(answer) if answer.status.is_success() => return,
                    Ok(_) | Err(_) => drop(pause.tick().await),
                }
            }
        });
        assert!(
            accepted.await.is_ok(),
            "{id} was not accepted in {ACCEPT_DEADLINE:?}"
        );
        ledger.accepted(id);
    }

    /// The lines of the log for these conditions.
    pub async fn logs(&self, conditions: &[&str]) -> Vec<Value> {
        let words = [&["logs"], conditions].concat();
        self.run(&words).await.done().objects()
    }

    /// The lines of the log, as soon as they are as expected.
    pub async fn logs_when(
        &self,
        conditions: &[&str],
        what: &str,
        expected: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        let mut last = Vec::new();
        let found = tokio::time::timeout(
            SOON,
            eventually(SOON * 2, what, async || {
                last = self.logs(conditions).await;
                expected(&last).then(|| last.clone())
            }),
        )
        .await;
        found.unwrap_or_else(|_elapsed| panic!("the log does not show {what}: {last:#?}"))
    }

    /// The one line of an event's log, as soon as it has this status.
    pub async fn log_line(&self, event: &str, status: &str) -> Value {
        let what = format!("{event} {status}");
        let mut lines = self
            .logs_when(&["--event", event], &what, |lines| {
                !lines.is_empty() && lines.iter().all(|line| line["status"] == status)
            })
            .await;
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.remove(0)
    }

    /// Everything known of an event.
    pub async fn history(&self, event: &str) -> Value {
        self.run(&["logs", "get", event]).await.done().object()
    }
}
