//! `tripline functions`: what is called, and where.

mod invoke;
mod rotate;
mod settings;

use protocol::delivery::v1::{Header, TestFunctionRequest, TestFunctionResponse};
use protocol::functions::v1 as functions;
use serde::Serialize;

use self::settings::{ShownSettings, given, path_of};
use super::triggers::{ShownTrigger, retry_policy};
use super::{read_data, show_micros, show_time};
use crate::command_line::{Connection, FunctionFlags, Functions, Output};
use crate::failure::Failure;
use crate::output::{self, Row};

/// A function as printed.
#[derive(Debug, Serialize)]
struct ShownFunction {
    name: String,
    url: String,
    format: String,
    settings: ShownSettings,
    verification_key: String,
    /// Until then the secrets from before are valid too.
    rotating_until: Option<String>,
    created_at: String,
    updated_at: String,
}

impl From<functions::Function> for ShownFunction {
    fn from(function: functions::Function) -> Self {
        Self {
            created_at: show_time(function.created_at.as_ref()),
            updated_at: show_time(function.updated_at.as_ref()),
            settings: ShownSettings::of(function.settings, function.credentials),
            verification_key: function.verification_key,
            rotating_until: function
                .rotating_until
                .as_ref()
                .map(|until| show_time(Some(until))),
            name: function.name,
            url: function.url,
            format: function.format,
        }
    }
}

impl Row for ShownFunction {
    const HEADINGS: &'static [&'static str] = &["NAME", "URL", "FORMAT", "STATE", "UPDATED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.url.clone(),
            self.format.clone(),
            self.settings.state(),
            self.updated_at.clone(),
        ]
    }
}

impl ShownFunction {
    fn print(&self, output: Output) -> Result<(), Failure> {
        output::one(output, self, &self.fields())
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("function", self.name.clone()),
            ("url", self.url.clone()),
            ("format", self.format.clone()),
        ];
        fields.extend(self.settings.fields());
        fields.push(("verification_key", self.verification_key.clone()));
        if let Some(until) = &self.rotating_until {
            fields.push(("rotating until", until.clone()));
        }
        fields.push(("created", self.created_at.clone()));
        fields.push(("updated", self.updated_at.clone()));
        fields
    }
}

/// A function just created, with what is shown once.
#[derive(Debug, Serialize)]
struct CreatedFunction {
    #[serde(flatten)]
    function: ShownFunction,
    trigger: Option<ShownTrigger>,
    secret: String,
    signing_secret: String,
}

#[expect(clippy::too_many_lines, reason = "one command after the other")]
pub(crate) async fn run(command: Functions, connection: &Connection) -> Result<(), Failure> {
    match command {
        Functions::Create {
            name,
            url,
            on,
            subject,
            format,
            flags,
            retry,
        } => {
            let given = given(&flags)?;
            let request = functions::CreateFunctionRequest {
                name,
                url,
                format: format.unwrap_or_default(),
                on,
                subject: subject.unwrap_or_default(),
                // Without a trigger there is nothing it could belong to.
                retry: Some(retry_policy(&retry)).filter(|retry| *retry != Default::default()),
                settings: Some(given.settings),
                credentials: Some(given.credentials),
                expect_json_response: retry.expect_json_response.unwrap_or_default(),
            };
            create(request, connection).await
        }
        Functions::List => list(connection).await,
        Functions::Get { name } => {
            let request = functions::GetFunctionRequest { name };
            let function = connection
                .functions()?
                .get_function(request)
                .await?
                .into_inner();
            ShownFunction::from(function).print(connection.output)
        }
        Functions::Update {
            name,
            url,
            format,
            flags,
            reset,
        } => {
            let request = update_request(name, url, format, &flags, &reset)?;
            update(request, connection).await
        }
        Functions::Pause { name } => update(pause_request(name, true), connection).await,
        Functions::Resume { name } => update(pause_request(name, false), connection).await,
        Functions::Delete { name } => {
            let request = functions::DeleteFunctionRequest { name: name.clone() };
            connection.functions()?.delete_function(request).await?;
            output::one(
                connection.output,
                &Deleted { deleted: &name },
                &[("deleted", name.clone())],
            )
        }
        Functions::RotateSecret { name, rotation } => {
            rotate::run(name, &rotation, connection).await
        }
        Functions::Invoke {
            name,
            parameters,
            headers,
            timeout,
        } => {
            let call = invoke::Call {
                name,
                parameters,
                headers,
                timeout,
            };
            invoke::run(call, connection).await
        }
        Functions::Test {
            name,
            event_type,
            data,
        } => test(name, event_type, data.as_deref(), connection).await,
    }
}

async fn test(
    name: String,
    event_type: Option<String>,
    data: Option<&str>,
    connection: &Connection,
) -> Result<(), Failure> {
    let data = data.map(read_data).transpose()?.unwrap_or_default();
    let r#type = event_type.unwrap_or_default();
    let request = TestFunctionRequest {
        function: name,
        r#type,
        data: data.into(),
    };
    let answer = connection
        .deliveries()?
        .test_function(request)
        .await?
        .into_inner();
    show_test(answer, connection.output)
}

/// That something of this name is no more.
#[derive(Debug, Serialize)]
pub(super) struct Deleted<'a> {
    pub(super) deleted: &'a str,
}

