//! Inputs to start from: what real nodes and stations send, and scripts that get far.

use popmap_core::Shape;
use popmap_core::time::Duration;
use popmap_core::{Slot, SlotSet};
use popmap_io::memory::Faults;

use super::{frames, keys, map, node};
use crate::cluster::{Cluster, Restart, Storage};
use crate::link::CLUSTER;
use crate::members::swim;
use crate::scenario::key;

/// Packets kept of each kind.
const EACH: usize = 3;

/// Returns the inputs that a target starts from; the same each time.
///
/// # Panics
/// When there is no such target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let text = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    match target {
        "packets" => packets(),
        "frames" => frames::seeds(),
        "keys" => keys::seeds(),
        "keyed" => node::keyed::seeds(),
        "node" => node::seeds(),
        "map" => map::seeds(),
        "generation" => text(&["0\n", "4294967295\n", "4294967296\n", " 17 \r\n", "+5", "1 2", ""]),
        "addresses" => {
            let texts =
                text(&["02:00:5e:10:00:01", "10.1.2.3:258", "[fe80::7%9]:258", "[::ffff:10.1.2.3]:5", "2:0"]);
            let mut inputs: Vec<_> = texts.into_iter().map(|text| [&[1][..], &text].concat()).collect();
            inputs.push(vec![0, 4, 0, 2, 1, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            inputs
                .push(vec![0, 6, 0, 2, 1, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 9, 0, 0, 0]);
            inputs
                .push(vec![0, 2, 0, 0, 0, 2, 0, 0x5e, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            inputs.push(vec![0; 25]);
            inputs
        }
        "configs" => {
            let mixed: Vec<u8> = (0..120u8).map(|n| n.wrapping_mul(37)).collect();
            (0..8u8).map(|first| [&[first][..], &mixed].concat()).collect()
        }
        other => panic!("no target {other}"),
    }
}

/// A few packets of each kind that a PoP sends while it starts, writes, deletes, loses packets and restarts, for receivers
/// of both kinds: of three slots and of 64.
fn packets() -> Vec<Vec<u8>> {
    let mut inputs = traffic::<3>(0, Shape { schema: 7, value_len: 12 });
    inputs.extend(traffic::<64>(1, Shape { schema: 7, value_len: 24 }));
    inputs
}

fn traffic<const N: usize>(mode: u8, shape: Shape) -> Vec<Vec<u8>> {
    let mut storage = Storage::new::<N>(5, 100, shape);
    let faults = Faults { loss_ppm: 50_000, ..Faults::default() };
    let mut pop = Cluster::<N>::new(&mut storage, 3, 100, shape, 11, faults, |config| {
        swim(config);
        config.cluster = CLUSTER;
        // Starts that do not wait: so that older records are asked for.
        config.start_within = Duration::from_millis(300);
    });
    pop.watch();
    for round in 0..40u64 {
        let at = Slot::at((round % 3) as usize);
        if pop.running().contains(at) {
            let _ = pop.put(at, key(round % 12), &vec![round as u8; shape.value_len.into()]);
            let _ = pop.remove(at, key((round + 5) % 12));
        }
        match round {
            10 => pop.kill(Slot::at(2)),
            20 => pop.restart(Slot::at(2), Restart::GenerationLost),
            25 => pop.network.partition(SlotSet::first(1)),
            32 => pop.network.heal(),
            _ => {}
        }
        pop.run(Duration::from_millis(400));
    }
    let (mut kept, mut counts) = (Vec::new(), [0; 256]);
    for sent in pop.take_sent() {
        // By kind and length, so that long ones are among them.
        let class = (sent.kind() as usize) << 2 | (sent.packet.len() / 400).min(3);
        if counts[class] < EACH && sent.packet.len() < 1_000 {
            counts[class] += 1;
            kept.push([&[mode][..], &sent.packet].concat());
        }
    }
    kept
}
