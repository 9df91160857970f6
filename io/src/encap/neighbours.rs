//! The neighbour table: which MAC address a next hop has, and whether that is still so.
//!
//! Knows states and times (RFC 4861, 7.3, for ARP too). Must not know how a request looks.
//!
//! | state | packets | leaves it |
//! |---|---|---|
//! | incomplete | are dropped | an answer, or a request for our own address |
//! | reachable | pass | [`REACHABLE`] after the last sign that the MAC address is right |
//! | stale | pass, and the first starts probes after [`DELAY`] | such a sign; [`PROBES`] without an answer: incomplete |
//!
//! A sign is an answer to a request of ours, or a payload from that IP and that MAC address: while peers talk, nothing
//! is asked. Requests go out only while packets want the neighbour, [`REQUESTS`] for one that wants it, with a wait
//! that doubles from [`RETRY`] to [`RETRY_MAX`] (RFC 1122, 2.3.2.1: not more than one a second).
//!
//! What a stranger can do: nobody is in the table but those that we send to, and, while there is room, those that asked
//! for us. What is said unasked changes entries and makes none. An entry that was changed so is stale, so a probe finds
//! out whether anyone answers there.

use std::net::IpAddr;

use popmap_core::time::{Duration, Instant};

use super::stats::{NeighbourStats, Unsent};
use crate::address::Mac;

/// How long a MAC address is trusted after the last sign that it is right.
pub(super) const REACHABLE: Duration = Duration::from_secs(30);
/// How long a stale neighbour in use has for a sign before it is probed: an answer to what we sent, most often.
pub(super) const DELAY: Duration = Duration::from_secs(5);
/// The wait after the first request.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// The longest wait between two requests.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(32);
/// Requests to everyone for a packet that wants a neighbour.
pub(super) const REQUESTS: u8 = 3;
/// Requests to the neighbour itself before it is looked for anew.
pub(super) const PROBES: u8 = 3;
/// How long a neighbour stays in a full table after a packet wanted it.
pub(super) const KEEP: Duration = Duration::from_secs(10);

/// Neighbours, in the order of their addresses. The memory is taken once.
#[derive(Clone, Debug)]
pub(super) struct Neighbours {
    entries: Vec<Neighbour>,
    capacity: usize,
    /// No request is due before this.
    next: Instant,
    pub(super) stats: NeighbourStats,
}

#[derive(Clone, Copy, Debug)]
struct Neighbour {
    /// The address as a number, which compares in a few cycles.
    key: u128,
    ip: IpAddr,
    mac: Mac,
    state: State,
    /// When a packet last wanted it.
    used: Option<Instant>,
    /// Requests since the last answer.
    asked: u8,
    /// Requests to go out before another packet wants it; for a stale one the last of them is to everyone.
    due: u8,
    /// When the next of them may.
    ask_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Incomplete,
    Reachable { since: Instant },
    Stale,
}

/// What somebody says of a neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) ip: IpAddr,
    pub(super) mac: Option<Mac>,
    /// Said to be an answer to a request.
    pub(super) solicited: bool,
    /// Meant to replace another MAC address.
    pub(super) overrides: bool,
}

impl Neighbour {
    fn is_known(&self) -> bool {
        self.state != State::Incomplete
    }

    fn settle(&mut self, state: State) {
        (self.state, self.asked, self.due) = (state, 0, 0);
    }
}

