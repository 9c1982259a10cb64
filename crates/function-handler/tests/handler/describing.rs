//! Functions and triggers are created, read, listed, changed and deleted; faults are clear.

use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{
    CreateFunctionRequest, CreateTriggerRequest, DeleteFunctionRequest, DeleteTriggerRequest,
    Function, GetFunctionRequest, GetTriggerRequest, ListFunctionsRequest, ListTriggersRequest,
    RetryPolicy, Trigger, UpdateFunctionRequest, UpdateTriggerRequest,
};
use protocol::well_known::FieldMask;
use tonic::Status;

use crate::support::{Handler, World};

fn welcome() -> CreateFunctionRequest {
    CreateFunctionRequest {
        name: "welcome".to_owned(),
        url: "http://localhost:9000/hook".to_owned(),
        on: vec!["AUTH_REGISTER".to_owned()],
        ..CreateFunctionRequest::default()
    }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}

fn kind_of<T: std::fmt::Debug>(answer: Result<T, Status>) -> FaultKind {
    Fault::from_status(&answer.unwrap_err()).kind
}

#[tokio::test]
async fn a_function_shows_its_secrets_once_and_changes_field_by_field() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut functions = handler.functions();

    let created = functions
        .create_function(handler.with_key(welcome()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(created.secret.len(), 43, "256 bits in base 64");
    assert!(created.signing_secret.starts_with("whsec_"));
    let function = created.function.unwrap();
    let trigger = created.trigger.unwrap();
    assert_eq!(
        (function.name.as_str(), trigger.name.as_str()),
        ("welcome", "welcome")
    );
    assert_eq!(function.format, "cloudevents-structured");
    assert_eq!(trigger.on, ["AUTH_REGISTER"]);
    assert_eq!(
        handler.view.read().revision,
        function.revision,
        "known here at once"
    );

    let get = || {
        handler.with_key(GetFunctionRequest {
            name: "default/welcome".to_owned(),
        })
    };
    assert_eq!(
        functions.get_function(get()).await.unwrap().into_inner(),
        function
    );

    let update = UpdateFunctionRequest {
        function: Some(Function {
            name: "welcome".to_owned(),
            url: "http://localhost:9001/".to_owned(),
            format: "schmuckli".to_owned(),
            ..Function::default()
        }),
        update_mask: mask(&["url"]),
        credentials: None,
    };
    let changed = functions
        .update_function(handler.with_key(update))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(changed.url, "http://localhost:9001/");
    assert_eq!(
        changed.format, "cloudevents-structured",
        "not named by the mask"
    );
    assert!(changed.revision > function.revision);
    assert_eq!(
        functions.get_function(get()).await.unwrap().into_inner(),
        changed
    );

    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_function_is_gone_with_its_triggers() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let (mut functions, mut triggers) = (handler.functions(), handler.triggers());
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let name = || "welcome".to_owned();
    let delete = || handler.with_key(DeleteFunctionRequest { name: name() });
    functions.delete_function(delete()).await.unwrap();
    let get = handler.with_key(GetFunctionRequest { name: name() });
    assert_eq!(
        kind_of(functions.get_function(get).await),
        FaultKind::NotFound
    );
    assert_eq!(
        kind_of(functions.delete_function(delete()).await),
        FaultKind::NotFound
    );
    let get = handler.with_key(GetTriggerRequest { name: name() });
    assert_eq!(
        kind_of(triggers.get_trigger(get).await),
        FaultKind::NotFound
    );
    assert!(handler.view.read().triggers().next().is_none());
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_description_is_refused_with_the_field_and_nothing_is_stored() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let revision = world.store.revision().await.unwrap();
    let check = async |request: CreateFunctionRequest, field: &str, word: &str| {
        let answer = handler
            .functions()
            .create_function(handler.with_key(request))
            .await;
        let fault = Fault::from_status(&answer.unwrap_err());
        assert_eq!(fault.kind, FaultKind::Invalid);
        assert_eq!(fault.field.as_deref(), Some(field));
        assert!(fault.to_string().contains(word), "{fault}");
    };
    let url = "ftp://example.com/".to_owned();
    check(
        CreateFunctionRequest { url, ..welcome() },
        "url",
        "only http and https",
    )
    .await;
    let url = "not a url".to_owned();
    check(
        CreateFunctionRequest { url, ..welcome() },
        "url",
        "is not a URL",
    )
    .await;
    let name = "Welcome".to_owned();
    check(
        CreateFunctionRequest { name, ..welcome() },
        "name",
        "lower-case",
    )
    .await;
    let on = vec!["1000".to_owned(), "4711".to_owned()];
    check(
        CreateFunctionRequest { on, ..welcome() },
        "on[1]",
        "1000-1002",
    )
    .await;
    let subject = "users/{user}/**/x/**".to_owned();
    check(
        CreateFunctionRequest {
            subject,
            ..welcome()
        },
        "subject",
        "at byte 18",
    )
    .await;
    let retry = Some(RetryPolicy {
        jitter: Some(2.0),
        ..RetryPolicy::default()
    });
    check(
        CreateFunctionRequest { retry, ..welcome() },
        "retry.jitter",
        "0 to 1",
    )
    .await;
    assert_eq!(world.store.revision().await.unwrap(), revision);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s4_04_a_taken_name_is_refused_and_named() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let create = async |name: &str| {
        let request = CreateFunctionRequest {
            name: name.to_owned(),
            ..welcome()
        };
        handler
            .functions()
            .create_function(handler.with_key(request))
            .await
    };
    create("welcome").await.unwrap();
    let status = create("default/welcome").await.unwrap_err();
    assert_eq!(Fault::from_status(&status).kind, FaultKind::AlreadyExists);
    assert_eq!(status.message(), "function \"welcome\" exists already");

    let other = create("shop/welcome").await.unwrap().into_inner();
    assert_eq!(
        other.trigger.unwrap().name,
        "shop-welcome",
        "the plain name is taken"
    );
    let trigger = Trigger {
        name: "welcome".to_owned(),
        function: "welcome".to_owned(),
        ..Trigger::default()
    };
    let request = handler.with_key(CreateTriggerRequest {
        trigger: Some(trigger.clone()),
    });
    let answer = handler.triggers().create_trigger(request).await;
    assert_eq!(kind_of(answer), FaultKind::AlreadyExists);
    let trigger = Trigger {
        name: "other".to_owned(),
        function: "nobody".to_owned(),
        ..trigger
    };
    let request = handler.with_key(CreateTriggerRequest {
        trigger: Some(trigger),
    });
    let status = handler
        .triggers()
        .create_trigger(request)
        .await
        .unwrap_err();
    assert_eq!(Fault::from_status(&status).kind, FaultKind::NotFound);
    assert!(status.message().contains("nobody"), "{}", status.message());
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn triggers_are_changed_field_by_field_and_deleted() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &[])
        .await;
    let mut triggers = handler.triggers();
    let trigger = Trigger {
        name: "on-upload".to_owned(),
        function: "welcome".to_owned(),
        on: vec!["storage.**".to_owned()],
        subject: "users/{user}/**".to_owned(),
        ..Trigger::default()
    };
    let request = handler.with_key(CreateTriggerRequest {
        trigger: Some(trigger.clone()),
    });
    let created = triggers.create_trigger(request).await.unwrap().into_inner();
    assert!(created.enabled(), "a new trigger is enabled");
    assert_eq!(created.retry.clone().unwrap().retries, Some(3));

    let wanted = Trigger {
        enabled: Some(false),
        suffix: ".jpg".to_owned(),
        ..trigger
    };
    let request = UpdateTriggerRequest {
        trigger: Some(Trigger {
            on: Vec::new(),
            ..wanted.clone()
        }),
        update_mask: mask(&["enabled", "suffix"]),
    };
    let changed = triggers
        .update_trigger(handler.with_key(request))
        .await
        .unwrap()
        .into_inner();
    assert!(!changed.enabled());
    assert_eq!((changed.suffix.as_str(), changed.on.len()), (".jpg", 1));

    let request = UpdateTriggerRequest {
        trigger: Some(wanted),
        update_mask: mask(&["name"]),
    };
    let status = triggers
        .update_trigger(handler.with_key(request))
        .await
        .unwrap_err();
    assert_eq!(Fault::from_status(&status).field.unwrap(), "update_mask");

    let request = || {
        handler.with_key(DeleteTriggerRequest {
            name: "on-upload".to_owned(),
        })
    };
    triggers.delete_trigger(request()).await.unwrap();
    assert_eq!(
        kind_of(triggers.delete_trigger(request()).await),
        FaultKind::NotFound
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_by_name() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    for number in 0..7 {
        let name = format!("function-{number}");
        handler
            .create(&name, "http://localhost:9000/", &["1000"])
            .await;
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = handler.with_key(ListFunctionsRequest {
            page_size: 3,
            page_token,
        });
        let page = handler
            .functions()
            .list_functions(request)
            .await
            .unwrap()
            .into_inner();
        names.push(
            page.functions
                .into_iter()
                .map(|function| function.name)
                .collect::<Vec<_>>(),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let names = names.concat();
    assert!(names.is_sorted() && names.len() == 7, "{names:?}");

    let function = "function-3".to_owned();
    let request = ListTriggersRequest {
        function,
        ..ListTriggersRequest::default()
    };
    let request = handler.with_key(request);
    let page = handler
        .triggers()
        .list_triggers(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.triggers.len(), 1);

    let request = ListFunctionsRequest {
        page_size: 1_001,
        page_token: String::new(),
    };
    let status = handler
        .functions()
        .list_functions(handler.with_key(request))
        .await
        .unwrap_err();
    assert_eq!(Fault::from_status(&status).field.unwrap(), "page_size");
    let request = ListFunctionsRequest {
        page_size: 1,
        page_token: "made up".to_owned(),
    };
    let status = handler
        .functions()
        .list_functions(handler.with_key(request))
        .await
        .unwrap_err();
    assert_eq!(Fault::from_status(&status).field.unwrap(), "page_token");
    handler.stop().await;
    world.stop().await;
}
