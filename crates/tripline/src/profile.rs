//! The profile file: which server a command asks and as whom, where neither options nor variables say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};
use settings::{SecretString, load};
use url::Url;

use crate::command_line::Connection;
use crate::failure::Failure;

const SERVER_DEFAULT: &str = "http://127.0.0.1:8700";

/// Used where no other is named, if the file has it.
const PROFILE_DEFAULT: &str = "default";

/// The file's sections by their names.
type Profiles = BTreeMap<String, Profile>;

/// One section of the file; what it leaves out has no say.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Profile {
    server: Option<Url>,
    emitter: Option<Url>,
    functions_server: Option<Url>,
    worker: Option<Url>,
    logs_server: Option<Url>,
    api_key: Option<SecretString>,
    project: Option<String>,
}

impl Connection {
    /// The same, completed by the profile that is named, or by `default` if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or has no section of that name.
    pub(crate) fn with_profile(self) -> Result<Self, Failure> {
        let file = profile_file().filter(|path| path.exists());
        let (name, profiles) = match (&self.profile, file) {
            (None, None) => return Ok(self),
            (Some(name), None) => {
                let place = profile_file().map(|path| format!(" ({})", path.display()));
                let place = place.unwrap_or_default();
                let message = format!("--profile {name}: there is no profile file{place}");
                return Err(Failure::usage(message));
            }
            (name, Some(file)) => (name.as_deref(), read(&file)?),
        };
        match (profiles.get(name.unwrap_or(PROFILE_DEFAULT)), name) {
            (Some(profile), _) => Ok(self.completed_by(profile.clone())),
            (None, None) => Ok(self),
            (None, Some(name)) => {
                let known: Vec<_> = profiles.keys().map(String::as_str).collect();
                let known = known.join(", ");
                let message = format!("--profile {name}: the profile file has only {known}");
                Err(Failure::usage(message))
            }
        }
    }

    fn completed_by(self, profile: Profile) -> Self {
        // Who names a server means all of it: neither another one's addresses are mixed with it,
        // nor is it sent the key of another one.
        let theirs = match self.server {
            Some(_) => Profile {
                project: profile.project,
                ..Profile::default()
            },
            None => profile,
        };
        let api_key = theirs.api_key.map(|key| key.expose().clone());
        Self {
            server: self.server.or(theirs.server),
            emitter: self.emitter.or(theirs.emitter),
            functions_server: self.functions_server.or(theirs.functions_server),
            worker: self.worker.or(theirs.worker),
            logs_server: self.logs_server.or(theirs.logs_server),
            api_key: self.api_key.or(api_key),
            project: self.project.or(theirs.project),
            profile: self.profile,
            output: self.output,
        }
    }

    /// Where tripline is served, as far as nothing else is said for a service.
    ///
    /// # Errors
    /// None in practice: the default is a URL.
    pub(crate) fn server(&self) -> Result<Url, Failure> {
        let default = || Url::parse(SERVER_DEFAULT);
        let server = self.server.clone().map_or_else(default, Ok);
        server.map_err(|error| Failure::usage(format!("{SERVER_DEFAULT}: {error}")))
    }
}

fn profile_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.config_dir().join("tripline/profiles.toml"))
}

fn read(file: &Path) -> Result<Profiles, Failure> {
    load::<Profiles>("the command line", Some(file), std::iter::empty())
        .map_err(|faults| Failure::settings(faults.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Connection {
        Connection {
            server: None,
            emitter: None,
            functions_server: None,
            worker: None,
            logs_server: None,
            api_key: None,
            project: None,
            profile: None,
            output: crate::command_line::Output::Table,
        }
    }

    fn profile() -> Profile {
        Profile {
            server: Some("https://tripline.example".parse().unwrap()),
            emitter: Some("https://emit.example".parse().unwrap()),
            api_key: Some("tlk_1".into()),
            project: Some("acme".to_owned()),
            ..Profile::default()
        }
    }

    #[test]
    fn a_profile_says_what_options_leave_open() {
        assert_eq!(none().server().unwrap().as_str(), "http://127.0.0.1:8700/");
        let completed = none().completed_by(profile());
        assert_eq!(
            completed.server().unwrap().as_str(),
            "https://tripline.example/"
        );
        assert_eq!(completed.api_key.as_deref(), Some("tlk_1"));
        let given = Connection {
            api_key: Some("tlk_2".to_owned()),
            ..none()
        };
        assert_eq!(
            given.completed_by(profile()).api_key.as_deref(),
            Some("tlk_2")
        );
    }

    #[test]
    fn a_server_that_is_named_is_not_mixed_with_another_ones_addresses() {
        let given = Connection {
            server: Some("http://127.0.0.1:9999".parse().unwrap()),
            ..none()
        };
        let completed = given.completed_by(profile());
        assert_eq!(completed.server().unwrap().port(), Some(9999));
        assert_eq!(completed.emitter, None);
        assert_eq!(completed.api_key, None, "it is not sent another one's key");
        assert_eq!(completed.project.as_deref(), Some("acme"));
    }
}
