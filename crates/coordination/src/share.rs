//! Keeps a replica's share of shards up to date, from who else is alive.
//!
//! The share is advice: it says whom a shard should go to. That no two serve it at a time is the
//! broker's doing. So while coordination is away the share simply stays as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lifecycle::Tasks;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{Membership, Unavailable, shards_of};

/// How often a replica says that it is alive; it counts as gone after three missed times.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const ALIVE_FOR: Duration = Duration::from_secs(6);

/// The shards one replica should serve. Clones see the same.
#[derive(Debug, Clone)]
pub struct Share {
    /// `None` until it is known, which means all.
    shards: watch::Receiver<Option<BTreeSet<u16>>>,
}

impl Share {
    /// Announces `member` in `group` and keeps its share of `shards` until the tasks stop.
    pub fn keep(
        membership: Arc<dyn Membership>,
        group: &'static str,
        member: String,
        shards: u16,
        tasks: &Tasks,
    ) -> Self {
        let (sender, receiver) = watch::channel(None);
        let keeper = Keeper {
            membership,
            group,
            member,
            shards,
            share: sender,
        };
        tasks.spawn(
            format!("share of {group} shards"),
            keeper.run(tasks.stopping()),
        );
        Self { shards: receiver }
    }

    pub fn is_mine(&self, shard: u16) -> bool {
        self.shards
            .borrow()
            .as_ref()
            .is_none_or(|shards| shards.contains(&shard))
    }

    /// Returns when the share may have changed since this was last asked.
    pub async fn changed(&mut self) {
        if self.shards.changed().await.is_err() {
            // The process is stopping: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

struct Keeper {
    membership: Arc<dyn Membership>,
    group: &'static str,
    member: String,
    shards: u16,
    share: watch::Sender<Option<BTreeSet<u16>>>,
}

impl Keeper {
    async fn run(self, mut stopping: impl Future<Output = ()> + Unpin) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(ANNOUNCE_INTERVAL);
        let mut is_away = false;
        loop {
            tokio::select! {
                () = &mut stopping => break,
                _tick = ticks.tick() => {}
            }
            match self.work_out().await {
                Ok(mine) => {
                    is_away = false;
                    self.take(mine);
                }
                // Once for each outage is enough.
                Err(error) if !is_away => {
                    is_away = true;
                    warn!(group = self.group, %error, "the share of shards stays as it was");
                }
                Err(_) => {}
            }
        }
        // Others take over at once instead of waiting for this replica to count as gone.
        if let Err(error) = self.membership.leave(self.group, &self.member).await {
            warn!(group = self.group, %error, "the others will notice in a few seconds");
        }
        Ok(())
    }

    fn take(&self, mine: BTreeSet<u16>) {
        self.share.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&mine);
            if is_new {
                info!(group = self.group, shards = ?mine, "share of shards");
                *known = Some(mine);
            }
            is_new
        });
    }

    async fn work_out(&self) -> Result<BTreeSet<u16>, Unavailable> {
        self.membership
            .announce(self.group, &self.member, ALIVE_FOR)
            .await?;
        let members = self.membership.members(self.group).await?;
        Ok(shards_of(&self.member, &members, self.shards)
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EmbeddedCoordination;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn until(share: &mut Share, is_so: impl Fn(&Share) -> bool) {
        let wait = async {
            while !is_so(share) {
                share.changed().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap();
    }

    #[tokio::test]
    async fn two_replicas_share_out_and_one_that_leaves_gives_back() {
        let membership = Arc::new(EmbeddedCoordination::default());
        let (first, second) = (Tasks::default(), Tasks::default());
        let keep = |member: &str, tasks: &Tasks| {
            Share::keep(
                Arc::clone(&membership) as _,
                "group",
                member.to_owned(),
                4,
                tasks,
            )
        };
        let count = |share: &Share| (0..4).filter(|shard| share.is_mine(*shard)).count();
        let mut one = keep("one", &first);
        assert_eq!(count(&one), 4, "all, until it is known who else is there");
        let mut two = keep("two", &second);
        until(&mut two, |share| count(share) == 2).await;
        until(&mut one, |share| count(share) == 2).await;
        for shard in 0..4 {
            assert!(
                one.is_mine(shard) != two.is_mine(shard),
                "shard {shard} is one replica's"
            );
        }
        second.stop();
        until(&mut one, |share| count(share) == 4).await;
        first.stop();
    }
}
