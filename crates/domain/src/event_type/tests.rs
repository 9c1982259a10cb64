//! The table of built-in types, and each rule of types and selectors.

use std::collections::HashSet;

use super::*;

fn fault(text: &str) -> TypeFault {
    EventType::parse(text).unwrap_err().fault
}

fn selects(selector: &str, event_type: &str) -> bool {
    let selector: TypeSelector = selector.parse().unwrap();
    selector
        .matches(&EventType::parse(event_type).unwrap())
        .is_some()
}

#[test]
fn s1_02_fixed_numbers_and_schmuckli_names_map_both_ways() {
    for (number, name) in [
        (1000, "STORAGE_INSERT"),
        (1001, "STORAGE_UPDATE"),
        (1002, "STORAGE_DELETE"),
        (2000, "AUTH_LOGIN"),
        (2001, "AUTH_REGISTER"),
    ] {
        assert_eq!(
            EventType::from_number(number).unwrap().schmuckli_name(),
            Some(name)
        );
        let parsed = EventType::parse(name).unwrap();
        assert_eq!(parsed.number(), Some(number));
        assert_eq!(parsed.event_name(), Some(name));
    }
    let with_names = CATALOGUE
        .iter()
        .filter(|built_in| built_in.schmuckli_name.is_some());
    assert_eq!(with_names.count(), 5);
}

#[test]
fn names_numbers_and_aliases_are_unique() {
    let mut names = HashSet::new();
    let mut numbers = HashSet::new();
    for built_in in &CATALOGUE {
        assert!(numbers.insert(built_in.number), "{}", built_in.number);
        for name in built_in.names() {
            assert!(names.insert(name), "{name}");
        }
    }
    assert!(CATALOGUE.is_sorted_by_key(|built_in| built_in.number));
}

#[test]
fn canonical_names_have_three_lower_case_segments() {
    for built_in in &CATALOGUE {
        let segments: Vec<_> = built_in.name.split('.').collect();
        assert_eq!(segments.len(), 3, "{}", built_in.name);
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        assert!(
            segments
                .iter()
                .all(|s| !s.is_empty() && s.bytes().all(is_allowed))
        );
    }
}

#[test]
fn every_alias_is_its_built_in_type() {
    for built_in in &CATALOGUE {
        for name in built_in.names() {
            let parsed = EventType::parse(name).unwrap();
            assert_eq!(parsed.as_str(), built_in.name);
            assert_eq!(parsed.number(), Some(built_in.number));
            assert!(parsed.is_built_in());
            assert_eq!(Some(parsed), EventType::from_number(built_in.number));
        }
    }
    let storage = ["STORAGE_INSERT", "DB_INSERT", "DATA_OBJECT_CREATED"];
    assert!(storage.iter().all(|alias| selects("1000", alias)));
    // Signing up and any other way to create an account are two types.
    assert_ne!(
        EventType::parse("AUTH_REGISTER"),
        EventType::parse("USER_CREATED")
    );
}

#[test]
fn an_event_name_is_schmucklis_or_the_first_alias() {
    let event_name = |text| EventType::parse(text).unwrap().event_name();
    assert_eq!(event_name("DB_INSERT"), Some("STORAGE_INSERT"));
    assert_eq!(event_name("file.object.create"), Some("FILE_CREATE"));
    assert_eq!(event_name("api.call.pre"), None);
    assert_eq!(event_name("timer.schedule.fire"), None, "no dotted name");
    assert_eq!(event_name("shop.order.paid"), None);
}

#[test]
fn clients_have_types_of_their_own() {
    let longest = "a".repeat(TYPE_BYTES_MAX);
    for text in [
        "shop.order.paid",
        "com.example:Order-Paid_2",
        "1000a",
        "storage_insert",
        &longest,
    ] {
        let custom = EventType::parse(text).unwrap();
        assert_eq!(custom.as_str(), text);
        assert_eq!((custom.number(), custom.schmuckli_name()), (None, None));
        assert!(!custom.is_built_in());
    }
}

#[test]
fn what_is_no_type_is_refused_with_a_reason() {
    assert_eq!(fault(""), TypeFault::Empty);
    assert_eq!(fault(&"a".repeat(TYPE_BYTES_MAX + 1)), TypeFault::TooLong);
    assert_eq!(fault("order paid"), TypeFault::Character(' '));
    assert_eq!(fault("über"), TypeFault::Character('ü'));
    assert_eq!(fault("storage.row.*"), TypeFault::Character('*'));
    assert_eq!(fault("1000"), TypeFault::AllDigits);
    assert_eq!(fault("dlq_Orders"), TypeFault::Reserved("dlq_"));
    assert_eq!(
        fault("system.delivery.lost"),
        TypeFault::Reserved("system.")
    );
    let error = EventType::parse("1000").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#""1000" is not an event type: only digits would read as a number"#
    );
    assert_eq!(
        EventType::parse(&"é".repeat(200)).unwrap_err().value,
        "é".repeat(64)
    );
}

#[test]
fn a_selector_is_a_type_a_number_an_alias_or_a_pattern() {
    for selector in [
        "1000",
        "STORAGE_INSERT",
        "storage.row.insert",
        "storage.row.*",
        "**",
    ] {
        assert!(selects(selector, "storage.row.insert"), "{selector}");
        assert_eq!(
            selector.parse::<TypeSelector>().unwrap().to_string(),
            selector
        );
    }
    assert!(!selects("1000", "storage.row.update"));
    assert!(!selects("storage.row.*", "auth.user.register"));
    assert!(selects("shop.order.paid", "shop.order.paid"));
    let pattern: TypeSelector = "shop.{entity}.paid".parse().unwrap();
    let captures = pattern
        .matches(&EventType::parse("shop.order.paid").unwrap())
        .unwrap();
    assert_eq!(captures.get("entity"), Some("order"));
}

