//! Configurations: each is refused with the name of a field, and with nothing changed, or what is built from it does its
//! work, at any time.
//!
//! The first byte chooses whether it is a node's or an encapsulation's. Knows fields and their edges.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use popmap_core::limits::VALUE_MAX;
use popmap_core::time::{Duration, Instant};
use popmap_core::{Address, Config, Key, Life, Meta, Node, Shape, Slot, SlotSet, SwimConfig, SyncConfig};
use popmap_io::address::{self, Mac};
use popmap_io::encap::{Checksums, Encap, EncapConfig, Framing, UdpFraming};

use super::bytes::Bytes;

/// Words of storage: enough for a few records only, so that a capacity may be too much.
const WORDS: usize = 2_000;

thread_local! {
    static STORAGE: RefCell<Vec<u64>> = RefCell::new(vec![0; WORDS]);
    static FRAME: RefCell<Vec<u8>> = RefCell::new(vec![0; 9_200]);
}

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut bytes = Bytes::new(bytes);
    FRAME.with_borrow_mut(|frame| {
        if mode & 1 == 0 {
            STORAGE.with_borrow_mut(|storage| node(&mut bytes, storage, frame));
        } else {
            encap(&mut bytes, frame);
        }
    });
}

fn word(bytes: &mut Bytes<'_>) -> u64 {
    match bytes.byte() {
        small @ 0..0x80 => u64::from(small),
        edge @ 0x80..0xc0 => (1 << (edge & 63)) - 1,
        edge @ 0xc0..0xf0 => 1 << (edge & 63),
        _ => bytes.word(),
    }
}

/// A span of time: mostly from a millisecond on, which is what can be waited for.
fn span(bytes: &mut Bytes<'_>, usual: Duration) -> Duration {
    match bytes.byte() {
        0..0xc0 => usual,
        0xc0..0xe0 => Duration(word(bytes)),
        few => Duration::from_millis(u64::from(few & 0x1f)),
    }
}

fn node_config(bytes: &mut Bytes<'_>) -> Config {
    let life = Life { generation: word(bytes) as u32, id: word(bytes) };
    let value_len =
        if bytes.once_in(8) { word(bytes) as u16 } else { bytes.pick(&[0, 1, 8, 12, VALUE_MAX as u16]) };
    let shape = Shape { schema: 7, value_len };
    let slot = Slot::at(bytes.below(64) % if bytes.once_in(16) { 64 } else { 3 });
    let capacity = if bytes.once_in(8) { word(bytes) as usize } else { bytes.below(20) };
    let mut config = Config::new(1, slot, life, capacity, shape);
    let usual = config;
    if bytes.once_in(4) {
        config.configured = SlotSet::from_bits(word(bytes));
    }
    if bytes.once_in(4) {
        config.payload = word(bytes) as usize;
    }
    if bytes.once_in(4) {
        config.budget_bytes = word(bytes) as u32;
    }
    config.start_within = span(bytes, usual.start_within);
    config.repair = span(bytes, usual.repair);
    config.budget_interval = span(bytes, usual.budget_interval);
    config.meta = Meta::weighted(word(bytes) as u16);
    let sync = usual.sync;
    config.sync = SyncConfig {
        push_delay: span(bytes, sync.push_delay),
        exchange: span(bytes, sync.exchange),
        exchange_idle: span(bytes, sync.exchange_idle),
        exchange_equal: span(bytes, sync.exchange_equal),
        retry: span(bytes, sync.retry),
        pull_pause: span(bytes, sync.pull_pause),
        window: if bytes.once_in(4) { word(bytes) as u16 } else { sync.window },
    };
    let swim = SwimConfig::DEFAULT;
    config.swim = (!bytes.once_in(4)).then(|| SwimConfig {
        period: span(bytes, swim.period),
        timeout: span(bytes, swim.timeout),
        indirect: if bytes.once_in(4) { bytes.byte() } else { swim.indirect },
        suspicion_min: span(bytes, swim.suspicion_min),
        suspicion_max: span(bytes, swim.suspicion_max),
        looks: swim.looks,
        gossip: span(bytes, swim.gossip),
        fanout: if bytes.once_in(4) { bytes.byte() } else { swim.fanout },
        retry_dead: span(bytes, swim.retry_dead),
    });
    config
}

fn node(bytes: &mut Bytes<'_>, storage: &mut [u64], frame: &mut [u8]) {
    let config = node_config(bytes);
    let start = Instant(word(bytes));
    let built = Node::<3>::new(start, storage, &config);
    assert_eq!(built.is_ok(), is_allowed(&config), "{config:?}");
    let mut node = match built {
        Ok(node) => node,
        Err(why) => {
            assert_named(&why.to_string(), &config);
            assert!(storage.iter().all(|word| *word == 0), "storage that was refused is as it was");
            return;
        }
    };
    assert!(node.map().is_empty() && node.map().capacity() == config.capacity);
    let (key, value) = (Key([7; 16]), [9; VALUE_MAX]);
    let value = &value[..usize::from(config.shape.value_len)];
    let mut now = start;
    node.join(now, if bytes.once_in(2) { &[Address([1; 24])] } else { &[] });
    for _ in 0..6 {
        let _ = node.put(now, key, value);
        for _ in 0..20 {
            let Some(transmit) = node.poll_transmit(now, frame) else { break };
            assert!(transmit.len <= config.payload);
        }
        now = node.poll_timeout().max(now) + Duration(word(bytes));
        let _ = node.remove(now, key);
    }
    storage.fill(0);
}

