//! The test vectors of the pattern grammar, and what must hold for every text.

use proptest::prelude::*;

use super::*;

/// `None`: no match. Else the captures as `name=value`, separated by a blank.
fn path(pattern: &str, path: &str) -> Option<String> {
    shown(pattern.parse::<PathPattern>().unwrap().matches(path))
}

fn dotted(pattern: &str, type_name: &str) -> Option<String> {
    shown(pattern.parse::<TypePattern>().unwrap().matches(type_name))
}

fn shown(captures: Option<Captures>) -> Option<String> {
    let texts = |captures: Captures| captures.iter().map(|(k, v)| format!("{k}={v}")).collect();
    captures.map(texts).map(|texts: Vec<_>| texts.join(" "))
}

fn fault(pattern: &str) -> (usize, PatternFault) {
    let error = pattern.parse::<PathPattern>().unwrap_err();
    assert!(pattern.starts_with(&error.pattern));
    (error.position, error.fault)
}

#[test]
fn x_01_paths_match_and_are_captured() {
    for (pattern, text, captures) in [
        ("users/{userId}", "users/alice", "userId=alice"),
        (
            "users/{u=**}",
            "users/alice/addresses/home",
            "u=alice/addresses/home",
        ),
        ("users/{u=**}", "users", "u="),
        (
            "buckets/{b}/objects/{o}",
            "buckets/photos/objects/dev%2F0_15.jpg",
            "b=photos o=dev/0_15.jpg",
        ),
        ("**/objects/{o}", "objects/9", "o=9"),
        ("img-*/raw", "img-/raw", ""),
        ("{x=img-*}/raw", "img-2024/raw", "x=img-2024"),
        ("a/**/z", "a/z", ""),
        ("a/**/z", "a/b/c/z", ""),
        (
            "files/{file_path=+}",
            "files/a/b.c.txt",
            "file_path=a/b.c.txt",
        ),
        ("a/{x=+}/z", "a/b/c/z", "x=b/c"),
        ("**", "", ""),
        ("{all=**}", "a%2Fb/%C3%A9", "all=a/b/é"),
        ("{x=*}/{y=b}", "a/b", "x=a y=b"),
        ("/users/{u}/", "users/alice", "u=alice"),
        ("users/{u}", "/users/alice/", "u=alice"),
        ("caf%C3%A9/*", "café/%63af%c3%a9", ""),
        ("*-*-*/x", "a-b-c-d/x", ""),
        ("*a*a", "aa", ""),
        ("{x=%2A}", "*", "x=*"),
        ("{x}", "100%", "x=100%"),
    ] {
        assert_eq!(
            path(pattern, text).as_deref(),
            Some(captures),
            "{pattern} on {text}"
        );
    }
}

#[test]
fn x_01_paths_that_differ_do_not_match() {
    for (pattern, text) in [
        ("users/{userId}", "users/alice/addresses/home"),
        ("users/*/buckets/score", "groups/g1/buckets/score"),
        ("a/**/z", "a/b/c"),
        ("files/{file_path=+}", "files"),
        ("a/{x=+}/z", "a/z"),
        ("a/{n}", "a/"),
        ("a/{n}/b", "a//b"),
        ("Users/{id}", "users/1"),
        ("*", ""),
        ("a/**/a", "a"),
        ("*a*a", "a"),
        ("ab*ba", "aba"),
        ("{x=%2A}", "a"),
        ("a/b", "a%2Fb"),
    ] {
        assert_eq!(path(pattern, text), None, "{pattern} on {text}");
    }
}

#[test]
fn x_01_type_names_match_with_a_dot_as_separator() {
    let row = "db._table.{table_name}.{id}.get";
    assert_eq!(
        dotted(row, "db._table.contact.42.get").unwrap(),
        "id=42 table_name=contact"
    );
    let field = "db._schema.{table_name}.{field_name}.put";
    assert_eq!(
        dotted(field, "db._schema.t.f.put").unwrap(),
        "field_name=f table_name=t"
    );
    assert!(dotted("*.session.post", "user.session.post").is_some());
    assert!(dotted("storage.row.*", "storage.row.insert").is_some());
    assert!(dotted("auth.**", "auth").is_some());
    assert_eq!(
        dotted("auth.{rest=**}", "auth.user.register").unwrap(),
        "rest=user.register"
    );
    assert_eq!(
        dotted("system.service.{id}.get", "system.service.get"),
        None
    );
    assert_eq!(dotted("storage.row.*", "storage.row"), None);
    assert_eq!(dotted("system.get", "system.service.get"), None);
}