async fn create(
    request: functions::CreateFunctionRequest,
    connection: &Connection,
) -> Result<(), Failure> {
    let answer = connection
        .functions()?
        .create_function(request)
        .await?
        .into_inner();
    let created = CreatedFunction {
        function: answer.function.unwrap_or_default().into(),
        trigger: answer.trigger.map(Into::into),
        secret: answer.secret,
        signing_secret: answer.signing_secret,
    };
    let mut fields = created.function.fields();
    if let Some(trigger) = &created.trigger {
        fields.push(("called on", trigger.conditions()));
    }
    fields.push(("secret", created.secret.clone()));
    fields.push(("signing_secret", created.signing_secret.clone()));
    output::one(connection.output, &created, &fields)?;
    if connection.output == Output::Table {
        output::line("Keep both secrets now: they are shown once.")?;
    }
    Ok(())
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let mut client = connection.functions()?;
    let mut shown = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = functions::ListFunctionsRequest {
            page_size: 1000,
            page_token,
        };
        let page = client.list_functions(request).await?.into_inner();
        shown.extend(page.functions.into_iter().map(ShownFunction::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return output::rows(connection.output, &shown);
        }
    }
}

fn update_request(
    name: String,
    url: Option<String>,
    format: Option<String>,
    flags: &FunctionFlags,
    reset: &[String],
) -> Result<functions::UpdateFunctionRequest, Failure> {
    let mut given = given(flags)?;
    for name in reset {
        let path = path_of(name).ok_or_else(|| {
            let message = format!("--reset: {name:?} is not understood; see --help");
            Failure::usage(message)
        })?;
        if given.paths.contains(&path) {
            let message = format!("--reset {name} and a new value contradict each other");
            return Err(Failure::usage(message));
        }
        given.paths.push(path);
    }
    let named = [("url", url.is_some()), ("format", format.is_some())];
    let paths: Vec<String> = named
        .into_iter()
        .filter_map(|(name, is_named)| is_named.then_some(name))
        .chain(given.paths)
        .map(ToOwned::to_owned)
        .collect();
    if paths.is_empty() {
        let message = "nothing to change: see `tripline functions update --help`";
        return Err(Failure::usage(message));
    }
    let function = functions::Function {
        name,
        url: url.unwrap_or_default(),
        format: format.unwrap_or_default(),
        settings: Some(given.settings),
        ..functions::Function::default()
    };
    Ok(functions::UpdateFunctionRequest {
        function: Some(function),
        update_mask: Some(protocol::well_known::FieldMask { paths }),
        credentials: Some(given.credentials),
    })
}

fn pause_request(name: String, paused: bool) -> functions::UpdateFunctionRequest {
    let settings = functions::FunctionSettings {
        paused,
        ..functions::FunctionSettings::default()
    };
    let function = functions::Function {
        name,
        settings: Some(settings),
        ..functions::Function::default()
    };
    let paths = vec!["settings.paused".to_owned()];
    functions::UpdateFunctionRequest {
        function: Some(function),
        update_mask: Some(protocol::well_known::FieldMask { paths }),
        credentials: None,
    }
}

async fn update(
    request: functions::UpdateFunctionRequest,
    connection: &Connection,
) -> Result<(), Failure> {
    let function = connection
        .functions()?
        .update_function(request)
        .await?
        .into_inner();
    ShownFunction::from(function).print(connection.output)
}

/// A test call as printed.
#[derive(Debug, Serialize)]
struct ShownTest {
    url: String,
    request_headers: Vec<(String, String)>,
    request_body: String,
    status: u32,
    response_headers: Vec<(String, String)>,
    response_body: String,
    response_truncated: bool,
    duration_us: u64,
    error_class: String,
    error: String,
}

fn show_test(answer: TestFunctionResponse, output: Output) -> Result<(), Failure> {
    let pairs = |headers: Vec<Header>| headers.into_iter().map(|h| (h.name, h.value)).collect();
    let shown = ShownTest {
        url: answer.url,
        request_headers: pairs(answer.request_headers),
        request_body: String::from_utf8_lossy(&answer.request_body).into_owned(),
        status: answer.status,
        response_headers: pairs(answer.response_headers),
        response_body: String::from_utf8_lossy(&answer.response_body).into_owned(),
        response_truncated: answer.response_truncated,
        duration_us: answer.duration_us,
        error_class: answer.error_class,
        error: answer.error,
    };
    if output == Output::Json {
        output::object(&shown)?;
    } else {
        output::line(&format!("POST {}", shown.url))?;
        print_headers(&shown.request_headers)?;
        output::line(&format!("\n{}\n", shown.request_body))?;
        if shown.status == 0 {
            output::line(&format!(
                "no answer: {} ({})",
                shown.error, shown.error_class
            ))?;
        } else {
            output::line(&format!(
                "{} in {}",
                shown.status,
                show_micros(shown.duration_us)
            ))?;
            print_headers(&shown.response_headers)?;
            output::line(&format!("\n{}", shown.response_body))?;
        }
    }
    if (200..300).contains(&shown.status) {
        return Ok(());
    }
    Err(Failure::local("the function did not accept the test call"))
}

fn print_headers(headers: &[(String, String)]) -> Result<(), Failure> {
    headers
        .iter()
        .try_for_each(|(name, value)| output::line(&format!("{name}: {value}")))
}
