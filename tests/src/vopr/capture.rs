//! The traffic of a run as a pcap file.
//!
//! Knows how virtual time becomes the time of a capture. Must not know what is in a packet.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use popmap_core::Address;
use popmap_core::time::Instant;
use popmap_io::Pcap;

/// A capture file, with every packet as it left its sender, at the virtual time since 1970.
#[derive(Clone, Debug)]
pub struct Capture {
    pcap: Pcap<File>,
    time: Arc<AtomicU64>,
}

impl Capture {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        let pcap =
            Pcap::new(File::create(path)?, move || Duration::from_nanos(clock.load(Ordering::Relaxed)))?;
        Ok(Self { pcap, time })
    }

    /// Appends a packet.
    pub fn record(&self, now: Instant, from: Address, to: Address, packet: &[u8]) {
        self.time.store(now.0, Ordering::Relaxed);
        self.pcap.record(from, to, packet);
    }

    /// Writes out what is left; returns the packets in the file.
    ///
    /// # Errors
    /// The first error of the file.
    pub fn finish(&self) -> io::Result<u64> {
        self.pcap.finish()
    }
}
