//! Convergence: from any state, replicas that pull from each other over a network that loses nothing become equal and
//! then fall silent.

use popmap_core::map::{Request, VersionOutcome};
use popmap_core::wire::{self, Body};
use popmap_core::{Phase, Slot, SlotSet};

use super::action::Restart;
use super::exchange::{pairs, pull};
use super::packet::{FRAME_MAX, seal};
use super::replicas::{Owned, Replicas};
use super::scope::Scope;
use super::world::{World, gone};
use super::{Label, scope::SHAPE};
use crate::checker::{Snapshot, Violation, violated};

/// Rounds in which everyone pulls from everyone, before it counts as endless.
const ROUNDS_MAX: usize = 12;
/// Restarts of one replica that a settling may take: it may find a server that was forgotten before it finds out.
const RESTARTS_MAX: usize = 3;

/// Replicas that a settling has to have storage for.
pub fn replicas(slots: usize, scope: &Scope) -> usize {
    if scope.forgets() { slots * (1 + RESTARTS_MAX) } else { slots }
}

/// Runs copies of the replicas to quiescence and compares them.
///
/// # Errors
/// When a property fails on the way, when they never fall silent, or when they differ then.
pub fn settle<'o, const N: usize>(
    world: &World<N>,
    maps: &impl Replicas<'o, N>,
    storages: &mut [Vec<u64>],
) -> Result<(), Violation> {
    let mut world = world.clone();
    let mut maps = Owned::copy_of(storages, maps);
    let keys = world.scope.key_names();
    for at in 0..N {
        maps.map_mut(at).set_live(SlotSet::first(N));
    }
    for _ in 0..ROUNDS_MAX {
        for at in (0..N).filter(|&at| maps.map(at).phase() == Phase::Forgotten).collect::<Vec<_>>() {
            world.crash(&mut maps, at, Restart::Kept);
            world.seen[at] = Snapshot::of(maps.map(at), &keys);
        }
        let before = world.seen.clone();
        for (from, to) in pairs::<N>() {
            pull(&world.scope, &mut maps, from, to)?;
            for at in [usize::from(from), usize::from(to)] {
                let after = Snapshot::of(maps.map(at), &keys);
                world.ledger.note(maps.map(at), &world.seen[at], &after, gone(&maps) >> at & 1 == 1)?;
                world.seen[at] = after;
            }
            world.check(gone(&maps))?;
        }
        let same = |(a, b): (&Snapshot<N>, &Snapshot<N>)| a.hash == b.hash;
        let started = |at: usize| matches!(maps.map(at).phase(), Phase::Active { .. });
        if before.iter().zip(&world.seen).all(same) {
            if !world.scope.converges {
                return Ok(());
            }
            if (0..N).all(started) {
                world.ledger.check_equal(&maps.refs())?;
                return check_silent(&mut maps);
            }
        }
    }
    let phases: Vec<_> = (0..N).map(|at| maps.map(at).phase()).collect();
    violated!("no quiescence after {ROUNDS_MAX} rounds; phases {phases:?}")
}

/// Checks that nobody has anything to say to anybody.
fn check_silent<const N: usize>(maps: &mut Owned<'_, N>) -> Result<(), Violation> {
    for (from, to) in pairs::<N>() {
        let mut frame = [0; FRAME_MAX];
        let (server, asker) = (Slot::at(to.into()), Slot::at(from.into()));
        let written = maps.map(from.into()).write_version(server, &Request::default(), &mut frame);
        let Some((envelope, len)) = written else {
            return violated!(
                "S{from} has nothing to say: it takes itself for forgotten now that all are at rest"
            );
        };
        let packet = seal(to, 0, Label { step: 0, nth: 0 }, &mut frame, &envelope, len);
        let (_, body) =
            wire::parse(&packet.bytes, super::packet::CLUSTER, &SHAPE, N).expect("a map's packet");
        let Body::Version(version) = body else { unreachable!("a version") };
        let VersionOutcome { owes_delta, lacks, .. } = maps.map_mut(to.into()).on_version(asker, &version);
        if owes_delta || lacks {
            return violated!(
                "never silent: S{from}'s version makes S{to} owe {owes_delta} and lack {lacks}"
            );
        }
    }
    Ok(())
}