#[test]
fn x_01_faults_of_a_pattern_are_named_with_their_place() {
    let name = |name: &str| name.to_owned();
    for (pattern, position, expected) in [
        ("a/**/b/**", 7, PatternFault::SecondMany),
        (
            "a/{x}/{x}",
            6,
            PatternFault::DuplicateName { name: name("x") },
        ),
        (
            "{x=+}/{x}",
            6,
            PatternFault::DuplicateName { name: name("x") },
        ),
        ("a/x{y}", 3, PatternFault::BraceInSegment),
        ("{x}y", 0, PatternFault::BraceInSegment),
        ("{x}{y}", 2, PatternFault::BraceInSegment),
        ("a}", 1, PatternFault::BraceInSegment),
        ("a/b**", 3, PatternFault::ManyInSegment),
        ("{x=a**}", 4, PatternFault::ManyInSegment),
        ("", 0, PatternFault::Empty),
        ("/", 1, PatternFault::Empty),
        ("a//b", 2, PatternFault::EmptySegment),
        ("//a", 1, PatternFault::EmptySegment),
        ("a//", 2, PatternFault::EmptySegment),
        ("{1x}", 1, PatternFault::BadName { name: name("1x") }),
        ("{}", 1, PatternFault::BadName { name: name("") }),
        ("{a-b}", 1, PatternFault::BadName { name: name("a-b") }),
        ("{x=}", 3, PatternFault::EmptyCapture),
        ("{x", 0, PatternFault::UnterminatedBrace),
        ("a/{x=b/c}", 2, PatternFault::UnterminatedBrace),
        ("a/{x=**}/{y=**}", 9, PatternFault::SecondMany),
        ("a/\n", 2, PatternFault::ControlCharacter),
    ] {
        assert_eq!(fault(pattern), (position, expected), "{pattern}");
    }
    assert_eq!(
        "a/x{y}".parse::<PathPattern>().unwrap_err().to_string(),
        r#"pattern "a/x{y}", byte 3: braces are allowed only around a whole segment"#,
    );
}

#[test]
fn patterns_are_limited_in_bytes_and_segments() {
    let longest = "a".repeat(PATTERN_BYTES_MAX);
    assert!(longest.parse::<PathPattern>().is_ok());
    assert_eq!(
        fault(&format!("{longest}é")),
        (PATTERN_BYTES_MAX, PatternFault::TooLong)
    );
    let most = vec!["a"; PATTERN_SEGMENTS_MAX].join("/");
    assert!(most.parse::<PathPattern>().is_ok());
    assert_eq!(
        fault(&format!("{most}/b")),
        (most.len() + 1, PatternFault::TooManySegments)
    );
}

#[test]
fn a_pattern_is_shown_as_written() {
    for text in ["/users/{u=*}/", "caf%C3%A9/**"] {
        assert_eq!(text.parse::<PathPattern>().unwrap().to_string(), text);
    }
    assert_eq!(
        "storage.row.*".parse::<TypePattern>().unwrap().to_string(),
        "storage.row.*"
    );
}

#[test]
fn generic_patterns_come_before_special_ones() {
    let ordered = [
        "**", "a/**", "{x}/{y}", "*/{y}", "*/*", "a/{y}", "a/*", "a/b",
    ];
    let specificities = ordered.map(|text| text.parse::<PathPattern>().unwrap().specificity());
    assert!(specificities.is_sorted_by(|generic, special| generic < special));
    let same = ["a/{x}", "b/{y}"].map(|text| text.parse::<PathPattern>().unwrap().specificity());
    assert_eq!(same[0], same[1]);
}

/// `RESOURCE verb verb`, as `DreamFactory` lists them; the one multi-segment name has its `=+`.
const DREAMFACTORY: &[&str] = &[
    "system get",
    "system.admin get post patch delete",
    "system.admin.{id} get patch delete",
    "system.cache delete",
    "system.cache.{service} delete",
    "system.config get post",
    "system.constant get",
    "system.constant.{type} get",
    "system.environment get",
    "system.event get",
    "system.event.{event_name} get post delete",
    "system.service get post patch delete",
    "system.service.{id} get patch delete",
    "system.service_type get",
    "system.script_type get",
    "system.package get post",
    "db get",
    "db._schema get post put patch",
    "db._schema.{table_name} get post put patch delete",
    "db._schema.{table_name}.{field_name} get put patch delete",
    "db._table get",
    "db._table.{table_name} get post put patch delete",
    "db._table.{table_name}.{id} get put patch delete",
    "files get post patch delete",
    "files.{folder_path=+} get post patch delete",
    "files.{file_path=+} get post put patch delete",
    "user get",
    "user.password post",
    "user.profile get post",
    "user.register post",
    "user.session get post delete",
    "user.custom get post patch delete",
    "user.custom.{id} get patch delete",
];

#[test]
fn names_of_dreamfactory_events_overlap_only_where_a_folder_may_be_a_file() {
    let names: Vec<String> = DREAMFACTORY
        .iter()
        .flat_map(|line| {
            let (resource, verbs) = line.split_once(' ').unwrap();
            verbs
                .split(' ')
                .map(move |verb| format!("{resource}.{verb}"))
        })
        .collect();
    let concrete = |name: &str| {
        let segments = name.split('.').map(|segment| match segment {
            many if many.ends_with("=+}") => "some.path",
            one if one.starts_with('{') => "value",
            literal => literal,
        });
        segments.collect::<Vec<_>>().join(".")
    };
    let mut overlaps = 0;
    for name in &names {
        let pattern: TypePattern = name.parse().unwrap();
        assert!(pattern.matches(&concrete(name)).is_some(), "{name}");
        for other in names.iter().filter(|other| *other != name) {
            if pattern.matches(&concrete(other)).is_some() {
                assert!(
                    name.contains("_path=+") && other.contains("_path=+"),
                    "{name} on {other}"
                );
                overlaps += 1;
            }
        }
    }
    assert_eq!(overlaps, 8);
}

