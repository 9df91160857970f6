//! What a packet costs: loops that send a burst and take it, in turns, on one thread.
//!
//! Knows loops, clocks and medians. Must not know which device it is.

use std::hint::black_box;
use std::time::{Duration, Instant};

use popmap_bench::feed::{Feed, PER_PACKET, Prepared, records};
use popmap_bench::pair::SLOTS;
use popmap_core::Address;
use popmap_core::limits::PAYLOAD_DEFAULT;
use popmap_io::{Device, Driver, DriverConfig, MonotonicClock, Storage};

use crate::lent::Lent;

/// After this without a packet those that are missing are lost.
const LOST: Duration = Duration::from_secs(2);
/// What one pass over the prepared packets took.
#[derive(Clone, Copy, Default, Debug)]
pub struct Spent {
    sending: Duration,
    taking: Duration,
    sent: usize,
    /// Packets that were taken on the clock.
    taken: usize,
}

impl Spent {
    /// Returns nanoseconds of one packet.
    fn per_packet(&self) -> f64 {
        self.sending.as_nanos() as f64 / self.sent as f64 + self.taking_per_packet()
    }

    fn taking_per_packet(&self) -> f64 {
        self.taking.as_nanos() as f64 / self.taken as f64
    }
}

/// Sends and takes all prepared packets, a burst at a time.
pub type Loop<'l> = Box<dyn FnMut(Prepared<'_>) -> Result<Spent, String> + 'l>;

/// How packets are sent and taken.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Packets that are sent before some are taken.
    pub burst: usize,
    /// Sending goes on when not all that was sent is there yet: the device keeps packets back for company.
    pub floods: bool,
}

/// Makes a loop of two halves. `send` is given each burst. `take` is told how many packets are on their way, and whether
/// it must take all of them or only those that are there; it returns how many those were.
pub fn lockstep<'l>(
    pass: Pass,
    mut send: impl FnMut(Prepared<'_>) -> Result<(), String> + 'l,
    mut take: impl FnMut(usize, bool) -> Result<usize, String> + 'l,
) -> Loop<'l> {
    Box::new(move |packets| {
        let mut spent = Spent { sent: packets.count(), ..Spent::default() };
        let mut start = Instant::now();
        for burst in packets.bursts(pass.burst) {
            send(burst)?;
            let sent = Instant::now();
            spent.taken += take(burst.count(), !pass.floods)?;
            let taken = Instant::now();
            spent.sending += sent - start;
            spent.taking += taken - sent;
            start = taken;
        }
        // Off the clock, for they wait for a time-out.
        let left = packets.count() - spent.taken;
        if left > 0 {
            take(left, true)?;
        }
        Ok(spent)
    })
}

/// Returns the half that has a device send, so many frames at a time.
pub fn sending<D: Device>(
    mut left: Lent<D>,
    to: Address,
    at_a_time: usize,
) -> impl FnMut(Prepared<'_>) -> Result<(), String> {
    move |burst| {
        for series in burst.bursts(at_a_time) {
            let mut packets = series.iter();
            let mut rest = series.count();
            let mut fill = |frame: &mut [u8]| {
                let packet = packets.next()?;
                frame[..packet.len()].copy_from_slice(packet);
                Some((to, packet.len()))
            };
            while rest > 0 {
                rest -= left.send(&mut fill).map_err(|error| format!("sending: {error}"))?.frames;
            }
        }
        Ok(())
    }
}

/// Returns the half that has a device receive, and looks at a byte of each packet.
pub fn receiving<D: Device>(mut right: Lent<D>) -> impl FnMut(usize, bool) -> Result<usize, String> {
    move |count, must| {
        until(count, must, || {
            let burst = right.receive(|_, packet| {
                black_box(packet[packet.len() - 1]);
            });
            Ok(burst.map_err(|error| format!("receiving: {error}"))?.frames)
        })
    }
}

/// Calls `take`, which returns how many packets it took, until those were `count`, or, unless it must, until there were
/// none. Returns how many there were.
pub fn until(
    count: usize,
    must: bool,
    mut take: impl FnMut() -> Result<usize, String>,
) -> Result<usize, String> {
    let (mut taken, mut tries, mut over) = (0, 0u32, None);
    while taken < count {
        let these = take()?;
        taken += these;
        if these > 0 {
            continue;
        }
        if !must {
            break;
        }
        tries += 1;
        // Most often the next try finds one, and the clock costs more than a try.
        if tries.is_multiple_of(64) {
            let now = Instant::now();
            if now >= *over.get_or_insert(now + LOST) {
                return Err("packets were lost on the way".into());
            }
        }
    }
    Ok(taken)
}

