//! Replies at `RabbitMQ`: each inbox is a queue of its own that goes with its connection.
//!
//! Inboxes and senders have connections apart from all others: no reply may hold up a queue.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use domain::reply::ReplyAddress;
use futures::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use lifecycle::Tasks;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connector::{Connector, LinkError};
use super::readiness::Role;
use crate::back_off::BackOff;
use crate::metrics;
use crate::reply::{REPLIES_MAX, Replier, ReplyInbox};

/// Nobody waits longer than this for a reply, in milliseconds.
const EXPIRES_MS: &str = "60000";

/// Begins to listen; while the connection is away replies are lost.
pub(super) fn listen(connector: Connector, tasks: &Tasks) -> ReplyInbox {
    let (sender, inbox) = ReplyInbox::new();
    let listening = Listening {
        connector,
        address: inbox.address().clone(),
        sender,
    };
    tasks.spawn_background("broker reply inbox", listening.run(tasks.closing()));
    inbox
}

/// Begins to send; while the connection is away replies are dropped once too many wait.
pub(super) fn send(connector: Connector, tasks: &Tasks) -> Replier {
    let (sender, jobs) = mpsc::channel(REPLIES_MAX.into());
    let sending = Sending { connector, jobs };
    tasks.spawn_background("broker replies", sending.run(tasks.closing()));
    let sender = Arc::new(sender);
    Replier::new(move |to, body| {
        if sender.try_send((to.clone(), body)).is_err() {
            metrics::reply_dropped();
        }
    })
}

struct Listening {
    connector: Connector,
    address: ReplyAddress,
    sender: mpsc::Sender<Bytes>,
}

impl Listening {
    async fn run(self, closing: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        tokio::select! {
            () = closing => {}
            () = self.listen_for_ever() => {}
        }
        Ok(())
    }

    async fn listen_for_ever(&self) {
        let mut back_off = BackOff::default();
        while let Err(error) = self.listen(&mut back_off).await {
            report(&error);
            sleep(back_off.next_wait()).await;
        }
    }

    /// Ends well when nobody wants replies any more.
    async fn listen(&self, back_off: &mut BackOff) -> Result<(), LinkError> {
        let connection = self.connector.connect(Role::Replying).await?;
        let channel = connection
            .create_channel()
            .await
            .map_err(LinkError::Channel)?;
        let mut replies = self.declare(&channel).await.map_err(LinkError::Lost)?;
        back_off.reset();
        loop {
            let reply = tokio::select! {
                () = self.sender.closed() => return Ok(()),
                reply = replies.next() => reply,
            };
            let reply = reply.ok_or(LinkError::Closed)?.map_err(LinkError::Lost)?;
            if self.sender.try_send(reply.data.into()).is_err() {
                metrics::reply_dropped();
            }
        }
    }

    async fn declare(&self, channel: &Channel) -> Result<lapin::Consumer, lapin::Error> {
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-max-length".into(),
            AMQPValue::LongLongInt(REPLIES_MAX.into()),
        );
        let queue = || self.address.as_str().to_owned().into();
        channel.queue_declare(queue(), options, arguments).await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consuming = channel.basic_consume(queue(), "".into(), options, FieldTable::default());
        consuming.await
    }
}

struct Sending {
    connector: Connector,
    jobs: mpsc::Receiver<(ReplyAddress, Bytes)>,
}

impl Sending {
    async fn run(mut self, closing: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        tokio::select! {
            () = closing => {}
            () = self.send_for_ever() => {}
        }
        Ok(())
    }

    async fn send_for_ever(&mut self) {
        let mut back_off = BackOff::default();
        while let Err(error) = self.send(&mut back_off).await {
            report(&error);
            sleep(back_off.next_wait()).await;
        }
    }

    /// Ends well when nobody sends any more.
    async fn send(&mut self, back_off: &mut BackOff) -> Result<(), LinkError> {
        let connection = self.connector.connect(Role::Replying).await?;
        let channel = connection
            .create_channel()
            .await
            .map_err(LinkError::Channel)?;
        back_off.reset();
        while let Some((to, body)) = self.jobs.recv().await {
            let properties = BasicProperties::default()
                .with_content_type("application/protobuf".into())
                .with_expiration(EXPIRES_MS.into());
            let sent = channel.basic_publish(
                "".into(),
                to.as_str().to_owned().into(),
                // Whoever has gone need not be told: nothing comes back.
                BasicPublishOptions::default(),
                &body,
                properties,
            );
            drop(sent.await.map_err(LinkError::Lost)?);
        }
        Ok(())
    }
}

fn report(error: &LinkError) {
    let story = error.story();
    tracing::warn!(error = %story, "replies are lost until RabbitMQ is back");
    metrics::connection_failed(Role::Replying.name());
}
