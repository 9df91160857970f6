//! The version hash: what makes it another, and what follows from an equal one.

use super::*;

const ME: Slot = Slot::at(0);
const PEER: Slot = Slot::at(1);

#[test]
fn whatever_a_version_says_makes_it_another() {
    let mut hashes = Vec::new();
    let mut note = |change: &dyn Fn(&mut Replica)| {
        let mut map = replica(0, 100);
        change(&mut map);
        hashes.push(map.version_hash());
    };
    note(&|_| ());
    for slot in (0..4).map(Slot::at) {
        for counter in [1, 2, 1 << 32] {
            note(&|map| map.state.version.raise(slot, counter));
            note(&|map| map.state.held.raise(slot, counter));
            note(&|map| map.state.forgets.lives.raise(slot, counter));
        }
    }
    note(&|map| map.state.floor = 1);
    note(&|map| map.state.floor = 2);
    note(&|map| map.shape.schema = 2);
    note(&|map| map.shape.value_len = 9);
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!((hashes.len(), hashes.contains(&0)), (count, false));
    // HELD at or below the version says nothing that this does not.
    let mut map = replica(0, 100);
    map.state.version.raise(PEER, 5);
    let hash = map.version_hash();
    map.state.held.raise(PEER, 5);
    assert_eq!(map.version_hash(), hash);
}

/// Part of the wire version: the formula, written out a second time.
#[test]
fn golden_hash() {
    let map = replica(0, 100);
    let term = |place: u64, word: u64| {
        let x = word ^ (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let of_nothing = term(128, 0).wrapping_add(term(129, 1 | 8 << 32));
    assert_eq!(map.version_hash(), of_nothing);
    let mut map = replica(0, 100);
    map.state.version.raise(PEER, 5);
    map.state.held.raise(PEER, 6);
    map.state.held.raise(ME, 3);
    map.state.forgets.lives.raise(Slot::at(2), 9);
    let more = [term(1, 5), term(65, 6), term(64, 3), term(132, 9)];
    assert_eq!(map.version_hash(), more.into_iter().fold(of_nothing, u64::wrapping_add));
}

#[test]
fn an_equal_hash_is_an_equal_version_and_another_tells_nothing() {
    let mut map = replica(0, 100);
    put_all(&mut map, 0..3);
    map.state.version.raise(Slot::at(2), 7);
    let hash = map.version_hash();
    assert!(!map.on_version_hash(PEER, hash ^ 1));
    assert!(!map.has_version_of(PEER) && map.version_of(PEER).occupied().is_empty());
    assert!(map.on_version_hash(PEER, hash));
    assert!(map.has_version_of(PEER));
    assert_eq!(map.version_of(PEER), map.version());
    // What it says by itself later adds to that, and the same hash again takes nothing away.
    map.peer_versions[PEER.index()].raise(ME, 9 << 32);
    assert!(map.on_version_hash(PEER, hash));
    assert_eq!(map.version_of(PEER).get(ME), 9 << 32);
    put_all(&mut map, 3..4);
    assert!(!map.on_version_hash(PEER, hash), "it was ours before");
    let hash = map.version_hash();
    assert!(map.on_version_hash(PEER, hash));
}
