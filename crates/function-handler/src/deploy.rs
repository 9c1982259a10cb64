//! Works out what putting a version of a package in force changes, and has it stored as a whole.

use std::collections::{BTreeMap, BTreeSet};

use domain::api_event::script::trigger_name;
use domain::function::{Credentials, Function, FunctionSettings, Signing};
use domain::name::{FunctionName, Name, ProjectName, TriggerName};
use domain::package::{Activation, PackageVersion};
use domain::session::{RevocationSubject, SessionRevocation};
use jiff::Timestamp;
use protocol::api;
use protocol::fault::{Fault, FaultKind};
use protocol::function::format;
use protocol::functions::v1::CreateFunctionResponse;
use protocol::package::{document_from_bytes, document_to_bytes};
use protocol::packages::v1::{Document, FunctionSpec};
use protocol::settings::function_settings;
use storage::RegistryStore;
use storage::waiting_room::Owner;
use tracing::{error, info};

use crate::define::{self, function_in, schedules};
use crate::error::of_storage;
use crate::inbound::Desk;
use crate::make_secrets::{make_function_secrets, make_signing_key};

/// A version may have so many functions.
const FUNCTIONS_MAX: usize = 1_000;

/// A version may have so many triggers, those of schedules included.
const TRIGGERS_MAX: usize = 2_000;

/// A version's document may have so many bytes: the rows of its triggers are written in one go.
const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// So often it is worked out anew when somebody else was faster.
const ROUNDS_MAX: usize = 5;

/// What is to be stored.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Whether scripts of API calls may be made at all.
    pub(crate) scripting: bool,
    pub(crate) project: ProjectName,
    pub(crate) package: Name,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A new version.
    Version {
        origin: String,
        document: Document,
        source: bytes::Bytes,
        is_activated: bool,
    },
    /// A stored one is put in force.
    Activation { version: u32 },
}

/// What was stored.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) version: u32,
    /// With their secrets.
    pub(crate) created: Vec<CreateFunctionResponse>,
}

