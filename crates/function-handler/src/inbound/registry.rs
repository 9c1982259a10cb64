//! `RegistryService`: everything configured, with secrets, for our own services.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::function::Function;
use domain::registry::{Change, Update};
use domain::session::SessionKeys;
use domain::trigger::Trigger;
use futures::stream::{self, BoxStream, StreamExt as _};
use protocol::fault::Fault;
use protocol::registry::v1::registry_service_server::RegistryService;
use protocol::registry::v1::{WatchRegistryRequest, WatchRegistryResponse};
use protocol::wire::v1 as wire;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tonic::{Request, Response, Status};
use tracing::{debug, warn};

use super::Desk;
use crate::error::with_causes;
use crate::index::Notice;

/// One message carries at most so many changes …
const CHANGES_MAX: usize = 1_000;

/// … and about so many bytes, far below what a client reads.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Serves the registry to services.
#[derive(Debug, Clone)]
pub struct RegistryFeed {
    pub(crate) desk: Desk,
}

#[tonic::async_trait]
impl RegistryService for RegistryFeed {
    type WatchRegistryStream = BoxStream<'static, Result<WatchRegistryResponse, Status>>;

    async fn watch_registry(
        &self,
        request: Request<WatchRegistryRequest>,
    ) -> Result<Response<Self::WatchRegistryStream>, Status> {
        self.desk.gate.service(request.metadata())?;
        let request = request.into_inner();
        debug!(?request, "a service follows the registry");
        let watch = RegistryWatch {
            // Before anything is read, so that no change falls in between.
            notices: self.desk.index.notices(),
            desk: self.desk.clone(),
            wanted: request,
            has_begun: false,
            outgoing: Outgoing::default(),
        };
        Ok(Response::new(watch.into_stream()))
    }
}

/// One service that follows.
struct RegistryWatch {
    desk: Desk,
    wanted: WatchRegistryRequest,
    notices: broadcast::Receiver<Notice>,
    has_begun: bool,
    outgoing: Outgoing,
}

/// One set of changes on its way, in pieces.
#[derive(Default)]
struct Outgoing {
    revision: u64,
    is_snapshot: bool,
    /// Whether the piece that ends the set is still to be sent.
    is_open: bool,
    items: VecDeque<Item>,
}

/// What a set consists of; only what is sent next is converted.
enum Item {
    Function(Arc<Function>),
    Trigger(Arc<Trigger>),
    Change(Box<Change>),
}

