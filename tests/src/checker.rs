//! The properties of the map that must hold in every reachable state, against the global history of writes.
//!
//! Knows what every replica holds and what was ever written. Must not know how anything travels.
//!
//! - **R6** A replica whose version covers a write holds, at its key, that write or a greater one in the order of R1,
//!   or nothing because a tombstone at least as great was collected somewhere. A write that no table shows and no
//!   version covers is *lost*: everybody who knew of it has lost their memory. Nobody is held to a lost write, for
//!   there is nothing that replicas could differ about; should it come back to any table from a packet still in
//!   flight, everybody is held to it again.
//! - **No resurrection** Once a tombstone was collected anywhere, no table shows a lesser record at its key, until the
//!   tombstone itself is lost. If it left without a forgotten slot, tables of those may show one whose version does not
//!   cover the tombstone and who do not know that it has left: the forgotten server's, and that of whoever began anew and
//!   met that server first. They are replaced before replicas are compared.
//! - **Dots** No two different writes have the same dot, unless the first is lost.
//! - **Versions** never fall within a life, generations neither; HELD covers the version and every dot in the table.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use popmap_core::clock::VersionVector;
use popmap_core::map::Held;
use popmap_core::ownership::priority;
use popmap_core::{Key, Life, Map, Slot};

use crate::explore::Hash128;

/// The most keys of a world.
pub const KEYS_MAX: usize = 4;

/// What one replica holds at each key.
pub type Table = [Option<Held>; KEYS_MAX];

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! violated {
    ($($arg:tt)*) => { Err($crate::checker::Violation(format!($($arg)*))) };
}
pub(crate) use violated;

/// What a replica showed when it was last looked at.
#[derive(Clone, Debug)]
pub struct Snapshot<const N: usize> {
    /// Its life.
    pub life: Life,
    /// Its version.
    pub version: VersionVector<N>,
    /// What it knows to have left without a forgotten slot.
    pub buried: VersionVector<N>,
    /// Its table.
    pub table: Table,
    /// The hash of its state.
    pub hash: u128,
}

impl<const N: usize> Snapshot<N> {
    /// Looks at a replica.
    pub fn of(map: &Map<'_, N>, keys: &[Key]) -> Self {
        let mut table = Table::default();
        for (held, key) in table.iter_mut().zip(keys) {
            *held = map.inspect(*key);
        }
        let mut hasher = Hash128::default();
        map.hash_state(&mut hasher);
        let (life, version, buried) = (map.life(), *map.version(), *map.buried());
        Self { life, version, buried, table, hash: hasher.finish_128() }
    }
}

/// A write that was made at some time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Write {
    key: u8,
    held: Held,
    /// No table shows it and no version covers it; until a table shows it again.
    lost: bool,
}

impl Write {
    fn new(key: u8, held: &Held) -> Self {
        Self { key, held: *held, lost: false }
    }
}

/// The history of a world.
#[derive(Clone, Debug)]
pub struct Ledger {
    keys: Rc<[Key]>,
    writes: Vec<Write>,
    /// Per key the greatest tombstone that was collected anywhere.
    collected: Table,
    /// Per key whether a slot was not asked about it, because it was forgotten.
    unasked: [bool; KEYS_MAX],
}

impl Ledger {
    /// A world in which nothing was written yet.
    pub fn new(keys: Rc<[Key]>) -> Self {
        Self { keys, writes: Vec::new(), collected: Table::default(), unasked: [false; KEYS_MAX] }
    }

    /// The order of R1, worked out anew.
    fn compare(&self, key: usize, a: &Held, b: &Held) -> Ordering {
        let rank = |held: &Held| {
            let slot = held.dot.slot;
            (held.term, priority(slot, self.keys[key]), slot, held.dot.counter, held.tombstone, held.hash)
        };
        rank(a).cmp(&rank(b))
    }

    fn covers(&self, key: usize, held: Option<&Held>, write: &Held) -> bool {
        held.is_some_and(|held| self.compare(key, held, write) != Ordering::Less)
    }

    /// Takes note of what a replica changed in one step: its own writes, and what it collected if it swept. `gone`: its life
    /// was forgotten.
    ///
    /// # Errors
    /// When two writes have one dot, or a version, a generation or HELD is not as it must be.
    pub fn note<const N: usize>(
        &mut self,
        map: &Map<'_, N>,
        before: &Snapshot<N>,
        after: &Snapshot<N>,
        gone: bool,
    ) -> Result<(), Violation> {
        let slot = map.slot();
        for (key, held) in after.table.iter().enumerate() {
            let Some(held) = held else {
                let old = before.table[key].filter(|old| old.tombstone && before.life.id == after.life.id);
                if let Some(old) = old {
                    self.note_collected(key, &old, after.buried.covers(old.dot));
                }
                continue;
            };
            self.note_write(slot, key, held, gone)?;
            if !map.held().covers(held.dot) {
                return violated!("HELD of {slot} is {:?} and its table has {:?}", map.held(), held.dot);
            }
        }
        if !map.held().covers_all(map.version()) {
            return violated!("HELD of {slot} is {:?}, below its version {:?}", map.held(), map.version());
        }
        if before.life.id == after.life.id {
            if !after.version.covers_all(&before.version) {
                return violated!(
                    "the version of {slot} fell from {:?} to {:?}",
                    before.version,
                    after.version
                );
            }
            if after.life.generation < before.life.generation {
                return violated!("the generation of {slot} fell to {}", after.life.generation);
            }
        }
        Ok(())
    }

