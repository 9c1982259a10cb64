//! How the queues of the topology exist at `RabbitMQ`.

use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Connection, ErrorKind};

use super::connector::LinkError;
use crate::topology::{Queue, Topology};

/// Creates what is missing. A queue that exists with other arguments is an error and stays as it
/// is: a live queue is never deleted and declared anew.
pub(super) async fn declare_queues(
    connection: &Connection,
    topology: Topology,
    bytes_max: u64,
) -> Result<(), LinkError> {
    let channel = connection
        .create_channel()
        .await
        .map_err(LinkError::Channel)?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    for queue in topology.queues() {
        channel
            .queue_declare(
                queue.to_string().into(),
                options,
                arguments(queue, bytes_max),
            )
            .await
            .map_err(|source| match is_mismatch(&source) {
                true => LinkError::Mismatch { queue, source },
                false => LinkError::Declare { queue, source },
            })?;
    }
    channel
        .close(200, "declared".into())
        .await
        .map_err(LinkError::Channel)
}

fn arguments(queue: Queue, bytes_max: u64) -> FieldTable {
    let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
    let delivery_limit = i64::from(queue.delivery_limit());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    // A full queue tells its publishers; the default would silently drop the oldest messages.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert(
        "x-max-length-bytes".into(),
        AMQPValue::LongLongInt(bytes_max),
    );
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongLongInt(delivery_limit),
    );
    if queue != Queue::Unreadable {
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        let unreadable = Queue::Unreadable.to_string();
        arguments.insert("x-dead-letter-routing-key".into(), text(&unreadable));
        // The default moves a message at most once, that is, may lose it.
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    }
    if queue.has_single_consumer() {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    arguments
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn is_mismatch(error: &lapin::Error) -> bool {
    let mismatch = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == mismatch)
}