impl RegistryWatch {
    fn into_stream(self) -> BoxStream<'static, Result<WatchRegistryResponse, Status>> {
        stream::unfold(self, async |mut watch| {
            let answer = watch.next().await?;
            Some((answer, watch))
        })
        .boxed()
    }

    /// The next piece; `None` when this process stops.
    async fn next(&mut self) -> Option<Result<WatchRegistryResponse, Status>> {
        loop {
            if let Some(piece) = self.outgoing.next_piece() {
                return Some(Ok(piece));
            }
            let stopping = self.desk.stopping.clone();
            if !self.has_begun {
                let began = tokio::select! {
                    () = stopping => return None,
                    began = self.begin() => began,
                };
                if let Err(fault) = began {
                    return Some(Err(fault.into()));
                }
                self.has_begun = true;
                continue;
            }
            let notice = tokio::select! {
                () = stopping => return None,
                notice = self.notices.recv() => notice,
            };
            match notice {
                Ok(Notice::Changed(update)) => {
                    if update.revision > self.outgoing.revision {
                        self.send_update(Update::clone(&update));
                    }
                }
                Ok(Notice::Reloaded) | Err(RecvError::Lagged(_)) => self.send_everything(),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Sends what changed since the client last knew everything, or everything.
    async fn begin(&mut self) -> Result<(), Fault> {
        let index = Arc::clone(&self.desk.index);
        let mut revisions = index.view().changes();
        // Ends with the index, which is held here.
        let _filled = revisions
            .wait_for(Option::is_some)
            .await
            .map(|revision| *revision);
        let known = self.wanted.known_revision;
        if known == 0 {
            self.send_everything();
            return Ok(());
        }
        if known == index.revision() {
            self.send_update(Update {
                revision: known,
                ..Update::default()
            });
            return Ok(());
        }
        match index.store().changes_since(known).await {
            Ok(update) if update.is_snapshot || update.revision >= known => {
                self.send_update(update);
            }
            // An older state of the database was brought back.
            Ok(_older) => self.send_everything(),
            Err(error) if index.revision() >= known => {
                warn!(error = %with_causes(&error), "a service that follows is sent everything");
                self.send_everything();
            }
            Err(_away) => {
                let message = "the database cannot be reached, and less is known here; try again";
                return Err(Fault::unavailable(message));
            }
        }
        Ok(())
    }

    fn send_update(&mut self, update: Update) {
        let Update {
            revision,
            is_snapshot,
            changes,
        } = update;
        let items = changes.into_iter();
        let items = items.filter_map(|change| self.as_wanted(change));
        let items = items.map(|change| Item::Change(Box::new(change))).collect();
        self.outgoing = Outgoing {
            revision,
            is_snapshot,
            is_open: true,
            items,
        };
    }

    fn send_everything(&mut self) {
        let mut items = VecDeque::new();
        let registry = self.desk.index.view().read();
        if self.wanted.access {
            let projects = registry
                .projects()
                .map(|project| Change::Project(project.clone()));
            let keys = registry.keys().map(|key| Change::Key(key.clone()));
            let session_keys = Change::SessionKeys(registry.session_keys().clone());
            let revocations = registry
                .session_revocations()
                .map(|revocation| Change::SessionsRevoked(revocation.clone()));
            items.extend(
                projects
                    .chain(keys)
                    .chain([session_keys])
                    .chain(revocations)
                    .map(|change| Item::Change(Box::new(change))),
            );
        }
        if self.wanted.functions {
            let without_secrets = self.wanted.without_secrets;
            if !without_secrets {
                items.extend(
                    registry.all_token_keys().map(|keys| {
                        Item::Change(Box::new(Change::TokenKeys(keys.as_ref().clone())))
                    }),
                );
            }
            items.extend(registry.functions().map(|function| {
                Item::Function(if without_secrets {
                    Arc::new(function.without_secrets())
                } else {
                    Arc::clone(function)
                })
            }));
            items.extend(
                registry
                    .triggers()
                    .map(|trigger| Item::Trigger(Arc::clone(trigger))),
            );
            let services = registry.gateways();
            items.extend(
                services.map(|service| {
                    Item::Change(Box::new(Change::Gateway(service.as_ref().clone())))
                }),
            );
        }
        let revision = registry.revision;
        drop(registry);
        self.outgoing = Outgoing {
            revision,
            is_snapshot: true,
            is_open: true,
            items,
        };
    }

    /// The change as this service may know it, if it wants it at all.
    fn as_wanted(&self, change: Change) -> Option<Change> {
        let WatchRegistryRequest {
            functions,
            access,
            without_secrets,
            known_revision: _,
        } = self.wanted;
        let (is_wanted, change) = match change {
            Change::Project(_)
            | Change::Key(_)
            | Change::SessionKeys(_)
            | Change::SessionsRevoked(_) => (access, change),
            Change::Function(function) if without_secrets => {
                (functions, Change::Function(function.without_secrets()))
            }
            Change::Function(_)
            | Change::FunctionDeleted { .. }
            | Change::Trigger(_)
            | Change::TriggerDeleted { .. }
            | Change::Gateway(_)
            | Change::GatewayDeleted { .. } => (functions, change),
            Change::TokenKeys(_) if functions && !without_secrets => (true, change),
            // Whoever checks sessions needs the public halves of the system's keys.
            Change::TokenKeys(keys) => {
                let public = SessionKeys::of(&keys);
                (
                    access && keys.project.is_none(),
                    Change::SessionKeys(public),
                )
            }
        };
        is_wanted.then_some(change)
    }
}

impl Outgoing {
    fn next_piece(&mut self) -> Option<WatchRegistryResponse> {
        if !self.is_open {
            return None;
        }
        let mut bytes = 0;
        let mut changes = Vec::new();
        while changes.len() < CHANGES_MAX && bytes < MESSAGE_BYTES_MAX {
            let Some(item) = self.items.pop_front() else {
                break;
            };
            bytes += item.bytes();
            changes.push(item.to_wire());
        }
        self.is_open = !self.items.is_empty();
        Some(WatchRegistryResponse {
            revision: self.revision,
            is_snapshot: self.is_snapshot,
            is_complete: !self.is_open,
            changes,
        })
    }
}

impl Item {
    fn to_wire(&self) -> wire::RegistryChange {
        use wire::registry_change::Change as Wire;
        let change = match self {
            Self::Function(function) => Wire::Function(function.as_ref().into()),
            Self::Trigger(trigger) => Wire::Trigger(trigger.as_ref().into()),
            Self::Change(change) => return change.as_ref().into(),
        };
        wire::RegistryChange {
            change: Some(change),
        }
    }

    /// Roughly: what may be long is counted.
    fn bytes(&self) -> usize {
        match self {
            Self::Function(function) => bytes_of_function(function),
            Self::Trigger(trigger) => bytes_of_trigger(trigger),
            Self::Change(change) => match change.as_ref() {
                Change::Function(function) => bytes_of_function(function),
                Change::Trigger(trigger) => bytes_of_trigger(trigger),
                Change::Key(key) => 256 + key.note.len(),
                Change::Gateway(service) => {
                    let operations = service.description.operations().iter();
                    512 + operations
                        .map(|operation| operation.len() + 4)
                        .sum::<usize>()
                }
                Change::Project(_)
                | Change::FunctionDeleted { .. }
                | Change::TriggerDeleted { .. }
                | Change::GatewayDeleted { .. }
                | Change::TokenKeys(_)
                | Change::SessionKeys(_)
                | Change::SessionsRevoked(_) => 256,
            },
        }
    }
}

fn bytes_of_function(function: &Function) -> usize {
    let certificate = function.credentials.client_certificate.as_ref();
    512 + function.url.as_str().len()
        + function
            .settings
            .authorities
            .as_ref()
            .map_or(0, String::len)
        + certificate.map_or(0, |certificate| {
            certificate.chain_pem.len() + certificate.key_pem.len()
        })
}

fn bytes_of_trigger(trigger: &Trigger) -> usize {
    let on: usize = trigger
        .on
        .iter()
        .map(|selector| selector.to_string().len())
        .sum();
    let affixes = [&trigger.prefix, &trigger.suffix]
        .into_iter()
        .flatten()
        .map(String::len);
    let subject = trigger
        .subject
        .as_ref()
        .map_or(0, |subject| subject.to_string().len());
    512 + on + affixes.sum::<usize>() + subject
}
