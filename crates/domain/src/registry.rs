//! Everything configured, as one snapshot with a revision, kept up to date by changes.

mod sessions;
mod types;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::access::{ApiKey, KeyHash, Refusal, Scope};
use crate::event_type::{CustomType, EventType};
use crate::function::{Function, TokenAlgorithm};
use crate::gateway::{GatewayService, ServiceName};
use crate::name::{FunctionName, ProjectName, TriggerName};
use crate::session::{SessionKeys, SessionRevocation};
use crate::token::TokenKeys;
use crate::trigger::Trigger;

/// A project as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub name: ProjectName,
    pub created_at: Timestamp,
    /// While it is set none of its functions is called, and what they are owed waits.
    pub is_paused: bool,
    /// The registry's revision that last changed this project.
    pub revision: u64,
}

/// One change to what is configured.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most changes are functions and triggers, and none is kept for long"
)]
pub enum Change {
    Project(Project),
    Key(ApiKey),
    Function(Function),
    FunctionDeleted {
        project: ProjectName,
        name: FunctionName,
    },
    Trigger(Trigger),
    TriggerDeleted {
        project: ProjectName,
        name: TriggerName,
    },
    /// What signs a project's tokens, or the system's.
    TokenKeys(TokenKeys),
    /// The public halves of the system's, for who must not have them.
    SessionKeys(SessionKeys),
    SessionsRevoked(SessionRevocation),
    Gateway(GatewayService),
    GatewayDeleted {
        project: ProjectName,
        name: ServiceName,
    },
    EventType(CustomType),
    EventTypeDeleted {
        project: ProjectName,
        name: EventType,
    },
}

/// Changes that belong together, and the revision they lead to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Update {
    pub revision: u64,
    /// Whether this replaces everything known before.
    pub is_snapshot: bool,
    pub changes: Vec<Change>,
}

/// What is configured, as one replica knows it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub revision: u64,
    projects: HashMap<ProjectName, Project>,
    keys: HashMap<KeyHash, ApiKey>,
    functions: HashMap<(ProjectName, FunctionName), Arc<Function>>,
    triggers: HashMap<(ProjectName, TriggerName), Arc<Trigger>>,
    token_keys: HashMap<Option<ProjectName>, Arc<TokenKeys>>,
    sessions: sessions::Sessions,
    gateways: HashMap<(ProjectName, ServiceName), Arc<GatewayService>>,
    /// The triggers of each project that are scripts of API calls: most projects have none.
    scripts: HashMap<ProjectName, Vec<Arc<Trigger>>>,
    types: types::Types,
}

impl Registry {
    pub fn apply(&mut self, update: Update) {
        if update.is_snapshot {
            *self = Self::default();
        }
        for change in update.changes {
            self.apply_one(change);
        }
        self.revision = self.revision.max(update.revision);
    }

    fn apply_one(&mut self, change: Change) {
        match change {
            Change::Project(project) => {
                self.projects.insert(project.name.clone(), project);
            }
            Change::Key(key) => {
                self.keys.insert(key.hash, key);
            }
            Change::Function(function) => {
                let key = (function.project.clone(), function.name.clone());
                self.functions.insert(key, Arc::new(function));
            }
            Change::FunctionDeleted { project, name } => {
                self.functions.remove(&(project, name));
            }
            Change::Trigger(trigger) => {
                let key = (trigger.project.clone(), trigger.name.clone());
                let trigger = Arc::new(trigger);
                self.forget_script(&key.0, &key.1);
                if trigger.script.is_some() {
                    let scripts = self.scripts.entry(key.0.clone()).or_default();
                    scripts.push(Arc::clone(&trigger));
                }
                self.triggers.insert(key, trigger);
            }
            Change::TriggerDeleted { project, name } => {
                self.forget_script(&project, &name);
                self.triggers.remove(&(project, name));
            }
            Change::TokenKeys(keys) => {
                if keys.project.is_none() {
                    self.sessions.set_keys(SessionKeys::of(&keys));
                }
                self.token_keys.insert(keys.project.clone(), Arc::new(keys));
            }
            Change::SessionKeys(keys) => self.sessions.set_keys(keys),
            Change::SessionsRevoked(revocation) => self.sessions.revoke(revocation),
            Change::Gateway(service) => {
                let key = (service.project.clone(), service.name.clone());
                self.gateways.insert(key, Arc::new(service));
            }
            Change::GatewayDeleted { project, name } => {
                self.gateways.remove(&(project, name));
            }
            Change::EventType(custom) => {
                let of_project = self.types.entry(custom.project.clone());
                of_project.or_default().insert(custom);
            }
            Change::EventTypeDeleted { project, name } => {
                if let Some(of_project) = self.types.get_mut(&project) {
                    of_project.remove(&name);
                }
            }
        }
    }

