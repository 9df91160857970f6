//! Who owns a key, and whose keys move after a death, beside the crates for rendezvous hashing.

use std::hint::black_box;

use popmap_bench::contest::{Contest, time};
use popmap_bench::cpu::has_avx2;
use popmap_bench::kernels::{self, Deaths, KEYS};
use popmap_bench::peers::rendezvous;
use popmap_bench::peers::shared::Key;
use popmap_bench::stream::SLOTS;
use popmap_core::Slot;

use crate::Effort;
use crate::report::Rows;

pub fn owners(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["owner"]) {
        return;
    }
    let keys = kernels::keys(KEYS as u64);
    let theirs: Vec<Key> = keys.iter().map(|key| key.0).collect();
    let theirs = &theirs;
    let owners = kernels::everybody();
    let mut contest = Contest::new();
    contest.enter("ours", |(): &mut ()| time(keys.len(), || kernels::find_owner(&owners, &keys)));
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
    let mut deaths = Deaths::default();
    let theirs: Vec<Key> = deaths.keys().iter().map(|key| key.0).collect();
    let theirs = &theirs;
    let mut contest = Contest::new();
    contest.enter("ours", |dead: &mut u8| {
        let mut ns = 0.0;
        deaths.die(Slot::at(usize::from(*dead)), |reassign| ns = time(1, reassign));
        ns
    });
    for (name, chooser) in rendezvous::ALL {
        let mut owned = vec![0; theirs.len()];
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
