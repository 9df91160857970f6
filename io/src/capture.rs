//! Captures: a device that writes what passes through another to a file that Wireshark opens.
//!
//! Knows the pcap format and just enough of IP and UDP to show addresses and ports. Must not know what is in a packet.
//!
//! The file is classic pcap with nanoseconds and link type 101 (raw IP): a header of 24 bytes, then 16 bytes before each
//! packet. The IP and UDP headers are made up from the addresses; what came in on a socket that is bound to all
//! addresses is shown as sent to the unspecified one.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use popmap_core::Address;

use crate::address;
use crate::delegate_device;
use crate::device::{Burst, Device};

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 16;
/// Bytes kept of a packet: all that any device carries, and its headers.
const SNAP_LEN: u32 = 1 << 16;
const LINKTYPE_RAW: u32 = 101;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

/// A capture file; several devices may write to one. Clones are the same file.
///
/// Writing is buffered and happens on the thread of whoever sends or receives when the buffer is full, so a slow disk
/// delays that thread: a capture is for finding faults. The first error ends the capture and nothing else;
/// [`finish`](Self::finish) returns it.
pub struct Pcap<W: Write> {
    file: Arc<Mutex<File<W>>>,
}

struct File<W: Write> {
    writer: BufWriter<W>,
    clock: Box<dyn FnMut() -> Duration + Send>,
    failed: Option<io::Error>,
    packets: u64,
    missed: u64,
}

impl<W: Write> Pcap<W> {
    /// Begins a capture with the file's header. `clock` returns the time since 1970, for each packet:
    /// [`wall_clock`](crate::wall_clock).
    ///
    /// # Errors
    /// The writer's; some of the header may have been written.
    pub fn new(writer: W, clock: impl FnMut() -> Duration + Send + 'static) -> io::Result<Self> {
        let mut writer = BufWriter::with_capacity(BUFFER, writer);
        let mut header = [0; 24];
        header[..4].copy_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
        // Version 2.4; the time zone and the accuracy are zero by custom.
        header[4] = 2;
        header[6] = 4;
        header[16..20].copy_from_slice(&SNAP_LEN.to_le_bytes());
        header[20..].copy_from_slice(&LINKTYPE_RAW.to_le_bytes());
        writer.write_all(&header)?;
        let file = File { writer, clock: Box::new(clock), failed: None, packets: 0, missed: 0 };
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    fn lock(&self) -> MutexGuard<'_, File<W>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a packet.
    pub fn record(&self, from: Address, to: Address, packet: &[u8]) {
        let mut file = self.lock();
        if file.failed.is_some() {
            file.missed += 1;
            return;
        }
        match file.append(from, to, packet) {
            Ok(()) => file.packets += 1,
            Err(error) => {
                file.failed = Some(error);
                file.missed += 1;
            }
        }
    }

    /// Writes out what is buffered; returns the packets in the file.
    ///
    /// # Errors
    /// The first error since the last call, with the number of packets that are not in the file.
    pub fn finish(&self) -> io::Result<u64> {
        let mut file = self.lock();
        let error = match file.failed.take() {
            Some(error) => Err(error),
            None => file.writer.flush(),
        };
        let missed = file.missed;
        error.map_err(|error| {
            io::Error::new(error.kind(), format!("capture: {error}; at least {missed} packets are missing"))
        })?;
        Ok(file.packets)
    }
}

impl<W: Write> File<W> {
    fn append(&mut self, from: Address, to: Address, packet: &[u8]) -> io::Result<()> {
        let at = (self.clock)();
        let mut headers = [0; 40 + UDP_HEADER];
        let len = write_headers(&mut headers, ends(from, to), packet);
        let captured = (len + packet.len()) as u32;
        let mut record = [0; 16];
        record[..4].copy_from_slice(&(at.as_secs() as u32).to_le_bytes());
        record[4..8].copy_from_slice(&at.subsec_nanos().to_le_bytes());
        record[8..12].copy_from_slice(&captured.to_le_bytes());
        record[12..].copy_from_slice(&captured.to_le_bytes());
        self.writer.write_all(&record)?;
        self.writer.write_all(&headers[..len])?;
        self.writer.write_all(packet)
    }
}

/// Returns both ends as addresses of one family; one that is no IP address is the unspecified one.
fn ends(from: Address, to: Address) -> (SocketAddr, SocketAddr) {
    let (from, to) = (address::to_socket(from), address::to_socket(to));
    let unknown = |other: Option<SocketAddr>| match other {
        Some(SocketAddr::V6(_)) => SocketAddr::from(([0u16; 8], 0)),
        _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    };
    let pair = (from.unwrap_or_else(|| unknown(to)), to.unwrap_or_else(|| unknown(from)));
    if pair.0.is_ipv4() == pair.1.is_ipv4() { pair } else { (pair.0, unknown(Some(pair.0))) }
}

/// Writes IP and UDP headers for `packet`; returns their length.
fn write_headers(out: &mut [u8; 48], (from, to): (SocketAddr, SocketAddr), packet: &[u8]) -> usize {
    let udp_len = (UDP_HEADER + packet.len()) as u16;
    let ip_len = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // Version 4, five words; never fragmented; 64 hops.
            out[0] = 0x45;
            out[2..4].copy_from_slice(&(udp_len + 20).to_be_bytes());
            out[6] = 0x40;
            out[8] = 64;
            out[9] = UDP;
            out[12..16].copy_from_slice(&from.octets());
            out[16..20].copy_from_slice(&to.octets());
            let sum = checksum(&[&out[..20]]);
            out[10..12].copy_from_slice(&sum.to_be_bytes());
            20
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            out[0] = 0x60;
            out[4..6].copy_from_slice(&udp_len.to_be_bytes());
            out[6] = UDP;
            out[7] = 64;
            out[8..24].copy_from_slice(&from.octets());
            out[24..40].copy_from_slice(&to.octets());
            40
        }
        _ => unreachable!("both ends are of one family"),
    };
    let udp = ip_len;
    out[udp..udp + 2].copy_from_slice(&from.port().to_be_bytes());
    out[udp + 2..udp + 4].copy_from_slice(&to.port().to_be_bytes());
    out[udp + 4..udp + 6].copy_from_slice(&udp_len.to_be_bytes());
    // The pseudo header: both addresses, protocol, length.
    let addresses = if ip_len == 20 { 12..20 } else { 8..40 };
    let [high, low] = udp_len.to_be_bytes();
    let sum = checksum(&[&out[addresses], &[0, UDP, high, low], &out[udp..udp + 8], packet]);
    // Zero means that there is none.
    let sum = if sum == 0 { 0xffff } else { sum };
    out[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    ip_len + UDP_HEADER
}

