//! What both kinds of broker promise: one suite, run on `RabbitMQ` and on the embedded queue.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken set-up should stop the test"
)]

mod batches;
mod ground;
mod queues;
mod replies;

/// Every promise becomes a test on each kind of broker.
macro_rules! on_both {
    ($($file:ident::$promise:ident,)*) => {
        mod rabbitmq {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    crate::$file::$promise(crate::ground::Ground::rabbitmq().await).await;
                }
            )*
        }

        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    crate::$file::$promise(crate::ground::Ground::embedded()).await;
                }
            )*
        }
    };
}

on_both! {
    queues::a_message_arrives_with_all_that_it_says,
    queues::what_is_confirmed_is_there_after_a_restart,
    queues::messages_come_in_the_order_in_which_they_were_published,
    queues::a_backlog_comes_in_order_while_more_arrives,
    queues::a_message_that_is_dropped_comes_again_first,
    queues::a_message_given_in_vain_too_often_is_set_aside,
    queues::no_more_are_given_than_may_be_in_flight,
    queues::what_is_acknowledged_never_comes_again,
    queues::what_cannot_be_read_is_set_aside_with_its_reason,
    queues::only_one_consumer_is_served_until_it_cancels,
    queues::a_hand_over_keeps_the_order_of_what_was_fetched_and_not_taken,
    queues::records_are_shared_by_all_consumers,
    queues::what_is_in_hand_can_be_acknowledged_after_a_cancel,
    queues::a_dropped_consumer_gives_back_what_it_did_not_take,
    queues::a_full_queue_refuses_and_loses_nothing,
    queues::a_message_that_is_too_large_is_refused,
    queues::a_busy_consumer_takes_many_at_once,
    batches::items_travel_together_and_in_order,
    batches::the_first_item_after_idle_leaves_at_once,
    batches::a_full_queue_is_told_and_waited_for,
    replies::a_reply_comes_to_the_one_who_waits,
    replies::a_reply_to_somebody_who_has_gone_is_lost_and_harms_nobody,
}
