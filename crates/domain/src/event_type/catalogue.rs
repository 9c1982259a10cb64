//! The built-in types: one row each, by number. A number never changes its meaning.

/// A type the system knows by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// `<domain>.<entity>.<verb>`.
    pub name: &'static str,
    pub number: u32,
    /// What schmuckli calls it, where schmuckli has it.
    pub schmuckli_name: Option<&'static str>,
    /// What Space Cloud, Kii and Yandex Cloud call it.
    pub aliases: &'static [&'static str],
}

impl BuiltIn {
    /// The canonical name and every other.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name]
            .into_iter()
            .chain(self.schmuckli_name)
            .chain(self.aliases.iter().copied())
    }

    /// What Space Cloud calls it.
    pub fn space_cloud_name(&self) -> Option<&'static str> {
        self.aliases
            .iter()
            .copied()
            .find(|name| is_space_clouds(name))
    }

    /// The `event_type` that Yandex Cloud has for it.
    pub fn yandex_name(&self) -> Option<&'static str> {
        self.aliases.iter().copied().find(|name| is_yandexs(name))
    }

    /// The trigger (`when`) that Kii has for it.
    pub fn kii_name(&self) -> Option<&'static str> {
        let mut aliases = self.aliases.iter().copied();
        aliases.find(|name| !is_space_clouds(name) && !is_yandexs(name))
    }
}

fn is_space_clouds(name: &str) -> bool {
    name.starts_with("DB_") || name.starts_with("FILE_")
}

fn is_yandexs(name: &str) -> bool {
    name.starts_with("yandex.cloud.events.")
}

const fn seed(
    number: u32,
    name: &'static str,
    schmuckli_name: &'static str,
    aliases: &'static [&'static str],
) -> BuiltIn {
    BuiltIn {
        name,
        number,
        schmuckli_name: Some(schmuckli_name),
        aliases,
    }
}

const fn row(number: u32, name: &'static str, aliases: &'static [&'static str]) -> BuiltIn {
    BuiltIn {
        name,
        number,
        schmuckli_name: None,
        aliases,
    }
}

pub static CATALOGUE: [BuiltIn; 41] = [
    seed(
        1000,
        "storage.row.insert",
        "STORAGE_INSERT",
        &["DB_INSERT", "DATA_OBJECT_CREATED"],
    ),
    seed(
        1001,
        "storage.row.update",
        "STORAGE_UPDATE",
        &["DB_UPDATE", "DATA_OBJECT_UPDATED"],
    ),
    seed(
        1002,
        "storage.row.delete",
        "STORAGE_DELETE",
        &["DB_DELETE", "DATA_OBJECT_DELETED"],
    ),
    row(
        1100,
        "file.object.create",
        &["FILE_CREATE", "yandex.cloud.events.storage.ObjectCreate"],
    ),
    row(
        1101,
        "file.object.update",
        &["yandex.cloud.events.storage.ObjectUpdate"],
    ),
    row(
        1102,
        "file.object.delete",
        &["FILE_DELETE", "yandex.cloud.events.storage.ObjectDelete"],
    ),
    seed(2000, "auth.session.login", "AUTH_LOGIN", &[]),
    seed(2001, "auth.user.register", "AUTH_REGISTER", &[]),
    row(2100, "user.account.create", &["USER_CREATED"]),
    row(2101, "user.account.update", &["USER_UPDATED"]),
    USER_DELETED,
    row(2103, "user.email.verify", &["USER_EMAIL_VERIFIED"]),
    row(2104, "user.phone.verify", &["USER_PHONE_VERIFIED"]),
    row(2105, "user.password.change", &["USER_PASSWORD_CHANGED"]),
    row(
        2106,
        "user.password.reset",
        &["USER_PASSWORD_RESET_COMPLETED"],
    ),
    row(2200, "group.group.create", &["GROUP_CREATED"]),
    row(2202, "group.group.delete", &["GROUP_DELETED"]),
    row(2203, "group.members.add", &["GROUP_MEMBERS_ADDED"]),
    row(2204, "group.members.remove", &["GROUP_MEMBERS_REMOVED"]),
    row(3000, "thing.thing.create", &["THING_CREATED"]),
    row(3001, "thing.thing.update", &["THING_FIELDS_UPDATED"]),
    row(3002, "thing.thing.delete", &["THING_DELETED"]),
    row(3003, "thing.thing.enable", &["THING_ENABLED"]),
    row(3004, "thing.thing.disable", &["THING_DISABLED"]),
    row(3005, "thing.owner.add_user", &["THING_USER_OWNER_ADDED"]),
    row(
        3006,
        "thing.owner.remove_user",
        &["THING_USER_OWNER_REMOVED"],
    ),
    row(3007, "thing.owner.add_group", &["THING_GROUP_OWNER_ADDED"]),
    row(
        3008,
        "thing.owner.remove_group",
        &["THING_GROUP_OWNER_REMOVED"],
    ),
    row(3009, "thing.connection.up", &["THING_CONNECTED"]),
    row(3010, "thing.connection.down", &["THING_DISCONNECTED"]),
    row(3100, "push.installation.create", &["INSTALLATION_CREATED"]),
    row(3102, "push.installation.delete", &["INSTALLATION_DELETED"]),
    row(
        4000,
        "queue.message.receive",
        &["yandex.cloud.events.messagequeue.QueueMessage"],
    ),
    row(
        4001,
        "iot.message.receive",
        &["yandex.cloud.events.iot.IoTMessage"],
    ),
    SCHEDULE_FIRED,
    row(6000, "api.call.pre", &[]),
    row(6001, "api.call.post", &[]),
    row(6002, "api.call.done", &[]),
    DIRECT_CALL,
    DELIVERY_DEAD,
    FUNCTION_DISABLED,
];

/// Somebody called a function and waited for its answer.
pub(super) const DIRECT_CALL: BuiltIn = row(6003, "api.call.direct", &[]);

/// A user's account was deleted.
pub(super) const USER_DELETED: BuiltIn = row(2102, "user.account.delete", &["USER_DELETED"]);

/// A schedule has struck.
pub(super) const SCHEDULE_FIRED: BuiltIn = row(
    5000,
    "timer.schedule.fire",
    &["yandex.cloud.events.serverless.triggers.TimerMessage"],
);

/// A delivery has failed for good.
pub(super) const DELIVERY_DEAD: BuiltIn = row(9000, "system.delivery.dead", &[]);

/// A function was switched off by itself.
pub(super) const FUNCTION_DISABLED: BuiltIn = row(9001, "system.function.disabled", &[]);