/// The neighbours of one host are of one family, so no two have one number.
fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Neighbours {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            capacity,
            next: Instant::NEVER,
            stats: NeighbourStats::NONE,
        }
    }

    fn find(&self, ip: IpAddr) -> Result<usize, usize> {
        let key = number(ip);
        self.entries.binary_search_by_key(&key, |entry| entry.key)
    }

    fn find_mut(&mut self, ip: IpAddr) -> Option<&mut Neighbour> {
        let at = self.find(ip).ok()?;
        Some(&mut self.entries[at])
    }

    /// Returns the MAC address of a next hop that a packet is for, and has it asked for when it is time.
    pub(super) fn resolve(&mut self, now: Instant, ip: IpAddr) -> Result<Mac, Unsent> {
        let Ok(at) = self.find(ip) else {
            let entry = Neighbour {
                key: number(ip),
                ip,
                mac: Mac::default(),
                state: State::Incomplete,
                used: Some(now),
                asked: 0,
                due: REQUESTS,
                ask_at: now,
            };
            self.make_room(now)?;
            self.insert(entry);
            self.next = self.next.min(now);
            return Err(Unsent::Unresolved);
        };
        let entry = &mut self.entries[at];
        entry.used = Some(now);
        match entry.state {
            State::Reachable { since } if now.since(since) < REACHABLE => return Ok(entry.mac),
            State::Reachable { .. } => entry.settle(State::Stale),
            State::Stale => {}
            State::Incomplete => {
                entry.due = REQUESTS;
                self.next = self.next.min(entry.ask_at);
                return Err(Unsent::Unresolved);
            }
        }
        if entry.due == 0 {
            entry.due = PROBES + 1;
            entry.ask_at = now + DELAY;
            self.next = self.next.min(entry.ask_at);
        }
        Ok(entry.mac)
    }

    /// Notes a payload from a neighbour. That address and that station belong together still.
    pub(super) fn confirm(&mut self, now: Instant, ip: IpAddr, mac: Mac) {
        if let Some(entry) = self.find_mut(ip)
            && entry.mac == mac
            && entry.is_known()
        {
            entry.settle(State::Reachable { since: now });
        }
    }

    /// Notes the station of one who asked for us and so is about to hear from us. Takes a free place only.
    pub(super) fn learn(&mut self, now: Instant, ip: IpAddr, mac: Mac) {
        if self.find(ip).is_ok() {
            self.hear(now, &Claim { ip, mac: Some(mac), solicited: false, overrides: true });
        } else if self.entries.len() < self.capacity {
            self.stats.resolved += 1;
            let (key, state) = (number(ip), State::Stale);
            self.insert(Neighbour { key, ip, mac, state, used: None, asked: 0, due: 0, ask_at: now });
        }
    }

    /// Takes what is said of a neighbour (RFC 4861, 7.2.5); returns whether it is one of ours and says anything.
    pub(super) fn hear(&mut self, now: Instant, claim: &Claim) -> bool {
        let Ok(at) = self.find(claim.ip) else { return false };
        let entry = &mut self.entries[at];
        // An answer is one if there was a request; otherwise anyone could vouch for anything.
        let answer = claim.solicited && entry.asked > 0;
        match claim.mac {
            None if !entry.is_known() => return false,
            Some(mac) if !entry.is_known() => {
                entry.mac = mac;
                entry.settle(if answer { State::Reachable { since: now } } else { State::Stale });
                self.stats.resolved += 1;
                return true;
            }
            Some(mac) if mac != entry.mac && !claim.overrides => {
                // Who says so does not know better than we: doubt, no more.
                if matches!(entry.state, State::Reachable { .. }) {
                    entry.settle(State::Stale);
                }
                return true;
            }
            Some(mac) if mac != entry.mac => {
                entry.mac = mac;
                entry.settle(State::Stale);
                self.stats.moved += 1;
            }
            _ => {}
        }
        if answer {
            entry.settle(State::Reachable { since: now });
        }
        true
    }

    /// Returns the next neighbour to ask for: everyone, or the station that it is held to be.
    pub(super) fn poll_request(&mut self, now: Instant) -> Option<(IpAddr, Option<Mac>)> {
        if now < self.next {
            return None;
        }
        let due = self.entries.iter_mut().find(|entry| entry.due > 0 && entry.ask_at <= now);
        let Some(entry) = due else {
            let waiting = self.entries.iter().filter(|entry| entry.due > 0);
            self.next = waiting.map(|entry| entry.ask_at).min().unwrap_or(Instant::NEVER);
            return None;
        };
        if entry.is_known() && entry.due == 1 {
            entry.settle(State::Incomplete);
            entry.due = REQUESTS;
            self.stats.lost += 1;
        }
        let wait =
            if entry.is_known() { RETRY } else { RETRY.times(1 << entry.asked.min(16)).min(RETRY_MAX) };
        entry.asked = entry.asked.saturating_add(1);
        entry.due -= 1;
        entry.ask_at = now + wait;
        self.stats.requests += 1;
        Some((entry.ip, entry.is_known().then_some(entry.mac)))
    }

    /// Returns when the next request is due, or earlier.
    pub(super) fn timeout(&self) -> Option<Instant> {
        (self.next < Instant::NEVER).then_some(self.next)
    }

    fn insert(&mut self, entry: Neighbour) {
        let (Ok(at) | Err(at)) = self.find(entry.ip);
        self.entries.insert(at, entry);
    }

    /// Gives up the neighbour that was not wanted for longest, if the table is full.
    fn make_room(&mut self, now: Instant) -> Result<(), Unsent> {
        if self.entries.len() < self.capacity {
            return Ok(());
        }
        let idle = |entry: &Neighbour| entry.used.is_none_or(|used| now.since(used) >= KEEP);
        let candidates = self.entries.iter().enumerate().filter(|(_, entry)| idle(entry));
        let (at, _) = candidates.min_by_key(|(_, entry)| entry.used).ok_or(Unsent::NeighboursFull)?;
        self.entries.remove(at);
        self.stats.evicted += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
