//! Full delta packets through a device in memory and a driver, merge included, beside the time that their frames take
//! on a wire.

use std::hint::black_box;

use popmap_bench::contest::{Contest, time};
use popmap_bench::pair::{Pair, RECORDS, SLOTS};
use popmap_bench::peers::floor::Floor;
use popmap_bench::stream::Packet;
use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_core::time::Duration;
use popmap_core::{Address, Config, Node};
use popmap_io::{Device, Driver, DriverConfig, Loopback, LoopbackDevice, Storage};

use crate::Effort;
use crate::merge::{BURST, KEYS};
use crate::report::{Row, Rows};

/// Nanoseconds of one 1,500-byte frame.
const FRAME_25G: f64 = 492.0;
const FRAME_40G: f64 = 307.0;
/// Packets of a round.
const PACKETS: usize = 8 * BURST;

/// A driver whose node follows, and who sends to it.
struct Follower {
    sender: LoopbackDevice,
    driver: Driver<'static, LoopbackDevice, SLOTS>,
    to: Address,
}

impl Follower {
    fn start(history: &[Packet]) -> Self {
        let network = Loopback::new();
        let (sender, device) = (network.device(), network.device());
        // It has started: waiting for others is not what is measured.
        let config = Config { start_within: Duration::ZERO, ..Pair::follower_config(KEYS) };
        let to = device.local();
        let storage = Storage::new(Node::<SLOTS>::words(&config)).leak();
        let driver = Driver::start(&DriverConfig::new(config), storage, device);
        let mut driver: Driver<'_, LoopbackDevice, SLOTS> = driver.expect("the configuration is valid");
        let now = driver.clock().now();
        for packet in history {
            driver.node_mut().handle_packet(now, Address::default(), packet).expect("the packet is valid");
        }
        Self { sender, driver, to }
    }

    /// Takes packets in bursts of so many, and returns nanoseconds of one. Sending is off the clock: that is the wire.
    fn take(&mut self, packets: &[Packet], burst: usize) -> f64 {
        let before = self.driver.node().map().stats().records_applied;
        let mut ns = 0.0;
        for burst in packets.chunks(burst) {
            // What only time brings is done now.
            self.driver.poll(drop).expect("a device in memory has no end");
            let mut waiting = burst.iter();
            let sent = self.sender.send(|frame| {
                let packet = waiting.next()?;
                frame[..packet.len()].copy_from_slice(packet);
                Some((self.to, packet.len()))
            });
            assert_eq!(sent.expect("a device in memory has no end").frames, burst.len());
            ns += time(1, || self.driver.poll(drop).is_ok());
        }
        let merged = self.driver.node().map().stats().records_applied - before;
        assert_eq!(merged, (packets.len() * RECORDS) as u64, "every record is newer");
        ns / packets.len() as f64
    }
}

pub fn rates(effort: &Effort, rows: &mut Rows) {
    if !effort.wants(&["line-25g", "line-40g"]) {
        return;
    }
    let mut history: Vec<Packet> = Vec::new();
    let mut pair = Pair::overheard(KEYS, &mut |packet| history.push(packet.into()));
    let (mut one, mut many) = (Follower::start(&history), Follower::start(&history));
    let mut floor = Floor::new(KEYS);
    history.iter().for_each(|packet| floor.merge(packet));
    let mut contest = Contest::new();
    contest.enter("one at a time", |packets: &mut Vec<Packet>| one.take(packets, 1));
    contest.enter("bursts", |packets| many.take(packets, BURST));
    contest.enter("floor", |packets| {
        time(PACKETS, || packets.chunks(BURST).for_each(|burst| floor.merge_burst(black_box(burst))))
    });
    let mut frame = [0; PAYLOAD_DEFAULT];
    let results = contest.run(effort.rounds(60), || {
        (0..PACKETS)
            .map(|_| {
                let len = pair.packet(RECORDS, &mut frame);
                frame[..len].into()
            })
            .collect()
    });
    for (name, entrant, other, frame) in [
        ("line-25g", "one at a time", "a frame at 25 GbE", FRAME_25G),
        ("line-40g", "bursts", "a frame at 40 GbE", FRAME_40G),
    ] {
        let ns = results.ns(entrant);
        rows.push(Row::new(name, other, Some([ns, frame]), ns / frame, Some(1.0)));
        rows.compare(name, &results, [entrant, "floor"], None);
    }
}