    fn forget_script(&mut self, project: &ProjectName, name: &TriggerName) {
        if let Some(scripts) = self.scripts.get_mut(project) {
            scripts.retain(|script| script.name != *name);
            if scripts.is_empty() {
                self.scripts.remove(project);
            }
        }
    }

    /// A service behind the gateway.
    pub fn gateway(
        &self,
        project: &ProjectName,
        name: &ServiceName,
    ) -> Option<&Arc<GatewayService>> {
        self.gateways.get(&(project.clone(), name.clone()))
    }

    pub fn gateways(&self) -> impl Iterator<Item = &Arc<GatewayService>> {
        self.gateways.values()
    }

    /// The project's triggers that are scripts of API calls, in no order, also those that are off.
    pub fn scripts(&self, project: &ProjectName) -> &[Arc<Trigger>] {
        self.scripts.get(project).map_or(&[], Vec::as_slice)
    }

    pub fn has_project(&self, name: &ProjectName) -> bool {
        self.projects.contains_key(name)
    }

    /// Whether what is owed to this function waits: it or its project is paused, or it was switched
    /// off by itself.
    pub fn is_paused(&self, project: &ProjectName, function: &FunctionName) -> bool {
        let of_project = self.projects.get(project);
        of_project.is_some_and(|project| project.is_paused)
            || self.function(project, function).is_some_and(|function| {
                function.settings.is_paused || function.settings.disabled.is_some()
            })
    }

    pub fn function(&self, project: &ProjectName, name: &FunctionName) -> Option<&Arc<Function>> {
        self.functions.get(&(project.clone(), name.clone()))
    }

    pub fn trigger(&self, project: &ProjectName, name: &TriggerName) -> Option<&Arc<Trigger>> {
        self.triggers.get(&(project.clone(), name.clone()))
    }

    /// What signs the tokens of a project, or without one the system's.
    pub fn token_keys(&self, project: Option<&ProjectName>) -> Option<&Arc<TokenKeys>> {
        self.token_keys.get(&project.cloned())
    }

    /// What signs the tokens of a function, where it wants any.
    pub fn token_keys_of(&self, function: &Function) -> Option<&Arc<TokenKeys>> {
        match function.token()? {
            TokenAlgorithm::Hs256 => self.token_keys(Some(&function.project)),
            TokenAlgorithm::EdDsa => self.token_keys(None),
        }
    }

    pub fn all_token_keys(&self) -> impl Iterator<Item = &Arc<TokenKeys>> {
        self.token_keys.values()
    }

