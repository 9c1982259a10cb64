//! Packages are deployed, put in force and rolled back as a whole; files of other systems too.

use std::collections::HashMap;

use domain::delivery::Consignment;
use protocol::fault::{Fault, FaultKind};
use protocol::functions::v1::{
    Function, FunctionSettings, GetFunctionRequest, GetTriggerRequest, ListTriggersRequest,
    Trigger, UpdateFunctionRequest,
};
use protocol::imports::v1::{ExportRequest, ImportRequest, ImportResponse};
use protocol::packages::v1::{
    ActivateVersionRequest, DeployVersionRequest, DeployVersionResponse, Document, FunctionSpec,
    GetPackageRequest, GetVersionRequest, ListPackagesRequest, ListVersionsRequest,
};
use protocol::schedules::v1::{ListSchedulesRequest, Schedule};
use protocol::well_known::FieldMask;
use tonic::Status;

use crate::support::{Handler, World, event};

const USERS: &[u8] = include_bytes!("../../../domain/tests/seeds/kii-users.json");
const BUCKETS: &[u8] = include_bytes!("../../../domain/tests/seeds/kii-buckets.json");

fn spec(name: &str, url: &str) -> FunctionSpec {
    FunctionSpec {
        name: name.to_owned(),
        url: url.to_owned(),
        ..FunctionSpec::default()
    }
}

fn trigger(name: &str, function: &str, on: &str) -> Trigger {
    Trigger {
        name: name.to_owned(),
        function: function.to_owned(),
        on: vec![on.to_owned()],
        ..Trigger::default()
    }
}

fn deploy(package: &str, document: Document) -> DeployVersionRequest {
    DeployVersionRequest {
        package: package.to_owned(),
        document: Some(document),
        ..DeployVersionRequest::default()
    }
}

fn import(package: &str, file: &[u8]) -> ImportRequest {
    ImportRequest {
        kind: "kii".to_owned(),
        package: package.to_owned(),
        file: file.to_vec().into(),
        ..ImportRequest::default()
    }
}

fn fault<T: std::fmt::Debug>(answer: Result<T, Status>) -> Fault {
    Fault::from_status(&answer.unwrap_err())
}

impl Handler {
    async fn deploys(&self, package: &str, document: Document) -> DeployVersionResponse {
        let request = self.with_key(deploy(package, document));
        let answer = self.packages().deploy_version(request).await;
        answer.unwrap().into_inner()
    }

    async fn activates(&self, package: &str, version: u32) {
        let package = package.to_owned();
        let request = self.with_key(ActivateVersionRequest { package, version });
        self.packages().activate_version(request).await.unwrap();
    }

    async fn imports_file(&self, request: ImportRequest) -> ImportResponse {
        let request = self.with_key(request);
        self.imports().import(request).await.unwrap().into_inner()
    }

    async fn trigger_names(&self) -> Vec<String> {
        let request = self.with_key(ListTriggersRequest::default());
        let page = self.triggers().list_triggers(request).await.unwrap();
        page.into_inner()
            .triggers
            .into_iter()
            .map(|one| one.name)
            .collect()
    }

    async fn function(&self, name: &str) -> Result<Function, Status> {
        let name = name.to_owned();
        let request = self.with_key(GetFunctionRequest { name });
        Ok(self.functions().get_function(request).await?.into_inner())
    }

    async fn schedule_names(&self) -> Vec<String> {
        let request = self.with_key(ListSchedulesRequest::default());
        let page = self.schedules().list_schedules(request).await.unwrap();
        page.into_inner()
            .schedules
            .into_iter()
            .map(|one| one.name)
            .collect()
    }
}

fn first_version() -> Document {
    Document {
        functions: vec![spec("main", "http://localhost:9000/v1")],
        triggers: vec![trigger("on-created", "main", "USER_CREATED")],
        schedules: vec![Schedule {
            name: "nightly".to_owned(),
            cron: "0 3 * * *".to_owned(),
            function: "main".to_owned(),
            ..Schedule::default()
        }],
    }
}