/// A driver whose node follows a feed.
pub struct Following<D: Device> {
    driver: Driver<'static, Lent<D>, SLOTS>,
    right: Lent<D>,
}

impl<D: Device> Following<D> {
    /// Starts a driver over a device; its memory is never given back.
    pub fn start(feed: &Feed, right: &Lent<D>) -> Result<Self, String> {
        let config = feed.config();
        let storage = Storage::new(popmap_core::Node::<SLOTS>::words(&config)).leak();
        let driver = Driver::start(&DriverConfig::new(config), storage, right.clone());
        let mut driver = driver.map_err(|error| format!("starting the driver: {error}"))?;
        feed.catch_up(driver.clock().now(), driver.node_mut());
        Ok(Self { driver, right: right.clone() })
    }

    /// Makes the loop of this driver. `settle` is called after each pass, off the clock: what the node has said waits at
    /// the other end.
    pub fn into_loop<'l>(
        self,
        pass: Pass,
        mut send: impl FnMut(Prepared<'_>) -> Result<(), String> + 'l,
        mut settle: impl FnMut() -> Result<(), String> + 'l,
    ) -> Loop<'l>
    where
        D: 'l,
    {
        let Self { mut driver, right } = self;
        Box::new(move |packets| {
            let before = records(driver.node());
            let take = |count, must| {
                until(count, must, || {
                    let before = right.received();
                    driver.poll(drop).map_err(|error| format!("polling the driver: {error}"))?;
                    Ok((right.received() - before) as usize)
                })
            };
            let spent = lockstep(pass, &mut send, take)(packets)?;
            settle()?;
            let merged = records(driver.node()) - before;
            let expected = packets.count() as u64 * PER_PACKET;
            if merged != expected {
                return Err(format!("{merged} records merged instead of {expected}"));
            }
            Ok(spent)
        })
    }
}

/// Takes what the driver has sent out of the other end's way.
pub fn drain<D: Device>(left: &mut Lent<D>) -> Result<(), String> {
    while left.receive(|_, _| ()).map_err(|error| format!("receiving: {error}"))?.frames > 0 {}
    Ok(())
}

/// The loops that one device is measured by.
pub struct Contest<'l> {
    pub plain: Option<Loop<'l>>,
    pub device: Loop<'l>,
    pub driver: Loop<'l>,
}

/// How long to measure, and what one pass is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub duration: Duration,
    pub packets: usize,
    pub burst: usize,
}

/// Nanoseconds of one packet, and how they compare: medians of passes, or of what passes of one round say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub rounds: usize,
    pub plain: Option<f64>,
    pub device: f64,
    pub driver: f64,
    /// Taking alone: no sender's share.
    pub driver_taking: f64,
    /// From memory.
    pub merge: f64,
    /// The driver, less the device and the merge.
    pub over_device: f64,
    /// The driver, less the plain loop and the merge.
    pub over_plain: Option<f64>,
    /// The driver over the device.
    pub ratio: f64,
    /// The driver over the device and the merge together.
    pub ratio_with_merge: f64,
}

/// Nanoseconds of one packet in one round.
struct Round {
    plain: Option<f64>,
    device: f64,
    driver: f64,
    driver_taking: f64,
    merge: f64,
}

impl Contest<'_> {
    /// Has the loops take turns.
    ///
    /// # Errors
    /// What went wrong: nothing was measured.
    pub fn run(&mut self, feed: &mut Feed, effort: &Effort) -> Result<Figures, String> {
        let mut merge = merging(feed, effort.burst);
        let mut rounds = Vec::new();
        let start = Instant::now();
        while start.elapsed() < effort.duration || rounds.len() < 5 {
            let packets = feed.prepare(effort.packets);
            let mut spent = [Spent::default(); 4];
            // Nobody is always the one whose packets are not in the cache yet.
            for n in (0..4).map(|n| (n + rounds.len()) % 4) {
                spent[n] = match (n, &mut self.plain) {
                    (0, Some(plain)) => plain(packets)?,
                    (0, None) => continue,
                    (1, _) => (self.device)(packets)?,
                    (2, _) => (self.driver)(packets)?,
                    _ => merge(packets)?,
                };
            }
            let [plain, device, driver, merge] = spent;
            rounds.push(Round {
                plain: self.plain.is_some().then(|| plain.per_packet()),
                device: device.per_packet(),
                driver: driver.per_packet(),
                driver_taking: driver.taking_per_packet(),
                merge: merge.taking_per_packet(),
            });
        }
        // The first warm up.
        rounds.drain(..rounds.len() / 10);
        Ok(Figures::of(&rounds))
    }
}

