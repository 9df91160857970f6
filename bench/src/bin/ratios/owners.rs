//! Who owns a key, and whose keys move after a death, beside the crates for rendezvous hashing.

use std::hint::black_box;

use popmap_bench::contest::{Contest, time};
use popmap_bench::peers::rendezvous;
use popmap_bench::peers::shared::Key;
use popmap_bench::stream::{SLOTS, key};
use popmap_core::ownership::Owners;
use popmap_core::{Slot, SlotSet};

use crate::Effort;
use crate::report::Rows;

/// Keys whose owners are found in a round.
const KEYS: u64 = 1_000;
/// Keys that a death may move.
const ALL_KEYS: u64 = 50_000;

fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

pub fn owners(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["owner"]) {
        return;
    }
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    let theirs: Vec<Key> = keys.iter().map(|key| key.0).collect();
    let theirs = &theirs;
    let owners = Owners::equal(SlotSet::first(SLOTS));
    let mut contest = Contest::new();
    contest.enter("ours", |(): &mut ()| {
        time(keys.len(), || {
            for &key in &keys {
                black_box(black_box(&owners).owner(black_box(key)));
            }
        })
    });
    let slots: Vec<u8> = (0..SLOTS as u8).collect();
    for (name, chooser) in rendezvous::ALL {
        let owner = chooser(&slots);
        contest.enter(name, move |()| {
            time(theirs.len(), || {
                for key in theirs {
                    black_box(owner(black_box(key)));
                }
            })
        });
    }
    let results = contest.run(effort.rounds(60), || ());
    let times = if has_avx2() { 40.0 } else { 8.0 };
    for (name, _) in rendezvous::ALL {
        let target = (name == "hrw").then_some(1.0 / times);
        rows.compare("owner", &results, ["ours", name], target);
    }
}

pub fn deaths(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["death"]) {
        return;
    }
    let keys: Vec<_> = (0..ALL_KEYS).map(key).collect();
    let theirs: Vec<Key> = keys.iter().map(|key| key.0).collect();
    let theirs = &theirs;
    let everybody = Owners::equal(SlotSet::first(SLOTS));
    let mut owned: Vec<Slot> = vec![Slot::at(0); keys.len()];
    everybody.reassign(&Owners::equal(SlotSet::EMPTY), &mut owned, |i| keys[i], |_, _| ());
    let mut contest = Contest::new();
    contest.enter("ours", |dead: &mut u8| {
        let dead = Slot::at(usize::from(*dead));
        let rest = Owners::equal(SlotSet::first(SLOTS).without(dead));
        let expected = owned.iter().filter(|&&owner| owner == dead).count();
        let mut moved = 0;
        let ns = time(1, || rest.reassign(&everybody, &mut owned, |i| keys[i], |_, _| moved += 1));
        assert!(
            moved == expected && !owned.contains(&dead),
            "only the dead one's keys move, and all of them"
        );
        everybody.reassign(&rest, &mut owned, |i| keys[i], |_, _| ());
        ns
    });
    for (name, chooser) in rendezvous::ALL {
        let mut owned = vec![0; keys.len()];
        contest.enter(name, move |dead| {
            let rest: Vec<u8> = (0..SLOTS as u8).filter(|slot| slot != dead).collect();
            let owner = chooser(&rest);
            let ns = time(1, || {
                for (owned, key) in owned.iter_mut().zip(theirs) {
                    *owned = owner(key);
                }
            });
            assert!(!owned.contains(dead));
            ns
        });
    }
    let mut dead = 0;
    let results = contest.run(effort.rounds(20), || {
        dead = (dead + 1) % SLOTS as u8;
        dead
    });
    let names = rendezvous::ALL.map(|(name, _)| name);
    let best = names.into_iter().min_by(|a, b| results.ns(a).total_cmp(&results.ns(b)));
    for name in names {
        let target = (Some(name) == best).then_some(1.0 / 150.0);
        rows.compare("death", &results, ["ours", name], target);
    }
}
