//! Which function sessions are in force, by what is configured.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Registry;
use crate::access::Refusal;
use crate::name::ProjectName;
use crate::session::{
    LIFETIME_MAX, RevocationSubject, Session, SessionError, SessionKeys, SessionRevocation,
};

/// What reading sessions needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    keys: SessionKeys,
    revocations: HashMap<(ProjectName, RevocationSubject), SessionRevocation>,
}

impl Sessions {
    pub(super) fn set_keys(&mut self, keys: SessionKeys) {
        self.keys = keys;
    }

    /// Those that no session can have outlived are forgotten with the next one.
    pub(super) fn revoke(&mut self, revocation: SessionRevocation) {
        let at = revocation.at;
        let forgotten = at.saturating_sub(LIFETIME_MAX * 2).unwrap_or(at);
        self.revocations
            .retain(|_, earlier| earlier.at >= forgotten);
        let key = (revocation.project.clone(), revocation.subject.clone());
        let known = self
            .revocations
            .entry(key)
            .or_insert_with(|| revocation.clone());
        if known.at < revocation.at {
            *known = revocation;
        }
    }
}

impl Registry {
    /// The public halves of the keys that sign sessions.
    pub fn session_keys(&self) -> &SessionKeys {
        &self.sessions.keys
    }

    pub fn session_revocations(&self) -> impl Iterator<Item = &SessionRevocation> {
        self.sessions.revocations.values()
    }

    /// Reads a session that is in force at `now`: signed by the system, neither too old nor revoked.
    ///
    /// # Errors
    /// Says why it is not in force.
    pub fn read_session(&self, token: &str, now: Timestamp) -> Result<Session, SessionError> {
        let session = Session::read(token, &self.sessions.keys, now)?;
        let subjects = [
            RevocationSubject::Actor(session.actor.id.clone()),
            RevocationSubject::Function(session.function.clone()),
        ];
        let is_revoked = subjects.into_iter().any(|subject| {
            let key = (session.project.clone(), subject);
            let revocation = self.sessions.revocations.get(&key);
            revocation.is_some_and(|revocation| revocation.ends(&session))
        });
        if is_revoked || !self.has_project(&session.project) {
            return Err(SessionError::Revoked);
        }
        Ok(session)
    }

    /// The session of a call that carries one in place of an API key. `named` is what the path or the
    /// `tripline-project` header says, and must agree.
    ///
    /// # Errors
    /// As [`authorise`](Self::authorise), for a session that is not in force.
    pub fn admit_session(
        &self,
        token: &str,
        named: Option<&str>,
        now: Timestamp,
    ) -> Result<Session, Refusal> {
        let session = self.read_session(token, now)?;
        match named {
            Some(named) if named != session.project.as_str() => {
                Err(Refusal::UnknownProject(named.to_owned()))
            }
            _ => Ok(session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;
    use crate::event::{Actor, Event};
    use crate::id::DeliveryId;
    use crate::registry::{Change, Project, Update};
    use crate::session::{Attempt, LIFETIME_DEFAULT};
    use crate::signature::ed25519;
    use crate::token::{TokenKey, TokenKeys};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn system_keys() -> TokenKeys {
        TokenKeys {
            project: None,
            keys: vec![TokenKey {
                kid: "k1".to_owned(),
                secret: ed25519::encode_private_key(&[1; 32]).unwrap(),
                signs_from: Timestamp::UNIX_EPOCH,
            }],
            revision: 1,
        }
    }

    fn session(function: &str, actor: &str, now: Timestamp) -> String {
        let event = Event {
            actor: Some(Actor {
                id: actor.to_owned(),
                kind: "user".to_owned(),
            }),
            ..sample::event(1)
        };
        let attempt = Attempt {
            event: &event,
            function: &function.parse().unwrap(),
            delivery: DeliveryId::derive(event.eid, function),
            now,
            lifetime: LIFETIME_DEFAULT,
        };
        let session = Session::of(&attempt, "s1".to_owned()).unwrap();
        session.sign(&system_keys().keys[0]).unwrap()
    }

    fn registry(changes: Vec<Change>) -> Registry {
        let mut registry = Registry::default();
        let project = |name: &str| {
            Change::Project(Project {
                name: name.parse().unwrap(),
                created_at: Timestamp::UNIX_EPOCH,
                is_paused: false,
                revision: 1,
            })
        };
        let mut all = vec![project("default"), project("acme")];
        all.extend(changes);
        registry.apply(Update {
            revision: 1,
            is_snapshot: true,
            changes: all,
        });
        registry
    }

    fn revoked(subject: RevocationSubject, second: i64) -> Change {
        Change::SessionsRevoked(SessionRevocation {
            project: "default".parse().unwrap(),
            subject,
            at: at(second),
            revision: 2,
        })
    }

    #[test]
    fn whoever_knows_the_keys_or_only_their_public_halves_reads_sessions() {
        let token = session("welcome", "u1", at(0));
        let all = registry(vec![Change::TokenKeys(system_keys())]);
        let public = registry(vec![Change::SessionKeys(SessionKeys::of(&system_keys()))]);
        for registry in [all, public] {
            let session = registry.admit_session(&token, None, at(1)).unwrap();
            assert_eq!(session.actor.id, "u1");
            assert!(
                registry
                    .admit_session(&token, Some("default"), at(1))
                    .is_ok()
            );
            assert_eq!(
                registry.admit_session(&token, Some("acme"), at(1)),
                Err(Refusal::UnknownProject("acme".to_owned()))
            );
        }
        let nothing = registry(Vec::new());
        assert_eq!(
            nothing.read_session(&token, at(1)),
            Err(SessionError::Unknown)
        );
    }

    #[test]
    fn sessions_of_a_user_or_function_that_is_gone_are_revoked_and_later_ones_are_not() {
        let actor = RevocationSubject::Actor("u1".to_owned());
        let function = RevocationSubject::Function("welcome".parse().unwrap());
        for subject in [actor, function] {
            let mut registry = registry(vec![
                Change::TokenKeys(system_keys()),
                revoked(subject.clone(), 10),
            ]);
            let read = |registry: &Registry, function, actor, second| {
                let token = session(function, actor, at(second));
                registry.read_session(&token, at(second + 1)).map(drop)
            };
            assert_eq!(
                read(&registry, "welcome", "u1", 5),
                Err(SessionError::Revoked)
            );
            assert_eq!(read(&registry, "welcome", "u1", 11), Ok(()));
            assert_eq!(read(&registry, "audit", "u2", 5), Ok(()));
            // Told once more, or in another order: the latest counts.
            registry.apply(Update {
                revision: 3,
                is_snapshot: false,
                changes: vec![revoked(subject, 3)],
            });
            assert_eq!(
                read(&registry, "welcome", "u1", 5),
                Err(SessionError::Revoked)
            );
        }
    }

    #[test]
    fn a_revocation_that_no_session_can_have_outlived_is_forgotten() {
        let first = RevocationSubject::Actor("u1".to_owned());
        let second = RevocationSubject::Actor("u2".to_owned());
        let registry = registry(vec![revoked(first, 0), revoked(second, 3600)]);
        assert_eq!(registry.session_revocations().count(), 1);
    }
}
