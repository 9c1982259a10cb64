//! What is configured, hot in this replica: the view that calls read, the matcher that events walk.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use domain::matching::Matcher;
use domain::name::{ProjectName, TriggerName};
use domain::registry::{Change, Registry, Update};
use domain::trigger::Trigger;
use protocol::registry_feed::RegistryView;
use storage::RegistryStore;
use tokio::sync::{Mutex, broadcast};

use crate::metrics;

/// A watcher that is further behind than so many updates begins anew.
const NOTICES_MAX: usize = 256;

/// Follows the store's revisions, one refresh after the other.
#[derive(Debug)]
pub struct Index {
    store: Arc<dyn RegistryStore>,
    view: RegistryView,
    matcher: RwLock<Matcher>,
    /// Held while asking the store, so that an older answer never overwrites a newer one.
    turn: Mutex<()>,
    notices: broadcast::Sender<Notice>,
}

/// What watchers are told, after the view has it.
#[derive(Debug, Clone)]
pub enum Notice {
    Changed(Arc<Update>),
    /// Everything was read anew: what changed is not known one by one.
    Reloaded,
}

impl Index {
    pub fn new(store: Arc<dyn RegistryStore>, view: RegistryView) -> Self {
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        Self {
            store,
            view,
            matcher: RwLock::default(),
            turn: Mutex::default(),
            notices,
        }
    }

    pub fn store(&self) -> &dyn RegistryStore {
        self.store.as_ref()
    }

    pub fn view(&self) -> &RegistryView {
        &self.view
    }

    pub fn revision(&self) -> u64 {
        self.view.read().revision
    }

    /// Tells of every update from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Lends both halves. Short work only: changes wait meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&Matcher, &Registry) -> T) -> T {
        let matcher = self.matcher();
        let registry = self.view.read();
        work(&matcher, &registry)
    }

    /// Reads what is new; everything when nothing is known yet.
    ///
    /// # Errors
    /// When the store does not answer; the index stays as it was.
    pub async fn refresh(&self) -> Result<(), storage::Error> {
        let _turn = self.turn.lock().await;
        self.read_news().await
    }

    /// Makes sure that this revision is known here, without asking when it is already.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub async fn catch_up(&self, revision: u64) -> Result<(), storage::Error> {
        let _turn = self.turn.lock().await;
        if self.view.is_filled() && self.revision() >= revision {
            return Ok(());
        }
        self.read_news().await
    }

    async fn read_news(&self) -> Result<(), storage::Error> {
        if !self.view.is_filled() {
            self.apply(self.store.snapshot().await?);
            return Ok(());
        }
        let known = self.revision();
        let update = self.store.changes_since(known).await?;
        if update.revision < known && !update.is_snapshot {
            // An older state of the database was brought back.
            self.apply(self.store.snapshot().await?);
        } else if update.is_snapshot || update.revision > known || !update.changes.is_empty() {
            self.apply(update);
        }
        Ok(())
    }

    /// The view comes first: a trigger must never be matched before its function is known.
    fn apply(&self, update: Update) {
        let revision = update.revision;
        let notice = if update.is_snapshot {
            self.view.apply(update);
            let triggers: Vec<_> = self.view.read().triggers().map(Arc::clone).collect();
            let mut matcher = Matcher::default();
            for trigger in triggers {
                matcher.insert(trigger);
            }
            *self.matcher.write().unwrap_or_else(PoisonError::into_inner) = matcher;
            Notice::Reloaded
        } else {
            let update = Arc::new(update);
            self.view.apply(Update::clone(&update));
            self.follow_triggers(&update.changes);
            Notice::Changed(update)
        };
        metrics::registry_changed(revision, self.matcher().len());
        // Without a listener nobody misses it.
        drop(self.notices.send(notice));
    }

    fn follow_triggers(&self, changes: &[Change]) {
        let news: Vec<(&ProjectName, &TriggerName, Option<Arc<Trigger>>)> = {
            let registry = self.view.read();
            let changed = changes.iter().filter_map(|change| match change {
                Change::Trigger(trigger) => Some((&trigger.project, &trigger.name)),
                Change::TriggerDeleted { project, name } => Some((project, name)),
                Change::Project(_)
                | Change::Key(_)
                | Change::Function(_)
                | Change::FunctionDeleted { .. }
                | Change::TokenKeys(_)
                | Change::Gateway(_)
                | Change::GatewayDeleted { .. }
                | Change::SessionKeys(_)
                | Change::SessionsRevoked(_) => None,
            });
            changed
                .map(|(project, name)| (project, name, registry.trigger(project, name).cloned()))
                .collect()
        };
        if news.is_empty() {
            return;
        }
        let mut matcher = self.matcher.write().unwrap_or_else(PoisonError::into_inner);
        for (project, name, trigger) in news {
            match trigger {
                Some(trigger) => matcher.insert(trigger),
                None => matcher.remove(project, name),
            };
        }
    }

    fn matcher(&self) -> RwLockReadGuard<'_, Matcher> {
        self.matcher.read().unwrap_or_else(PoisonError::into_inner)
    }
}
