//! A look at one server: what has changed there since the last, and whether it may.
//!
//! Knows what follows from a change. Must not know who else changed.

use popmap_core::clock::VersionVector;
use popmap_core::map::{Held, MapStats};
use popmap_core::time::Instant;
use popmap_core::{Key, Map, Phase, Slot};

use super::super::history::{WriteId, rank};
use super::super::violation::{Rule, Violation};
use super::{COLLECTED, Checks, Replica, number};

impl<const N: usize> Checks<N> {
    /// Looks at a server after something happened to it. `clock` is what its clock shows.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn observe(&mut self, server: usize, map: &Map<'_, N>, clock: Instant) -> Result<(), Violation> {
        self.looked.observations += 1;
        let Some(mut replica) = self.replicas[server].take() else { return Ok(()) };
        let result = self.observe_replica(server, &mut replica, map, clock);
        self.replicas[server] = Some(replica);
        if std::mem::take(&mut self.is_over) {
            self.lose();
        }
        result
    }

    fn observe_replica(
        &mut self,
        server: usize,
        replica: &mut Replica<N>,
        map: &Map<'_, N>,
        clock: Instant,
    ) -> Result<(), Violation> {
        let before = replica.phase;
        if check_life(server, replica, map)? {
            self.slots.raise(server, map.life().generation);
        }
        if before == Phase::Starting && matches!(map.phase(), Phase::Active { .. }) {
            let unmet = map.history_unmet();
            self.slots.activate(server, unmet.is_empty());
            // Nobody waits for those that were forgotten; but a later life there may be known to others only.
            let gone = map.forgotten_slots();
            let is_back = |slot: Slot| self.slots.has_later(slot, map.forgotten().get(slot));
            replica.has_met = unmet.difference(gone).is_empty() && !gone.iter().any(is_back);
        }
        let (mends, reports) = (mends(map.stats()), map.stats().reports);
        if mends != replica.mends {
            self.check_mends(server, replica, map)?;
            self.looked.mends += mends - replica.mends;
            replica.mends = mends;
        }
        if reports != replica.reports {
            if self.history.waived_keys() == 0 {
                let text =
                    format!("server {server} reports a record as claimed and absent, and nothing was broken");
                return Err(Violation::at(Rule::Mend, server, text));
            }
            replica.reports = reports;
        }
        if map.log_head() != replica.log_head {
            for (key, held) in map.changed_since(replica.log_head) {
                self.take_change(server, replica, map, key, &held)?;
            }
            replica.log_head = map.log_head();
        }
        if map.stats().tombstones_collected != replica.collected {
            self.take_collected(server, replica, map)?;
        }
        if before != map.phase() {
            self.take_phase(server, replica, map, clock)?;
        }
        if map.version() != &replica.version {
            self.take_version(server, replica, map)?;
        }
        if map.buried() != &replica.buried {
            let before = std::mem::replace(&mut replica.buried, *map.buried());
            self.check_buried(server, replica, (&before, map.buried()))?;
        }
        check_held(server, map.held(), map.version())
    }

    /// R4.1, R4.2, R4.5: who writes now, and who no longer does.
    fn take_phase(
        &mut self,
        server: usize,
        replica: &mut Replica<N>,
        map: &Map<'_, N>,
        clock: Instant,
    ) -> Result<(), Violation> {
        let before = std::mem::replace(&mut replica.phase, map.phase());
        match (before, map.phase()) {
            (Phase::Starting, Phase::Active { expired }) => {
                if expired && clock < replica.start_deadline {
                    let early = replica.start_deadline.since(clock).as_millis();
                    let text =
                        format!("server {server} began to write {early} ms before its deadline, unmet");
                    return Err(Violation::at(Rule::Start, server, text));
                }
                if !replica.has_met || self.slots.is_contested(self.now, server) {
                    self.waive_unseen(replica);
                }
                Ok(())
            }
            (_, Phase::Fenced) => {
                self.slots.end(self.now, server);
                Ok(())
            }
            (_, Phase::Forgotten) => {
                self.slots.end(self.now, server);
                self.is_over = true;
                Ok(())
            }
            (before, after) => {
                let rule = if before.is_over() { Rule::Over } else { Rule::Start };
                Err(Violation::at(rule, server, format!("server {server} went from {before:?} to {after:?}")))
            }
        }
    }

    /// Waives what the slot of this server wrote before and this server has not seen: its next write will claim it. Seen is
    /// what its version covers, or its table shows; to hold something greater does for this server, but not for those
    /// who take its claim from a push, before that greater record has reached them by other ways.
    fn waive_unseen(&mut self, replica: &Replica<N>) {
        let history = &self.history;
        let unseen: Vec<WriteId> = history
            .between(replica.slot, 0, u64::MAX)
            .filter(|&id| {
                let write = history.write(id);
                let collected = history.rank(history.collected(write.key));
                let holds = history.rank(replica.state(write.key)) >= write.rank || collected >= write.rank;
                let seen = replica.version.covers(write.dot()) || replica.shown(write.key) == id;
                !(seen && holds)
            })
            .collect();
        unseen.into_iter().for_each(|id| self.history.waive(id));
    }

    fn check_mends(
        &mut self,
        server: usize,
        replica: &mut Replica<N>,
        map: &Map<'_, N>,
    ) -> Result<(), Violation> {
        for (name, held) in map.changed_since(replica.log_head) {
            let key = number(&name);
            let id = self.history.find(key, &held);
            let rank = rank(name, &held);
            let history = &self.history;
            let is_news = id != Some(replica.state(key)) && history.rank(history.collected(key)) < rank;
            if is_news && replica.version.covers(held.dot) && !history.is_waived(key, rank) {
                let what = id.map_or_else(|| format!("{held:?}"), |id| self.history.show(id));
                let text = format!("server {server} mended key {key} without a cause: {what}");
                return Err(Violation::at(Rule::Mend, server, text).key(key));
            }
        }
        let unknown = map.stats().mends_unknown;
        self.looked.mends_forgotten += unknown - std::mem::replace(&mut replica.mends_unknown, unknown);
        Ok(())
    }

    fn take_change(
        &mut self,
        server: usize,
        replica: &mut Replica<N>,
        map: &Map<'_, N>,
        name: Key,
        held: &Held,
    ) -> Result<(), Violation> {
        let key = number(&name);
        if self.history.keys().get(key as usize) != Some(&name) {
            return Err(Violation::at(
                Rule::Dots,
                server,
                format!("server {server} holds an unknown key {name:?}"),
            ));
        }
        if !map.held().covers(held.dot) {
            let text =
                format!("server {server} holds {:?} at key {key}, above HELD {:?}", held.dot, map.held());
            return Err(Violation::at(Rule::Held, server, text).key(key));
        }
        let id = match self.history.find(key, held) {
            Some(id) => id,
            None => self.take_write(server, replica, map, key, held)?,
        };
        let old = std::mem::replace(&mut replica.table[key as usize], id);
        if old == id {
            return Ok(());
        }
        self.looked.changes += 1;
        let write = *self.history.write(id);
        if write.rank < self.history.rank(old & !COLLECTED) {
            let rule = if old & COLLECTED == 0 { Rule::StateFell } else { Rule::Resurrection };
            if rule == Rule::StateFell || !self.history.is_waived(key, self.history.rank(old & !COLLECTED)) {
                let (old, new) = (self.history.show(old & !COLLECTED), self.history.show(id));
                let text = format!("at server {server} {new} replaced {old}");
                return Err(Violation::at(rule, server, text).key(key));
            }
        }
        if let Some(deleted) = self.deleted(server, replica, id).filter(|_| write.blind) {
            self.history.waive(deleted);
        }
        let deleted = self.deleted(server, replica, id);
        if let Some(deleted) = deleted.filter(|&id| !self.history.is_waived(key, self.history.rank(id))) {
            let (new, old) = (self.history.show(id), self.history.show(deleted));
            let text = format!("server {server} shows {new} though it was collected: {old}");
            return Err(Violation::at(Rule::Resurrection, server, text).key(key));
        }
        if write.tombstone {
            replica.tombstones.push(key);
        }
        if write.lost {
            self.found_again(server, id)?;
        }
        Ok(())
    }

    /// A record that nobody had before: a write of this server's, or none of anybody's.
    fn take_write(
        &mut self,
        server: usize,
        replica: &Replica<N>,
        map: &Map<'_, N>,
        key: u32,
        held: &Held,
    ) -> Result<WriteId, Violation> {
        let dot = held.dot;
        if dot.slot != replica.slot || dot.generation() != map.life().generation {
            let text = format!("server {server} holds {held:?} at key {key}, which nobody wrote");
            return Err(Violation::at(Rule::Dots, server, text).key(key));
        }
        if replica.phase.is_over() {
            let text = format!("server {server} is {:?} and wrote {held:?} at key {key}", replica.phase);
            return Err(Violation::at(Rule::Over, server, text).key(key));
        }
        let contested = self.slots.is_contested(self.now, server);
        let first = self.history.between(dot.slot, dot.counter - 1, dot.counter).next();
        if let Some(first) = first.filter(|_| !contested) {
            if !self.known_to(first, server).is_empty() {
                let first = self.history.show(first);
                let text =
                    format!("two writes have one dot: {first}, and {held:?} of key {key} by server {server}");
                return Err(Violation::at(Rule::Dots, server, text).key(key));
            }
            self.history.replace_lost(first);
        }
        let blind = replica.table[key as usize] == 0 && !replica.has_met;
        let id = self.history.add(self.now, server, key, held, blind);
        if contested {
            self.history.waive_dot(dot);
        }
        Ok(id)
    }

    /// A write that was lost is in a table again: everybody is held to it.
    fn found_again(&mut self, server: usize, id: WriteId) -> Result<(), Violation> {
        self.history.set_lost(id, false);
        let write = *self.history.write(id);
        for (other, replica) in self.replicas.iter().enumerate() {
            let Some(replica) = replica.as_ref().filter(|_| other != server) else { continue };
            if replica.version.covers(write.dot()) && !self.is_held(replica, id) {
                return Err(self.broken(other, replica, id));
            }
        }
        Ok(())
    }

    fn take_collected(
        &mut self,
        server: usize,
        replica: &mut Replica<N>,
        map: &Map<'_, N>,
    ) -> Result<(), Violation> {
        let count = map.stats().tombstones_collected - replica.collected;
        replica.collected += count;
        let mut gone = Vec::new();
        let (table, history) = (&replica.table, &self.history);
        replica.tombstones.retain(|&key| {
            let state = table[key as usize];
            if state & COLLECTED != 0 || !history.write(state).tombstone {
                return false;
            }
            let is_gone = !gone.contains(&key) && map.inspect(history.keys()[key as usize]).is_none();
            if is_gone {
                gone.push(key);
            }
            !is_gone
        });
        if gone.len() as u64 != count {
            let text =
                format!("server {server} collected {count} tombstones, and {} left its table", gone.len());
            return Err(Violation::at(Rule::Table, server, text));
        }
        for key in gone {
            let id = replica.table[key as usize];
            replica.table[key as usize] = id | COLLECTED;
            self.note_buried(map, id);
            if self.history.collect(id) {
                self.check_collected(server, key, id)?;
            }
        }
        Ok(())
    }

    /// Nobody may show less than a tombstone that was collected.
    fn check_collected(&mut self, server: usize, key: u32, id: WriteId) -> Result<(), Violation> {
        let rank = self.history.rank(id);
        let less = |(other, replica): (usize, &Option<Replica<N>>)| {
            let replica = replica.as_ref().filter(|_| other != server)?;
            let shown = replica.shown(key);
            self.deleted(other, replica, shown).map(|_| (other, shown))
        };
        let less: Vec<_> = self.replicas.iter().enumerate().filter_map(less).collect();
        if less.iter().any(|&(_, shown)| self.history.write(shown).blind) {
            self.history.waive(id);
        }
        match less.first() {
            Some(&(other, shown)) if !self.history.is_waived(key, rank) => {
                let (shown, collected) = (self.history.show(shown), self.history.show(id));
                let text = format!("server {other} shows {shown}; server {server} collected {collected}");
                Err(Violation::at(Rule::Resurrection, other, text).key(key))
            }
            _ => Ok(()),
        }
    }

    /// R6 for all that the version has come to cover.
    fn take_version(
        &mut self,
        server: usize,
        replica: &mut Replica<N>,
        map: &Map<'_, N>,
    ) -> Result<(), Violation> {
        let before = std::mem::replace(&mut replica.version, *map.version());
        if !map.version().covers_all(&before) {
            let text = format!("the version of server {server} fell from {before:?} to {:?}", map.version());
            return Err(Violation::at(Rule::Version, server, text));
        }
        self.check_buried(server, replica, (&before, map.version()))?;
        let mut missing = Vec::new();
        for slot in map.version().exceeding(&before).iter() {
            for id in self.history.between(slot, before.get(slot), map.version().get(slot)) {
                self.looked.covered += 1;
                if self.holds(replica, id) {
                    continue;
                }
                if self.is_held(replica, id) {
                    self.looked.excused += 1;
                } else {
                    missing.push(id);
                }
            }
        }
        for id in missing {
            self.check_lost(server, replica, id)?;
        }
        Ok(())
    }

    /// A write that this server covers and lacks: lost, or R6 is broken.
    pub(super) fn check_lost(
        &mut self,
        server: usize,
        replica: &Replica<N>,
        id: WriteId,
    ) -> Result<(), Violation> {
        if !self.known_to(id, server).is_empty() || replica.shown(self.history.write(id).key) == id {
            return Err(self.broken(server, replica, id));
        }
        self.history.set_lost(id, true);
        Ok(())
    }
}

pub(super) fn check_held<const N: usize>(
    server: usize,
    held: &VersionVector<N>,
    version: &VersionVector<N>,
) -> Result<(), Violation> {
    if held.covers_all(version) {
        return Ok(());
    }
    let text = format!("at server {server} HELD {held:?} is below the version {version:?}");
    Err(Violation::at(Rule::Held, server, text))
}

/// Returns whether the generation was raised.
fn check_life<const N: usize>(
    server: usize,
    replica: &mut Replica<N>,
    map: &Map<'_, N>,
) -> Result<bool, Violation> {
    let (before, after) = (replica.life, map.life());
    if before == after {
        return Ok(false);
    }
    if after.id != before.id || after.generation < before.generation {
        let text = format!("server {server} was {before:?} and is {after:?}");
        return Err(Violation::at(Rule::Generation, server, text));
    }
    replica.life = after;
    Ok(true)
}

fn mends(stats: &MapStats) -> u64 {
    stats.mends_unknown + stats.mends_started_unmet + stats.mends_slot_conflict
}
