//! The keys at work: which packets are some server's word, and of its present life.
//!
//! Knows keys, windows and who has to be told our life. Must not know what a packet does.
//!
//! A packet is taken if it names a key that is configured, its code is right, it names *our* life, and its number is new
//! in its sender's life. Our life id is 64 bits that nobody knew before we started, so whatever names it was made since,
//! by a server that heard of us: no recording of an earlier life of ours, of whichever sender, passes. What does not name
//! it moves no state and is answered, at most, by one packet that tells it and is no longer than the question; that takes
//! a new server one round trip with each peer. A window belongs to a sender's life: another life's follows only when the
//! map has admitted it, and from then on the former is an old one (rule R4.4).

use heapless::Vec;

use super::share::Shares;
use crate::auth::{AuthKey, KeyRing, RotationError, Subkey, Window};
use crate::id::{Address, Life, Slot, SlotSet};
use crate::time::Instant;
use crate::wire::{self, Envelope, Reject, Sealed};

/// Challenges that may wait to be sent: as many as a device hands over before it asks what there is to send.
const CHALLENGES: usize = 64;

/// A server that has to be told our life before anything it says counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) to: Address,
    pub(super) slot: Slot,
    pub(super) life: u64,
}

/// The subkey of a sender's life.
struct Known {
    /// Zero for none.
    key_id: u8,
    life: u64,
    subkey: Subkey,
}

impl Known {
    const NONE: Self = Self { key_id: 0, life: 0, subkey: Subkey::NONE };
}

struct Peer {
    /// The life that the window is of.
    life: u64,
    window: Window,
    /// The key of its latest packet.
    key_id: u8,
    /// Two, because while keys are exchanged packets under both are on their way.
    received: [Known; 2],
    /// Packets that we made for it.
    sent: u64,
    sending: Subkey,
}

impl Peer {
    const NEW: Self = Self {
        life: 0,
        window: Window::NEW,
        key_id: 0,
        received: [Known::NONE; 2],
        sent: 0,
        sending: Subkey::NONE,
    };
}

pub(super) struct Auth<const N: usize> {
    ring: KeyRing,
    peers: [Peer; N],
    /// The peers whose `sending` is of the key that we send with.
    ready: SlotSet,
    /// Packets made for servers that we do not know.
    sent_to_nobody: u64,
    challenges: Vec<Challenge, CHALLENGES>,
    shares: Shares<N>,
}

impl<const N: usize> Auth<N> {
    pub(super) fn new(ring: KeyRing, shares: Shares<N>) -> Self {
        Self {
            ring,
            peers: [const { Peer::NEW }; N],
            ready: SlotSet::EMPTY,
            sent_to_nobody: 0,
            challenges: Vec::new(),
            shares,
        }
    }

    pub(super) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Takes other keys, if they may follow those that we have. `live` are the servers that must not be cut off.
    pub(super) fn set_ring(&mut self, slot: Slot, live: SlotSet, ring: KeyRing) -> Result<(), RotationError> {
        ring.check_slot(slot)?;
        let peers = &self.peers;
        self.ring.check_next(&ring, |id| {
            live.iter().filter(|slot| peers[slot.index()].key_id == id.get()).collect()
        })?;
        self.ring = ring;
        self.ready = SlotSet::EMPTY;
        let ring = &self.ring;
        for known in self.peers.iter_mut().flat_map(|peer| &mut peer.received) {
            if ring.get(known.key_id).is_none() {
                *known = Known::NONE;
            }
        }
        Ok(())
    }

    // ---- in ----

    /// Returns the key that a packet names.
    pub(super) fn key(&self, packet: &Sealed<'_>) -> Result<&AuthKey, Reject> {
        self.ring.get(packet.header.key_id).ok_or(Reject::KeyId)
    }

    /// Decides without a code whether a packet is worth one: its source has something left of its share, and its number may
    /// still be new. `replays` is whether that counts.
    pub(super) fn prefer(
        &mut self,
        now: Instant,
        ours: u64,
        packet: &Sealed<'_>,
        replays: bool,
    ) -> Result<(), Reject> {
        let Envelope { slot, life, to_life, .. } = packet.envelope();
        if !self.shares.allows(now, slot) {
            return Err(Reject::OverBudget);
        }
        let peer = &self.peers[slot.index()];
        let of_window = to_life == ours && peer.life == life.id;
        if replays && of_window && peer.window.has_passed(packet.header.number.get() >> 8) {
            return Err(Reject::Replay);
        }
        Ok(())
    }