fn second_version() -> Document {
    Document {
        functions: vec![
            spec("shop/main", "http://localhost:9000/v2"),
            spec("other", "http://localhost:9000/other"),
        ],
        triggers: vec![trigger("on-deleted", "other", "USER_DELETED")],
        schedules: Vec::new(),
    }
}

#[tokio::test]
async fn s3_32_a_version_switches_functions_and_hooks_at_once_and_back_again() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let first = handler.deploys("shop", first_version()).await;
    assert_eq!(first.version.unwrap().version, 1);
    let secret = &first.created[0].secret;
    assert_eq!(secret.len(), 43, "shown once");
    assert_eq!(handler.trigger_names().await, ["nightly", "on-created"]);

    let before = world.store.revision().await.unwrap();
    let second = handler.deploys("shop", second_version()).await;
    assert_eq!(
        world.store.revision().await.unwrap(),
        before + 1,
        "all of it at once"
    );
    let created: Vec<String> = second
        .created
        .into_iter()
        .map(|one| one.function.unwrap().name)
        .collect();
    assert_eq!(created, ["shop/other"]);
    assert_eq!(handler.trigger_names().await, ["on-deleted"]);
    assert_eq!(handler.schedule_names().await, [""; 0]);
    assert_eq!(
        handler.function("shop/main").await.unwrap().url,
        "http://localhost:9000/v2"
    );

    handler.activates("shop", 1).await;
    assert_eq!(handler.trigger_names().await, ["nightly", "on-created"]);
    assert_eq!(handler.schedule_names().await, ["nightly"]);
    assert_eq!(
        handler.function("shop/main").await.unwrap().url,
        "http://localhost:9000/v1"
    );
    let gone = fault(handler.function("shop/other").await);
    assert_eq!(gone.kind, FaultKind::NotFound);
    let (project, main) = ("default".parse().unwrap(), "shop/main".parse().unwrap());
    let kept = world
        .store
        .function(&project, &main)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        kept.secret, *secret,
        "a function that stays keeps its secrets"
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn versions_are_listed_and_read_as_they_were_deployed() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler.deploys("shop", first_version()).await;
    let stored = DeployVersionRequest {
        activate: Some(false),
        ..deploy("shop", second_version())
    };
    let stored = handler
        .packages()
        .deploy_version(handler.with_key(stored))
        .await;
    let stored = stored.unwrap().into_inner();
    assert_eq!(stored.created, [], "nothing was made yet");
    let get = handler.with_key(GetPackageRequest {
        name: "shop".to_owned(),
    });
    let package = handler
        .packages()
        .get_package(get)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((package.active_version, package.latest_version), (1, 2));
    let list = handler.with_key(ListVersionsRequest {
        package: "shop".to_owned(),
        ..ListVersionsRequest::default()
    });
    let versions = handler
        .packages()
        .list_versions(list)
        .await
        .unwrap()
        .into_inner()
        .versions;
    let listed: Vec<(u32, bool)> = versions
        .iter()
        .map(|one| (one.version, one.active))
        .collect();
    assert_eq!(listed, [(2, false), (1, true)]);
    let get = handler.with_key(GetVersionRequest {
        package: "shop".to_owned(),
        version: 2,
    });
    let version = handler
        .packages()
        .get_version(get)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(version.document, Some(second_version()));
    let list = handler.with_key(ListPackagesRequest::default());
    let packages = handler
        .packages()
        .list_packages(list)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(packages.packages.len(), 1);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s4_04_a_name_stands_once_in_a_package_and_again_in_another() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let twice = Document {
        functions: vec![
            spec("main", "http://localhost/a"),
            spec("main", "http://localhost/b"),
        ],
        ..Document::default()
    };
    let refused = handler
        .packages()
        .deploy_version(handler.with_key(deploy("shop", twice)))
        .await;
    let refused = fault(refused);
    assert_eq!(refused.kind, FaultKind::Invalid);
    assert_eq!(refused.field.as_deref(), Some("document.functions[1].name"));
    let once = || Document {
        functions: vec![spec("main", "http://localhost/a")],
        ..Document::default()
    };
    handler.deploys("shop", once()).await;
    handler.deploys("other-shop", once()).await;
    let mut clash = once();
    clash.functions.push(FunctionSpec {
        settings: Some(FunctionSettings {
            endpoint: "main".to_owned(),
            ..FunctionSettings::default()
        }),
        ..spec("on-user", "http://localhost/")
    });
    let request = handler.with_key(deploy("shop", clash));
    let clash = fault(handler.packages().deploy_version(request).await);
    assert_eq!(clash.kind, FaultKind::AlreadyExists);
    assert_eq!(clash.value.as_deref(), Some("main"));
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_deployed_is_named_and_leaves_everything() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("elsewhere", "http://localhost:9000/", &["1000"])
        .await;
    let before = world.store.revision().await.unwrap();
    let field = async |document: Document| {
        let request = handler.with_key(deploy("shop", document));
        let fault = fault(handler.packages().deploy_version(request).await);
        fault.field.unwrap_or(fault.message)
    };
    let with = |change: fn(&mut Document)| {
        let mut document = first_version();
        change(&mut document);
        document
    };
    let foreign = with(|one| one.functions[0].name = "other/main".to_owned());
    assert_eq!(field(foreign).await, "document.functions[0].name");
    let url = with(|one| one.functions[0].url = "ftp://x".to_owned());
    assert_eq!(field(url).await, "document.functions[0].url");
    let on = with(|one| one.triggers[0].on = vec!["77".to_owned()]);
    assert_eq!(field(on).await, "document.triggers[0].on[0]");
    let cron = with(|one| one.schedules[0].cron = "soon".to_owned());
    assert_eq!(field(cron).await, "document.schedules[0].cron");
    let twice = with(|one| one.triggers[0].name = "nightly".to_owned());
    assert_eq!(field(twice).await, "document");
    let lost = with(|one| one.triggers[0].function = "nobody".to_owned());
    assert!(field(lost).await.contains("shop/nobody"));
    let taken = with(|one| one.triggers[0].name = "elsewhere".to_owned());
    assert!(field(taken).await.contains("elsewhere"));
    assert_eq!(world.store.revision().await.unwrap(), before);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s3_10_s3_32_imported_hooks_call_their_functions() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let mut outgoing = world.outgoing();
    handler
        .create("shop/func1", "http://localhost:9001/", &[])
        .await;
    handler
        .create("shop/func2", "http://localhost:9002/", &[])
        .await;
    let imported = handler.imports_file(import("shop", BUCKETS)).await;
    assert_eq!(
        (
            imported.version,
            imported.errors.len(),
            imported.warnings.len()
        ),
        (1, 0, 0)
    );
    let subject = Some("apps/a1/buckets/myBucket/objects/o1");
    world
        .publish(&[event("DATA_OBJECT_DELETED", subject)])
        .await;
    outgoing.wait_for(1, 1).await;
    let (_, Consignment { targets, .. }) = &outgoing.consignments[0];
    assert_eq!(targets[0].function.to_string(), "shop/func2");
    assert_eq!(targets[0].captures.get("objectID"), Some("o1"));
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s3_14_a_file_with_an_error_installs_nothing_and_a_dry_run_neither() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("shop/main", "http://localhost:9001/", &[])
        .await;
    handler
        .create("shop/func1", "http://localhost:9001/", &[])
        .await;
    let before = world.store.revision().await.unwrap();
    let two = r#"{"kiicloud://users": [
        {"when": "USER_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "main"},
        {"when": "USER_CREATED", "what": "EXECUTE_SERVER_CODE", "endpoint": "func1"}]}"#;
    let refused = handler.imports_file(import("shop", two.as_bytes())).await;
    assert_eq!((refused.version, refused.triggers.len()), (0, 0));
    let [error] = &*refused.errors else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (&*error.code, error.line, error.column),
        ("HOOK_DUP_TRIGGER", 3, 9)
    );
    assert_eq!(error.json_pointer, "/kiicloud:~1~1users/1");
    let dry = ImportRequest {
        dry_run: true,
        ..import("shop", USERS)
    };
    let dry = handler.imports_file(dry).await;
    assert_eq!((dry.version, dry.triggers.len()), (0, 1));
    assert_eq!(world.store.revision().await.unwrap(), before);
    assert_eq!(handler.trigger_names().await, [""; 0]);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s3_35_an_imported_file_comes_back_byte_for_byte() {
    let world = World::full().await;
    let handler = Handler::start(&world).await;
    for name in ["shop/main", "shop/func1", "shop/func2"] {
        handler.create(name, "http://localhost:9001/", &[]).await;
    }
    // Comments, a repeated path and odd line ends are all kept.
    let odd = [b"// note\r\n".as_slice(), USERS, b"\r\n\t".as_slice()].concat();
    let odd = ImportRequest {
        lenient: true,
        ..import("shop", &odd)
    };
    assert_eq!(handler.imports_file(odd.clone()).await.version, 1);
    assert_eq!(
        handler.imports_file(import("shop", BUCKETS)).await.version,
        2
    );
    let export = async |kind: &str, version: u32| {
        let request = ExportRequest {
            kind: kind.to_owned(),
            package: "shop".to_owned(),
            version,
        };
        let exported = handler.imports().export(handler.with_key(request)).await?;
        Ok::<_, Status>(exported.into_inner())
    };
    assert_eq!(export("kii", 1).await.unwrap().file, odd.file);
    let current = export("kii", 0).await.unwrap();
    assert_eq!((current.version, &*current.file), (2, BUCKETS));
    for (kind, version) in [("yandex", 1), ("kii", 9)] {
        assert_eq!(fault(export(kind, version).await).kind, FaultKind::NotFound);
    }
    assert_eq!(
        fault(export("parse", 1).await).field.as_deref(),
        Some("kind")
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_a_functions_name_or_its_second_one() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let document = Document {
        functions: vec![FunctionSpec {
            settings: Some(FunctionSettings {
                endpoint: "onUserCreated".to_owned(),
                ..FunctionSettings::default()
            }),
            ..spec("on-user", "http://localhost:9000/")
        }],
        ..Document::default()
    };
    handler.deploys("shop", document).await;
    let text = String::from_utf8(USERS.to_vec()).unwrap();
    for endpoint in ["on-user", "onUserCreated"] {
        let file = text.replace("\"main\"", &format!("\"{endpoint}\""));
        let imported = handler.imports_file(import("shop", file.as_bytes())).await;
        assert_eq!(imported.errors, [], "{endpoint}");
        assert_eq!(imported.triggers[0].function, "shop/on-user");
    }
    let unknown = handler.imports_file(import("shop", USERS)).await;
    assert!(
        unknown.errors[0].message.contains("onUserCreated"),
        "{unknown:?}"
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_import_replaces_the_hooks_and_leaves_the_functions_as_they_are_now() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler.deploys("shop", first_version()).await;
    let moved = UpdateFunctionRequest {
        function: Some(Function {
            name: "shop/main".to_owned(),
            url: "http://localhost:9000/moved".to_owned(),
            ..Function::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["url".to_owned()],
        }),
        credentials: None,
    };
    handler
        .functions()
        .update_function(handler.with_key(moved))
        .await
        .unwrap();
    let imported = handler.imports_file(import("shop", USERS)).await;
    assert_eq!(imported.version, 2);
    assert_eq!(handler.trigger_names().await, ["shop-user-created"]);
    assert_eq!(
        handler.function("shop/main").await.unwrap().url,
        "http://localhost:9000/moved"
    );
    let again = handler.imports_file(import("shop", USERS)).await;
    assert_eq!(again.version, 3, "the same file may come again");
    handler.activates("shop", 1).await;
    assert_eq!(handler.trigger_names().await, ["nightly", "on-created"]);
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s2_04_space_clouds_triggers_make_functions_of_their_urls() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    let text = r#"{"id": "welcome", "type": "DB_INSERT", "url": "http://localhost:9000/hook",
        "retries": 0, "options": {"db": "pg"},
        "filter": {"rule": "match", "type": "number", "eval": ">", "f1": "args.data.doc.n", "f2": 1}}"#;
    let request = |text: &str| ImportRequest {
        kind: "space-cloud".to_owned(),
        ..import("mission", text.as_bytes())
    };
    let imported = handler.imports_file(request(text)).await;
    assert_eq!(imported.errors, []);
    assert_eq!(imported.created.len(), 1);
    let get = handler.with_key(GetTriggerRequest {
        name: "welcome".to_owned(),
    });
    let trigger = handler
        .triggers()
        .get_trigger(get)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(trigger.function, "mission/welcome");
    assert_eq!(trigger.retry.unwrap().retries, Some(3));
    assert_eq!(
        trigger.options,
        HashMap::from([("db".to_owned(), "pg".to_owned())])
    );
    assert!(
        trigger.filter.contains("data.doc.n > 1"),
        "{}",
        trigger.filter
    );
    let without_url = handler
        .imports_file(request(r#"{"type": "DB_INSERT"}"#))
        .await;
    assert_eq!(without_url.errors[0].code, "SC_URL");
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s4_37_a_trigger_table_and_s5_27_scripts_are_installed_for_functions_by_name() {
    let world = World::embedded().await;
    let handler = Handler::start(&world).await;
    handler
        .create("my-package/number-func", "http://localhost:9001/", &[])
        .await;
    let table = "storage.s3-for-trigger.delete:\n    - my-package.number-func\n    - lonely\n";
    let request = ImportRequest {
        kind: "yandex".to_owned(),
        ..import("my-package", table.as_bytes())
    };
    let imported = handler.imports_file(request).await;
    assert_eq!((imported.version, imported.triggers.len()), (1, 1));
    assert_eq!(imported.warnings[0].code, "YC_NO_PACKAGE");
    let script = r#"[{"name": "db.get.queued", "type": "php", "content": "…"}]"#;
    let request = ImportRequest {
        kind: "dreamfactory".to_owned(),
        functions: [(
            "db.get.queued".to_owned(),
            "my-package/number-func".to_owned(),
        )]
        .into(),
        ..import("scripts", script.as_bytes())
    };
    for version in 1..=2 {
        let imported = handler.imports_file(request.clone()).await;
        assert_eq!((imported.version, imported.errors.len()), (version, 0));
    }
    let scripts = handler.trigger_names().await;
    assert_eq!(
        scripts
            .iter()
            .filter(|name| name.starts_with("script-db-get"))
            .count(),
        1
    );
    handler.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn s5_30_scripts_are_not_installed_where_they_are_switched_off() {
    let world = World::embedded().await;
    let config = function_handler::Config {
        scripting: false,
        ..function_handler::Config::default()
    };
    let handler = Handler::start_with(&world, config, true).await;
    let script = br#"[{"name": "db.get.queued", "config": {"url": "http://localhost:9000/"}}]"#;
    let request = ImportRequest {
        kind: "dreamfactory".to_owned(),
        ..import("scripts", script)
    };
    let refused = handler.imports().import(handler.with_key(request)).await;
    let refused = fault(refused);
    assert_eq!(refused.kind, FaultKind::Unavailable);
    assert_eq!(refused.kind.http_status().as_u16(), 503);
    assert_eq!(handler.trigger_names().await, [""; 0]);
    handler.stop().await;
    world.stop().await;
}
