//! Promises about replies: they come to one who waits, or to nobody.

use std::time::Duration;

use broker::ReplyInbox;
use bytes::Bytes;
use tokio::time::timeout;

use crate::ground::{Ground, SOON, System};

/// The first replies of an inbox may be lost, until it is there.
async fn is_reached(system: &System, inbox: &mut ReplyInbox, text: &'static str) {
    let replier = system.broker.replier();
    let address = inbox.address().clone();
    let arriving = async {
        loop {
            replier.reply(&address, Bytes::from_static(text.as_bytes()));
            let soon = timeout(Duration::from_millis(50), inbox.next()).await;
            if let Ok(reply) = soon {
                return reply;
            }
        }
    };
    let reply = timeout(SOON, arriving).await.expect("a reply in time");
    assert_eq!(reply.unwrap(), text);
}

pub(crate) async fn a_reply_comes_to_the_one_who_waits(ground: Ground) {
    let system = ground.open().await;
    let (mut one, mut other) = (system.broker.reply_inbox(), system.broker.reply_inbox());
    assert_ne!(one.address(), other.address());
    is_reached(&system, &mut one, "to one").await;
    is_reached(&system, &mut other, "to the other").await;
    system.stop().await;
}

pub(crate) async fn a_reply_to_somebody_who_has_gone_is_lost_and_harms_nobody(ground: Ground) {
    let system = ground.open().await;
    let gone = system.broker.reply_inbox();
    let address = gone.address().clone();
    drop(gone);
    system
        .broker
        .replier()
        .reply(&address, Bytes::from_static(b"lost"));
    let mut inbox = system.broker.reply_inbox();
    is_reached(&system, &mut inbox, "heard").await;
    system.stop().await;
}
