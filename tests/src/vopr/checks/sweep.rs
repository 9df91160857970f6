//! A look at everything: each table against its change log, and each version against the whole history.
//!
//! Finds what changes past the log, memory that does not keep what is written to it, and mistakes of the checks that follow
//! changes only.

use popmap_core::Map;

use super::super::history::WriteId;
use super::super::violation::{Rule, Violation};
use super::{Checks, Replica};

impl<const N: usize> Checks<N> {
    /// Looks at everything: each table against its log, and each version against the whole history.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn sweep<'m, 'a: 'm>(
        &mut self,
        maps: impl Iterator<Item = (usize, &'m Map<'a, N>)>,
    ) -> Result<(), Violation> {
        self.looked.sweeps += 1;
        for (server, map) in maps {
            let Some(replica) = self.replicas[server].take() else { continue };
            let result = self.sweep_one(server, &replica, map);
            self.replicas[server] = Some(replica);
            result?;
        }
        Ok(())
    }

    fn sweep_one(&mut self, server: usize, replica: &Replica<N>, map: &Map<'_, N>) -> Result<(), Violation> {
        let mut count = 0;
        for (key, name) in (0..).zip(self.history.keys()) {
            let held = map.inspect(*name).map(|held| self.history.find(key, &held));
            count += usize::from(held.is_some());
            if held.map_or(0, |id| id.unwrap_or(WriteId::MAX)) != replica.shown(key) {
                let (log, table) = (self.history.show(replica.shown(key)), map.inspect(*name));
                let text = format!("key {key} at server {server}: the log says {log}, the table {table:?}");
                return Err(Violation::at(Rule::Table, server, text).key(key));
            }
        }
        if count != map.len() {
            let text = format!("server {server} holds {} records, of {count} known keys", map.len());
            return Err(Violation::at(Rule::Table, server, text));
        }
        for id in self.history.all() {
            let dot = self.history.write(id).dot();
            if map.version().covers(dot) && !self.is_held(replica, id) {
                self.check_lost(server, replica, id)?;
            }
        }
        Ok(())
    }

    /// Looks at everything once more when the digests of all servers are equal, of what was waived too.
    ///
    /// # Errors
    /// A write that a server covers and lacks.
    pub fn check_rest(&self) -> Result<(), Violation> {
        for id in self.history.all() {
            let write = self.history.write(id);
            let at_least = |held: WriteId| self.history.rank(held) >= write.rank;
            if write.lost || at_least(self.history.collected(write.key)) {
                continue;
            }
            // What was waived may be a tombstone here and absent there; that the live records are equal, digests tell.
            if self.history.is_waived(write.key, write.rank) {
                continue;
            }
            let running = self.replicas.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?)));
            let mut lacking =
                running.filter(|(_, it)| it.version.covers(write.dot()) && !at_least(it.state(write.key)));
            if let Some((server, replica)) = lacking.next() {
                return Err(self.broken(server, replica, id));
            }
        }
        Ok(())
    }
}
