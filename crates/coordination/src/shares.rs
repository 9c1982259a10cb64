//! Which shards are whose: everybody computes the same from the same list of members.

/// The shards that `own` should serve, in order, when these members are alive; `own` counts as
/// alive in any case.
///
/// Nobody gets more than its fair share rounded up, and few shards change hands when somebody
/// joins or leaves: each pair of member and shard has a weight of its own, and the heaviest pairs
/// are settled first (rendezvous hashing, with a limit for each member).
pub fn shards_of(own: &str, members: &[String], shards: u16) -> Vec<u16> {
    let mut members: Vec<&str> = members.iter().map(String::as_str).chain([own]).collect();
    members.sort_unstable();
    members.dedup();
    let share_max = usize::from(shards).div_ceil(members.len());

    let mut pairs: Vec<Pair<'_>> = (0..shards)
        .flat_map(|shard| members.iter().map(move |member| Pair::new(member, shard)))
        .collect();
    pairs.sort_unstable_by(|left, right| right.cmp(left));

    let mut is_taken = vec![false; usize::from(shards)];
    let mut free = vec![share_max; members.len()];
    let mut mine = Vec::new();
    for Pair { shard, member, .. } in pairs {
        let Some(taken) = is_taken.get_mut(usize::from(shard)) else {
            continue;
        };
        let index = members.binary_search(&member).unwrap_or(usize::MAX);
        let Some(free) = free.get_mut(index) else {
            continue;
        };
        if *taken || *free == 0 {
            continue;
        }
        *taken = true;
        *free -= 1;
        if member == own {
            mine.push(shard);
        }
    }
    mine.sort_unstable();
    mine
}

/// Ordered by weight; member and shard only settle a tie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair<'a> {
    weight: u64,
    shard: u16,
    member: &'a str,
}

impl<'a> Pair<'a> {
    fn new(member: &'a str, shard: u16) -> Self {
        Self {
            weight: weight(member, shard),
            shard,
            member,
        }
    }
}

/// The same in every process and version: FNV-1a, and a finish that spreads its bits.
fn weight(member: &str, shard: u16) -> u64 {
    let bytes = member.bytes().chain([0]).chain(shard.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("worker-{number}"))
            .collect()
    }

    /// The owner of each shard.
    fn owners(members: &[String], shards: u16) -> Vec<String> {
        let mut owners = vec![None; usize::from(shards)];
        for member in members {
            for shard in shards_of(member, members, shards) {
                let before = owners[usize::from(shard)].replace(member.clone());
                assert_eq!(before, None, "shard {shard} has two owners");
            }
        }
        owners
            .into_iter()
            .map(|owner| owner.expect("every shard has an owner"))
            .collect()
    }

    #[test]
    fn s2_47_every_shard_has_one_owner_and_nobody_has_more_than_its_share() {
        for shards in [1, 4, 8, 16, 33] {
            for count in 1..=20 {
                let members = members(count);
                let owners = owners(&members, shards);
                for member in &members {
                    let share = owners.iter().filter(|owner| *owner == member).count();
                    assert!(
                        share <= usize::from(shards).div_ceil(count),
                        "{member}: {share}"
                    );
                }
            }
        }
    }

    #[test]
    fn few_shards_move_when_somebody_joins_or_leaves() {
        let shards = 64;
        let mut moved = 0;
        for count in 1..20 {
            let before = owners(&members(count), shards);
            let after = owners(&members(count + 1), shards);
            moved += before
                .iter()
                .zip(&after)
                .filter(|(before, after)| before != after)
                .count();
        }
        // The newcomers' own shares come to 64/2 + 64/3 + … + 64/20, some 166; dealing anew each
        // time would move some 1,050.
        assert!(moved < 400, "{moved} shards moved");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let mut reversed = members(7);
        reversed.reverse();
        assert_eq!(
            shards_of("worker-3", &members(7), 16),
            shards_of("worker-3", &reversed, 16)
        );
    }

    #[test]
    fn who_is_not_listed_yet_counts_itself_in() {
        let alone = shards_of("worker-9", &[], 8);
        assert_eq!(alone, (0..8).collect::<Vec<_>>());
        let one_of_two = shards_of("worker-9", &members(1), 8);
        assert_eq!(one_of_two.len(), 4);
    }
}
