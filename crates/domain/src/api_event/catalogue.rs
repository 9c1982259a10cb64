//! The services that DreamFactory ships, described by the events they fire: exactly those its
//! documentation lists.

/// What every common resource of the system service offers.
const COMMON: [&str; 7] = [
    "{r}.get",
    "{r}.post",
    "{r}.patch",
    "{r}.delete",
    "{r}.{id}.get",
    "{r}.{id}.patch",
    "{r}.{id}.delete",
];

/// The common resources that the documentation names beside `service`, whose events it writes out.
pub const COMMON_RESOURCES: [&str; 8] = [
    "admin",
    "app",
    "app_group",
    "custom",
    "cors",
    "roles",
    "services",
    "users",
];

/// Events of `system`, without the service's name.
pub const SYSTEM: [&str; 23] = [
    "get",
    "service.get",
    "service.post",
    "service.patch",
    "service.delete",
    "service.{id}.get",
    "service.{id}.patch",
    "service.{id}.delete",
    "cache.delete",
    "cache.{service}.delete",
    "config.get",
    "config.post",
    "constant.get",
    "constant.{type}.get",
    "environment.get",
    "event.get",
    "event.{event_name}.get",
    "event.{event_name}.post",
    "event.{event_name}.delete",
    "service_type.get",
    "script_type.get",
    "package.get",
    "package.post",
];

/// Events of a database, without the service's name.
pub const DB: [&str; 24] = [
    "get",
    "_schema.get",
    "_schema.post",
    "_schema.put",
    "_schema.patch",
    "_schema.{table_name}.get",
    "_schema.{table_name}.post",
    "_schema.{table_name}.put",
    "_schema.{table_name}.patch",
    "_schema.{table_name}.delete",
    "_schema.{table_name}.{field_name}.get",
    "_schema.{table_name}.{field_name}.put",
    "_schema.{table_name}.{field_name}.patch",
    "_schema.{table_name}.{field_name}.delete",
    "_table.get",
    "_table.{table_name}.get",
    "_table.{table_name}.post",
    "_table.{table_name}.put",
    "_table.{table_name}.patch",
    "_table.{table_name}.delete",
    "_table.{table_name}.{id}.get",
    "_table.{table_name}.{id}.put",
    "_table.{table_name}.{id}.patch",
    "_table.{table_name}.{id}.delete",
];

/// Events of a store of files, without the service's name.
pub const FILES: [&str; 13] = [
    "get",
    "post",
    "patch",
    "delete",
    "{folder_path}.get",
    "{folder_path}.post",
    "{folder_path}.patch",
    "{folder_path}.delete",
    "{file_path}.get",
    "{file_path}.post",
    "{file_path}.put",
    "{file_path}.patch",
    "{file_path}.delete",
];

/// Events of a service of users, without the service's name.
pub const USER: [&str; 15] = [
    "get",
    "password.post",
    "profile.get",
    "profile.post",
    "register.post",
    "session.get",
    "session.post",
    "session.delete",
    "custom.get",
    "custom.post",
    "custom.patch",
    "custom.delete",
    "custom.{id}.get",
    "custom.{id}.patch",
    "custom.{id}.delete",
];

/// What `system` offers: its events, and for each further common resource those of `service`.
pub fn system() -> Vec<String> {
    let common = COMMON_RESOURCES.iter().flat_map(|resource| {
        COMMON
            .iter()
            .map(move |event| event.replace("{r}", resource))
    });
    SYSTEM
        .iter()
        .map(|event| (*event).to_owned())
        .chain(common)
        .collect()
}
