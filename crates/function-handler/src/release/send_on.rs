//! What was taken out, sorted by what becomes of it, and carried out: publish first, then remove.

use std::collections::BTreeMap;

use domain::delivery::Consignment;
use domain::id::DeliveryId;
use domain::record::Record;
use jiff::Timestamp;
use storage::waiting_room::{Claim, WaitingRow};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, warn};

use super::judge::Fate;
use super::{BACK_OFF_MAX, BACK_OFF_MIN, HELD_FOR, Release};
use crate::error::with_causes;
use crate::metrics;

/// Rows on their way out, and what carries them.
#[derive(Debug)]
pub(super) struct Sorted {
    claim: Claim,
    by_shard: BTreeMap<u16, (Vec<Consignment>, Vec<WaitingRow>)>,
    ended: (Vec<Record>, Vec<WaitingRow>),
    back: Vec<WaitingRow>,
    into_line: Vec<WaitingRow>,
    pub(super) aside: Vec<(DeliveryId, String)>,
}

impl Sorted {
    pub(super) const fn new(claim: Claim) -> Self {
        Self {
            claim,
            by_shard: BTreeMap::new(),
            ended: (Vec::new(), Vec::new()),
            back: Vec::new(),
            into_line: Vec::new(),
            aside: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, mut row: WaitingRow, fate: Fate) {
        match fate {
            Fate::SendTo(shard, consignment) => {
                let (consignments, rows) = self.by_shard.entry(shard).or_default();
                consignments.push(*consignment);
                rows.push(row);
            }
            Fate::End(ending) => {
                debug!(delivery.id = %row.delivery, remark = ending.remark, "a waiting delivery ends");
                metrics::cancelled(ending.remark);
                self.ended.0.push(ending.record);
                self.ended.1.push(row);
            }
            Fate::PutBack(due_at) => {
                row.due_at = due_at;
                self.back.push(row);
            }
            Fate::LineUp(key) => {
                row.order_key = Some(key);
                self.into_line.push(row);
            }
            // The caller has asked what is newer.
            Fate::IfNewest(..) | Fate::Stay => {}
        }
    }
}

impl Release {
    /// Publishes, and only then removes: to die in between repeats, and never loses.
    pub(super) async fn send_on(
        &self,
        sorted: Sorted,
        give_up_at: Instant,
    ) -> Result<(), storage::Error> {
        let Sorted {
            claim,
            mut by_shard,
            ended: (records, ended),
            back,
            into_line,
            aside,
        } = sorted;
        self.give_back(&back, &into_line, &aside, claim).await;
        let mut gone = Vec::new();
        let mut back_off = BACK_OFF_MIN;
        while !by_shard.is_empty() {
            let attempts = by_shard
                .into_iter()
                .map(async |(shard, (consignments, rows))| {
                    let outcome = self.outbound.send_once(shard, consignments.clone()).await;
                    (shard, consignments, rows, outcome)
                });
            by_shard = BTreeMap::new();
            for (shard, consignments, rows, outcome) in futures::future::join_all(attempts).await {
                match outcome {
                    Ok(()) => gone.extend(rows),
                    Err(error) => {
                        warn!(shard, %error, rows = rows.len(), "due deliveries could not be sent on");
                        by_shard.insert(shard, (consignments, rows));
                    }
                }
            }
            let is_over = self.tasks.is_stopping() || Instant::now() + back_off >= give_up_at;
            if by_shard.is_empty() || is_over {
                break;
            }
            self.let_go(&mut gone, claim).await?;
            sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        self.let_go(&mut gone, claim).await?;
        self.record_ended(records, ended, claim).await
    }

    /// What waits on, in whatever way. If this fails it comes again when its claim has run out.
    async fn give_back(
        &self,
        back: &[WaitingRow],
        into_line: &[WaitingRow],
        aside: &[(DeliveryId, String)],
        claim: Claim,
    ) {
        for (delivery, reason) in aside {
            error!(delivery.id = %delivery, reason, "a waiting delivery cannot be read and is set aside");
            metrics::set_aside();
        }
        let given = async {
            if !back.is_empty() {
                self.room.put_back(back, claim).await?;
            }
            if !into_line.is_empty() {
                self.room.line_up(into_line).await?;
            }
            if !aside.is_empty() {
                self.room.set_aside(aside, claim).await?;
            }
            Ok::<(), storage::Error>(())
        };
        if let Err(error) = given.await {
            warn!(error = %with_causes(&error), "deliveries that wait on come again when their claim has run out");
        }
    }

    /// What stands in line stays until it has ended.
    async fn let_go(&self, sent: &mut Vec<WaitingRow>, claim: Claim) -> Result<(), storage::Error> {
        if sent.is_empty() {
            return Ok(());
        }
        metrics::released(sent.len());
        let (in_line, free): (Vec<_>, Vec<_>) =
            sent.drain(..).partition(|row| row.order_key.is_some());
        if !in_line.is_empty() {
            let until = Timestamp::now().saturating_add(HELD_FOR);
            let until = until.unwrap_or(Timestamp::MAX);
            self.room.hold(&in_line, claim, until).await?;
        }
        if !free.is_empty() {
            self.room.remove(&free, claim).await?;
        }
        Ok(())
    }

    async fn record_ended(
        &self,
        records: Vec<Record>,
        rows: Vec<WaitingRow>,
        claim: Claim,
    ) -> Result<(), storage::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        match self.outbound.record_once(records).await {
            Ok(()) => self.room.remove(&rows, claim).await,
            // They stay, and come again when their claim has run out.
            Err(error) => {
                warn!(%error, rows = rows.len(), "ended deliveries could not be recorded");
                Ok(())
            }
        }
    }
}