    pub fn triggers(&self) -> impl Iterator<Item = &Arc<Trigger>> {
        self.triggers.values()
    }

    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values()
    }

    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values()
    }

    /// The key whose text this is, also when it was revoked.
    pub fn key(&self, key: &str) -> Option<&ApiKey> {
        self.keys.get(&KeyHash::of(key))
    }

    pub fn keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.keys.values()
    }

    /// Which project a call belongs to, if it may be made at all.
    ///
    /// The key decides; `named` is what the path or the `tripline-project` header says, and must
    /// agree. Without a key, where keys are optional, `named` decides.
    ///
    /// # Errors
    /// A project of somebody else is refused exactly like one that does not exist.
    pub fn authorise(
        &self,
        key: Option<&str>,
        named: Option<&str>,
        scope: Scope,
        requires_key: bool,
    ) -> Result<ProjectName, Refusal> {
        let unknown = |name: &str| Refusal::UnknownProject(name.to_owned());
        let Some(key) = key else {
            if requires_key {
                return Err(Refusal::NoKey);
            }
            let named = named.unwrap_or("default");
            let name = named.parse().map_err(|_not_a_name| unknown(named))?;
            return if self.has_project(&name) {
                Ok(name)
            } else {
                Err(unknown(named))
            };
        };
        let known = self
            .keys
            .get(&KeyHash::of(key))
            .filter(|key| key.revoked_at.is_none());
        let known = known.ok_or(Refusal::UnknownKey)?;
        if let Some(named) = named
            && named != known.project.as_str()
        {
            return Err(unknown(named));
        }
        if !known.scopes.contains(&scope) {
            return Err(Refusal::MissingScope(scope));
        }
        Ok(known.project.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str) -> Change {
        let name = name.parse().unwrap();
        Change::Project(Project {
            name,
            created_at: Timestamp::UNIX_EPOCH,
            is_paused: false,
            revision: 1,
        })
    }

    fn key(key: &str, project: &str, scopes: &[Scope], revoked_at: Option<Timestamp>) -> Change {
        Change::Key(ApiKey {
            id: format!("tlk_{key}"),
            project: project.parse().unwrap(),
            hash: KeyHash::of(key),
            scopes: scopes.to_vec(),
            note: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            revoked_at,
            revision: 1,
        })
    }

    fn registry() -> Registry {
        let changes = vec![
            project("default"),
            project("acme"),
            key("all-of-acme", "acme", &Scope::ALL, None),
            key("emit-only", "acme", &[Scope::Emit], None),
            key("revoked", "acme", &Scope::ALL, Some(Timestamp::UNIX_EPOCH)),
        ];
        let mut registry = Registry::default();
        registry.apply(Update {
            revision: 5,
            is_snapshot: true,
            changes,
        });
        registry
    }

    #[test]
    fn the_key_decides_the_project() {
        let authorise = |key, named| {
            registry()
                .authorise(Some(key), named, Scope::Emit, true)
                .map(|name| name.to_string())
        };
        assert_eq!(authorise("all-of-acme", None).unwrap(), "acme");
        assert_eq!(authorise("all-of-acme", Some("acme")).unwrap(), "acme");
        assert_eq!(
            authorise("all-of-acme", Some("default")),
            Err(Refusal::UnknownProject("default".to_owned())),
            "another project looks as if it did not exist"
        );
        assert_eq!(authorise("revoked", None), Err(Refusal::UnknownKey));
        assert_eq!(authorise("never-made", None), Err(Refusal::UnknownKey));
    }

    #[test]
    fn a_key_does_only_what_its_scopes_say() {
        let registry = registry();
        let refusal = registry
            .authorise(Some("emit-only"), None, Scope::Manage, true)
            .unwrap_err();
        assert_eq!(refusal, Refusal::MissingScope(Scope::Manage));
        assert!(
            registry
                .authorise(Some("emit-only"), None, Scope::Emit, true)
                .is_ok()
        );
    }

    #[test]
    fn without_a_key_only_an_open_system_answers() {
        let registry = registry();
        let open = |named| registry.authorise(None, named, Scope::Emit, false);
        assert_eq!(open(None).unwrap().as_str(), "default");
        assert_eq!(open(Some("acme")).unwrap().as_str(), "acme");
        assert_eq!(
            open(Some("nobody")),
            Err(Refusal::UnknownProject("nobody".to_owned()))
        );
        assert_eq!(
            registry.authorise(None, None, Scope::Emit, true),
            Err(Refusal::NoKey)
        );
    }

    #[test]
    fn a_snapshot_replaces_and_an_update_adds() {
        let mut registry = registry();
        registry.apply(Update {
            revision: 6,
            is_snapshot: false,
            changes: vec![project("later")],
        });
        assert!(registry.has_project(&"later".parse().unwrap()));
        assert!(registry.has_project(&"acme".parse().unwrap()));
        assert_eq!(registry.revision, 6);
        registry.apply(Update {
            revision: 7,
            is_snapshot: true,
            changes: vec![project("acme")],
        });
        assert!(!registry.has_project(&"later".parse().unwrap()));
    }
}
