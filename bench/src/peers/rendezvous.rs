//! Crates for rendezvous hashing: `hrw`, `hrw-hash`, `rendezvous_hash`.

use hashbrown::DefaultHashBuilder;
use hrw::Rendezvous;
use hrw_hash::HrwNodes;
use rendezvous_hash::{DefaultNodeHasher, IdNode, RendezvousNodes};

use super::shared::Key;

/// Chooses the owner of a key among some slots. Panics when there are none.
pub type Chooser = Box<dyn Fn(&Key) -> u8>;

/// `hrw` with its own hasher.
///
/// # Panics
/// What it returns does, when there are no slots.
#[must_use]
pub fn hrw(slots: &[u8]) -> Chooser {
    let nodes = Rendezvous::from_nodes_and_hasher(slots.iter().copied(), std::hash::RandomState::new());
    Box::new(move |key| *nodes.pick_top(key).expect("somebody is there"))
}

/// `hrw` with the hasher of hashbrown, which is its fastest.
///
/// # Panics
/// What it returns does, when there are no slots.
#[must_use]
pub fn hrw_foldhash(slots: &[u8]) -> Chooser {
    let nodes = Rendezvous::from_nodes_and_hasher(slots.iter().copied(), DefaultHashBuilder::default());
    Box::new(move |key| *nodes.pick_top(key).expect("somebody is there"))
}

/// `hrw-hash`.
///
/// # Panics
/// What it returns does, when there are no slots.
#[must_use]
pub fn hrw_hash(slots: &[u8]) -> Chooser {
    let nodes = HrwNodes::new(slots.iter().copied());
    Box::new(move |key| *nodes.sorted(key).next().expect("somebody is there"))
}

/// `rendezvous_hash`.
///
/// # Panics
/// What it returns does, when there are no slots.
#[must_use]
pub fn rendezvous_hash(slots: &[u8]) -> Chooser {
    let mut nodes: RendezvousNodes<IdNode<u8>, DefaultNodeHasher> = RendezvousNodes::default();
    slots.iter().for_each(|&slot| {
        nodes.insert(IdNode::new(slot));
    });
    Box::new(move |key| {
        *rendezvous_hash::Node::node_id(nodes.calc_candidates(key).next().expect("somebody is there"))
    })
}

/// Makes a chooser among these slots.
type Make = fn(&[u8]) -> Chooser;

/// Every crate, by its name.
pub const ALL: [(&str, Make); 4] = [
    ("hrw", hrw),
    ("hrw, foldhash", hrw_foldhash),
    ("hrw-hash", hrw_hash),
    ("rendezvous_hash", rendezvous_hash),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::shared::key;

    #[test]
    fn only_the_dead_ones_keys_move() {
        let all: Vec<u8> = (0..64).collect();
        for (name, chooser) in ALL {
            // Two builds of a hasher with a random seed do not compare.
            let before = chooser(&all);
            let mut owned = [0; 64];
            (0..2_000).for_each(|i| owned[usize::from(before(&key(i)))] += 1);
            assert!(owned.iter().all(|&keys| keys > 0), "{name}");
            let after = chooser(&all[1..]);
            assert!((0..2_000).all(|i| after(&key(i)) != 0), "{name}");
        }
    }
}
