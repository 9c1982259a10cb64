//! Handing on what was learned about endpoints, and taking over what others learned.

use std::time::Instant;

use domain::Timestamp;
use domain::pace::{Learned, Pace};

use super::{EndpointId, Lanes, Load};

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

    /// Takes over what another worker learned, unless more is known by now.
    pub fn resume(&mut self, id: EndpointId, learned: &Learned, now: Instant, time: Timestamp) {
        if let Some(endpoint) = self.endpoints.get_mut(&id)
            && !endpoint.is_proven
        {
            endpoint.pace = Pace::resume(learned, now, time);
            endpoint.kept = learned.to_string();
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
            if !endpoint.is_proven || !of_shard(endpoint.shard) {
                continue;
            }
            let text = endpoint.pace.learned(now, time).to_string();
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
