//! What this process needs to do its work, whether it has it, and how others ask.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;

use crate::Tasks;

/// The checks of one process; clones share them.
#[derive(Clone, Debug)]
pub struct Health {
    report: Arc<watch::Sender<Report>>,
    /// Whose checks these are, where several services share one process.
    owner: Option<&'static str>,
}

/// The state of every check, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ready: bool,
    pub stopping: bool,
    pub checks: BTreeMap<Cow<'static, str>, CheckState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckState {
    pub ready: bool,
    /// Whether this process cannot work without it. The health of the rest is only reported.
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The handle of one check. It keeps its last state when dropped.
#[derive(Clone, Debug)]
pub struct Check {
    health: Health,
    name: Cow<'static, str>,
    required: bool,
}

/// Follows the report, so that for instance gRPC health can say the same.
#[derive(Clone, Debug)]
pub struct Watch {
    receiver: watch::Receiver<Report>,
}

impl Default for Health {
    fn default() -> Self {
        let (report, _) = watch::channel(Report {
            ready: true,
            ..Report::default()
        });
        Self {
            report: Arc::new(report),
            owner: None,
        }
    }
}

impl Health {
    /// A health that turns "not ready" by itself as soon as the tasks are stopping.
    pub fn following(tasks: &Tasks) -> Self {
        let health = Self::default();
        let stopping = tasks.stopping();
        let follower = health.clone();
        tasks.spawn("health", async move {
            stopping.await;
            follower.change(|report| report.stopping = true);
            Ok(())
        });
        health
    }

    /// The same checks, with `owner` before the name of each that is added through this handle.
    #[must_use]
    pub fn of(&self, owner: &'static str) -> Self {
        Self {
            report: Arc::clone(&self.report),
            owner: Some(owner),
        }
    }

    fn name(&self, name: Cow<'static, str>) -> Cow<'static, str> {
        match self.owner {
            Some(owner) => format!("{owner} {name}").into(),
            None => name,
        }
    }

    /// A check without which this process is not ready. It starts as not ready.
    pub fn register(&self, name: impl Into<Cow<'static, str>>) -> Check {
        self.add(name.into(), true)
    }

    /// A check that is reported but does not decide on readiness. It starts as not ready.
    pub fn register_optional(&self, name: impl Into<Cow<'static, str>>) -> Check {
        self.add(name.into(), false)
    }

    /// Sets a check by its name; one that is not registered yet becomes a required one.
    pub fn set_ready(
        &self,
        name: impl Into<Cow<'static, str>>,
        ready: bool,
        reason: impl Into<String>,
    ) {
        let reason = Some(reason.into()).filter(|reason| !reason.is_empty());
        let name = self.name(name.into());
        self.change(|report| {
            let required = report.checks.get(&name).is_none_or(|check| check.required);
            report.checks.insert(
                name,
                CheckState {
                    ready,
                    required,
                    reason,
                },
            );
        });
    }

    pub fn is_ready(&self) -> bool {
        self.report.borrow().ready
    }

    pub fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    pub fn watch(&self) -> Watch {
        Watch {
            receiver: self.report.subscribe(),
        }
    }

    /// `/healthz`: the process runs. `/readyz`: it has what it needs, else 503; the body names
    /// every check and its reason.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || Json(Alive { alive: true })))
            .route("/readyz", get(answer_readiness))
            .with_state(self.clone())
    }

    fn add(&self, name: Cow<'static, str>, required: bool) -> Check {
        let check = Check {
            health: self.clone(),
            name: self.name(name),
            required,
        };
        check.set(false, Some("starting".to_owned()));
        check
    }

    /// Watchers are woken only if something is different afterwards.
    fn change(&self, change: impl FnOnce(&mut Report)) {
        self.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            report.ready = !report.stopping
                && report
                    .checks
                    .values()
                    .all(|check| check.ready || !check.required);
            *report != before
        });
    }
}

impl Check {
    pub fn ready(&self) {
        self.set(true, None);
    }

    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(false, Some(reason.into()));
    }

    fn set(&self, ready: bool, reason: Option<String>) {
        let state = CheckState {
            ready,
            required: self.required,
            reason,
        };
        self.health.change(|report| {
            report.checks.insert(self.name.clone(), state);
        });
    }
}

impl Watch {
    /// The report as it is now; [`changed`](Self::changed) then waits for a newer one.
    pub fn report(&mut self) -> Report {
        self.receiver.borrow_and_update().clone()
    }

    pub fn is_ready(&mut self) -> bool {
        self.receiver.borrow_and_update().ready
    }

    /// Completes when the report differs from the one last seen here; false when there will
    /// be no other, because the health it follows is gone.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

async fn answer_readiness(State(health): State<Health>) -> Response {
    let report = health.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}