impl Figures {
    fn of(rounds: &[Round]) -> Self {
        let has_plain = rounds.iter().all(|round| round.plain.is_some());
        let plain = |round: &Round| round.plain.unwrap_or(f64::NAN);
        let over_plain = |round: &Round| round.driver - plain(round) - round.merge;
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
        Self {
            rounds: rounds.len(),
            plain: has_plain.then(|| of(&plain)),
            device: of(&|round| round.device),
            driver: of(&|round| round.driver),
            driver_taking: of(&|round| round.driver_taking),
            merge: of(&|round| round.merge),
            over_device: of(&|round| round.driver - round.device - round.merge),
            over_plain: has_plain.then(|| of(&over_plain)),
            ratio: of(&|round| round.driver / round.device),
            ratio_with_merge: of(&|round| round.driver / (round.device + round.merge)),
        }
    }
}

/// Returns the loop that merges from memory. Packets are copied to where a burst stands, as a device has them, but off the
/// clock.
fn merging(feed: &Feed, burst: usize) -> Loop<'static> {
    let clock = MonotonicClock::new();
    let mut node = feed.follower(clock.now());
    let mut memory = vec![0; burst * PAYLOAD_DEFAULT];
    let mut out = [0; PAYLOAD_DEFAULT];
    Box::new(move |packets| {
        let before = records(&node);
        let mut taking = Duration::ZERO;
        for burst in packets.bursts(burst) {
            let mut places = memory.chunks_exact_mut(PAYLOAD_DEFAULT);
            for (packet, place) in burst.iter().zip(&mut places) {
                place[..packet.len()].copy_from_slice(packet);
            }
            let now = clock.now();
            let start = Instant::now();
            for place in memory.chunks_exact(PAYLOAD_DEFAULT).take(burst.count()) {
                let packet = black_box(&place[..burst.packet_len()]);
                node.handle_packet(now, Address::default(), packet).map_err(|reason| format!("{reason}"))?;
            }
            taking += start.elapsed();
            // What a driver does in its own time.
            node.handle_timeout(now);
            while node.poll_transmit(now, &mut out).is_some() {}
            while node.poll_event().is_some() {}
        }
        let merged = records(&node) - before;
        if merged != packets.count() as u64 * PER_PACKET {
            return Err(format!("{merged} records merged from memory"));
        }
        Ok(Spent { taking, taken: packets.count(), ..Spent::default() })
    })
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_of_one_round() {
        let round = |device, driver| Round { plain: None, device, driver, driver_taking: 1.0, merge: 10.0 };
        // One of three was held up: both its loops were.
        let figures = Figures::of(&[round(100.0, 120.0), round(900.0, 920.0), round(110.0, 130.0)]);
        assert_eq!((figures.device, figures.driver, figures.over_device), (110.0, 130.0, 10.0));
        assert_eq!((figures.plain, figures.over_plain), (None, None));
    }

    #[test]
    fn what_is_taken_off_the_clock_has_no_cost() {
        let mut feed = Feed::new(100);
        let mut on_the_way = 0;
        let on_the_way = std::cell::RefCell::new(&mut on_the_way);
        let send = |burst: Prepared<'_>| {
            **on_the_way.borrow_mut() += burst.count();
            Ok(())
        };
        // Hands over three at a time.
        let take = |count, must| {
            let mut on_the_way = on_the_way.borrow_mut();
            let ready = if must { count } else { **on_the_way / 3 * 3 };
            **on_the_way -= ready;
            Ok(ready)
        };
        let spent = lockstep(Pass { burst: 2, floods: true }, send, take)(feed.prepare(5)).unwrap();
        assert_eq!((spent.sent, spent.taken), (5, 3));
        assert_eq!(**on_the_way.borrow(), 0);
    }
}