    fn note_collected(&mut self, key: usize, old: &Held, unasked: bool) {
        if self.collected[key].is_some_and(|held| held.dot == old.dot) {
            self.unasked[key] |= unasked;
        } else if !self.covers(key, self.collected[key].as_ref(), old) {
            self.collected[key] = Some(*old);
            self.unasked[key] = unasked;
        }
    }

    fn note_write(&mut self, at: Slot, key: usize, held: &Held, gone: bool) -> Result<(), Violation> {
        let key_index = u8::try_from(key).expect("few keys");
        match self.writes.iter_mut().find(|write| write.held.dot == held.dot) {
            Some(write) if write.key == key_index && write.held == *held => Ok(()),
            Some(write) if write.lost && held.dot.slot == at => {
                *write = Write::new(key_index, held);
                Ok(())
            }
            // It shows a write that is lost to all others.
            Some(_) if gone => Ok(()),
            Some(write) => {
                violated!(
                    "two writes have one dot: k{} {} and k{key} {}",
                    write.key,
                    show(&write.held),
                    show(held)
                )
            }
            None if held.dot.slot == at => {
                self.writes.push(Write::new(key_index, held));
                Ok(())
            }
            None => violated!("{at} holds k{key} {}, which nobody wrote", show(held)),
        }
    }

    /// Checks R6 and that nothing was resurrected. What the replicas of the bitmap `gone` hold does not count: their lives
    /// were forgotten.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn check<const N: usize>(&mut self, all: &[Snapshot<N>; N], gone: u32) -> Result<(), Violation> {
        let replicas = || all.iter().enumerate().filter(|(at, _)| gone >> at & 1 == 0);
        for (key, place) in self.collected.iter_mut().enumerate() {
            let known = |held: &Held, replica: &Snapshot<N>| {
                replica.version.covers(held.dot)
                    || replica.table[key].is_some_and(|here| here.dot == held.dot)
            };
            // Lost like any other write, when nobody is left who knew of it.
            *place = place.filter(|held| replicas().any(|(_, replica)| known(held, replica)));
        }
        for (key, collected) in self.collected.iter().enumerate() {
            let Some(collected) = collected else { continue };
            for (at, replica) in replicas() {
                // Who was not asked, and who took its records, has it still; but must not when it comes to know.
                let knows = replica.version.covers(collected.dot) || replica.buried.covers(collected.dot);
                if let Some(held) = &replica.table[key]
                    && (knows || !self.unasked[key])
                    && self.compare(key, held, collected) == Ordering::Less
                {
                    return violated!(
                        "resurrection: S{at} holds k{key} {} though {} was collected",
                        show(held),
                        show(collected)
                    );
                }
            }
        }
        for i in 0..self.writes.len() {
            let Write { key, held: write, lost, .. } = self.writes[i];
            let at_key = usize::from(key);
            let held_at = |replica: &Snapshot<N>| replica.table[at_key];
            let shown = |held: Option<Held>| held.is_some_and(|held| held.dot == write.dot);
            let known =
                |replica: &Snapshot<N>| shown(held_at(replica)) || !lost && replica.version.covers(write.dot);
            let lost = !replicas().any(|(_, replica)| known(replica));
            self.writes[i].lost = lost;
            if lost || self.covers(at_key, self.collected[at_key].as_ref(), &write) {
                continue;
            }
            for (at, replica) in replicas() {
                let held = held_at(replica);
                if replica.version.covers(write.dot) && !self.covers(at_key, held.as_ref(), &write) {
                    return violated!(
                        "R6: the version of S{at} {:?} covers k{key} {}, but it holds {}",
                        replica.version,
                        show(&write),
                        held.map_or_else(|| "nothing".to_owned(), |held| show(&held))
                    );
                }
            }
        }
        Ok(())
    }

    /// Checks that replicas which have exchanged everything are equal.
    ///
    /// # Errors
    /// Where they differ.
    pub fn check_equal<const N: usize>(&self, maps: &[&Map<'_, N>]) -> Result<(), Violation> {
        let Some((first, others)) = maps.split_first() else { return Ok(()) };
        for map in others {
            let (a, b) = (first.slot(), map.slot());
            if first.version() != map.version() {
                return violated!("diverged: versions {a} {:?} and {b} {:?}", first.version(), map.version());
            }
            for (key, name) in self.keys.iter().enumerate() {
                // One may have collected a tombstone that the other still has.
                let seen = |held: Option<Held>| {
                    held.filter(|held| {
                        !held.tombstone || !self.covers(key, self.collected[key].as_ref(), held)
                    })
                };
                let (left, right) = (seen(first.inspect(*name)), seen(map.inspect(*name)));
                if left != right {
                    return violated!("diverged: k{key} is {left:?} at {a} and {right:?} at {b}");
                }
            }
            if first.digest(0, u64::MAX) != map.digest(0, u64::MAX) {
                return violated!("diverged: the digests of {a} and {b} differ");
            }
        }
        Ok(())
    }

    /// Returns a hash that does not depend on the order of independent writes.
    pub fn hash(&self) -> u128 {
        let writes = self.writes.iter().map(Hash128::of).fold(0u128, u128::wrapping_add);
        writes.wrapping_add(Hash128::of(&(&self.collected, self.unasked)))
    }
}

fn show(held: &Held) -> String {
    let kind = if held.tombstone { "deleted" } else { "put" };
    format!("{kind} {:?} term {}", held.dot, held.term)
}