/// Stores a version, puts it in force, or both.
///
/// # Errors
/// Names the field that cannot be taken. Nothing is stored then.
pub(crate) async fn deploy(
    desk: &Desk,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Deployed, Fault> {
    for _ in 0..ROUNDS_MAX {
        if let Some(deployed) = deploy_once(desk, wanted, now).await? {
            return Ok(deployed);
        }
    }
    let message = format!(
        "package {:?} is being changed by others; try again",
        wanted.package.as_str()
    );
    Err(Fault::new(FaultKind::Conflict, message))
}

/// `None` when somebody else was faster.
#[expect(
    clippy::too_many_lines,
    reason = "a version, from its document to its being in force"
)]
async fn deploy_once(
    desk: &Desk,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Option<Deployed>, Fault> {
    let store = desk.index.store();
    let (project, package) = (&wanted.project, &wanted.package);
    let known = store.package(project, package).await.map_err(of_storage)?;
    let active = known.as_ref().and_then(|known| known.active_version);
    let (version, document, stored) = match &wanted.what {
        What::Version {
            origin,
            document,
            source,
            ..
        } => {
            let latest = known.as_ref().map_or(0, |known| known.latest_version);
            let stored = PackageVersion {
                project: project.clone(),
                package: package.clone(),
                version: latest + 1,
                origin: origin.clone(),
                document: document_to_bytes(document),
                source: source.clone(),
                created_at: now,
                activated_at: None,
            };
            check_size(&stored)?;
            (latest + 1, document.clone(), Some(stored))
        }
        What::Activation { version } => (
            *version,
            read_document(store, wanted, *version).await?,
            None,
        ),
    };
    let before = match active {
        Some(active) => read_document(store, wanted, active).await?,
        None => Document::default(),
    };
    let draft = Draft {
        project,
        package,
        version,
        replaces: active,
        now,
    };
    let (activation, created) = draft.activation(store, &document, &before).await?;
    check_called(desk, &activation)?;
    check_scripting(wanted, &activation)?;
    let is_activated = !matches!(
        wanted.what,
        What::Version {
            is_activated: false,
            ..
        }
    );
    if is_activated {
        // First: a crash in between ends sessions of a function that is still there, and no more.
        end_sessions(desk, project, &activation, now).await?;
    }
    let result = match &stored {
        Some(stored) => {
            let activation = is_activated.then_some(&activation);
            store.deploy_version(stored, activation).await
        }
        None => store.activate_version(&activation).await,
    };
    let revision = match result {
        Err(storage::Error::AlreadyExists {
            what: "version", ..
        }) => return Ok(None),
        result => result.map_err(of_storage)?,
    };
    desk.catch_up(revision).await;
    info!(%project, %package, version, is_activated, revision, "package deployed");
    if is_activated {
        call_off(desk, &activation);
    }
    Ok(Some(Deployed {
        version,
        created: match is_activated {
            true => created
                .iter()
                .map(|function| shown(function, revision))
                .collect(),
            false => Vec::new(),
        },
    }))
}

fn check_scripting(wanted: &Wanted, activation: &Activation) -> Result<(), Fault> {
    let mut triggers = activation.triggers.iter();
    if wanted.scripting || !triggers.any(|trigger| trigger.script.is_some()) {
        return Ok(());
    }
    let message = "scripts are switched off here (function_handler.scripting)";
    Err(Fault::unavailable(message))
}

/// Ends the sessions of functions that go.
async fn end_sessions(
    desk: &Desk,
    project: &ProjectName,
    activation: &Activation,
    now: Timestamp,
) -> Result<(), Fault> {
    for name in &activation.functions_deleted {
        let revocation = SessionRevocation {
            project: project.clone(),
            subject: RevocationSubject::Function(name.clone()),
            at: now,
            revision: 0,
        };
        desk.revoke_sessions(&revocation).await?;
    }
    Ok(())
}

fn check_size(version: &PackageVersion) -> Result<(), Fault> {
    let limits = [
        ("document", version.document.len(), DOCUMENT_BYTES_MAX),
        (
            "source",
            version.source.len(),
            domain::import::FILE_BYTES_MAX,
        ),
    ];
    for (field, bytes, most) in limits {
        if bytes > most {
            let allowed = format!("at most {most} bytes");
            return Err(Fault::invalid(
                field,
                format!("{bytes} bytes"),
                "is too large",
                allowed,
            ));
        }
    }
    Ok(())
}

async fn read_document(
    store: &dyn RegistryStore,
    wanted: &Wanted,
    version: u32,
) -> Result<Document, Fault> {
    let (project, package) = (&wanted.project, &wanted.package);
    let stored = store.package_version(project, package, version).await;
    let stored = stored.map_err(of_storage)?;
    let stored =
        stored.ok_or_else(|| Fault::not_found("version", format!("{package} {version}")))?;
    document_from_bytes(stored.document).map_err(|reason| {
        error!(%project, %package, version, %reason, "a stored version cannot be read");
        Fault::new(
            FaultKind::Internal,
            "the stored version cannot be read; the log says why",
        )
    })
}

/// Whatever waits because of what is gone ends.
fn call_off(desk: &Desk, activation: &Activation) {
    let functions = activation.functions_deleted.iter().cloned();
    let triggers = activation.triggers_deleted().into_iter().cloned();
    let owners = functions
        .map(Owner::Function)
        .chain(triggers.map(Owner::Trigger));
    for owner in owners {
        desk.call_off.waiting_for(&activation.project, owner);
    }
    let disabled = activation
        .triggers
        .iter()
        .filter(|trigger| !trigger.is_enabled);
    for trigger in disabled {
        let owner = Owner::Trigger(trigger.name.clone());
        desk.call_off.waiting_for(&activation.project, owner);
    }
}

fn shown(function: &Function, revision: u64) -> CreateFunctionResponse {
    let function = Function {
        revision,
        ..function.clone()
    };
    CreateFunctionResponse {
        function: Some((&function).into()),
        trigger: None,
        secret: function.secret,
        signing_secret: function.signing_secret,
    }
}

/// An activation that is being worked out.
struct Draft<'a> {
    project: &'a ProjectName,
    package: &'a Name,
    version: u32,
    replaces: Option<u32>,
    now: Timestamp,
}

