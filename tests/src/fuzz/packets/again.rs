//! A taken packet, written again from what its views say: the same bytes.
//!
//! Knows the documented layout and the views' accessors.

use popmap_core::wire::{
    Body, Delta, Digest, Envelope, HEADER, Kind, Members, Probe, Push, Records, Repair, Sparse, VERSION,
    flag, seal,
};
use popmap_core::{Shape, Slot};

use crate::fuzz::bytes::number;
use crate::link::CLUSTER;

/// Bits of the header's flags that have a meaning.
const FLAGS: u8 = flag::CAUGHT_UP | flag::SILENT | flag::UNMET;

/// Asserts that what was made of `packet` says what its bytes say.
///
/// # Panics
/// When it does not.
pub fn assert_says_the_same(
    packet: &[u8],
    envelope: &Envelope,
    body: &Body<'_>,
    members: &Members<'_>,
    shape: &Shape,
) {
    let packet = &packet[..number::<2>(packet, 20) as usize];
    let end = packet.len() - 64 * usize::from(packet[23]);
    header(packet, envelope);
    self::members(&packet[end..], members);
    self::body(&packet[HEADER..end], envelope.kind, body, shape);
}

fn header(packet: &[u8], envelope: &Envelope) {
    assert_eq!((envelope.kind as u8, envelope.slot.get()), (packet[1], packet[2]));
    assert_eq!(envelope.flags, packet[3] & FLAGS);
    let (life, to_life) = (envelope.life, envelope.to_life);
    assert_eq!(u64::from(life.generation), number::<4>(packet, 16));
    assert_eq!((life.id, to_life), (number::<8>(packet, 24), number::<8>(packet, 32)));
    // Sealed from the envelope it is the same again, where nothing stands that a receiver ignores.
    let is_plain = packet[0] == VERSION && packet[3] == envelope.flags && packet[23] == 0;
    if is_plain && packet[48..HEADER] == [0; 16] && packet.len() < 200 {
        let mut again = [0; 200];
        let again = &mut again[..packet.len()];
        again[HEADER..].copy_from_slice(&packet[HEADER..]);
        seal(again, envelope, CLUSTER, number::<8>(packet, 40));
        assert_eq!(again, packet);
    }
}

fn members(bytes: &[u8], members: &Members<'_>) {
    let mut left = bytes.chunks(64);
    for (slot, entry) in members.iter() {
        let bytes = left.next().expect("as many as stated");
        assert_eq!((slot.get(), entry.slot, entry.state), (bytes[0], bytes[0], bytes[1]));
        let numbers = [entry.incarnation.get(), entry.generation.get()].map(u64::from);
        assert_eq!(numbers, [number::<4>(bytes, 4), number::<4>(bytes, 8)]);
        assert_eq!((entry.by[..] == bytes[12..16], entry.life.get()), (true, number::<8>(bytes, 16)));
        assert_eq!((entry.address.0[..] == bytes[24..48], entry.meta[..] == bytes[48..]), (true, true));
        let by = entry.suspected_by();
        assert!(bytes[12..16].iter().all(|&by_| by_ == 0 || by.contains(Slot::at(usize::from(by_) - 1))));
        assert!(by.iter().all(|slot| bytes[12..16].contains(&(slot.get() + 1))));
    }
    assert!(left.next().is_none());
}

