//! One frame, or what is none, at a station in one of several framings: what is passed on is what is in it, and what is
//! ignored changes nothing but its counter.
//!
//! The first byte chooses the station, the second what the device knows beside the bytes, and the time. Knows stations
//! and what they are to do. How a frame looks is `layers`' to know.

use std::cell::RefCell;
use std::hash::Hasher;
use std::num::NonZeroU16;

use popmap_core::time::{Duration, Instant};
use popmap_io::address::{self, Mac};
use popmap_io::encap::{
    Checksums, ETHERTYPE_OTHER, Encap, EncapConfig, Framing, Ignored, Offload, Stripped, UdpFraming,
};

use crate::explore::Hash128;

mod layers;

use layers::Layers;

/// Bits of the first byte: checksums are left as they are; the state is compared whole, which is slow.
const AS_IT_IS: u8 = 8;
const WHOLE: u8 = 0xe0;
/// Bits of the second byte.
const TAG_TAKEN: u8 = 1;
const CHECKED: u8 = 2;
const SEGMENTED: u8 = 4;

/// Bytes of the longest frame.
const ROOM: usize = 2_048;
/// The least payload limit, so that a short input is too long.
const PAYLOAD: usize = 1_200;
const OURS: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// A neighbour that was asked for, and one that is known.
const WANTED: (Mac, [&str; 2]) = (Mac([2, 0, 0, 0, 0, 1]), ["10.0.0.1:7946", "[2001:db8::a:1]:7946"]);
const KNOWN: (Mac, [&str; 2]) = (Mac([2, 0, 0, 0, 0, 3]), ["10.0.0.3:7946", "[2001:db8::a:3]:7946"]);
const LOCAL: [&str; 2] = ["10.0.0.2:7946", "[2001:db8::b:2]:7946"];
const VLAN: u16 = 100;

thread_local! {
    static STATIONS: Vec<Encap> = (0..8).map(station).collect();
    static ROOMS: RefCell<[[u8; ROOM]; 2]> = const { RefCell::new([[0; ROOM]; 2]) };
}

/// Returns the configuration of the station with this number, at one of the addresses of `at`.
fn config(number: usize, at: [&str; 2]) -> EncapConfig {
    let udp = |version: usize| {
        let local = at[version].parse().expect("a socket address");
        let mut udp = UdpFraming::new(local, [24, 64][version]);
        udp.neighbours = 3;
        udp.gateway = ["10.0.0.254", "fe80::1"][version].parse().ok();
        udp
    };
    let framing = match number {
        0 => EncapConfig::ethernet().framing,
        1 => Framing::Ethernet { ethertype: ETHERTYPE_OTHER },
        2 | 3 => Framing::Udp(udp(0)),
        4 | 5 => Framing::Udp(udp(1)),
        6 => Framing::Udp(UdpFraming { checksums: Checksums::Trust, ..udp(0) }),
        _ => Framing::Udp(UdpFraming { gateway: None, dscp: 46, neighbours: 1, ..udp(0) }),
    };
    EncapConfig { vlan: vlan_of(number), payload: PAYLOAD, ..EncapConfig::new(framing) }.insecure(true)
}

/// Returns a station that waits for one neighbour's answer and has heard another's question.
fn station(number: usize) -> Encap {
    let mut ours = Encap::new(OURS, &config(number, LOCAL)).expect("a valid configuration");
    let mut frame = [0; ROOM];
    let [known, wanted] =
        [KNOWN, WANTED].map(|(mac, at)| Encap::new(mac, &config(number, at)).expect("a valid configuration"));
    for mut other in [known, wanted.clone()] {
        let _ = other.prepend(Instant::ZERO, ours.local(), &mut frame, 0);
        if other.local() != wanted.local()
            && let Some(len) = other.poll_transmit(Instant::ZERO, &mut frame)
        {
            let _ = ours.strip(Instant::ZERO, &frame[..len]);
        }
    }
    let _ = ours.prepend(Instant::ZERO, wanted.local(), &mut frame, 0);
    while ours.poll_transmit(Instant::ZERO, &mut frame).is_some() {}
    ours
}

/// Returns frames that a station's neighbours send it, each as an input.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for number in 0..8 {
        let mut ours = station(number);
        for (mac, at) in [WANTED, KNOWN] {
            let mut other = Encap::new(mac, &config(number, at)).expect("a valid configuration");
            let mut frame = [0x5a; ROOM];
            // A question and an announcement; an answer; a payload.
            let _ = other.prepend(Instant::ZERO, ours.local(), &mut frame, 0);
            let mut frames = Vec::new();
            while let Some(len) = other.poll_transmit(Instant::ZERO, &mut frame) {
                frames.push(frame[..len].to_vec());
                let _ = ours.strip(Instant::ZERO, &frame[..len]);
            }
            while let Some(len) = ours.poll_transmit(Instant::ZERO, &mut frame) {
                let _ = other.strip(Instant::ZERO, &frame[..len]);
            }
            let _ = ours.prepend(Instant::from_millis(40_000), other.local(), &mut frame, 0);
            while let Some(len) = ours.poll_transmit(Instant::from_millis(50_000), &mut frame) {
                let _ = other.strip(Instant::ZERO, &frame[..len]);
            }
            while let Some(len) = other.poll_transmit(Instant::ZERO, &mut frame) {
                frames.push(frame[..len].to_vec());
            }
            if let Ok(len) = other.prepend(Instant::ZERO, ours.local(), &mut frame, 20) {
                frames.push(frame[..len].to_vec());
            }
            seeds.extend(frames.into_iter().map(|frame| [&[number as u8, 0][..], &frame].concat()));
        }
    }
    seeds
}

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(input: &[u8]) {
    let &[mode, more, ref bytes @ ..] = input else { return };
    let number = usize::from(mode & 7);
    let mut station = STATIONS.with(|stations| stations[number].clone());
    ROOMS.with_borrow_mut(|[frame, out]| {
        let frame = &mut frame[..bytes.len().min(ROOM)];
        frame.copy_from_slice(&bytes[..frame.len()]);
        let offload = Offload {
            tag: (more & TAG_TAKEN != 0).then_some(VLAN),
            checked: more & CHECKED != 0,
            segment: NonZeroU16::new(if more & SEGMENTED != 0 { 40 } else { 0 }),
        };
        if mode & AS_IT_IS == 0 {
            layers::mend(frame);
        }
        let now = Instant::from_millis(u64::from(more >> 3) * 1_500);
        let ignored = receive(&mut station, number, now, frame, offload);
        // Always, where it came as far as to the neighbours.
        let is_near = matches!(ignored, Some(Ignored::Unasked | Ignored::Conflict | Ignored::Own));
        if is_near || mode & WHOLE == WHOLE && ignored.is_some() {
            let mut untouched = STATIONS.with(|stations| stations[number].clone());
            assert_eq!(
                deeds(&mut station, now, out),
                deeds(&mut untouched, now, out),
                "it changed something"
            );
        } else {
            say_all(&mut station, now, out, |_| ());
        }
    });
}

