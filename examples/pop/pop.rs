//! The PoP that the story is about, wherever its servers run.
//!
//! Knows what can be done to servers and what is asked of them. Must not know how either is done: in one process
//! ([`threads`](crate::threads)), or each in a process and a network namespace of its own
//! ([`processes`](crate::processes)).

use popmap_core::map::TypedReader;
use popmap_core::{Key, Slot, SlotSet};

use crate::dataplane::Seen;
use crate::health::Health;
use crate::measure::{Times, Totals};
use crate::origins::OriginId;
use crate::schedule::Checks;
use crate::server::Status;
use crate::stop::Stop;
use crate::world::World;

/// The server whose map the data plane reads. It is never killed.
pub const READ_AT: Slot = Slot::at(0);

/// A record as a server holds it: value, and stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub health: Health,
    pub slot: u8,
    pub counter: u64,
    pub term: u32,
}

impl Held {
    /// Returns what a map holds under `key`.
    pub fn at(reader: &TypedReader<'_, Health>, key: Key) -> Option<Self> {
        let (health, meta) = reader.get(key).ok()?;
        Some(Self { health, slot: meta.dot.slot.get(), counter: meta.dot.counter, term: meta.term })
    }
}

/// What is left of a PoP in the end.
pub struct Remains {
    /// How long packets with records took to be merged.
    pub merge: Times,
    /// What the data plane saw.
    pub reads: Seen,
}

/// What happens to a server's link, and is undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unplugged {
    /// The cable is pulled out at the switch: no carrier.
    Cable,
    /// The interface is switched off.
    Interface,
}

/// A point of presence.
pub trait Pop {
    /// Returns what is around its servers.
    fn world(&self) -> &World;

    /// Returns every slot of the PoP.
    fn all(&self) -> SlotSet;

    /// Returns the slots whose servers run.
    fn running(&self) -> SlotSet;

    /// Returns what the server in `slot` was like a moment ago, if it runs.
    fn status(&self, slot: Slot) -> Option<Status>;

    /// Returns how many records each running server has.
    fn records(&self) -> Vec<usize>;

    /// Returns the fraction of origins whose record is fresh and whose author is live, at the server that is read; 0 when
    /// it knows of none.
    fn harvest(&self) -> f64;

    /// Returns how many lookups the data plane has made.
    fn lookups(&self) -> u64;

    /// Returns how many checks cannot wait, on all servers, and orders that may change that.
    fn overdue(&self) -> usize;

    /// Returns how many checks are under way, on all servers, and orders that may change that.
    fn in_flight(&self) -> usize;

    /// Returns all counters, of ended lives too.
    fn totals(&self) -> Totals;

    /// Starts the server in `slot` again, with empty memory and the generation after its last, at its old address.
    ///
    /// # Errors
    /// What it takes could not be had.
    fn boot(&mut self, slot: Slot) -> Result<(), Stop>;

    /// Ends the server in `slot` without a word to anybody: its memory and what it had under way are gone. Returns when.
    ///
    /// # Errors
    /// It had failed before.
    fn kill(&mut self, slot: Slot) -> Result<u64, Stop>;

    /// Loses packets from now on, in parts per million.
    fn set_loss(&mut self, loss_ppm: u32);

    /// Cuts every link between `side` and the others.
    ///
    /// # Errors
    /// The network does not obey.
    fn partition(&mut self, side: SlotSet) -> Result<(), Stop>;

    /// Mends every link between two sides.
    ///
    /// # Errors
    /// The network does not obey.
    fn heal(&mut self) -> Result<(), Stop>;

    /// Whether servers have links that can be [unplugged](Self::unplug).
    fn has_links(&self) -> bool;

    /// Takes a server's link away, or gives it back.
    ///
    /// # Errors
    /// The network does not obey.
    fn unplug(&mut self, slot: Slot, how: Unplugged, off: bool) -> Result<(), Stop>;

    /// Says which checks are made from now on.
    fn set_checks(&mut self, checks: Checks);

    /// Tells the data plane that the map is filled, and from now on every origin must be found.
    fn filled(&mut self);

    /// Tells every record of every server: which server, which origin, and what it holds. All of a server's come before
    /// the next one's. Servers go on meanwhile.
    ///
    /// # Errors
    /// A server does not answer.
    fn each_record(&self, tell: &mut dyn FnMut(Slot, OriginId, Option<Held>)) -> Result<(), Stop>;

    /// Ends all servers.
    ///
    /// # Errors
    /// One had failed before.
    fn end(&mut self) -> Result<Remains, Stop>;

    /// Returns what the running servers were like a moment ago, with their slots.
    fn statuses(&self) -> impl Iterator<Item = (Slot, Status)> {
        self.running().iter().filter_map(|slot| Some((slot, self.status(slot)?)))
    }

    /// Whether all servers that run may write, and hold live who runs and nobody else.
    fn is_agreed(&self) -> bool {
        let running = self.running();
        self.statuses().all(|(_, status)| status.is_active && status.live == running)
    }

    /// Whether all running servers account for the same writes.
    fn is_level(&self) -> bool {
        let mut statuses = self.statuses();
        let Some((_, first)) = statuses.next() else { return true };
        statuses.all(|(_, status)| status.version == first.version && status.records == first.records)
    }

    /// Returns how many (server, origin) pairs differ from what the first server holds, in value or in stamp.
    ///
    /// # Errors
    /// A server does not answer.
    fn differing(&self) -> Result<usize, Stop> {
        let mut expected = vec![None; self.world().plan.keys.len()];
        let (mut first, mut differing) = (None, 0);
        self.each_record(&mut |slot, origin, held| {
            let expected = &mut expected[origin as usize];
            if *first.get_or_insert(slot) == slot {
                *expected = held;
            } else {
                differing += usize::from(held != *expected);
            }
        })?;
        Ok(differing)
    }

    /// Returns how many (server, origin) pairs do not hold what the origin's last check found.
    ///
    /// # Errors
    /// A server does not answer.
    fn wrong(&self) -> Result<usize, Stop> {
        let (world, mut wrong) = (self.world(), 0);
        self.each_record(&mut |_, origin, held| {
            let key = world.plan.keys[origin as usize];
            let is_right = |held: Held| held.health.is_whole(key) && world.is_latest(origin, &held.health);
            wrong += usize::from(!held.is_some_and(is_right));
        })?;
        Ok(wrong)
    }
}
