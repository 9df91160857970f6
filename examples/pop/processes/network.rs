//! The network of a PoP of processes: a namespace for each server, and a wire from each to a bridge.
//!
//! Knows names, addresses, and the commands that make interfaces. Must not know what is sent.
//!
//! All of it is inside the namespaces that [`enter`](super::enter) has made, so that nobody outside sees any of it and
//! nothing is left of it when the last process has ended, however that comes about.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use popmap_core::{Slot, SlotSet};
use popmap_io::address::Mac;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::io::{Carrier, Io};
use crate::pop::Unplugged;
use crate::stop::Stop;

/// The interface of a server, in its namespace.
pub const INTERFACE: &str = "gossip";
/// The bridge that all servers are at, and the one that a part of them is at while the PoP is cut in two.
const BRIDGES: [&str; 2] = ["pop", "other"];
/// Where namespaces have their names.
const NAMES: &str = "/run/netns";
/// The port of all servers.
const PORT: u16 = 7_946;
/// Bits of an address that all servers share.
pub const PREFIX_LEN: u8 = 24;

/// Returns the MAC address of a server.
pub fn mac(slot: Slot) -> Mac {
    Mac([0x02, 0, 0, 0, 0, slot.get() + 1])
}

/// Returns the address and port of a server, where servers speak UDP.
pub fn socket(slot: Slot) -> SocketAddr {
    (Ipv4Addr::new(10, 77, 0, slot.get() + 1), PORT).into()
}

fn namespace(slot: Slot) -> String {
    format!("server-{}", slot.get())
}

fn port(slot: Slot) -> String {
    format!("port-{}", slot.get())
}

/// The network at work.
#[derive(Debug)]
pub struct Network {
    servers: SlotSet,
}

impl Network {
    /// Makes namespaces, wires and bridges for so many servers.
    ///
    /// # Errors
    /// What could not be made.
    pub fn build(io: Io, servers: usize) -> Result<Self, Stop> {
        // Names of namespaces, and what else programs leave there, are ours alone and go when we do.
        run("mount", &["-t", "tmpfs", "tmpfs", "/run"], "")?;
        fs::create_dir(NAMES).map_err(|error| Stop::Network(format!("cannot make {NAMES}: {error}")))?;
        let servers = SlotSet::first(servers);
        let mut outside = String::from("link set dev lo up\n");
        for bridge in BRIDGES {
            let _ = writeln!(outside, "link add name {bridge} type bridge\nlink set dev {bridge} up");
        }
        for slot in servers.iter() {
            let (port, namespace) = (port(slot), namespace(slot));
            let _ = writeln!(outside, "netns add {namespace}");
            let _ =
                writeln!(outside, "link add name {port} type veth peer name {INTERFACE} netns {namespace}");
            let _ = writeln!(outside, "link set dev {port} master {} up", BRIDGES[0]);
        }
        ip(None, &outside)?;
        for slot in servers.iter() {
            // A kernel that speaks UDP leaves long frames to be cut by hardware that no wire here has.
            let mut inside = format!(
                "link set dev lo up\nlink set dev {INTERFACE} address {} gso_max_segs 1 up\n",
                mac(slot)
            );
            if io.carrier(slot) == Carrier::Udp {
                let _ = writeln!(inside, "address add {}/{PREFIX_LEN} dev {INTERFACE}", socket(slot).ip());
            }
            ip(Some(slot), &inside)?;
        }
        Ok(Self { servers })
    }

    /// Cuts the wires between `side` and the others.
    ///
    /// # Errors
    /// What the network said.
    pub fn split(&self, side: SlotSet) -> Result<(), Stop> {
        let master = |slot| BRIDGES[usize::from(!side.contains(slot))];
        self.each(|slot| format!("link set dev {} master {}\n", port(slot), master(slot)))
    }

    /// Mends them.
    ///
    /// # Errors
    /// What the network said.
    pub fn join(&self) -> Result<(), Stop> {
        self.split(self.servers)
    }

    /// Takes a server's link away, or gives it back.
    ///
    /// # Errors
    /// What the network said.
    pub fn unplug(&self, slot: Slot, how: Unplugged, off: bool) -> Result<(), Stop> {
        let state = if off { "down" } else { "up" };
        match how {
            Unplugged::Cable => ip(None, &format!("link set dev {} {state}\n", port(slot))),
            Unplugged::Interface => ip(Some(slot), &format!("link set dev {INTERFACE} {state}\n")),
        }
    }

    fn each(&self, line: impl Fn(Slot) -> String) -> Result<(), Stop> {
        ip(None, &self.servers.iter().map(line).collect::<String>())
    }
}

/// A network namespace.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Returns that of this thread.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// Returns that of a server.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn of(slot: Slot) -> io::Result<Self> {
        File::open(Path::new(NAMES).join(namespace(slot))).map(Self)
    }

    /// Moves this thread there; threads that it starts begin there.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// Has `ip` run these lines, in the namespace of a server or in ours.
fn ip(inside: Option<Slot>, lines: &str) -> Result<(), Stop> {
    match inside.map(namespace) {
        Some(namespace) => run("ip", &["-n", &namespace, "-batch", "-"], lines),
        None => run("ip", &["-batch", "-"], lines),
    }
}

/// Runs a command to its end.
fn run(program: &str, words: &[&str], input: &str) -> Result<(), Stop> {
    let failed = |why: &str| Stop::Network(format!("{program} {}: {why}", words.join(" ")));
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error.to_string()))?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    // One that fails early reads no further, and says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| failed(&error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(&if said.trim().is_empty() { output.status.to_string() } else { said.trim().to_owned() }))
}
