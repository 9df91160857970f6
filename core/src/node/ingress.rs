//! A packet in: checked once, admitted, and handed to exactly one handler. Ingress never sends.

use super::{Node, Notice};
use crate::id::{Address, Slot};
use crate::limits::{PAYLOAD_DEFAULT, PAYLOAD_MAX};
use crate::map::Phase;
use crate::teeth::Tooth;
use crate::time::Instant;
use crate::wire::{self, Body, Envelope, HEADER, LifeNoticeFixed, Members, ProbeFixed, Reject, Sealed};

/// Bytes of a challenge: an ack.
const CHALLENGE: usize = HEADER + size_of::<ProbeFixed>();

impl<const N: usize> Node<'_, N> {
    /// Takes one packet from the network.
    ///
    /// # Errors
    /// Why it was rejected: it changed nothing but a counter. Not an error of the caller's; safe to ignore.
    pub fn handle_packet(&mut self, now: Instant, from: Address, packet: &[u8]) -> Result<(), Reject> {
        self.observe(now);
        self.stats.received_bytes += packet.len() as u64;
        let outcome = self.take(from, packet);
        if let Err(reason) = outcome {
            self.stats.rejected[reason.index()] += 1;
        }
        outcome
    }

    fn take(&mut self, from: Address, packet: &[u8]) -> Result<(), Reject> {
        if packet.len() > self.config.payload {
            return Err(Reject::Oversize);
        }
        if self.auth.is_some() {
            return self.take_authenticated(from, packet);
        }
        let (envelope, body, members) =
            wire::parse_with_members(packet, self.config.cluster, &self.config.shape, N)?;
        self.take_checked(from, &envelope, &body, members, packet.len(), None)
    }

    /// Takes a packet of so many bytes, checked by its checksum or by a key, to its handler.
    fn take_checked(
        &mut self,
        from: Address,
        envelope: &Envelope,
        body: &Body<'_>,
        members: Members<'_>,
        len: usize,
        sealed: Option<&Sealed<'_>>,
    ) -> Result<(), Reject> {
        let known = self.map.life_of(envelope.slot);
        if let Err(reason) = self.map.admit(envelope) {
            // No answer is longer than what it answers.
            let tells = len >= HEADER + size_of::<LifeNoticeFixed>();
            // Of two in one slot who have met, the lesser has to know, and both under one generation: else they would answer
            // each other for ever.
            let ours = self.map.life();
            let met = envelope.slot == self.config.slot && self.map.slot_is_bound();
            let concerns = !met || envelope.life.generation <= ours.generation;
            match reason {
                Reject::OldLife | Reject::SlotConflict if tells && concerns => self.notice(from, envelope),
                Reject::Forgotten if tells => {
                    let Envelope { slot, life, .. } = *envelope;
                    self.tell(Notice { to: from, to_life: life.id, slot, other: None });
                }
                _ => {}
            }
            return Err(reason);
        }
        if known.is_known() && known.id != envelope.life.id && known.generation == envelope.life.generation {
            // The lesser may never be heard again, but its dots live on here: the greater has to know of it (R4.5).
            let other = Some(known);
            self.tell(Notice { to: from, to_life: envelope.life.id, slot: envelope.slot, other });
        }
        // A server that starts takes word of its own slot from a life that is over, too: that tells nothing of its sender.
        if self.map.life_of(envelope.slot).id == envelope.life.id {
            if let (Some(sealed), Some(auth)) = (sealed, &mut self.auth) {
                auth.prove(sealed);
            }
            // Where a packet came from is a hint: the best there is until the members tell.
            self.addresses[envelope.slot.index()] = from;
            self.hear_member(envelope, from);
        }
        let outcome = self.dispatch(envelope, body);
        if outcome.is_ok() {
            self.learn_members(envelope.slot, members);
        }
        self.apply_changes();
        outcome?;
        self.stats.received[envelope.kind.index()] += 1;
        Ok(())
    }

    fn take_authenticated(&mut self, from: Address, packet: &[u8]) -> Result<(), Reject> {
        let sealed = Sealed::parse(packet, self.config.cluster, N)?;
        let (ours, replays) = (self.map.life().id, !self.map.broken(Tooth::ReplayTaken));
        let Some(auth) = &mut self.auth else { return Err(Reject::KeyId) };
        let encrypts = auth.key(&sealed)?.encrypts();
        // What takes no code comes first: whoever floods costs least.
        auth.prefer(self.now, ours, &sealed, replays)?;
        let auth = &*auth;
        if encrypts {
            return if sealed.body.len() <= PAYLOAD_DEFAULT {
                self.take_encrypted::<PAYLOAD_DEFAULT>(from, &sealed)
            } else {
                self.take_encrypted::<PAYLOAD_MAX>(from, &sealed)
            };
        }
        let outcome = auth.check(&sealed, |key, subkey| {
            let Sealed { header, head, body } = sealed;
            key.cipher().verify(&subkey.0, header.number.get(), head, body, &header.mac)
        });
        if !self.map.broken(Tooth::MacUnchecked) {
            outcome?;
        }
        self.take_verified(from, &sealed, sealed.body)
    }

    /// Decrypts a packet of up to `L` bytes behind the header on the stack: the caller's is not ours to change.
    #[inline(never)]
    fn take_encrypted<const L: usize>(&mut self, from: Address, sealed: &Sealed<'_>) -> Result<(), Reject> {
        let Some(auth) = &self.auth else { return Err(Reject::KeyId) };
        let mut plain = [0; L];
        let plain = plain.get_mut(..sealed.body.len()).ok_or(Reject::Oversize)?;
        plain.copy_from_slice(sealed.body);
        auth.check(sealed, |key, subkey| {
            let Sealed { header, head, .. } = sealed;
            key.cipher().decrypt(&subkey.0, header.number.get(), head, plain, &header.mac)
        })?;
        self.take_verified(from, sealed, plain)
    }

    /// Takes a packet whose code is right: some server made it. What is left to see is that it is not a recording.
    fn take_verified(&mut self, from: Address, sealed: &Sealed<'_>, body: &[u8]) -> Result<(), Reject> {
        let Envelope { slot, life, to_life, .. } = sealed.envelope();
        let (me, ours) = (self.config.slot, self.map.life().id);
        if slot == me && life.id == ours {
            return Err(Reject::OwnPacket);
        }
        let Some(auth) = &mut self.auth else { return Err(Reject::KeyId) };
        if to_life == ours {
            if sealed.header.number.get() as u8 != me.get() {
                return Err(Reject::Header);
            }
            let number = auth.take_number(sealed);
            if !self.map.broken(Tooth::ReplayTaken) {
                number?;
            }
        } else if !(self.map.broken(Tooth::UnprovedTaken) && self.map.life_of(slot) == life) {
            // Never more for less: whoever sends recordings says where the answer goes.
            if HEADER + sealed.body.len() >= CHALLENGE {
                auth.challenge(from, sealed);
            }
            return Err(Reject::Unproved);
        }
        let len = HEADER + body.len();
        let (envelope, body, members) = wire::parse_behind(sealed.header, body, &self.config.shape, N)?;
        self.take_checked(from, &envelope, &body, members, len, Some(sealed))
    }

    fn dispatch(&mut self, envelope: &Envelope, body: &Body<'_>) -> Result<(), Reject> {
        let (from, now) = (envelope.slot, self.now);
        if let Body::Ping(probe) | Body::PingReq(probe) | Body::Ack(probe) = body {
            self.hear_version_hash(from, probe.version);
        }
        match body {
            Body::Ping(probe) => self.on_ping(from, *probe),
            Body::PingReq(probe) => self.on_ping_req(from, *probe),
            Body::Ack(probe) => self.on_ack(from, *probe),
            Body::Gossip => {}
            Body::Version(packet) => {
                let outcome = self.map.on_version(from, packet);
                if outcome.lacks {
                    self.sync.on_behind(now, from);
                }
                if outcome.tell {
                    self.sync.tell(from);
                }
            }
            Body::Delta(packet) => {
                let starting = self.map.phase() == Phase::Starting;
                let outcome = self.map.on_delta(envelope, packet)?;
                self.sync.on_delta(now, from, &outcome, starting);
            }
            Body::Push(packet) => {
                if self.map.on_push(from, packet)? {
                    self.sync.on_behind(now, from);
                }
            }
            Body::Digest(packet) => self.map.on_digest(from, packet)?,
            Body::Repair(packet) => self.map.on_repair(from, packet)?,
            Body::Report(packet) => self.map.on_report(from, packet)?,
            Body::HistoryAsk(packet) => self.map.on_history_ask(from, packet),
            Body::HistoryAnswer(packet) => {
                if self.map.on_history_answer(from, packet)? {
                    // A lost question is repeated at the next maintenance.
                    self.asks.insert(from);
                }
            }
            Body::LifeNotice(notice) => self.map.on_life_notice(*notice),
        }
        Ok(())
    }

    /// Takes what a probe says of the version of `from`, who sent it: an ack that is passed on says it of who passes it on.
    fn hear_version_hash(&mut self, from: Slot, hash: u64) {
        if hash != 0 {
            let equal = self.map.on_version_hash(from, hash);
            self.sync.on_compared(self.now, from, hash, equal);
        }
    }

    /// Marks that a server is to hear of the other life in its slot; each life once between maintenances (R4.5).
    fn notice(&mut self, from: Address, envelope: &Envelope) {
        let slot = envelope.slot;
        let known = if slot == self.config.slot { self.map.life() } else { self.map.life_of(slot) };
        self.tell(Notice { to: from, to_life: envelope.life.id, slot, other: Some(known) });
        if slot != self.config.slot && known.generation == envelope.life.generation {
            // The greater has to know too: their dots may be the same.
            let to = self.address(slot);
            self.tell(Notice { to, to_life: known.id, slot, other: Some(envelope.life) });
        }
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        if !self.noticed.contains(&notice.to_life) && self.noticed.push(notice.to_life).is_ok() {
            // One place each: the lists have the same length.
            let _ = self.notices.push(notice);
        }
    }

    pub(super) fn address(&self, slot: Slot) -> Address {
        self.addresses[slot.index()]
    }
}