    /// Asks `opens` whether a packet is what its sender made under the key that it names.
    pub(super) fn check(
        &self,
        packet: &Sealed<'_>,
        opens: impl FnOnce(&AuthKey, &Subkey) -> bool,
    ) -> Result<(), Reject> {
        let key = self.key(packet)?;
        let Envelope { slot, life, to_life, .. } = packet.envelope();
        // A server of which nothing is known has nothing in common with us but the group.
        let with = (to_life != 0).then_some(slot);
        let same = with.is_some() || key.slot().is_none();
        let known = self.peers[slot.index()]
            .received
            .iter()
            .find(|known| same && known.key_id == key.id().get() && known.life == life.id);
        let valid = match known {
            Some(known) => opens(key, &known.subkey),
            None => opens(key, &key.subkey(slot, life.id, with)),
        };
        if valid { Ok(()) } else { Err(Reject::Mac) }
    }

    /// Takes the number of a packet whose code was right and that names our life, if its sender's life is the one whose
    /// window we have, and takes the packet off its sender's share.
    pub(super) fn take_number(&mut self, packet: &Sealed<'_>) -> Result<(), Reject> {
        let Envelope { kind, slot, life, .. } = packet.envelope();
        let peer = &mut self.peers[slot.index()];
        if peer.life == life.id && !peer.window.take(packet.header.number.get() >> 8) {
            return Err(Reject::Replay);
        }
        self.shares.spend(slot, kind);
        Ok(())
    }

    /// The map has admitted such a packet: the life of its sender is the one there is.
    pub(super) fn prove(&mut self, packet: &Sealed<'_>) {
        let Envelope { slot, life: Life { id: life, .. }, .. } = packet.envelope();
        let peer = &mut self.peers[slot.index()];
        if peer.life != life {
            (peer.life, peer.window) = (life, Window::NEW);
            peer.window.take(packet.header.number.get() >> 8);
        }
        let key_id = packet.header.key_id;
        peer.key_id = key_id;
        if peer.received.iter().any(|known| known.key_id == key_id && known.life == life) {
            return;
        }
        if let Some(key) = self.ring.get(key_id) {
            peer.received.swap(0, 1);
            peer.received[0] = Known { key_id, life, subkey: key.subkey(slot, life, Some(slot)) };
        }
    }

    /// Marks that the sender of a packet is to be told our life. With as many waiting as there is room for, this one has
    /// to ask again.
    pub(super) fn challenge(&mut self, to: Address, packet: &Sealed<'_>) {
        let Envelope { slot, life, .. } = packet.envelope();
        let challenge = Challenge { to, slot, life: life.id };
        if !self.challenges.contains(&challenge) {
            let _ = self.challenges.push(challenge);
        }
    }

    // ---- out ----

    pub(super) fn owes_challenge(&self) -> bool {
        !self.challenges.is_empty()
    }

    pub(super) fn next_challenge(&mut self) -> Option<Challenge> {
        self.challenges.pop()
    }

    /// Writes the header of a packet for `receiver`, and its code. A packet that names no life is for nobody whom we know.
    pub(super) fn seal(
        &mut self,
        packet: &mut [u8],
        envelope: &Envelope,
        cluster: u64,
        members: u8,
        receiver: Slot,
    ) {
        let Envelope { slot: me, life, to_life, .. } = *envelope;
        let receiver = (to_life != 0).then_some(receiver);
        let (key, nobody) = (self.ring.sending(), &mut self.sent_to_nobody);
        let for_nobody;
        let (count, subkey) = match receiver {
            Some(slot) => {
                let peer = &mut self.peers[slot.index()];
                if !self.ready.contains(slot) {
                    peer.sending = key.subkey(me, life.id, receiver);
                    self.ready.insert(slot);
                }
                (&mut peer.sent, &peer.sending)
            }
            None => {
                for_nobody = key.subkey(me, life.id, None);
                (nobody, &for_nobody)
            }
        };
        *count += 1;
        let number = wire::numbered(*count, receiver);
        wire::seal_with_key(packet, envelope, cluster, number, members, key.id().get(), |head, body| {
            if key.encrypts() {
                key.cipher().encrypt(&subkey.0, number, head, body)
            } else {
                key.cipher().tag(&subkey.0, number, head, body)
            }
        });
    }
}
