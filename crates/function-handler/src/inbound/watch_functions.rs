//! `FunctionService.WatchFunctions`: a project's functions and triggers, as they are and change.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use domain::access::Scope;
use domain::name::{FunctionName, ProjectName, TriggerName};
use domain::registry::Change;
use futures::stream::{self, BoxStream, StreamExt as _};
use protocol::functions::v1::WatchFunctionsResponse;
use protocol::functions::v1::watch_functions_response::Change as Shown;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::Desk;
use crate::index::Notice;

/// One client that watches.
pub(crate) struct FunctionWatch {
    desk: Desk,
    project: ProjectName,
    /// What the client called with: a key that is revoked ends its stream.
    metadata: MetadataMap,
    notices: broadcast::Receiver<Notice>,
    has_begun: bool,
    revision: u64,
    /// What the client knows of, so that after a gap it learns what is gone.
    functions: HashSet<FunctionName>,
    triggers: HashSet<TriggerName>,
    outgoing: VecDeque<WatchFunctionsResponse>,
}

impl FunctionWatch {
    pub(crate) fn new(desk: Desk, project: ProjectName, metadata: MetadataMap) -> Self {
        Self {
            // Before anything is read, so that no change falls in between.
            notices: desk.index.notices(),
            desk,
            project,
            metadata,
            has_begun: false,
            revision: 0,
            functions: HashSet::new(),
            triggers: HashSet::new(),
            outgoing: VecDeque::new(),
        }
    }

    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<WatchFunctionsResponse, Status>> {
        stream::unfold(Some(self), async |watch| {
            let mut watch = watch?;
            match watch.next().await? {
                Ok(answer) => Some((Ok(answer), Some(watch))),
                Err(status) => Some((Err(status), None)),
            }
        })
        .boxed()
    }

    /// The next answer; `None` when this process stops.
    async fn next(&mut self) -> Option<Result<WatchFunctionsResponse, Status>> {
        loop {
            if let Some(answer) = self.outgoing.pop_front() {
                return Some(Ok(answer));
            }
            if !self.has_begun {
                self.has_begun = true;
                self.show_everything();
                self.show(Shown::IsCurrent(true));
                continue;
            }
            let notice = tokio::select! {
                () = self.desk.stopping.clone() => return None,
                notice = self.notices.recv() => notice,
            };
            if let Err(refused) = self.desk.gate.project(&self.metadata, Scope::Read) {
                return Some(Err(refused.into()));
            }
            match notice {
                Ok(Notice::Changed(update)) => {
                    if update.revision > self.revision {
                        self.revision = update.revision;
                        update
                            .changes
                            .iter()
                            .for_each(|change| self.show_change(change));
                    }
                }
                Ok(Notice::Reloaded) | Err(RecvError::Lagged(_)) => self.show_everything(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Everything there is, and that the rest is gone.
    fn show_everything(&mut self) {
        let (functions, triggers) = {
            let registry = self.desk.index.view().read();
            self.revision = registry.revision;
            let functions = registry
                .functions()
                .filter(|function| function.project == self.project);
            let triggers = registry
                .triggers()
                .filter(|trigger| trigger.project == self.project);
            let functions: Vec<_> = functions.map(Arc::clone).collect();
            (functions, triggers.map(Arc::clone).collect::<Vec<_>>())
        };
        let mut gone_functions = std::mem::take(&mut self.functions);
        let mut gone_triggers = std::mem::take(&mut self.triggers);
        for function in &functions {
            gone_functions.remove(&function.name);
            self.functions.insert(function.name.clone());
            self.show(Shown::Function(function.as_ref().into()));
        }
        for trigger in &triggers {
            gone_triggers.remove(&trigger.name);
            self.triggers.insert(trigger.name.clone());
            self.show(Shown::Trigger(trigger.as_ref().into()));
        }
        gone_triggers
            .iter()
            .for_each(|name| self.show(Shown::TriggerDeleted(name.to_string())));
        gone_functions
            .iter()
            .for_each(|name| self.show(Shown::FunctionDeleted(name.to_string())));
    }

    fn show_change(&mut self, change: &Change) {
        match change {
            Change::Function(function) if function.project == self.project => {
                self.functions.insert(function.name.clone());
                self.show(Shown::Function(function.into()));
            }
            Change::FunctionDeleted { project, name } if *project == self.project => {
                self.functions.remove(name);
                self.show(Shown::FunctionDeleted(name.to_string()));
            }
            Change::Trigger(trigger) if trigger.project == self.project => {
                self.triggers.insert(trigger.name.clone());
                self.show(Shown::Trigger(trigger.into()));
            }
            Change::TriggerDeleted { project, name } if *project == self.project => {
                self.triggers.remove(name);
                self.show(Shown::TriggerDeleted(name.to_string()));
            }
            Change::Project(_)
            | Change::Key(_)
            | Change::Function(_)
            | Change::FunctionDeleted { .. }
            | Change::Trigger(_)
            | Change::TriggerDeleted { .. }
            | Change::TokenKeys(_)
            | Change::Gateway(_)
            | Change::GatewayDeleted { .. }
            | Change::SessionKeys(_)
            | Change::SessionsRevoked(_) => {}
        }
    }

    fn show(&mut self, change: Shown) {
        let (change, revision) = (Some(change), self.revision);
        self.outgoing
            .push_back(WatchFunctionsResponse { change, revision });
    }
}
