//! Which shard an event or a delivery belongs to.

use sha2::{Digest, Sha256};

use crate::event::Event;
use crate::name::ProjectName;

/// The shard of an event: by what keeps it in order, else by its own id.
pub fn of_event(event: &Event, shards: u16) -> u16 {
    match event.ordering_key() {
        Some(key) => of(&[event.project.as_str(), key], shards),
        None => of_bytes(event.eid.uuid().as_bytes(), shards),
    }
}

/// The shard of a delivery without order: by project and endpoint, so that an endpoint's limits
/// and connections live in one process.
pub fn of_endpoint(project: &ProjectName, origin: &str, shards: u16) -> u16 {
    of(&[project.as_str(), origin], shards)
}

fn of(parts: &[&str], shards: u16) -> u16 {
    let mut digest = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(part.as_bytes());
    }
    reduce(&digest.finalize(), shards)
}

fn of_bytes(bytes: &[u8], shards: u16) -> u16 {
    reduce(&Sha256::digest(bytes), shards)
}

fn reduce(digest: &[u8], shards: u16) -> u16 {
    let number = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    u16::try_from(number % u64::from(shards.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_endpoint_is_always_in_the_same_shard_and_all_shards_are_used() {
        let project: ProjectName = "default".parse().unwrap();
        let mut seen = [0_u32; 8];
        for number in 0..800 {
            let origin = format!("https://host-{number}.example");
            let shard = of_endpoint(&project, &origin, 8);
            assert_eq!(shard, of_endpoint(&project, &origin, 8));
            seen[usize::from(shard)] += 1;
        }
        assert!(
            seen.iter().all(|count| (60..140).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn a_shard_never_moves_between_releases() {
        let project: ProjectName = "default".parse().unwrap();
        let shards: Vec<_> = ["https://a.example", "https://b.example"]
            .map(|o| of_endpoint(&project, o, 8))
            .into();
        assert_eq!(shards, SHARDS_OF_A_AND_B);
    }

    /// Written down once: another value would send an endpoint's backlog to another owner.
    const SHARDS_OF_A_AND_B: [u16; 2] = [2, 6];
}