impl Draft<'_> {
    /// The activation, and the functions that are made by it.
    async fn activation(
        &self,
        store: &dyn RegistryStore,
        document: &Document,
        before: &Document,
    ) -> Result<(Activation, Vec<Function>), Fault> {
        check_counts(document)?;
        let mut functions = BTreeMap::new();
        let mut created = Vec::new();
        for (place, spec) in document.functions.iter().enumerate() {
            let within = |fault: Fault| fault.within(&format!("document.functions[{place}]"));
            let name = self.function_name(spec).map_err(within)?;
            let existing = store
                .function(self.project, &name)
                .await
                .map_err(of_storage)?;
            let is_new = existing.is_none();
            let function = self.function(&name, spec, existing).map_err(within)?;
            if is_new {
                created.push(function.clone());
            }
            if functions.insert(name.clone(), function).is_some() {
                let message = "stands twice in the version";
                let fault = Fault::invalid("name", name.to_string(), message, "each name once");
                return Err(within(fault));
            }
        }
        let mut activation = Activation {
            project: self.project.clone(),
            package: self.package.clone(),
            version: self.version,
            replaces: self.replaces,
            functions: Vec::new(),
            functions_deleted: self.gone(before, &functions),
            triggers: Vec::new(),
            triggers_owned: trigger_names(before),
            schedules: Vec::new(),
            at: self.now,
        };
        activation.functions = functions.into_values().collect();
        self.add_triggers(document, &mut activation)?;
        check_names(&activation)?;
        Ok((activation, created))
    }

    fn function_name(&self, spec: &FunctionSpec) -> Result<FunctionName, Fault> {
        let name = function_in(Some(self.package), "name", &spec.name)?;
        if name.package != *self.package {
            let message = "is not of this package";
            let allowed = format!("{}/NAME", self.package);
            return Err(Fault::invalid("name", &spec.name, message, allowed));
        }
        Ok(name)
    }

    fn function(
        &self,
        name: &FunctionName,
        spec: &FunctionSpec,
        existing: Option<Function>,
    ) -> Result<Function, Fault> {
        let settings = function_settings(&spec.settings.clone().unwrap_or_default())?;
        let settings = FunctionSettings {
            disabled: None,
            ..settings
        };
        let url = define::url(&spec.url)?;
        let format = format(&spec.format)?.unwrap_or_default();
        let mut function = match existing {
            Some(existing) => Function {
                url,
                format,
                settings: FunctionSettings {
                    // What an operator has paused stays so until it is resumed.
                    is_paused: existing.settings.is_paused || settings.is_paused,
                    ..settings
                },
                updated_at: self.now,
                ..existing
            },
            None => {
                let fresh = make_function_secrets()?;
                Function {
                    project: self.project.clone(),
                    name: name.clone(),
                    url,
                    format,
                    secret: fresh.secret,
                    signing_secret: fresh.signing_secret,
                    settings,
                    credentials: Credentials {
                        signing_key: fresh.signing_key,
                        ..Credentials::default()
                    },
                    created_at: self.now,
                    updated_at: self.now,
                    revision: 0,
                }
            }
        };
        define::check(&function)?;
        let credentials = &mut function.credentials;
        if function.settings.signing != Signing::Hmac && credentials.signing_key.is_empty() {
            credentials.signing_key = make_signing_key()?;
        }
        Ok(function)
    }

    /// Functions of the version until now that this one does not have.
    fn gone(
        &self,
        before: &Document,
        functions: &BTreeMap<FunctionName, Function>,
    ) -> Vec<FunctionName> {
        let before = before.functions.iter();
        let before = before.filter_map(|spec| self.function_name(spec).ok());
        before
            .filter(|name| !functions.contains_key(name))
            .collect()
    }

    fn add_triggers(&self, document: &Document, activation: &mut Activation) -> Result<(), Fault> {
        for (place, wanted) in document.triggers.iter().enumerate() {
            let within = |fault: Fault| fault.within(&format!("document.triggers[{place}]"));
            let function = function_in(Some(self.package), "function", &wanted.function);
            let function = function.map_err(within)?;
            let mut trigger = wanted.clone();
            // The name is read once more, where one without a package means another.
            trigger.function = format!("{}/{}", function.package, function.name);
            let trigger = define::trigger(self.project, &trigger, self.now).map_err(within)?;
            activation.triggers.push(trigger);
        }
        for (place, wanted) in document.schedules.iter().enumerate() {
            let defined = schedules::schedule(self.project, Some(self.package), wanted, self.now);
            let (schedule, trigger) =
                defined.map_err(|fault| fault.within(&format!("document.schedules[{place}]")))?;
            activation.triggers.push(trigger);
            activation.schedules.push(schedule);
        }
        Ok(())
    }
}

