//! Finding neighbours and being found: what is heard and what is to be said, for ARP and neighbour discovery alike.
//!
//! Knows the table, the answers that wait, and the announcements of our own address. Must not know how a packet looks.

use std::collections::VecDeque;
use std::net::IpAddr;

use popmap_core::time::{Duration, Instant};

use super::ethernet::Station;
use super::neighbours::{Claim, Neighbours};
use super::route::Route;
use super::stats::{Ignored, NeighbourStats};
use super::{arp, ndp};
use crate::address::Mac;

/// Answers that wait to be sent before further ones are lost.
pub(super) const ANSWERS: usize = 16;
/// Times that our address is announced, and the time between them (RFC 5227, 1.1).
pub(super) const ANNOUNCEMENTS: u8 = 2;
pub(super) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// What a packet says that concerns us.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    /// Who has our address? From a station that may not have one of its own yet.
    Question { asker: Option<IpAddr>, mac: Mac },
    /// The station of an address, which may be ours.
    Claim { ip: IpAddr, mac: Option<Mac>, solicited: bool, overrides: bool },
}

/// What is to be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Say {
    /// Our address is here: to the one who asked, or who asked without having an address.
    Answer { asker: Option<IpAddr>, mac: Mac },
    /// Who has this address? To everyone, or to the station that had it.
    Question { ip: IpAddr, mac: Option<Mac> },
    /// Our address is here: to everyone.
    Announcement,
}

/// Finds the stations of neighbours, and answers for one address.
#[derive(Clone, Debug)]
pub(super) struct Resolution {
    local: IpAddr,
    pub(super) neighbours: Neighbours,
    /// Never longer than [`ANSWERS`], so that its memory is taken once.
    answers: VecDeque<Say>,
    announcements: u8,
    announce_at: Instant,
}

impl Resolution {
    pub(super) fn new(local: IpAddr, neighbours: usize) -> Self {
        Self {
            local,
            neighbours: Neighbours::new(neighbours),
            answers: VecDeque::with_capacity(ANSWERS),
            announcements: ANNOUNCEMENTS,
            announce_at: Instant::ZERO,
        }
    }

    pub(super) fn announce(&mut self, now: Instant) {
        (self.announcements, self.announce_at) = (ANNOUNCEMENTS, now);
    }

    pub(super) fn stats(&self) -> NeighbourStats {
        self.neighbours.stats
    }

    /// Takes what another station said.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        station: &Station,
        route: &Route,
        heard: Heard,
    ) -> Result<(), Ignored> {
        match heard {
            Heard::Question { mac, .. } | Heard::Claim { mac: Some(mac), .. } if mac == station.mac => {
                Err(Ignored::Own)
            }
            Heard::Question { asker, mac } => {
                if let Some(ip) = asker
                    && route.is_on_link(ip)
                {
                    self.neighbours.learn(now, ip, mac);
                }
                self.answer(Say::Answer { asker, mac });
                Ok(())
            }
            Heard::Claim { ip, .. } if ip == self.local => Err(Ignored::Conflict),
            Heard::Claim { ip, mac, solicited, overrides } => {
                let claim = Claim { ip, mac, solicited, overrides };
                if self.neighbours.hear(now, &claim) { Ok(()) } else { Err(Ignored::Unasked) }
            }
        }
    }

    fn answer(&mut self, answer: Say) {
        self.neighbours.stats.requests_heard += 1;
        if self.answers.contains(&answer) {
            return;
        }
        if self.answers.len() == ANSWERS {
            self.neighbours.stats.answers_lost += 1;
            return;
        }
        self.answers.push_back(answer);
    }

    /// Returns what is to be said next: first to those who wait for it.
    fn poll(&mut self, now: Instant) -> Option<Say> {
        if let Some(answer) = self.answers.pop_front() {
            self.neighbours.stats.answers += 1;
            return Some(answer);
        }
        if let Some((ip, mac)) = self.neighbours.poll_request(now) {
            return Some(Say::Question { ip, mac });
        }
        if self.announcements > 0 && self.announce_at <= now {
            self.announcements -= 1;
            self.announce_at = now + ANNOUNCE_INTERVAL;
            self.neighbours.stats.announcements += 1;
            return Some(Say::Announcement);
        }
        None
    }

    /// Writes the next frame; returns its length.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        station: &Station,
        frame: &mut [u8],
    ) -> Option<usize> {
        let say = self.poll(now)?;
        Some(match self.local {
            IpAddr::V4(local) => arp::emit(station, local, &say, frame),
            IpAddr::V6(local) => ndp::emit(station, local, &say, frame),
        })
    }

    /// Returns when the next frame is due, or earlier.
    pub(super) fn timeout(&self) -> Option<Instant> {
        if !self.answers.is_empty() {
            return Some(Instant::ZERO);
        }
        let announcement = (self.announcements > 0).then_some(self.announce_at);
        [self.neighbours.timeout(), announcement].into_iter().flatten().min()
    }
}
