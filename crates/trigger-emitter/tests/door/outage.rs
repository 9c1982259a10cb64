//! What is not durable is not answered as if it were.

use std::sync::Arc;

use broker::{PublishError, Topology};
use coordination::EmbeddedCoordination;
use lifecycle::{Health, Tasks};
use protocol::events::v1::event_service_client::EventServiceClient;
use protocol::events::v1::{EmitEventRequest, NewEvent};

use crate::harness::{Failing, System, on};

fn failing(error: PublishError) -> System {
    let tasks = Tasks::default();
    let broker = Arc::new(Failing {
        error,
        topology: Topology::default(),
    });
    let keys = Arc::new(EmbeddedCoordination::default());
    on(broker, &tasks, &Health::default(), false, keys)
}

#[tokio::test]
async fn an_event_the_broker_does_not_confirm_is_refused_and_may_be_sent_again() {
    for (error, status, code, grpc) in [
        (
            PublishError::Unavailable,
            503,
            "unavailable",
            tonic::Code::Unavailable,
        ),
        (
            PublishError::TimedOut,
            503,
            "unavailable",
            tonic::Code::Unavailable,
        ),
        (
            PublishError::Refused,
            429,
            "exhausted",
            tonic::Code::ResourceExhausted,
        ),
        (
            PublishError::Busy,
            429,
            "exhausted",
            tonic::Code::ResourceExhausted,
        ),
    ] {
        let system = failing(error);
        for body in [r#"{"type":"a.b"}"#, r#"[{"type":"a.b"},{"type":"a.b"}]"#] {
            let answer = system.post_json(body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.problem()[0]),
                (status, code)
            );
            assert_eq!(answer.headers["retry-after"], "1");
        }
        let mut client = EventServiceClient::new(system.channel().await);
        let event = Some(NewEvent {
            r#type: "a.b".to_owned(),
            ..NewEvent::default()
        });
        let request = EmitEventRequest {
            event,
            idempotency_key: String::new(),
        };
        assert_eq!(client.emit_event(request).await.unwrap_err().code(), grpc);
    }
}
