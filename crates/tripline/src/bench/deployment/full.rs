//! The four services, one process each, on RabbitMQ, PostgreSQL and Redis that others started.

use std::net::SocketAddr;

use super::super::measure::random_name;
use super::super::options::Servers;
use super::super::processes::NamedProcess;
use super::child::Child;
use super::{Deployment, connection_to, folder, free_address, url};
use crate::command_line::Output;
use crate::failure::Failure;

const SERVICES: [&str; 4] = [
    "trigger-emitter",
    "function-handler",
    "delivery-worker",
    "log-service",
];

pub(super) async fn start(
    servers: &Servers,
    more: &[(String, String)],
    output: Output,
) -> Result<Deployment, Failure> {
    let folder = folder()?;
    let addresses = [
        free_address()?,
        free_address()?,
        free_address()?,
        free_address()?,
    ];
    let [emitter, handler, worker, logs] = addresses;
    let mut variables = settings(servers, handler)?;
    variables.extend(SERVICES.iter().zip(addresses).map(|(service, address)| {
        let section = service.replace('-', "_").to_uppercase();
        variable(&format!("{section}__LISTEN"), &address.to_string())
    }));
    variables.extend_from_slice(more);
    Child::start("migrate", &["migrate"], &variables, folder.path())?
        .succeed()
        .await?;
    let start = |service| Child::start(service, &["serve", service], &variables, folder.path());
    let mut children = SERVICES
        .into_iter()
        .map(start)
        .collect::<Result<Vec<_>, _>>()?;
    for (child, address) in children.iter_mut().zip(addresses) {
        child.ready(address).await?;
    }
    let mut connection = connection_to(url(emitter)?, output);
    connection.functions_server = Some(url(handler)?);
    connection.worker = Some(url(worker)?);
    connection.logs_server = Some(url(logs)?);
    Ok(Deployment {
        children,
        connection,
        servers: processes(servers),
        _folder: folder,
    })
}

/// The settings of all services; each reads its own part.
fn settings(servers: &Servers, handler: SocketAddr) -> Result<Vec<(String, String)>, Failure> {
    let needed = |value: &Option<String>, option: &str| {
        value.clone().ok_or_else(|| {
            Failure::usage(format!(
                "--spawn full needs {option}; `make bench` starts the servers"
            ))
        })
    };
    // 64 hexadecimal digits: it seals secrets that nobody will need.
    let key: String = (0..8).map(|_| random_name()).collect();
    Ok([
        ("BROKER__URL", needed(&servers.amqp_url, "--amqp-url")?),
        (
            "STORAGE__URL",
            needed(&servers.postgres_url, "--postgres-url")?,
        ),
        ("STORAGE__ENCRYPTION_KEY", key),
        (
            "COORDINATION__URL",
            needed(&servers.redis_url, "--redis-url")?,
        ),
        ("ACCESS__KEYS_REQUIRED", "false".to_owned()),
        ("REGISTRY__SERVER", format!("http://{handler}")),
        ("REGISTRY__TOKEN", random_name()),
        (
            "DELIVERY_WORKER__EGRESS__ALLOW",
            r#"["127.0.0.0/8", "::1"]"#.to_owned(),
        ),
        ("TELEMETRY__LOG_FILTER", "warn".to_owned()),
    ]
    .map(|(name, value)| variable(name, &value))
    .into())
}

fn variable(name: &str, value: &str) -> (String, String) {
    (format!("TRIPLINE__{name}"), value.to_owned())
}

fn processes(servers: &Servers) -> Vec<NamedProcess> {
    let pids = [
        ("rabbitmq", servers.rabbitmq_pid),
        ("postgresql", servers.postgres_pid),
        ("redis", servers.redis_pid),
    ];
    let known = pids
        .into_iter()
        .filter_map(|(name, pid)| Some((name, pid?)));
    known
        .map(|(name, pid)| NamedProcess {
            name: name.to_owned(),
            pid,
        })
        .collect()
}
