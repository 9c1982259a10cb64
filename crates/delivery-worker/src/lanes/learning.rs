//! Handing on what was learned about endpoints, and taking over what others learned.

use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::pace::{Learned, Pace};

use super::{EndpointId, Lanes, Load};

/// No request takes longer than this.
const BUSY_MAX: Duration = Duration::from_mins(10);

impl<J: Load> Lanes<J> {
    /// Endpoints that somebody may have known before, by id and name.
    pub fn take_unrecalled(&mut self) -> Vec<(EndpointId, String)> {
        let ids = std::mem::take(&mut self.unrecalled);
        let named = |id: EndpointId| {
            let endpoint = self.endpoints.get(&id)?;
            Some((id, name_of(endpoint.project.as_str(), &endpoint.origin)))
        };
        ids.into_iter().filter_map(named).collect()
    }

    pub const fn has_unrecalled(&self) -> bool {
        !self.unrecalled.is_empty()
    }

    /// Takes over what another worker learned, if anything, unless more is known by now.
    pub fn resume(
        &mut self,
        id: EndpointId,
        learned: Option<&Learned>,
        now: Instant,
        time: Timestamp,
    ) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint.held_until = None;
        if let Some(learned) = learned
            && !endpoint.is_proven
        {
            endpoint.pace = Pace::resume(learned, now, time);
            endpoint.inherited = learned.busy.map(|(count, until)| {
                let left = Duration::try_from(until.duration_since(time)).unwrap_or_default();
                (count, now + left.min(BUSY_MAX))
            });
            endpoint.kept = learned.to_string();
        }
        for line in endpoint.lines.clone() {
            self.ring(line);
        }
    }

    /// What changed since it was last kept, of one shard or of all.
    pub fn take_learned(
        &mut self,
        shard: Option<u16>,
        now: Instant,
        time: Timestamp,
    ) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        let of_shard = |of: u16| shard.is_none_or(|shard| shard == of);
        for endpoint in self.endpoints.values_mut() {
            let is_known = endpoint.is_proven || endpoint.in_flight > 0;
            if !is_known || endpoint.is_handed_on || !of_shard(endpoint.shard) {
                continue;
            }
            let mut learned = endpoint.pace.learned(now, time);
            if shard.is_some() && endpoint.in_flight > 0 {
                let left = endpoint.busy_until.saturating_duration_since(now);
                let until = time.saturating_add(left).unwrap_or(time);
                learned.busy = Some((endpoint.in_flight, until));
            }
            let text = learned.to_string();
            if text != endpoint.kept {
                endpoint.kept.clone_from(&text);
                let name = name_of(endpoint.project.as_str(), &endpoint.origin);
                changed.push((name, text));
            }
        }
        changed
    }
}

/// Neither part has a space in it.
fn name_of(project: &str, origin: &str) -> String {
    format!("{project} {origin}")
}
