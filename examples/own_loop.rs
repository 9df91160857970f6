//! The node in a loop of one's own: `popmap-core`, a socket of the standard library, and no driver.
//!
//! Knows what a host owes the node: a clock, a life, packets in both directions, and a call when time is up. Must not
//! need anything of `popmap-io`.
//!
//! Each of two threads is a server. The loop of [`serve`] has four steps, and any loop with these is one: send what is
//! due, hear what happened, wait for a packet or the deadline, hand over what came.
//!
//! `cargo run --release --example own_loop`; it ends with an error if anything is not as it says.

#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use popmap_core::time::Instant;
use popmap_core::{Address, Config, Event, Key, Life, Lookup, Node, Shape, Slot, SlotSet};

const SLOTS: usize = 2;
const SHAPE: Shape = Shape { schema: 1, value_len: 8 };
/// Far longer than anything here takes.
const LONG: Instant = Instant::from_millis(20_000);

/// To core an address is 24 bytes that it copies and compares: these are ours to lay out, alike on all servers.
fn address_of(socket: SocketAddrV4) -> Address {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&socket.ip().octets());
    bytes[4..6].copy_from_slice(&socket.port().to_le_bytes());
    Address(bytes)
}

fn socket_of(address: Address) -> SocketAddrV4 {
    let [a, b, c, d, low, high, ..] = address.0;
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([low, high]))
}

/// A life is a generation above all earlier ones of the slot, and 64 random bits. The generation is the clock's seconds
/// here. A real server keeps it in a file as well (`popmap_io::GenerationFile`), and one that has lost the file and has
/// no clock waits 10 s before its first packet: the last packets of its last life must be gone by then.
fn new_life() -> Result<Life, Box<dyn Error>> {
    let generation = SystemTime::UNIX_EPOCH.elapsed()?.as_secs().try_into()?;
    // Random bits as far as the standard library has them. Zero means no life.
    let id = RandomState::new().build_hasher().finish() | 1;
    Ok(Life { generation, id })
}

/// Serves in `slot` until both servers have read what the other wrote.
fn serve(slot: usize, socket: &UdpSocket, seed: Address, done: &AtomicUsize) -> Result<(), Box<dyn Error>> {
    let start = std::time::Instant::now();
    // The only clock: nanoseconds from an origin of our own.
    let clock = || Instant(start.elapsed().as_nanos() as u64);
    let mut config = Config::new(7, Slot::at(slot), new_life()?, 1_000, SHAPE);
    config.configured = SlotSet::first(SLOTS);
    let mut storage = vec![0; Node::<SLOTS>::words(&config)];
    let mut node = Node::<SLOTS>::new(clock(), &mut storage, &config)?;
    node.join(clock(), &[seed]);

    let key = |slot: usize| Key::from_name(&slot.to_le_bytes());
    let (mut frame, mut value, mut has_read) = ([0; 1_500], [0; 8], false);
    while done.load(Ordering::Relaxed) < SLOTS {
        if clock() > LONG {
            return Err(format!("S{slot}: not done within 20 s: {node:?}").into());
        }
        // 1. Send what is due. A frame is filled from the state as it is now; the device's own buffer would do as well.
        while let Some(packet) = node.poll_transmit(clock(), &mut frame) {
            // What is lost is sent again when it matters, so errors of one packet need no care.
            let _ = socket.send_to(&frame[..packet.len], socket_of(packet.to));
        }
        // 2. Hear what happened. The first write has to wait for this.
        while let Some(event) = node.poll_event() {
            println!("  S{slot}: {event:?} after {} ms", clock().since(Instant::ZERO).as_millis());
            if matches!(event, Event::Started { .. }) {
                node.put(clock(), key(slot), &(100 + slot as u64).to_le_bytes())?;
            }
        }
        // 3. Wait until the node's deadline or a packet. Zero would wait for ever; what was put above is due soon.
        let wait = Duration::from_nanos(node.poll_timeout().since(clock()).0).max(Duration::from_micros(100));
        socket.set_read_timeout(Some(wait))?;
        match socket.recv_from(&mut frame) {
            // 4. Hand over what came; what is rejected is counted by the node.
            Ok((len, SocketAddr::V4(from))) => {
                let _ = node.handle_packet(clock(), address_of(from), &frame[..len]);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                node.handle_timeout(clock());
            }
            Err(error) => return Err(error.into()),
        }

        if !has_read && matches!(node.get(key(1 - slot), &mut value), Lookup::Found(_)) {
            println!("  S{slot}: reads {} from the other", u64::from_le_bytes(value));
            assert_eq!(u64::from_le_bytes(value), 100 + (1 - slot) as u64, "what the other wrote");
            has_read = true;
            // The other may still need us: the loop goes on until both are done.
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn show() -> Result<(), Box<dyn Error>> {
    println!("Two servers, each in a loop of its own, join through the first and write a value each.");
    let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    let SocketAddr::V4(seed) = sockets[0].local_addr()? else { return Err("asked for IPv4".into()) };
    let done = AtomicUsize::new(0);
    let serve = |slot: usize| serve(slot, &sockets[slot], address_of(seed), &done).map_err(|e| e.to_string());
    thread::scope(|scope| {
        let other = scope.spawn(|| serve(1));
        serve(0).and(other.join().expect("no panic"))
    })?;
    println!("Done: each has read what the other wrote.");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    show()
}

#[cfg(test)]
#[test]
fn each_reads_what_the_other_wrote() {
    show().unwrap();
}