#[test]
fn only_what_is_no_pattern_is_exact() {
    let exact = |text: &str| text.parse::<TypeSelector>().unwrap().exact().cloned();
    assert_eq!(exact("1000"), EventType::from_number(1000));
    assert_eq!(
        exact("shop.order.paid"),
        EventType::parse("shop.order.paid").ok()
    );
    assert_eq!(exact("shop.{x}"), None);
    let from_type = TypeSelector::from(EventType::parse("DB_INSERT").unwrap());
    assert_eq!(from_type.to_string(), "storage.row.insert");
}

#[test]
fn an_unknown_number_is_refused_with_the_known_ones() {
    for number in ["4711", "0", "99999999999999999999"] {
        let error = number.parse::<TypeSelector>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{number:?} is not an event type: no type has this number")
        );
        assert_eq!(error.value(), number);
        assert_eq!(
            error.allowed(),
            "one of 1000-1002, 1100-1102, 2000-2001, 2100-2106, 2200, 2202-2204, 3000-3010, 3100, \
             3102, 4000-4001, 5000, 6000-6003, 9000-9001"
        );
    }
}

#[test]
fn faults_of_a_selector_are_those_of_its_kind() {
    let error = "storage.**.{x=**}".parse::<TypeSelector>().unwrap_err();
    assert!(matches!(&error, SelectorError::Pattern(pattern) if pattern.position == 11));
    assert_eq!(error.value(), "storage.**.{x=**}");
    assert!(matches!(
        "".parse::<TypeSelector>(),
        Err(SelectorError::Type(_))
    ));
    assert!(matches!(
        "a}".parse::<TypeSelector>(),
        Err(SelectorError::Type(_))
    ));
}

#[test]
fn what_the_system_emits_can_be_asked_for_and_never_be_emitted() {
    let dead = EventType::delivery_dead();
    assert_eq!(
        (dead.as_str(), dead.number()),
        ("system.delivery.dead", Some(9000))
    );
    let of_trigger = EventType::dead_letter_of(&"welcome".parse().unwrap());
    assert_eq!(of_trigger, EventType::parse("dlq_welcome").unwrap());
    for system in [&dead, &of_trigger] {
        assert!(
            system.is_systems_own() && system.is_dead_letter(),
            "{system}"
        );
        let error = EventType::from_client(system.as_str()).unwrap_err();
        assert!(matches!(error.fault, TypeFault::Reserved(_)), "{error}");
    }
    let own = EventType::from_client("shop.order.paid").unwrap();
    assert!(!own.is_systems_own() && !own.is_dead_letter());
}

#[test]
fn only_a_selector_that_names_it_selects_what_the_system_emits() {
    for (selector, dead, of_trigger) in [
        ("**", false, false),
        ("*.delivery.dead", false, false),
        ("*", false, false),
        ("9000", true, false),
        ("system.**", true, false),
        ("dlq_*", false, true),
        ("dlq_welcome", false, true),
    ] {
        assert_eq!(
            selects(selector, "system.delivery.dead"),
            dead,
            "{selector}"
        );
        assert_eq!(selects(selector, "dlq_welcome"), of_trigger, "{selector}");
    }
}

#[test]
fn s2_02_space_clouds_built_in_types_are_exactly_five() {
    let names: Vec<_> = CATALOGUE
        .iter()
        .filter_map(BuiltIn::space_cloud_name)
        .collect();
    let five = [
        "DB_INSERT",
        "DB_UPDATE",
        "DB_DELETE",
        "FILE_CREATE",
        "FILE_DELETE",
    ];
    assert_eq!(names, five);
}

#[test]
fn s3_04_kiis_triggers_are_27_and_each_has_a_type() {
    let mut names: Vec<_> = CATALOGUE.iter().filter_map(BuiltIn::kii_name).collect();
    assert_eq!(names.len(), 27);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 27);
    for (name, number) in [
        ("DATA_OBJECT_CREATED", 1000),
        ("USER_PASSWORD_RESET_COMPLETED", 2106),
        ("GROUP_MEMBERS_REMOVED", 2204),
        ("THING_FIELDS_UPDATED", 3001),
        ("THING_GROUP_OWNER_REMOVED", 3008),
        ("INSTALLATION_DELETED", 3102),
    ] {
        assert_eq!(EventType::parse(name).unwrap().number(), Some(number));
    }
}

#[test]
fn s4_20_yandex_clouds_event_types_are_known() {
    for (name, number) in [
        ("storage.ObjectCreate", 1100),
        ("storage.ObjectUpdate", 1101),
        ("storage.ObjectDelete", 1102),
        ("messagequeue.QueueMessage", 4000),
        ("iot.IoTMessage", 4001),
        ("serverless.triggers.TimerMessage", 5000),
    ] {
        let name = format!("yandex.cloud.events.{name}");
        let parsed = EventType::parse(&name).unwrap();
        assert_eq!(parsed.number(), Some(number));
        assert_eq!(parsed.yandex_name(), Some(name.as_str()));
    }
}
