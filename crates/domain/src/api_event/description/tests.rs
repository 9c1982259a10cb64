//! Tests of what a description offers and which event a call fires.

use super::*;
use crate::api_event::Verb;
use crate::api_event::catalogue::COMMON_RESOURCES;

fn built_in(service: &str, kind: DescriptionKind) -> Description {
    Description::new(service, kind, kind.built_in()).unwrap()
}

fn fired(description: &Description, verb: Verb, service: &str, path: &str) -> Option<[String; 2]> {
    let call = Call {
        service,
        path,
        verb,
    };
    let fired = description.fired(&call)?;
    Some([fired.generic.to_string(), fired.specific])
}

#[test]
fn s5_06_exactly_what_the_document_lists_is_offered() {
    let services = [
        ("system", DescriptionKind::System),
        ("db", DescriptionKind::Db),
        ("files", DescriptionKind::Files),
        ("user", DescriptionKind::User),
    ];
    let offered: Vec<String> = services
        .iter()
        .flat_map(|(service, kind)| built_in(service, *kind).names().to_vec())
        .map(|name| name.to_string())
        .collect();
    // Of the other common resources it names, the document writes out one example: service.
    let of_others = |name: &String| {
        let resource = name.split('.').nth(1).unwrap_or_default();
        name.starts_with("system.") && COMMON_RESOURCES.contains(&resource)
    };
    let written_out: Vec<&String> = offered.iter().filter(|name| !of_others(name)).collect();
    let listed: Vec<String> = include_str!("../../../tests/samples/dreamfactory-events.txt")
        .lines()
        .filter(|line| !line.starts_with("myservice."))
        .map(ToOwned::to_owned)
        .collect();
    let mut written_out: Vec<String> = written_out.into_iter().cloned().collect();
    let mut expected = listed;
    written_out.sort();
    expected.sort();
    assert_eq!(written_out, expected);
    assert_eq!(
        offered.len() - written_out.len(),
        COMMON_RESOURCES.len() * 7
    );

    let db = built_in("db", DescriptionKind::Db);
    assert_eq!(fired(&db, Verb::Delete, "db", "_schema"), None);
    let files = built_in("files", DescriptionKind::Files);
    assert_eq!(fired(&files, Verb::Put, "files", ""), None);
}

#[test]
fn s5_01_a_call_fires_its_generic_and_its_specific_event() {
    let db = built_in("db", DescriptionKind::Db);
    for (verb, path, generic, specific) in [
        (
            Verb::Get,
            "_table/contact",
            "db._table.{table_name}.get",
            "db._table.contact.get",
        ),
        (
            Verb::Patch,
            "_table/contact/7",
            "db._table.{table_name}.{id}.patch",
            "db._table.contact.{id}.patch",
        ),
        (Verb::Get, "", "db.get", "db.get"),
    ] {
        let names = [generic.to_owned(), specific.to_owned()];
        assert_eq!(fired(&db, verb, "db", path), Some(names), "{path}");
    }
    let files = built_in("store", DescriptionKind::Files);
    let names = ["store.{file_path}.get", "store.{file_path}.get"].map(ToOwned::to_owned);
    assert_eq!(fired(&files, Verb::Get, "store", "a/b.c.txt"), Some(names));
}

#[test]
fn s5_10_what_is_not_described_fires_nothing() {
    let none = Description::new("plain", DescriptionKind::None, Vec::new()).unwrap();
    assert_eq!(fired(&none, Verb::Get, "plain", "makes/count"), None);
    assert_eq!(none.names(), &[]);
}

#[test]
fn a_literal_operation_goes_before_a_placeholder() {
    let operations = ["makes.{make}.get", "makes.count.get", "makes.**"];
    let operations = operations.map(ToOwned::to_owned).to_vec();
    let described = Description::new("cars", DescriptionKind::OpenApi, operations).unwrap();
    let generic = |path| fired(&described, Verb::Get, "cars", path).map(|[generic, _]| generic);
    assert_eq!(
        generic("makes/count").as_deref(),
        Some("cars.makes.count.get")
    );
    assert_eq!(
        generic("makes/ford").as_deref(),
        Some("cars.makes.{make}.get")
    );
    assert_eq!(generic("makes/ford/x").as_deref(), Some("cars.makes.**"));
}

#[test]
fn descriptions_are_bounded_and_made_of_operations() {
    let many = vec!["get".to_owned(); OPERATIONS_MAX + 1];
    let many = Description::new("a", DescriptionKind::OpenApi, many);
    assert_eq!(
        many.unwrap_err(),
        DescriptionError::TooMany(OPERATIONS_MAX + 1)
    );
    let wrong = Description::new("a", DescriptionKind::OpenApi, vec!["x.y".to_owned()]);
    assert!(wrong.unwrap_err().to_string().contains("\"x.y\""));
}