/// Hands a frame to a station and checks what it made of it; returns why it was ignored.
fn receive(
    station: &mut Encap,
    number: usize,
    now: Instant,
    frame: &[u8],
    offload: Offload,
) -> Option<Ignored> {
    let (mut stats, timeout) = (station.stats(), station.poll_timeout());
    let stripped = station.strip_offloaded(now, frame, offload);
    match stripped {
        Stripped::Ignored(why) => {
            stats.ignored[why.index()] += 1;
            assert_eq!(station.stats(), stats, "{why}");
            assert_eq!(station.poll_timeout(), timeout, "{why}");
            return Some(why);
        }
        Stripped::Payload { from, bytes } => {
            stats.payloads += 1;
            assert_eq!(station.stats(), stats);
            let layers = Layers::of(frame, offload.tag.is_some()).expect("a payload has headers");
            let inside = layers.payload().expect("a payload");
            assert_eq!(inside.as_ptr_range(), bytes.as_ptr_range(), "what is in the frame, and no more");
            let longest = offload.segment.map_or(bytes.len(), |len| bytes.len().min(len.get().into()));
            assert!(longest <= PAYLOAD);
            assert_eq!(from, layers.sender());
            layers.assert_whole(number == 6 || offload.checked);
            assert_to_us(&layers, number);
        }
        Stripped::Resolution => {
            stats.neighbours = station.stats().neighbours;
            assert_eq!(station.stats(), stats);
            let layers = Layers::of(frame, offload.tag.is_some()).expect("a question has headers");
            layers.assert_resolves();
            assert_to_us(&layers, number);
        }
    }
    None
}

/// What is common to all that is not ignored.
fn assert_to_us(layers: &Layers<'_>, number: usize) {
    let config = config_of(number);
    assert_eq!(layers.vlan, config.0, "another VLAN");
    assert!(config.1.contains(&layers.ethertype));
    assert!(layers.source.is_station() && layers.source != OURS);
    let is_group = layers.destination.0[0] & 1 == 1;
    assert!(layers.destination == OURS || is_group, "another station's");
}

/// Returns the VLAN that a station is in.
fn vlan_of(number: usize) -> Option<u16> {
    matches!(number, 1 | 3 | 5).then_some(VLAN)
}

/// Returns the VLAN and the EtherTypes of a station.
fn config_of(number: usize) -> (Option<u16>, &'static [u16]) {
    let types: &[u16] = match number {
        0 => &[0x88b5],
        1 => &[0x88b6],
        4 | 5 => &[0x86dd],
        _ => &[0x0800, 0x0806],
    };
    (vlan_of(number), types)
}

/// Has the station say all that it has to say at `now`: few frames, and whole ones.
fn say_all(station: &mut Encap, now: Instant, out: &mut [u8; ROOM], mut hear: impl FnMut(&[u8])) {
    for said in 0.. {
        let Some(len) = station.poll_transmit(now, out) else { break };
        assert!(said < 12, "it does not stop");
        assert!((60..=90).contains(&len));
        let layers = Layers::of(&out[..len], false).expect("whole");
        assert_eq!(layers.source, OURS);
        layers.assert_resolves();
        hear(&out[..len]);
    }
    assert!(station.poll_timeout().is_none_or(|at| at > now), "it does not rest");
}

/// Has the station do what it may in some time from `now` on; returns a hash of all that.
fn deeds(station: &mut Encap, now: Instant, out: &mut [u8; ROOM]) -> u128 {
    let mut hasher = Hash128::default();
    // Some between two requests that wait for an answer, whatever the number of those before.
    for later in [0, 500, 1_500, 3_500, 5_000, 8_000, 40_000] {
        let now = now + Duration::from_millis(later);
        for (_, at) in [WANTED, KNOWN] {
            for to in at.map(|at| address::from_socket(at.parse().expect("a socket address"))) {
                out.fill(0x5a);
                let framed = station.prepend(now, to, out, 20);
                hasher.write_u64(framed.map_or_else(|why| 1_000 + why.index() as u64, |len| len as u64));
                hasher.write(&out[..framed.unwrap_or(0)]);
            }
        }
        say_all(station, now, out, |frame| hasher.write(frame));
    }
    hasher.finish_128()
}
