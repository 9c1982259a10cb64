//! The arrows between crates point one way, and each big library stays behind one crate.
#![expect(clippy::unwrap_used, reason = "a broken set-up should stop the test")]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate may use those of the rows above its own, never one beside or below it.
const LAYERS: &[&[&str]] = &[
    &["domain", "settings"],
    &["protocol", "telemetry", "lifecycle"],
    &["storage", "coordination", "process", "egress"],
    &["broker"],
    &[
        "trigger-emitter",
        "function-handler",
        "delivery-worker",
        "log-service",
        "api-gateway",
    ],
    &["tripline"],
];

/// For tests only: nothing that is shipped depends on it, and it depends on nothing of ours.
const TEST_FIXTURES: &str = "testkit";

/// Stands outside: it starts the whole system and may use every crate.
const SYSTEM_TESTS: &str = "system-tests";

/// The one crate that may use a library, and what the library's name is or begins with.
const KEPT_BEHIND: &[(&str, &str)] = &[
    ("broker", "lapin"),
    ("storage", "sqlx"),
    ("coordination", "redis"),
    ("telemetry", "opentelemetry*"),
    ("telemetry", "tracing-opentelemetry"),
    ("protocol", "prost*"),
    ("egress", "hickory-resolver"),
    ("egress", "rustls-native-certs"),
];

/// What opens connections to wherever a text says. Each place is named, with whom it calls.
const CALLS_OUT: &[(&str, &str)] = &[
    (
        "crates/egress/src/endpoint_client",
        "endpoints and services, with the guard",
    ),
    (
        "crates/tripline/src/bench",
        "the system that its user measures",
    ),
    ("crates/testkit", "servers of a test"),
];
const OPENS_CONNECTIONS: [&str; 5] = [
    "TcpStream::connect",
    "lookup_host",
    "to_socket_addrs",
    "client::legacy",
    "client::conn",
];

#[test]
fn every_crate_uses_only_rows_above_its_own() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in shipped(&metadata) {
        let Some(row) = row_of(&package.name) else {
            faults.push(format!(
                "{}: give it a layer in tests/layers.rs",
                package.name
            ));
            continue;
        };
        for dependency in own_dependencies(&metadata, package) {
            match row_of(&dependency) {
                _ if dependency == TEST_FIXTURES => {}
                Some(other) if other < row => {}
                _ => faults.push(format!(
                    "{} -> {dependency}: same layer or lower",
                    package.name
                )),
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn every_row_names_a_crate_that_is_there() {
    let metadata = metadata();
    let missing: Vec<_> = LAYERS
        .concat()
        .into_iter()
        .filter(|name| {
            !metadata
                .packages
                .iter()
                .any(|package| package.name == *name)
        })
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn fixtures_are_used_by_tests_only_and_know_no_crate_of_ours() {
    let metadata = metadata();
    for package in shipped(&metadata) {
        let shipped_with_fixtures = package.dependencies.iter().any(|dependency| {
            dependency.name == TEST_FIXTURES && dependency.kind != DependencyKind::Development
        });
        assert!(
            !shipped_with_fixtures,
            "{} ships {TEST_FIXTURES}",
            package.name
        );
    }
    let fixtures = metadata
        .packages
        .iter()
        .find(|package| package.name == TEST_FIXTURES);
    assert_eq!(
        own_dependencies(&metadata, fixtures.unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn each_big_library_stays_behind_one_crate() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in shipped(&metadata) {
        for (owner, library) in KEPT_BEHIND {
            let is_library = |name: &str| match library.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == *library,
            };
            let uses_it = package
                .dependencies
                .iter()
                .any(|dependency| is_library(&dependency.name));
            if uses_it && package.name != *owner {
                faults.push(format!("{} uses {library}: only {owner} may", package.name));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

/// Whatever calls a URL that somebody gave us calls it through the one client and its guard.
#[test]
fn r6_one_client_makes_every_outbound_call() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut faults = Vec::new();
    let mut found = 0;
    for path in source_files(std::path::Path::new(root).join("crates")) {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let shipped = text.split("#[cfg(test)]").next().unwrap();
        let opens = OPENS_CONNECTIONS
            .iter()
            .filter(|opening| shipped.contains(**opening));
        for opening in opens {
            found += 1;
            if !CALLS_OUT.iter().any(|(place, _)| name.starts_with(place)) {
                faults.push(format!("{name}: {opening}"));
            }
        }
    }
    assert!(found > 0, "the client itself has gone");
    assert_eq!(faults, Vec::<String>::new());
}

fn source_files(folder: std::path::PathBuf) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                files.extend(source_files(path));
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

fn metadata() -> Metadata {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(workspace)
        .no_deps()
        .exec()
        .unwrap()
}

fn shipped(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    let exempt = [TEST_FIXTURES, SYSTEM_TESTS];
    metadata
        .packages
        .iter()
        .filter(move |package| !exempt.contains(&package.name.as_str()))
}

fn own_dependencies(metadata: &Metadata, package: &Package) -> Vec<String> {
    let is_own = |name: &String| metadata.packages.iter().any(|own| own.name == *name);
    let names = package
        .dependencies
        .iter()
        .map(|dependency| dependency.name.clone());
    names.filter(is_own).collect()
}

fn row_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&name))
}