fn check_counts(document: &Document) -> Result<(), Fault> {
    let triggers = document.triggers.len() + document.schedules.len();
    let limits = [
        (
            "document.functions",
            document.functions.len(),
            FUNCTIONS_MAX,
        ),
        ("document.triggers", triggers, TRIGGERS_MAX),
    ];
    for (field, count, most) in limits {
        if count > most {
            let allowed = format!("at most {most}");
            return Err(Fault::invalid(
                field,
                count.to_string(),
                "are too many",
                allowed,
            ));
        }
    }
    Ok(())
}

/// By its name or its endpoint a function is known within its package, and no other is.
fn check_called(desk: &Desk, activation: &Activation) -> Result<(), Fault> {
    let clash = |called: &str, other: &FunctionName| Fault {
        kind: FaultKind::AlreadyExists,
        ..Fault::invalid(
            "document.functions",
            called,
            format!("is what {other} of the same package is called by"),
            "a name that no other function has",
        )
    };
    let mut called: BTreeMap<&str, &FunctionName> = BTreeMap::new();
    for function in &activation.functions {
        let endpoint = function.settings.endpoint.as_deref();
        let names = [function.name.name.as_str()].into_iter().chain(endpoint);
        for name in names {
            if let Some(other) = called.insert(name, &function.name)
                && *other != function.name
            {
                return Err(clash(name, other));
            }
        }
    }
    let registry = desk.index.view().read();
    for function in &activation.functions {
        let Some(other) = registry.clash_of(function) else {
            continue;
        };
        let mut replaced = activation.functions.iter().map(|function| &function.name);
        let is_gone = activation.functions_deleted.contains(&other.name);
        if !is_gone && !replaced.any(|name| *name == other.name) {
            let endpoint = function.settings.endpoint.as_deref();
            let name = endpoint.unwrap_or_else(|| function.name.name.as_str());
            return Err(clash(name, &other.name));
        }
    }
    Ok(())
}

/// No name twice: triggers and schedules share theirs.
fn check_names(activation: &Activation) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for trigger in &activation.triggers {
        if !names.insert(&trigger.name) {
            let message = "is the name of two triggers or schedules of the version";
            let name = trigger.name.to_string();
            return Err(Fault::invalid("document", name, message, "each name once"));
        }
    }
    Ok(())
}

fn trigger_names(document: &Document) -> BTreeSet<TriggerName> {
    let triggers = document.triggers.iter().filter_map(|trigger| {
        // A script need not be named: its name follows from its event.
        let script = api::script(trigger).ok().flatten();
        match script {
            Some(script) => Some(trigger_name(&script.event)),
            None => trigger.name.parse().ok(),
        }
    });
    let schedules = document.schedules.iter();
    let schedules = schedules.filter_map(|schedule| schedule.name.parse().ok());
    triggers.chain(schedules).collect()
}
