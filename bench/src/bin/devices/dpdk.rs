//! DPDK's devices, held against its ports: bursts and mbufs without a [`DpdkDevice`].
//!
//! Knows ports and batches. Must not know how loops are timed.

use std::hint::black_box;

use popmap_bench::feed::{Feed, Prepared};
use popmap_io::Device;
use popmap_io::address::Mac;
use popmap_io::dpdk::{Batch, DpdkConfig, DpdkDevice, Eal, EalConfig, Pool};

use crate::cost::{Contest, Following, Pass, drain, lockstep, receiving, until};
use crate::kinds::{Kind, Opened, bare};
use crate::lent::Lent;
use crate::namespace::Veth;
use crate::plain::Framer;

/// MiB for the pools of all devices, none of which shares a page with another's without huge pages.
const MEMORY_MIB: u32 = 256;
/// Mbufs of each pool: what two queues of 1,024 need, and some more.
const MBUFS: u32 = 4_095;

/// Starts DPDK; a process can once.
pub fn start() -> Result<Eal, String> {
    let config = EalConfig::without_huge_pages(MEMORY_MIB);
    Eal::start(&config).map_err(|error| error.to_string())
}

fn config() -> DpdkConfig {
    DpdkConfig { mbufs: MBUFS, ..DpdkConfig::new(bare()) }
}

/// Opens both ends of a wire.
pub fn packet_pair(eal: &Eal, wire: &Veth) -> Result<[DpdkDevice; 2], String> {
    let open = |end: &str| {
        let device = format!("net_af_packet_{end},iface={end}");
        DpdkDevice::open(eal, &device, &config()).map_err(|error| error.to_string())
    };
    Ok([open(&wire.left)?, open(&wire.right)?])
}

fn ring_pair(eal: &Eal) -> Result<[DpdkDevice; 2], String> {
    let configs = [1, 2].map(|n| config().mac(Mac([2, 0, 0, 0, 0, n])));
    DpdkDevice::pair(eal, configs.each_ref()).map_err(|error| error.to_string())
}

/// Opens the kind's devices and makes their loops. Sender of all is the port, so that only the other half differs.
pub fn open(eal: &Eal, kind: Kind, feed: &Feed, burst: usize) -> Result<Opened, String> {
    let wires = if kind.is_on_wire() { vec![Veth::new("device")?] } else { vec![] };
    let [left, right] = match wires.first() {
        Some(wire) => packet_pair(eal, wire)?,
        None => ring_pair(eal)?,
    };
    let pool = DpdkDevice::pool(eal, &config()).map_err(|error| error.to_string())?;
    let (left, right) = (Lent::new(left), Lent::new(right));
    let send = || {
        let framer = Framer::new(left.local(), right.local(), &bare()).map_err(|error| error.to_string())?;
        Ok::<_, String>(sending(left.clone(), eal, pool.clone(), framer))
    };
    let pass = Pass { burst, floods: kind.floods() };
    let mut back = left.clone();
    let driver = Following::start(feed, &right)?;
    let driver = driver.into_loop(pass, send()?, move || drain(&mut back));
    let plain = lockstep(pass, send()?, taking(right.clone(), eal));
    let device = lockstep(pass, send()?, receiving(right));
    Ok(Opened::new(Contest { plain: Some(plain), device, driver }, wires))
}

/// Returns the half that allocates mbufs, fills and sends them.
fn sending(
    left: Lent<DpdkDevice>,
    eal: &Eal,
    pool: Pool,
    mut framer: Framer,
) -> impl FnMut(Prepared<'_>) -> Result<(), String> + use<> {
    let (mut blank, mut filled) = (Batch::new(eal), Batch::new(eal));
    move |burst| {
        let headers = framer.headers(burst.packet_len());
        let len = headers.len() + burst.packet_len();
        for packet in burst.iter() {
            if blank.is_empty() && !blank.fill_up(&pool) {
                return Err("no mbufs are left".into());
            }
            let frame = blank.last_mut(len).ok_or("an mbuf is too short")?;
            frame[..headers.len()].copy_from_slice(headers);
            frame[headers.len()..].copy_from_slice(packet);
            blank.set_last_len(len);
            blank.move_last(&mut filled);
        }
        let mut left = left.get();
        let port = left.port_mut().ok_or("the port is gone")?;
        until(filled.len(), true, || Ok(port.send(&mut filled))).map(drop)
    }
}

/// Returns the half that takes a port's mbufs, looks at a byte of each and frees them.
fn taking(right: Lent<DpdkDevice>, eal: &Eal) -> impl FnMut(usize, bool) -> Result<usize, String> + use<> {
    let mut taken = Batch::new(eal);
    move |count, must| {
        let mut right = right.get();
        let port = right.port_mut().ok_or("the port is gone")?;
        until(count, must, || {
            let frames = port.receive(&mut taken);
            for (frame, _) in taken.frames() {
                black_box(frame[frame.len() - 1]);
            }
            taken.clear();
            Ok(frames)
        })
    }
}