fn body(bytes: &[u8], kind: Kind, body: &Body<'_>, shape: &Shape) {
    let kind_of_body = match body {
        Body::Version(version) => {
            let fixed = version.fixed;
            assert_eq!([8, 16].map(|at| number::<8>(bytes, at)), [fixed.cursor.get(), fixed.until.get()]);
            let small = [fixed.window.get(), fixed.flags.get()].map(u64::from);
            assert_eq!(small, [number::<2>(bytes, 24), number::<2>(bytes, 26)]);
            assert_eq!(u64::from(fixed.floor.get()), number::<4>(bytes, 28));
            let behind = sparse(&bytes[40..], version.version);
            let forgets = small[1] & 8 != 0;
            sparse(if forgets { behind } else { &[0; 8] }, version.forgotten);
            Kind::Version
        }
        Body::Delta(Delta { fixed, records, version, buried }) => {
            assert_eq!(
                [8, 16, 24].map(|at| number::<8>(bytes, at)),
                [fixed.from.get(), fixed.to.get(), fixed.head.get()]
            );
            let small = [fixed.floor.get(), fixed.flags.get()].map(u64::from);
            assert_eq!(small, [number::<4>(bytes, 32), number::<4>(bytes, 36)]);
            let behind = sparse(self::records(bytes, 40, records, shape), *version);
            let buries = small[1] & 16 != 0;
            sparse(if buries { behind } else { &[0; 8] }, *buried);
            Kind::Delta
        }
        Body::Push(Push { fixed, records }) => {
            assert_eq!([8, 16].map(|at| number::<8>(bytes, at)), [fixed.from.get(), fixed.to.get()]);
            assert_eq!(u64::from(fixed.floor.get()), number::<4>(bytes, 24));
            self::records(bytes, 32, records, shape);
            Kind::Push
        }
        Body::Digest(Digest { fixed, digests }) => {
            assert_eq!([8].map(|at| number::<8>(bytes, at)), [fixed.question.get()]);
            assert_eq!((u64::from(fixed.first.get()), fixed.bits), (number::<4>(bytes, 16), bytes[20]));
            assert_eq!(digests.len() as u64, number::<2>(bytes, 6));
            assert!((24..).step_by(8).zip(*digests).all(|(at, sum)| sum.get() == number::<8>(bytes, at)));
            Kind::Digest
        }
        Body::Repair(Repair { fixed, records }) => {
            assert_eq!(
                [8, 16, 24].map(|at| number::<8>(bytes, at)),
                [fixed.question.get(), fixed.from.get(), fixed.to.get()]
            );
            assert_eq!(u64::from(fixed.flags.get()), number::<4>(bytes, 32));
            self::records(bytes, 40, records, shape);
            Kind::Repair
        }
        Body::Report(report) => {
            records(bytes, 8, &report.records, shape);
            Kind::Report
        }
        Body::HistoryAsk(ask) => {
            assert_eq!([8].map(|at| number::<8>(bytes, at)), [ask.fixed.below.get()]);
            assert_eq!(u64::from(ask.fixed.resume.get()), number::<4>(bytes, 16));
            Kind::HistoryAsk
        }
        Body::HistoryAnswer(answer) => {
            let small = [answer.fixed.resume.get(), answer.fixed.flags.get()].map(u64::from);
            assert_eq!(small, [number::<4>(bytes, 8), number::<4>(bytes, 12)]);
            records(bytes, 16, &answer.records, shape);
            Kind::HistoryAnswer
        }
        Body::LifeNotice(notice) => {
            assert_eq!(
                (u64::from(notice.life.generation), notice.slot.get()),
                (number::<4>(bytes, 0), bytes[4])
            );
            assert_eq!([8].map(|at| number::<8>(bytes, at)), [notice.life.id]);
            assert_eq!(notice.forgotten, bytes[5] & 1 != 0);
            Kind::LifeNotice
        }
        Body::Ping(probe) => self::probe(bytes, probe, Kind::Ping),
        Body::PingReq(probe) => self::probe(bytes, probe, Kind::PingReq),
        Body::Ack(probe) => self::probe(bytes, probe, Kind::Ack),
        Body::Gossip => Kind::Gossip,
    };
    assert_eq!(kind_of_body, kind);
}

fn probe(bytes: &[u8], probe: &Probe, kind: Kind) -> Kind {
    assert_eq!((u64::from(probe.number), probe.version), (number::<4>(bytes, 0), number::<8>(bytes, 8)));
    assert_eq!((probe.target.get(), probe.owed), (bytes[4], bytes[5]));
    kind
}

/// Checks the records behind a fixed part of `fixed` bytes; returns what is behind them.
fn records<'b>(bytes: &'b [u8], fixed: usize, records: &Records<'_>, shape: &Shape) -> &'b [u8] {
    let count = number::<2>(bytes, 6) as usize;
    let (listed, rest) = bytes[fixed..].split_at(count * shape.record_len());
    assert_eq!((records.len(), records.is_empty()), (count, count == 0));
    let mut seen = 0;
    for (bytes, record) in listed.chunks(shape.record_len()).zip(records.iter()) {
        let dot = record.dot();
        assert_eq!(record.key().0, bytes[..16]);
        assert_eq!((dot.counter, u64::from(record.term())), (number::<8>(bytes, 16), number::<4>(bytes, 24)));
        assert_eq!([dot.slot.get(), u8::from(record.is_tombstone()), 0, 0], bytes[28..32]);
        assert_eq!(record.value(), &bytes[32..]);
        seen += 1;
    }
    assert_eq!(seen, count);
    rest
}

/// Checks a version vector; returns what is behind it.
fn sparse<'b>(bytes: &'b [u8], version: Sparse<'_>) -> &'b [u8] {
    assert_eq!(version.slots().bits(), number::<8>(bytes, 0));
    let vector = version.to_vector::<64>();
    let mut at = 8;
    for slot in (0..64).map(Slot::at) {
        let listed = version.slots().contains(slot);
        assert_eq!(vector.get(slot), if listed { number::<8>(bytes, at) } else { 0 });
        at += 8 * usize::from(listed);
    }
    &bytes[at..]
}
