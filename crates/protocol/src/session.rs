//! Function sessions between `domain`, the registry's stream and the answers of introspection.

use domain::session::{RevocationSubject, Session, SessionKey, SessionKeys, SessionRevocation};

use crate::event::{ConvertError, invalid, parse};
use crate::sessions::v1 as sessions;
use crate::time::{from_micros, to_micros, to_timestamp};
use crate::wire::v1 as wire;

impl From<&SessionKeys> for wire::RegistrySessionKeys {
    fn from(keys: &SessionKeys) -> Self {
        let public = keys.keys.iter().map(|key| wire::SessionKey {
            kid: key.kid.clone(),
            public: key.public.clone().into(),
        });
        Self {
            keys: public.collect(),
            revision: keys.revision,
        }
    }
}

impl From<wire::RegistrySessionKeys> for SessionKeys {
    fn from(keys: wire::RegistrySessionKeys) -> Self {
        let public = keys.keys.into_iter().map(|key| SessionKey {
            kid: key.kid,
            public: key.public.to_vec(),
        });
        Self {
            keys: public.collect(),
            revision: keys.revision,
        }
    }
}

impl From<&SessionRevocation> for wire::RegistrySessionRevocation {
    fn from(revocation: &SessionRevocation) -> Self {
        Self {
            project: revocation.project.to_string(),
            kind: revocation.subject.kind().to_owned(),
            name: revocation.subject.name(),
            at_us: to_micros(revocation.at),
            revision: revocation.revision,
        }
    }
}

impl TryFrom<wire::RegistrySessionRevocation> for SessionRevocation {
    type Error = ConvertError;

    fn try_from(revocation: wire::RegistrySessionRevocation) -> Result<Self, ConvertError> {
        let subject = RevocationSubject::parse(&revocation.kind, &revocation.name);
        Ok(Self {
            project: parse("sessions_revoked.project", &revocation.project)?,
            subject: subject.ok_or_else(|| invalid("sessions_revoked.kind", revocation.kind))?,
            at: from_micros(revocation.at_us),
            revision: revocation.revision,
        })
    }
}

impl From<&Session> for sessions::Session {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.clone(),
            project: session.project.to_string(),
            actor_id: session.actor.id.clone(),
            actor_kind: session.actor.kind.clone(),
            function: session.function.to_string(),
            delivery: session.delivery.to_string(),
            event: session.event.to_string(),
            depth: session.lineage.depth,
            issued_at: Some(to_timestamp(session.issued_at)),
            expires_at: Some(to_timestamp(session.expires_at)),
        }
    }
}
