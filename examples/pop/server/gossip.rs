//! A server's gossip thread: the driver, and what is told of it.
//!
//! Knows one driver. Must not know HTTP, nor the story.

use std::io;
use std::sync::atomic::Ordering;

use popmap_core::map::TypedReader;
use popmap_core::{Event, Phase, SlotSet, State};
use popmap_io::{Device, Driver, News};

use super::Witness;
use super::checks::{Order, Orders};
use super::probe::Probe;
use super::status::{Ended, Shared, Status};
use crate::health::Health;
use crate::measure::Totals;
use crate::origins::OriginId;
use crate::plan::Plan;
use crate::world::lock;

/// How often the status is renewed while the map changes, and while it does not.
const PUBLISH_NS: [u64; 2] = [10_000_000, 100_000_000];

/// Drives the server until its life is over, and returns what its counters came to.
///
/// # Errors
/// The device's end.
pub fn run<D: Device>(
    mut driver: Driver<'_, Probe<D>>,
    reader: TypedReader<'_, Health>,
    shared: &Shared,
    orders: &Orders,
    plan: &Plan,
    witness: &impl Witness,
) -> io::Result<Ended> {
    let slot = shared.slot;
    let (mut told, mut head) = (SlotSet::EMPTY, 0);
    let (mut published_ns, mut published_head) = (0, 0);
    while !shared.over.load(Ordering::Acquire) {
        let mut lagged = false;
        let deadline = driver.poll(|news| lagged |= take(news, shared, orders, plan, witness))?;
        let map = driver.node().map();
        let now_ns = plan.clock.now_ns();
        if map.log_head() != head {
            head = map.log_head();
            witness.changed(slot, now_ns, &reader);
        }
        if matches!(map.phase(), Phase::Active { .. }) && map.live() != told {
            told = map.live();
            orders.send(Order::Own(told));
        }
        if lagged {
            // Among what was lost may have been a Superseded: look through everything that we own.
            let superseded = |id: &OriginId| {
                let key = plan.keys[*id as usize];
                map.owners().owner(key) == Some(slot)
                    && map.inspect(key).is_some_and(|held| held.dot.slot != slot)
            };
            orders.send(Order::Recheck((0..plan.keys.len() as OriginId).filter(superseded).collect()));
        }
        let quiet = usize::from(head == published_head);
        let due_ns = published_ns + PUBLISH_NS[quiet];
        if now_ns >= due_ns {
            *lock(&shared.status) = Status::of(driver.node(), driver.stats().writes, shared.headers);
            (published_ns, published_head) = (now_ns, head);
        }
        let ours = popmap_core::time::Duration(due_ns.saturating_sub(now_ns).max(1_000_000));
        driver.wait(deadline.min(driver.clock().now() + ours))?;
    }
    *lock(&shared.status) = Status::of(driver.node(), driver.stats().writes, shared.headers);
    Ok(Ended {
        totals: Totals::of(&driver.node().stats(), shared.headers),
        merge: driver.device().merge.times.clone(),
    })
}

/// Passes on what concerns others; returns whether anything was lost.
fn take(news: News, shared: &Shared, orders: &Orders, plan: &Plan, witness: &impl Witness) -> bool {
    let slot = shared.slot;
    match news {
        News::Member { slot: of, state: State::Dead } => witness.holds_dead(slot, of),
        News::Member { .. } | News::Link { .. } | News::Map(Event::GenerationRaised { .. }) => {}
        News::Map(Event::Started { expired }) => {
            if expired {
                witness.alarm(format_args!("{slot} started before it had met every other server"));
            }
        }
        News::Map(Event::Superseded { key }) => {
            orders.send(Order::Recheck(plan.id(key).into_iter().collect()));
        }
        News::Map(Event::Lagged { .. }) => return true,
        News::Map(Event::Full) => witness.alarm(format_args!("{slot}: its map is full")),
        News::Map(Event::Fenced { by }) => witness.alarm(format_args!("{slot} is fenced by life {by:?}")),
        News::Map(Event::SlotConflict { slot: of }) => {
            witness.alarm(format_args!("{slot} saw two servers in {of}"));
        }
        News::PutRefused { key, error } => {
            let name = plan.id(key).map_or("?", |id| &plan.origins[id as usize].name);
            witness.alarm(format_args!("{slot} could not write {name}: {error}"));
        }
        other => witness.alarm(format_args!("{slot}: {other:?}")),
    }
    false
}
