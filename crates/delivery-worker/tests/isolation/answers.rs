//! What an answer of 2xx counts for, with and without an eye on what it says.

use domain::delivery::{ErrorClass, Status};
use domain::function::FunctionSettings;
use domain::retry::RetryPolicy;
use testkit::{Answer, Receiver};

use crate::batching::attempts;
use crate::world::World;

async fn status_after(answer: Answer, expects_json: bool) -> (Status, Option<ErrorClass>) {
    let world = World::start(1).await;
    let receiver = Receiver::start().await;
    receiver.answer(answer);
    let retry = RetryPolicy {
        expects_json,
        ..RetryPolicy::default()
    };
    world.function("hook", &receiver, FunctionSettings::default(), retry);
    let _worker = world.worker("worker-1");
    world.owe("hook", 1).await;
    let attempt = attempts(&world.broker, 1).await.remove(0);
    assert!(attempt.response_status.is_some_and(|status| status < 300));
    (attempt.status, attempt.error_class)
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_14_an_answer_without_a_body_is_success_unless_json_is_expected() {
    for answer in [Answer::status(204), Answer::status(200)] {
        let processed = (Status::Processed, None);
        assert_eq!(status_after(answer.clone(), false).await, processed);
        let staged = (Status::Staged, Some(ErrorClass::Answer));
        assert_eq!(status_after(answer, true).await, staged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_15_where_json_is_expected_an_error_in_it_is_retried() {
    let error = || Answer::status(200).with_body(r#"{"error":"x"}"#);
    let staged = (Status::Staged, Some(ErrorClass::Answer));
    assert_eq!(status_after(error(), true).await, staged);
    let processed = (Status::Processed, None);
    assert_eq!(status_after(error(), false).await, processed);
    let response = Answer::status(200).with_body(r#"{"response":{"ok":true}}"#);
    assert_eq!(status_after(response, true).await, processed);
}