/// Whether a node can be built: by what the fields' documentation says is possible.
fn is_allowed(config: &Config) -> bool {
    let Config { slot, configured, life, capacity, shape, payload, budget_bytes, .. } = *config;
    let SyncConfig { exchange, exchange_idle, exchange_equal, retry, pull_pause, window, .. } = config.sync;
    let swim = config.swim.unwrap_or(SwimConfig::DEFAULT);
    let spans = [
        config.repair,
        config.budget_interval,
        exchange,
        exchange_idle,
        exchange_equal,
        retry,
        pull_pause,
        swim.period,
        swim.gossip,
        swim.retry_dead,
    ];
    slot.index() < 3
        && configured.contains(slot)
        && life.id != 0
        && (1..=1 << 22).contains(&capacity)
        && usize::from(shape.value_len) <= VALUE_MAX
        && Node::<3>::words(config) <= WORDS
        && (1_200..=8_952).contains(&payload)
        && budget_bytes as usize >= payload
        && window > 0
        && !spans.contains(&Duration::ZERO)
}

/// A refusal starts with a field and says what was given.
fn assert_named(said: &str, config: &Config) {
    let (field, rest) = said.split_once(": ").expect("a field and what is wrong with it");
    assert!(
        !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
    );
    assert!(rest.len() > 10, "{said}: {config:?}");
}

fn encap(bytes: &mut Bytes<'_>, frame: &mut [u8]) {
    let config = encap_config(bytes);
    let mac =
        if bytes.once_in(8) { Mac(std::array::from_fn(|_| bytes.byte())) } else { Mac([2, 0, 0, 0, 0, 2]) };
    let mut encap = match Encap::new(mac, &config) {
        Ok(encap) => encap,
        Err(why) => {
            let (field, rest) =
                why.to_string().split_once(": ").map(|(a, b)| (a.len(), b.len())).expect("a field");
            assert!(field > 2 && rest > 5, "{why}");
            return;
        }
    };
    assert!(encap.frame_len() == encap.headroom() + config.payload && encap.mtu() < encap.frame_len());
    assert!(encap.ethertypes().count() > 0 && encap.groups().count() > 0);
    let mut now = Instant::ZERO;
    for _ in 0..4 {
        let to = match bytes.byte() & 3 {
            0 => encap.local(),
            1 => address::from_socket(socket(bytes)),
            2 => address::BROADCAST,
            _ => address::from_mac(Mac(std::array::from_fn(|_| bytes.byte()))),
        };
        let len = bytes.below(40);
        if let Ok(framed) = encap.prepend(now, to, frame, len) {
            assert!(framed >= 60 && framed <= encap.frame_len().max(64));
        }
        for said in 0.. {
            let Some(len) = encap.poll_transmit(now, frame) else { break };
            assert!(len <= encap.frame_len() && said < 20);
        }
        now = now + Duration(word(bytes));
    }
}

fn socket(bytes: &mut Bytes<'_>) -> SocketAddr {
    SocketAddr::new(ip(bytes), word(bytes) as u16)
}

fn ip(bytes: &mut Bytes<'_>) -> IpAddr {
    match bytes.byte() & 7 {
        0..=2 => [10, 0, 0, bytes.byte()].into(),
        3 => std::array::from_fn::<u8, 4, _>(|_| bytes.byte()).into(),
        4 | 5 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(bytes.byte())].into(),
        6 => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(bytes.byte())].into(),
        _ => std::array::from_fn::<u8, 16, _>(|_| bytes.byte()).into(),
    }
}

fn encap_config(bytes: &mut Bytes<'_>) -> EncapConfig {
    let framing = if bytes.once_in(4) {
        Framing::Ethernet { ethertype: if bytes.once_in(2) { word(bytes) as u16 } else { 0x88b6 } }
    } else {
        Framing::Udp(UdpFraming {
            local: socket(bytes),
            prefix_len: bytes.pick(&[0, 1, 8, 24, 30, 31, 32, 33, 64, 127, 128, 129, 255]),
            gateway: bytes.once_in(2).then(|| ip(bytes)),
            dscp: if bytes.once_in(4) { bytes.byte() } else { 0 },
            checksums: Checksums::Verify,
            neighbours: bytes.below(5) * if bytes.once_in(8) { 2_000 } else { 1 },
        })
    };
    EncapConfig {
        framing,
        vlan: bytes.once_in(4).then(|| word(bytes) as u16),
        payload: if bytes.once_in(4) { word(bytes) as usize } else { 1_400 },
        insecure: !bytes.once_in(16),
        authenticated: false,
    }
}
