//! Every fault of a description names its field and what would have been right.

use domain::format::Format;
use domain::retry::Backoff;
use protocol::well_known::Duration;

use super::*;

fn project() -> ProjectName {
    "default".parse().unwrap()
}

fn welcome() -> wire::CreateFunctionRequest {
    wire::CreateFunctionRequest {
        name: "welcome".to_owned(),
        url: "https://example.com/hook".to_owned(),
        ..wire::CreateFunctionRequest::default()
    }
}

fn fault_of(request: &wire::CreateFunctionRequest) -> Fault {
    function(&project(), request, Timestamp::UNIX_EPOCH).unwrap_err()
}

fn defined(request: &wire::CreateFunctionRequest) -> (Function, Option<Trigger>) {
    function(&project(), request, Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn a_function_without_on_or_subject_has_no_trigger() {
    let (function, trigger) = defined(&welcome());
    assert_eq!(function.format, Format::CloudEventsStructured);
    assert_eq!(function.secret.len(), 43);
    assert_eq!(trigger, None);
    let retry = Some(wire::RetryPolicy::default());
    assert_eq!(
        fault_of(&wire::CreateFunctionRequest { retry, ..welcome() })
            .field
            .unwrap(),
        "retry"
    );
}

#[test]
fn with_on_or_subject_it_has_one_of_its_own_name() {
    let name = "shop/notify".to_owned();
    let on = vec!["AUTH_REGISTER".to_owned(), "storage.row.*".to_owned()];
    let (_, trigger) = defined(&wire::CreateFunctionRequest {
        name,
        on,
        ..welcome()
    });
    let trigger = trigger.unwrap();
    assert_eq!(trigger.name.as_str(), "notify");
    assert_eq!(trigger.function.to_string(), "shop/notify");
    assert!(trigger.is_enabled);
    assert_eq!(with_package(&trigger).unwrap().name.as_str(), "shop-notify");
    let subject = "users/{user}".to_owned();
    let (_, trigger) = defined(&wire::CreateFunctionRequest {
        subject,
        ..welcome()
    });
    assert_eq!(
        with_package(&trigger.unwrap()),
        None,
        "the default package is left out of names"
    );
}

fn check(request: &wire::CreateFunctionRequest, field: &str, value: &str) -> String {
    let fault = fault_of(request);
    assert_eq!(fault.field.as_deref(), Some(field));
    assert_eq!(fault.value.as_deref(), Some(value));
    assert!(fault.allowed.is_some_and(|allowed| !allowed.is_empty()));
    fault.message
}

#[test]
fn each_wrong_field_is_named_with_its_value_and_what_is_allowed() {
    let with = |change: fn(&mut wire::CreateFunctionRequest)| {
        let mut request = welcome();
        change(&mut request);
        request
    };
    check(&with(|it| it.name = "No".to_owned()), "name", "No");
    check(&with(|it| it.name.clear()), "name", "");
    check(&with(|it| it.url.clear()), "url", "");
    check(&with(|it| it.url = "ftp://a".to_owned()), "url", "ftp://a");
    check(&with(|it| it.format = "xml".to_owned()), "format", "xml");
}

#[test]
fn a_wrong_type_or_pattern_is_named_with_its_place() {
    let on = |texts: &[&str]| wire::CreateFunctionRequest {
        on: texts.iter().map(|text| (*text).to_owned()).collect(),
        ..welcome()
    };
    let message = check(&on(&["1000", "9999"]), "on[1]", "9999");
    assert!(message.contains("no type has this number"), "{message}");
    check(&on(&["storage.**.x.**"]), "on[0]", "storage.**.x.**");
    check(&on(&["1000"; 101]), "on", "101");
    let subject = "users/{user}/x{y}".to_owned();
    let request = wire::CreateFunctionRequest {
        subject: subject.clone(),
        ..welcome()
    };
    let message = check(&request, "subject", &subject);
    assert!(message.contains("at byte 14"), "{message}");
}

#[test]
fn a_policy_out_of_range_names_its_own_field() {
    let retry = wire::RetryPolicy {
        retries: Some(101),
        ..wire::RetryPolicy::default()
    };
    let request = wire::CreateFunctionRequest {
        on: vec!["1000".to_owned()],
        retry: Some(retry),
        ..welcome()
    };
    assert_eq!(fault_of(&request).field.unwrap(), "retry.retries");
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    }
}

fn update(function: wire::Function, paths: &[&str]) -> wire::UpdateFunctionRequest {
    wire::UpdateFunctionRequest {
        function: Some(function),
        update_mask: Some(mask(paths)),
        credentials: None,
    }
}

#[test]
fn only_what_the_mask_names_is_changed() {
    let on = vec!["1000".to_owned()];
    let (mut function, trigger) = defined(&wire::CreateFunctionRequest { on, ..welcome() });
    let mut trigger = trigger.unwrap();
    let later = Timestamp::from_second(5).unwrap();

    let wanted = wire::Function {
        url: "https://other.example/".to_owned(),
        ..wire::Function::default()
    };
    change_function(&mut function, &update(wanted, &["url"]), later).unwrap();
    assert_eq!(function.url.as_str(), "https://other.example/");
    assert_eq!(function.updated_at, later);

    let interval = Duration {
        seconds: 90,
        nanos: 0,
    };
    let retry = wire::RetryPolicy {
        retries: Some(7),
        interval: Some(interval),
        backoff: "exponential".to_owned(),
        ..wire::RetryPolicy::default()
    };
    let wanted = wire::Trigger {
        retry: Some(retry),
        enabled: Some(false),
        ..wire::Trigger::default()
    };
    let paths = mask(&["retry.interval", "retry.backoff"]);
    change_trigger(&mut trigger, &wanted, Some(&paths), later).unwrap();
    assert_eq!(trigger.retry.interval.as_secs(), 90);
    assert_eq!(
        trigger.retry.interval_max.as_secs(),
        90,
        "a longer interval moves its cap"
    );
    assert_eq!(trigger.retry.backoff, Backoff::Exponential);
    assert_eq!(trigger.retry.retries_max, 3, "not named by the mask");
    assert!(trigger.is_enabled && trigger.on.len() == 1);

    change_trigger(
        &mut trigger,
        &wanted,
        Some(&mask(&["enabled", "on"])),
        later,
    )
    .unwrap();
    assert!(!trigger.is_enabled && trigger.on.is_empty());

    let silent = wire::Trigger::default();
    let fault = change_trigger(&mut trigger, &silent, Some(&mask(&["enabled"])), later);
    assert_eq!(fault.unwrap_err().field.unwrap(), "enabled");
}

#[test]
fn a_mask_that_is_empty_or_names_something_else_is_refused() {
    let (mut function, _) = defined(&welcome());
    let mut change = |mask: Option<&FieldMask>| {
        let request = wire::UpdateFunctionRequest {
            update_mask: mask.cloned(),
            ..wire::UpdateFunctionRequest::default()
        };
        change_function(&mut function, &request, Timestamp::UNIX_EPOCH).unwrap_err()
    };
    assert_eq!(change(None).field.unwrap(), "update_mask");
    let fault = change(Some(&mask(&["name"])));
    assert_eq!(fault.value.unwrap(), "name");
    assert!(fault.allowed.unwrap().starts_with("url, format, settings"));
}

mod settings;