#[test]
fn what_does_not_decode_stays_as_written() {
    for (text, decoded) in [
        ("a%2Fb", "a/b"),
        ("%c3%A9", "é"),
        ("%ff%41", "%ffA"),
        ("%C3x%A9", "%C3x%A9"),
        ("%E2%82%AC%E2%82", "€%E2%82"),
        ("100%", "100%"),
        ("%%41", "%A"),
        ("%+1%4", "%+1%4"),
        ("%é1", "%é1"),
    ] {
        assert_eq!(decode(text), decoded, "{text}");
    }
}

#[test]
fn the_last_segment_is_decoded() {
    assert_eq!(
        decoded_last_segment("object-storage/b/dev%2F0_15.jpg"),
        "dev/0_15.jpg"
    );
    assert_eq!(decoded_last_segment("a/b/"), "b");
    assert_eq!(decoded_last_segment("a"), "a");
    assert_eq!(decoded_last_segment(""), "");
}

#[test]
fn subjects_are_concrete_paths() {
    let longest = "a".repeat(ATTRIBUTE_BYTES_MAX);
    for good in [
        "a",
        "/a/b/",
        "users/{u}",
        "a b/é",
        "dev%2F0_15.jpg",
        longest.as_str(),
    ] {
        assert_eq!(check_subject(good), Ok(()), "{good}");
    }
    for (bad, error) in [
        ("", SubjectError::Empty),
        ("/", SubjectError::Empty),
        ("a//b", SubjectError::EmptySegment { position: 2 }),
        ("//a", SubjectError::EmptySegment { position: 1 }),
        ("/a//", SubjectError::EmptySegment { position: 3 }),
        ("a/b\0", SubjectError::ControlCharacter { position: 3 }),
    ] {
        assert_eq!(check_subject(bad), Err(error), "{bad:?}");
    }
    let too_long = SubjectError::TooLong {
        bytes: ATTRIBUTE_BYTES_MAX + 1,
    };
    assert_eq!(check_subject(&format!("{longest}a")), Err(too_long));
}

#[test]
fn captures_keep_one_value_for_each_name_in_order() {
    let mut captures: Captures = [("b".to_owned(), "1".to_owned())].into_iter().collect();
    let mut other = Captures::default();
    assert!(other.is_empty());
    other.insert("b", "2");
    other.insert("a", "3");
    captures.extend(other);
    assert_eq!(captures.get("b"), Some("2"));
    assert_eq!(
        captures.iter().collect::<Vec<_>>(),
        [("a", "3"), ("b", "2")]
    );
}

/// The grammar's meaning by trying every way, to compare with.
fn matches_naively(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**" | "{m=**}", rest @ ..], _) => {
            (0..=path.len()).any(|count| matches_naively(rest, &path[count..]))
        }
        (["{p=+}", rest @ ..], _) => {
            (1..=path.len()).any(|count| matches_naively(rest, &path[count..]))
        }
        ([one, rest @ ..], [segment, others @ ..]) => {
            let is_match = match *one {
                "*" | "{x}" => true,
                "a*" => segment.starts_with('a'),
                "*b*" => segment.contains('b'),
                literal => literal == *segment,
            };
            is_match && matches_naively(rest, others)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_an_error(text in "[a-b/.*{}=+%_é\u{0}]{0,24}", path in "\\PC*") {
        if let Ok(pattern) = text.parse::<PathPattern>() {
            prop_assert_eq!(pattern.to_string(), text.clone());
            let _captures = pattern.matches(&path);
        }
        if let Err(error) = text.parse::<TypePattern>() {
            prop_assert!(error.position <= text.len());
        }
    }

    #[test]
    fn a_match_in_one_pass_finds_what_trying_every_way_finds(
        pattern in proptest::collection::vec(
            proptest::sample::select(vec!["a", "b", "ab", "*", "{x}", "a*", "*b*", "**", "{m=**}", "{p=+}"]),
            1..6,
        ),
        path in proptest::collection::vec(proptest::sample::select(vec!["a", "b", "ab"]), 0..7),
    ) {
        if let Ok(compiled) = pattern.join("/").parse::<PathPattern>() {
            let is_match = compiled.matches(&path.join("/")).is_some();
            prop_assert_eq!(is_match, matches_naively(&pattern, &path));
        }
    }

    #[test]
    fn an_encoded_segment_is_captured_as_it_was(value in "\\PC{1,12}") {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let pattern: PathPattern = "users/{u}".parse().unwrap();
        let captures = pattern.matches(&format!("users/{encoded}")).unwrap();
        prop_assert_eq!(captures.get("u"), Some(value.as_str()));
    }
}
