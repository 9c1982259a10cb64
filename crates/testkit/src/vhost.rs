//! A RabbitMQ virtual host of a test's own, and questions about it to the management interface.

use std::thread;

use anyhow::Context as _;
use serde_json::Value;

use crate::environment;
use crate::http_client::ManagementApi;

/// A virtual host with a random name; deleted with the value, its queues and connections too.
#[derive(Debug)]
pub struct TestVhost {
    name: String,
    server_url: String,
    api: ManagementApi,
}

/// What the management interface says of a queue. The counts trail the truth by about a second:
/// ask with [`eventually`](crate::eventually).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    pub name: String,
    pub messages: u64,
    pub ready: u64,
    pub unacknowledged: u64,
    pub consumers: u64,
}

/// Creates a virtual host on the shared test broker.
///
/// # Panics
///
/// When the test servers are not there.
pub async fn rabbitmq_vhost() -> TestVhost {
    let server_url = environment::required(environment::AMQP_URL);
    let api = ManagementApi::new(environment::required(environment::RABBITMQ_API));
    create_vhost(server_url, api)
        .await
        .expect("a virtual host should be created")
}

pub(crate) async fn create_vhost(
    server_url: String,
    api: ManagementApi,
) -> anyhow::Result<TestVhost> {
    let name = format!("test-{}", uuid::Uuid::now_v7().simple());
    api.put(&format!("/api/vhosts/{name}"), "{}").await?;
    let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
    api.put(&format!("/api/permissions/{name}/guest"), everything)
        .await?;
    Ok(TestVhost {
        name,
        server_url,
        api,
    })
}

impl TestVhost {
    pub fn url(&self) -> String {
        format!("{}/{}", self.server_url.trim_end_matches('/'), self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every queue of the virtual host, by name.
    pub async fn queues(&self) -> anyhow::Result<Vec<QueueState>> {
        let answer = self.api.get(&format!("/api/queues/{}", self.name)).await?;
        let queues = answer.as_array().context("a list of queues")?;
        let mut queues: Vec<_> = queues.iter().map(read_queue).collect();
        queues.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(queues)
    }

    /// One queue, when it is there.
    pub async fn queue(&self, name: &str) -> anyhow::Result<Option<QueueState>> {
        Ok(self
            .queues()
            .await?
            .into_iter()
            .find(|queue| queue.name == name))
    }

    /// The number of open connections the broker knows of.
    pub async fn connection_count(&self) -> anyhow::Result<usize> {
        Ok(self.connection_names().await?.len())
    }

    /// Closes every connection from the broker's side, as an operator or a restart would; returns
    /// how many there were. A connection is listed about a second after it was opened.
    pub async fn close_connections(&self) -> anyhow::Result<usize> {
        let names = self.connection_names().await?;
        for name in &names {
            // Names are like `127.0.0.1:5 -> 127.0.0.1:6`.
            let name = name.replace(' ', "%20").replace('>', "%3E");
            self.api.delete(&format!("/api/connections/{name}")).await?;
        }
        Ok(names.len())
    }

    async fn connection_names(&self) -> anyhow::Result<Vec<String>> {
        let answer = self
            .api
            .get(&format!("/api/vhosts/{}/connections", self.name))
            .await?;
        let connections = answer.as_array().context("a list of connections")?;
        Ok(connections
            .iter()
            .map(|connection| text(connection, "name"))
            .collect())
    }
}

impl Drop for TestVhost {
    fn drop(&mut self) {
        let api = self.api.clone();
        let path = format!("/api/vhosts/{}", self.name);
        // A thread, because a value may be dropped inside a runtime, which must not be blocked on
        // itself. Best effort: the whole broker is thrown away at the end of the run.
        let deletion = thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map(|runtime| runtime.block_on(api.delete(&path)))
        });
        drop(deletion.join());
    }
}

fn read_queue(queue: &Value) -> QueueState {
    let count = |field: &str| queue.get(field).and_then(Value::as_u64).unwrap_or_default();
    QueueState {
        name: text(queue, "name"),
        messages: count("messages"),
        ready: count("messages_ready"),
        unacknowledged: count("messages_unacknowledged"),
        consumers: count("consumers"),
    }
}

fn text(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
