//! Fuzz targets: functions of bytes, each of which checks what must hold whatever the bytes are.
//!
//! Knows what must hold. Must not know where the bytes come from: an engine that is led by coverage (`src/bin/fuzz.rs`),
//! the corpora that are kept (`tests/fuzz_corpora.rs`), or one file of which something was found. A target keeps nothing
//! from one call to the next but memory, so the same bytes always do the same.

mod addresses;
mod bytes;
mod configs;
mod frame;
mod frames;
mod generation;
mod keys;
mod map;
mod node;
mod packets;
pub mod seeds;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line, and its corpus in `tests/corpora`.
    pub name: &'static str,
    /// What the bytes are, in a line.
    pub about: &'static str,
    /// Inputs longer than this bring nothing new, and are slow.
    pub longest: usize,
    /// Does what the bytes say. Panics when something does not hold.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "packets",
        about: "one packet: header, body of any kind, records, versions, members",
        longest: 700,
        run: packets::run,
    },
    Target {
        name: "frames",
        about: "one frame: Ethernet, 802.1Q, IPv4, IPv6, UDP, ARP, neighbour discovery",
        longest: 200,
        run: frames::run,
    },
    Target {
        name: "addresses",
        about: "socket and MAC addresses, as bytes and as text",
        longest: 64,
        run: addresses::run,
    },
    Target {
        name: "generation",
        about: "the file of the saved generation",
        longest: 80,
        run: generation::run,
    },
    Target {
        name: "configs",
        about: "configurations of a node and of an encapsulation, and what those do",
        longest: 160,
        run: configs::run,
    },
    Target {
        name: "keys",
        about: "key files: lines of ids, algorithms, options and secrets, by the documented rule",
        longest: 400,
        run: keys::run,
    },
    Target {
        name: "keyed",
        about: "a node with keys fed 50 packets: sealed by whoever holds a key, repeated, damaged behind their code",
        longest: 512,
        run: node::keyed::run,
    },
    Target {
        name: "node",
        about: "a node fed 50 packets and more: forged, a peer's, repeated, damaged; time, writes",
        longest: 512,
        run: node::run,
    },
    Target {
        name: "map",
        about: "a map and 50 packets and more, against a model of rules R1, R2, R3 and R6",
        longest: 512,
        run: map::run,
    },
];

/// Returns the target of this name; `const`, so that a build for one target holds nothing of the others.
pub const fn target(name: &str) -> Option<Target> {
    let mut at = 0;
    while at < TARGETS.len() {
        if is_same(TARGETS[at].name.as_bytes(), name.as_bytes()) {
            return Some(TARGETS[at]);
        }
        at += 1;
    }
    None
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
