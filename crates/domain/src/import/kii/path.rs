//! The paths of a hook file, and which `when` each kind of them has.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::code;

/// In a pattern a name stands for itself alone.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const SCHEME: &str = "kiicloud://";

const FORMS: &str = "kiicloud://buckets/<id>, kiicloud://users/*/buckets/<id>, \
     kiicloud://groups/*/buckets/<id>, kiicloud://things/*/buckets/<id>, kiicloud://users, \
     kiicloud://groups, kiicloud://things, kiicloud://installations, kiicloud://scheduler";

pub(super) enum Kind {
    Scheduler,
    Resource(Path),
}

/// What hooks of a path are about.
pub(super) struct Path {
    pub(super) entity: Entity,
    /// Pattern of the subjects.
    pub(super) subject: String,
    /// For the trigger's name.
    pub(super) words: Vec<String>,
}

/// What something can happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entity {
    Bucket,
    User,
    Group,
    Thing,
    Installation,
}

impl Entity {
    pub(crate) const ALL: [Self; 5] = [
        Self::Bucket,
        Self::User,
        Self::Group,
        Self::Thing,
        Self::Installation,
    ];

    /// What can happen to it.
    pub(crate) const fn triggers(self) -> &'static [&'static str] {
        match self {
            Self::Bucket => &[
                "DATA_OBJECT_CREATED",
                "DATA_OBJECT_DELETED",
                "DATA_OBJECT_UPDATED",
            ],
            Self::User => &[
                "USER_CREATED",
                "USER_EMAIL_VERIFIED",
                "USER_PHONE_VERIFIED",
                "USER_PASSWORD_RESET_COMPLETED",
                "USER_PASSWORD_CHANGED",
                "USER_DELETED",
                "USER_UPDATED",
            ],
            Self::Group => &[
                "GROUP_CREATED",
                "GROUP_DELETED",
                "GROUP_MEMBERS_ADDED",
                "GROUP_MEMBERS_REMOVED",
            ],
            Self::Thing => &[
                "THING_CREATED",
                "THING_ENABLED",
                "THING_DISABLED",
                "THING_USER_OWNER_ADDED",
                "THING_GROUP_OWNER_ADDED",
                "THING_USER_OWNER_REMOVED",
                "THING_GROUP_OWNER_REMOVED",
                "THING_FIELDS_UPDATED",
                "THING_DELETED",
                "THING_CONNECTED",
                "THING_DISCONNECTED",
            ],
            Self::Installation => &["INSTALLATION_CREATED", "INSTALLATION_DELETED"],
        }
    }
}

/// Which kind of path this is, or the code and the reason why it is none.
pub(super) fn parse(text: &str) -> Result<Kind, (&'static str, String)> {
    let unknown = || {
        let message = format!("{text:?} is no path of hooks: there are {FORMS}");
        Err((code::PATH_UNKNOWN, message))
    };
    let Some(rest) = text.strip_prefix(SCHEME) else {
        return unknown();
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["scheduler"] => Ok(Kind::Scheduler),
        ["users"] => Ok(entity(Entity::User, "users/{userID}")),
        ["groups"] => Ok(entity(Entity::Group, "groups/{groupID}")),
        ["things"] => Ok(entity(Entity::Thing, "things/{thingID}")),
        ["installations"] => Ok(entity(
            Entity::Installation,
            "installations/{installationID}",
        )),
        ["buckets", bucket @ ..] => of_bucket(text, None, bucket),
        [
            owners @ ("users" | "groups" | "things"),
            owner,
            "buckets",
            bucket @ ..,
        ] => {
            if *owner != "*" {
                let message =
                    format!("the owner {owner:?} is not \"*\": hooks are for every owner");
                return Err((code::BUCKET_ID, message));
            }
            of_bucket(text, Some(owners), bucket)
        }
        _ => unknown(),
    }
}

fn entity(entity: Entity, subject: &str) -> Kind {
    Kind::Resource(Path {
        entity,
        subject: subject.to_owned(),
        words: Vec::new(),
    })
}

fn of_bucket(
    text: &str,
    owners: Option<&str>,
    bucket: &[&str],
) -> Result<Kind, (&'static str, String)> {
    let bucket = match bucket {
        [] | [""] => {
            return Err((code::BUCKET_ID, format!("{text:?} names no bucket")));
        }
        [bucket] => *bucket,
        _ => {
            let message = format!("{text:?} goes on behind the bucket's id");
            return Err((code::BUCKET_ID, message));
        }
    };
    let encoded = utf8_percent_encode(bucket, PLAIN);
    let owner = match owners {
        None => "apps/{appID}",
        Some("users") => "users/{userID}",
        Some("groups") => "groups/{groupID}",
        Some(_) => "things/{thingID}",
    };
    let words = owners.into_iter().chain([bucket]);
    Ok(Kind::Resource(Path {
        entity: Entity::Bucket,
        subject: format!("{owner}/buckets/{encoded}/objects/{{objectID}}"),
        words: words.map(ToOwned::to_owned).collect(),
    }))
}
