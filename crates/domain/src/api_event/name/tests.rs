//! Tests of the names of API events, with every name that the seed document lists.

use super::*;

/// All that the document writes out, in its order.
const LISTED: &str = include_str!("../../../tests/samples/dreamfactory-events.txt");

fn listed() -> Vec<EventName> {
    LISTED.lines().map(|line| line.parse().unwrap()).collect()
}

fn call(verb: Verb, path: &str) -> Call<'_> {
    let (service, path) = path.split_once('/').unwrap_or((path, ""));
    Call {
        service,
        path,
        verb,
    }
}

fn captured(name: &str, verb: Verb, path: &str) -> Option<Vec<(String, String)>> {
    let name: EventName = name.parse().unwrap();
    let captures = name.matches(&call(verb, path))?;
    Some(
        captures
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    )
}

fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Some(owned.collect())
}

/// A request that a listed name means, by filling in its placeholders.
fn request_of(name: &str) -> (Verb, String) {
    let (rest, verb) = name.rsplit_once('.').unwrap();
    let segments: Vec<String> = rest
        .split('.')
        .map(|segment| match segment {
            "{folder_path}" => "docs/2026.old/".to_owned(),
            "{file_path}" => "docs/2026.old/a.b.txt".to_owned(),
            "{id}" => "7".to_owned(),
            placeholder if placeholder.starts_with('{') => "some%2Ething".to_owned(),
            literal => literal.to_owned(),
        })
        .collect();
    (Verb::parse(verb).unwrap(), segments.join("/"))
}

#[test]
fn s5_02_each_of_the_77_listed_events_means_its_own_request_and_no_other() {
    let names = listed();
    assert_eq!(names.len(), 77);
    for one in &names {
        let (verb, path) = request_of(one.as_str());
        let meant: Vec<&str> = names
            .iter()
            .filter(|name| name.matches(&call(verb, &path)).is_some())
            .map(EventName::as_str)
            .collect();
        assert_eq!(meant, [one.as_str()], "{verb:?} {path}");
    }
}

#[test]
fn s5_03_the_root_is_not_what_lies_below_it() {
    assert_eq!(captured("system.get", Verb::Get, "system"), pairs(&[]));
    assert_eq!(captured("system.get", Verb::Get, "system/"), pairs(&[]));
    assert_eq!(captured("system.get", Verb::Get, "system/service"), None);
    assert_eq!(captured("files.get", Verb::Get, "files/a"), None);
}

#[test]
fn s5_04_an_id_is_captured() {
    assert_eq!(
        captured(
            "system.service.{id}.delete",
            Verb::Delete,
            "system/service/7"
        ),
        pairs(&[("id", "7")])
    );
    assert_eq!(
        captured("system.service.{id}.get", Verb::Get, "system/service"),
        None
    );
}

#[test]
fn s5_05_table_and_field_are_captured() {
    assert_eq!(
        captured(
            "db._schema.{table_name}.{field_name}.put",
            Verb::Put,
            "db/_schema/contact/email"
        ),
        pairs(&[("field_name", "email"), ("table_name", "contact")])
    );
}

#[test]
fn s5_07_folders_and_files_are_told_apart_by_the_end_of_their_path() {
    for (path, folder, file) in [
        ("files/docs/", Some("docs"), None),
        ("files/docs/2026/", Some("docs/2026"), None),
        ("files/docs/a.txt", None, Some("docs/a.txt")),
        ("files/a", None, Some("a")),
        ("files", None, None),
        ("files/", None, None),
    ] {
        let found = |name: &str| {
            let captures = captured(name, Verb::Get, path)?;
            captures.into_iter().next().map(|(_, value)| value)
        };
        assert_eq!(
            found("files.{folder_path}.get").as_deref(),
            folder,
            "{path}"
        );
        assert_eq!(found("files.{file_path}.get").as_deref(), file, "{path}");
    }
}

#[test]
fn s5_08_verbs_are_in_lower_case_and_slashes_are_dots() {
    let wrong = "db._table.GET".parse::<EventName>().unwrap_err();
    assert_eq!(wrong, EventNameError::Verb("GET".to_owned()));
    assert_eq!(Verb::of_method("GET"), Some(Verb::Get));
    assert_eq!(Verb::of_method("HEAD"), None);
    assert_eq!(
        captured(
            "myservice.makes.count.get",
            Verb::Get,
            "myservice/makes/count"
        ),
        pairs(&[])
    );
    assert_eq!(
        captured(
            "myservice.makes.count.get",
            Verb::Post,
            "myservice/makes/count"
        ),
        None
    );
}

#[test]
fn s5_29_a_name_of_more_than_80_characters_is_taken_whole_or_refused() {
    let long = format!("db._table.{}.get.pre_process", "t".repeat(300));
    assert_eq!(long.parse::<EventName>().unwrap().as_str(), long);
    let longer = format!("db._table.{}.get", "t".repeat(PATTERN_BYTES_MAX));
    assert!(matches!(
        longer.parse::<EventName>(),
        Err(EventNameError::TooLong { .. })
    ));
}

