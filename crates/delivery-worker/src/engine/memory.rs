//! What was learned about endpoints goes to whoever owns them next; without it they learn anew.

use std::sync::Arc;
use std::time::Instant;

use coordination::LEARNED_FOR;
use domain::Timestamp;
use domain::pace::Learned;
use tracing::debug;

use super::Engine;

impl Engine {
    /// Asks what others knew of endpoints that are new here.
    pub(super) async fn recall(self: Arc<Self>) {
        let endpoints = self.desk().lanes.take_unrecalled();
        let (ids, names): (Vec<_>, Vec<_>) = endpoints.into_iter().unzip();
        let recalled = match self.memory.recall(&names).await {
            Ok(recalled) => recalled,
            Err(error) => {
                debug!(%error, "what others knew of endpoints is not to be had");
                Vec::new()
            }
        };
        let (now, time) = (Instant::now(), Timestamp::now());
        let texts = recalled.into_iter().chain(std::iter::repeat(None));
        {
            let mut desk = self.desk();
            for (id, text) in ids.into_iter().zip(texts) {
                let learned = text.and_then(|text| match text.parse::<Learned>() {
                    Ok(learned) => Some(learned),
                    Err(error) => {
                        debug!(%error, "not taken over");
                        None
                    }
                });
                desk.lanes.resume(id, learned.as_ref(), now, time);
            }
        }
        self.wake.notify_one();
    }

    /// Writes down what changed.
    pub(super) async fn keep(self: Arc<Self>) {
        self.keep_of(None).await;
    }

    /// Writes down what is known of a shard's endpoints, with what is still under way, and forgets
    /// it here. To be called when nothing of the shard is open, before somebody else owns it.
    pub async fn hand_on(&self, shard: u16) {
        self.keep_of(Some(shard)).await;
        self.desk().lanes.forget_shard(shard);
    }

    async fn keep_of(&self, shard: Option<u16>) {
        let learned = {
            let mut desk = self.desk();
            desk.lanes
                .take_learned(shard, Instant::now(), Timestamp::now())
        };
        if !learned.is_empty()
            && let Err(error) = self.memory.keep(&learned, LEARNED_FOR).await
        {
            debug!(%error, "what was learned of endpoints is not kept");
        }
    }
}
