//! Who may call what: keys, scopes, projects, the operator and the services.

use protocol::access::{INTERNAL_TOKEN_HEADER, PROJECT_HEADER};
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{CreateFunctionRequest, GetFunctionRequest, ListFunctionsRequest};
use protocol::projects::v1::{
    CreateKeyRequest, CreateProjectRequest, ListKeysRequest, ListProjectsRequest, RevokeKeyRequest,
};
use protocol::registry::v1::WatchRegistryRequest;
use tonic::{Request, Status};

use crate::support::{Handler, OPERATOR_TOKEN, World, with_token};

fn fault_of<T: std::fmt::Debug>(answer: Result<T, Status>) -> Fault {
    Fault::from_status(&answer.unwrap_err())
}

async fn create_key(handler: &Handler, scopes: &[&str]) -> (String, String) {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let request = CreateKeyRequest {
        scopes,
        note: "for a test".to_owned(),
    };
    let created = handler
        .keys()
        .create_key(handler.with_key(request))
        .await
        .unwrap()
        .into_inner();
    (created.key.unwrap().id, created.secret)
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_until_it_is_revoked() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let (id, read) = create_key(&handler, &["read"]).await;
    assert!(
        read.starts_with(&format!("{id}_")),
        "the public part is visible"
    );

    let list = || with_token(&read, ListFunctionsRequest::default());
    handler.functions().list_functions(list()).await.unwrap();
    let create = with_token(&read, CreateFunctionRequest::default());
    let fault = fault_of(handler.functions().create_function(create).await);
    assert_eq!(fault.kind, FaultKind::Forbidden);
    assert!(fault.message.contains("manage"), "{fault}");

    let request = handler.with_key(RevokeKeyRequest { id: id.clone() });
    let revoked = handler
        .keys()
        .revoke_key(request)
        .await
        .unwrap()
        .into_inner();
    assert!(revoked.key.unwrap().revoked_at.is_some());
    let fault = fault_of(handler.functions().list_functions(list()).await);
    assert_eq!(fault.kind, FaultKind::Unauthenticated);

    let request = handler.with_key(ListKeysRequest {});
    let keys = handler
        .keys()
        .list_keys(request)
        .await
        .unwrap()
        .into_inner()
        .keys;
    assert_eq!(keys.len(), 2);
    assert!(
        keys.iter()
            .any(|key| key.id == id && key.revoked_at.is_some())
    );
    let no_key = Request::new(ListFunctionsRequest::default());
    let fault = fault_of(handler.functions().list_functions(no_key).await);
    assert_eq!(fault.kind, FaultKind::Unauthenticated);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_key_that_could_do_nothing_or_something_unknown_is_not_made() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let create = async |scopes: &[&str], note: &str| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let request = CreateKeyRequest {
            scopes,
            note: note.to_owned(),
        };
        fault_of(handler.keys().create_key(handler.with_key(request)).await)
    };
    assert_eq!(create(&[], "").await.field.unwrap(), "scopes");
    let fault = create(&["read", "admin"], "").await;
    assert_eq!(fault.field.unwrap(), "scopes[1]");
    assert_eq!(fault.allowed.unwrap(), "emit, manage, read");
    assert_eq!(
        create(&["read"], &"x".repeat(201)).await.field.unwrap(),
        "note"
    );
    let request = handler.with_key(RevokeKeyRequest {
        id: "tlk_nobody00".to_owned(),
    });
    assert_eq!(
        fault_of(handler.keys().revoke_key(request).await).kind,
        FaultKind::NotFound
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_belongs_to_another_project_does_not_exist() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("welcome", "http://localhost:9000/", &["1000"])
        .await;
    let request = CreateProjectRequest {
        name: "acme".to_owned(),
    };
    let request = with_token(OPERATOR_TOKEN, request);
    let acme = handler
        .projects()
        .create_project(request)
        .await
        .unwrap()
        .into_inner()
        .key;

    let get = with_token(
        &acme,
        GetFunctionRequest {
            name: "welcome".to_owned(),
        },
    );
    let fault = fault_of(handler.functions().get_function(get).await);
    assert_eq!(fault.kind, FaultKind::NotFound);
    let list = || with_token(&acme, ListFunctionsRequest::default());
    let page = handler
        .functions()
        .list_functions(list())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.functions, []);
    for other in ["default", "nobody"] {
        let mut request = list();
        request
            .metadata_mut()
            .insert(PROJECT_HEADER, other.parse().unwrap());
        let fault = fault_of(handler.functions().list_functions(request).await);
        assert_eq!(fault.kind, FaultKind::NotFound);
        assert_eq!(fault.message, format!("project {other:?} does not exist"));
    }
    let request = with_token(&acme, ListProjectsRequest {});
    let seen = handler
        .projects()
        .list_projects(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        seen.projects
            .iter()
            .map(|project| &*project.name)
            .collect::<Vec<_>>(),
        ["acme"]
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn projects_are_made_by_operators_only() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let create = async |token: &str, name: &str| {
        let request = with_token(
            token,
            CreateProjectRequest {
                name: name.to_owned(),
            },
        );
        handler.projects().create_project(request).await
    };
    let fault = fault_of(create(&world.key, "acme").await);
    assert_eq!(
        fault.kind,
        FaultKind::Forbidden,
        "a key of all scopes is no operator's token"
    );
    create(OPERATOR_TOKEN, "acme").await.unwrap();
    let fault = fault_of(create(OPERATOR_TOKEN, "acme").await);
    assert_eq!(fault.kind, FaultKind::AlreadyExists);
    assert_eq!(
        fault_of(create(OPERATOR_TOKEN, "A").await).field.unwrap(),
        "name"
    );
    let request = with_token(OPERATOR_TOKEN, ListProjectsRequest {});
    let all = handler
        .projects()
        .list_projects(request)
        .await
        .unwrap()
        .into_inner()
        .projects;
    assert_eq!(
        all.iter().map(|project| &*project.name).collect::<Vec<_>>(),
        ["acme", "default"]
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn where_keys_are_optional_a_call_without_one_is_taken() {
    let world = World::embedded().await;
    let handler = Handler::start_open(&world).await;
    let request = Request::new(CreateProjectRequest {
        name: "acme".to_owned(),
    });
    handler.projects().create_project(request).await.unwrap();
    let mut request = Request::new(ListFunctionsRequest::default());
    request
        .metadata_mut()
        .insert(PROJECT_HEADER, "acme".parse().unwrap());
    handler.functions().list_functions(request).await.unwrap();
    let mut request = Request::new(ListFunctionsRequest::default());
    request
        .metadata_mut()
        .insert(PROJECT_HEADER, "nobody".parse().unwrap());
    let fault = fault_of(handler.functions().list_functions(request).await);
    assert_eq!(fault.kind, FaultKind::NotFound);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_registry_is_shown_to_services_only() {
    let world = World::embedded().await;
    let handler = Handler::start_open(&world).await;
    for token in [None, Some("guessed")] {
        let mut request = Request::new(WatchRegistryRequest::default());
        if let Some(token) = token {
            request
                .metadata_mut()
                .insert(INTERNAL_TOKEN_HEADER, token.parse().unwrap());
        }
        let fault = fault_of(handler.registry().watch_registry(request).await.map(|_| ()));
        assert_eq!(fault.kind, FaultKind::Unauthenticated);
    }
    handler.stop().await;
    world.stop().await;
}