/// Returns the Internet checksum (RFC 1071) of parts of which all but the last have even lengths.
fn checksum(parts: &[&[u8]]) -> u16 {
    let pair = |bytes: &[u8]| u32::from(bytes[0]) << 8 | bytes.get(1).map_or(0, |&low| u32::from(low));
    let mut sum: u32 = parts.iter().flat_map(|part| part.chunks(2)).map(pair).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A [`Device`] that captures what another sends and receives.
#[derive(Debug)]
pub struct CaptureDevice<D, W: Write> {
    device: D,
    pcap: Pcap<W>,
    directions: Directions,
}

/// What is captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Directions {
    /// What is sent only: each packet once where all servers write to one file.
    Sent,
    /// Both.
    Both,
}

impl<D: Device, W: Write> CaptureDevice<D, W> {
    /// Wraps `device`.
    pub fn new(device: D, pcap: Pcap<W>, directions: Directions) -> Self {
        Self { device, pcap, directions }
    }
}

impl<D: Device, W: Write> Device for CaptureDevice<D, W> {
    fn receive(&mut self, mut sink: impl FnMut(Address, &[u8])) -> io::Result<Burst> {
        let local = self.device.local();
        let Self { device, pcap, directions } = self;
        device.receive(|from, packet| {
            if *directions == Directions::Both {
                pcap.record(from, local, packet);
            }
            sink(from, packet);
        })
    }

    fn send(&mut self, mut fill: impl FnMut(&mut [u8]) -> Option<(Address, usize)>) -> io::Result<Burst> {
        let local = self.device.local();
        let Self { device, pcap, .. } = self;
        device.send(|frame| {
            let (to, len) = fill(frame)?;
            pcap.record(local, to, &frame[..len]);
            Some((to, len))
        })
    }

    delegate_device!(device: wait, waker, payload, local, stats);
}

impl<W: Write> Clone for Pcap<W> {
    fn clone(&self) -> Self {
        Self { file: Arc::clone(&self.file) }
    }
}

impl<W: Write> fmt::Debug for Pcap<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.lock();
        f.debug_struct("Pcap")
            .field("packets", &file.packets)
            .field("missed", &file.missed)
            .field("failed", &file.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
