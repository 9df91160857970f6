//! Exchanges over a network that loses nothing: one packet, or a whole pull.

use popmap_core::map::Request;
use popmap_core::wire::{Envelope, Reject};
use popmap_core::{Map, Slot};

use super::action::Label;
use super::packet::{FRAME_MAX, deliver, seal, write_notice};
use super::replicas::Replicas;
use super::scope::Scope;
use crate::checker::{Violation, violated};

/// Packets that an exchange may take before it counts as endless.
const EXCHANGE_MAX: usize = 64;

/// Sends one packet from `from` to `to`, and if it is rejected as of a life that is over, the notice back. Returns why it
/// was rejected.
///
/// # Errors
/// When it should have been.
pub fn exchange_one<'s, const N: usize>(
    scope: &Scope,
    maps: &mut impl Replicas<'s, N>,
    from: u8,
    to: u8,
    write: impl FnOnce(&mut Map<'s, N>, &mut [u8]) -> Option<(Envelope, usize)>,
) -> Result<Option<Reject>, Violation> {
    let mut frame = [0; FRAME_MAX];
    let frame = &mut frame[..scope.frame_len(N)];
    let label = Label { step: 0, nth: 0 };
    let Some((envelope, len)) = write(maps.map_mut(from.into()), frame) else { return Ok(None) };
    let packet = seal(to, 0, label, frame, &envelope, len);
    let outcome = deliver(maps.map_mut(to.into()), &packet.bytes)?;
    if outcome.notice {
        let slot = Slot::at(from.into());
        let receiver = maps.map(to.into());
        let notice = write_notice(receiver, slot, outcome.sender, frame);
        let (envelope, len) = notice.expect("a notice fits any frame");
        let packet = seal(from, 0, label, frame, &envelope, len);
        deliver(maps.map_mut(from.into()), &packet.bytes)?;
    }
    Ok(outcome.rejected)
}

/// Every ordered pair of replicas.
pub fn pairs<const N: usize>() -> impl Iterator<Item = (u8, u8)> {
    let n = u8::try_from(N).expect("few replicas");
    (0..n).flat_map(move |a| (0..n).filter(move |&b| a != b).map(move |b| (a, b)))
}

/// Lets `to` pull all that it lacks from `from`, over a network that loses nothing.
///
/// It ends without that when either's life is over, or `from` may have records older than what `to` has collected.
///
/// # Errors
/// When it never ends.
pub fn pull<'s, const N: usize>(
    scope: &Scope,
    maps: &mut impl Replicas<'s, N>,
    from: u8,
    to: u8,
) -> Result<(), Violation> {
    let (server, asker) = (Slot::at(from.into()), Slot::at(to.into()));
    let mut packets = 0;
    let mut told = false;
    // The first request may be from a life that the server holds old; the second is then from above it. One that
    // starts asks once more after a notice, and a window may end before the log does.
    loop {
        let before = maps.map(to.into()).life().generation;
        let request = Request { force: true, window: 4, ..Request::default() };
        let write = |map: &mut Map<'s, N>, frame: &mut [u8]| map.write_version(server, &request, frame);
        let outcome = exchange_one(scope, maps, to, from, write)?;
        let raised = maps.map(to.into()).life().generation != before;
        match outcome {
            // The server lives anew and has not spoken yet.
            Some(Reject::OtherLife) => return Ok(()),
            // Servers that have forgotten each other do not even listen to that; others tell them.
            Some(Reject::Forgotten | Reject::Over) if !raised => return Ok(()),
            _ if maps.map(to.into()).is_forgotten(server, maps.map(from.into()).life()) => return Ok(()),
            _ => {}
        }
        let commits = maps.map(to.into()).stats().commits;
        let mut lacks = false;
        while maps.map(from.into()).owes_delta().contains(asker) {
            let outcome = exchange_one(scope, maps, from, to, |map, frame| map.write_delta(asker, frame))?;
            lacks |= outcome == Some(Reject::LacksBuried);
            packets += 1;
            if packets > EXCHANGE_MAX {
                return violated!("S{to} pulls from S{from} without end");
            }
        }
        if is_over(maps, from) || is_over(maps, to) || lacks && told {
            return Ok(());
        }
        let asks = maps.map(to.into());
        let forgets = [from, to].iter().any(|&at| !maps.map(at.into()).forgotten().occupied().is_empty());
        let waits = forgets && (asks.waiting_for().contains(server) || !asks.has_version_of(server));
        if (lacks || waits) && !told {
            // It has to see the server's version first, and does not while the server takes it for an earlier life.
            let request = Request { reply: true, ..Request::default() };
            let outcome =
                exchange_one(scope, maps, from, to, |map, frame| map.write_version(asker, &request, frame))?;
            told = outcome.is_none();
            if told {
                continue;
            }
        }
        if !raised && (maps.map(to.into()).stats().commits > commits || !scope.converges) {
            return Ok(());
        }
        packets += 1;
        if packets > EXCHANGE_MAX {
            return violated!("S{to} pulls from S{from} and never commits");
        }
    }
}

fn is_over<'s, const N: usize>(maps: &impl Replicas<'s, N>, at: u8) -> bool {
    maps.map(at.into()).phase().is_over()
}