#[test]
fn s5_32_a_table_whose_name_has_a_dot_is_one_segment() {
    assert_eq!(
        captured("db._table.{table_name}.get", Verb::Get, "db/_table/a.b.c"),
        pairs(&[("table_name", "a.b.c")])
    );
    let name: EventName = "db._table.{table_name}.{id}.get".parse().unwrap();
    let captures = name.matches(&call(Verb::Get, "db/_table/a.b/7")).unwrap();
    let specific = name.specific(&captures);
    assert_eq!(specific, "db._table.a%2Eb.{id}.get");
    // What is written leads back to the same call, and to no other.
    assert!(captured(&specific, Verb::Get, "db/_table/a.b/7").is_some());
    assert!(captured(&specific, Verb::Get, "db/_table/a/b/7").is_none());
}

#[test]
fn s5_34_a_whole_service_is_meant_by_a_star() {
    for name in ["db.*", "db.**", "*.*"] {
        for path in ["db", "db/_table", "db/_table/contact/7"] {
            assert!(captured(name, Verb::Patch, path).is_some(), "{name} {path}");
        }
    }
    assert!(captured("db.*", Verb::Get, "files/a").is_none());
    assert!(captured("*.session.post", Verb::Post, "user/session").is_some());
    assert!(captured("db._table.*", Verb::Delete, "db/_table").is_some());
    assert!(captured("db._table.*", Verb::Delete, "db/_table/contact").is_none());
}

#[test]
fn phases_stand_at_the_end() {
    let name: EventName = "db._table.get.pre_process".parse().unwrap();
    assert_eq!(name.phase(), Some(Phase::PreProcess));
    assert_eq!(name.without_phase(), "db._table.get");
    let bare: EventName = "db._table.get".parse().unwrap();
    assert_eq!(
        (bare.phase(), bare.without_phase()),
        (None, "db._table.get")
    );
}

#[test]
fn what_is_no_name_is_refused() {
    for text in [
        "",
        "db",
        "get",
        "queued",
        "db.fetch",
        "DB.get",
        "db..get",
        "db.{x.get",
        "db.{x=**}.get",
        "db.{a}.{a}.get",
        "db._table.get.PRE_PROCESS",
        "db.a/b.get",
    ] {
        assert!(text.parse::<EventName>().is_err(), "{text:?}");
    }
}

#[test]
fn names_are_ranked_from_generic_to_special() {
    let ranked = [
        "*.**",
        "db.*",
        "db._table.**",
        "db._table.{table_name}.*",
        "db._table.{table_name}.get",
        "db._table.contact.get",
    ];
    let ranks: Vec<Rank> = ranked
        .iter()
        .map(|name| name.parse::<EventName>().unwrap().rank())
        .collect();
    assert!(ranks.is_sorted_by(|one, other| one < other), "{ranks:?}");
}

#[test]
fn the_resource_is_what_the_placeholders_stand_for() {
    for (name, path, resource) in [
        ("db._table.{table_name}.get", "db/_table/contact", "contact"),
        (
            "db._table.{table_name}.{id}.get",
            "db/_table/contact/7",
            "contact/7",
        ),
        ("files.{file_path}.get", "files/a/b%20c.txt", "a/b c.txt"),
        ("files.{folder_path}.get", "files/a/b/", "a/b/"),
        ("user.session.get", "user/session", "session"),
        ("system.get", "system", ""),
    ] {
        let name: EventName = name.parse().unwrap();
        assert_eq!(name.resource_of(&call(Verb::Get, path)), resource, "{path}");
    }
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(".".to_owned()),
            Just("get".to_owned()),
            Just("pre_process".to_owned()),
            Just("{id}".to_owned()),
            Just("{file_path}".to_owned()),
            Just("**".to_owned()),
            Just("*".to_owned()),
            Just("%2E".to_owned()),
            "[a-z_]{1,6}",
            any::<char>().prop_map(String::from),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_name_that_is_taken_stays_as_it_was_written(
            pieces in prop::collection::vec(piece(), 0..12),
            path in "[a-z%2E./{}*]{0,24}",
        ) {
            let text = pieces.concat();
            if let Ok(name) = text.parse::<EventName>() {
                prop_assert_eq!(name.as_str(), text.as_str());
                let call = Call { service: "db", path: &path, verb: Verb::Get };
                if let Some(captures) = name.matches(&call) {
                    drop(name.specific(&captures));
                }
                drop(name.resource_of(&call));
                let _rank = name.rank();
            }
        }

        #[test]
        fn what_a_segment_is_written_as_means_that_segment_alone(segment in "[^/\\pC]{1,12}") {
            let written = segment_of_name(&segment);
            let name: Result<EventName, _> = format!("db.{written}.get").parse();
            prop_assume!(name.is_ok());
            let encoded: String = segment
                .bytes()
                .map(|byte| format!("%{byte:02X}"))
                .collect();
            let call = Call { service: "db", path: &encoded, verb: Verb::Get };
            prop_assert!(name.unwrap().matches(&call).is_some(), "{written:?}");
        }
    }
}
