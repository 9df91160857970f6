//! A packet being built by hand, in memory that is used again.
//!
//! Knows bytes and offsets. Must not use the writers of the code under test.

use popmap_core::wire::{HEADER, Kind, VERSION};
use popmap_core::{Life, Shape};

use crate::forge::restore_checksum;
use crate::link::CLUSTER;

/// Bytes of the longest packet that is built: one more than a node takes.
pub const ROOM: usize = 1_401;

/// A packet being built: what does not fit is left out.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: [u8; ROOM],
    len: usize,
}

impl Frame {
    /// An empty frame.
    pub const fn new() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }

    /// Starts a packet with a header, which is whole but for length and checksum.
    pub fn start(&mut self, kind: Kind, slot: u8, flags: u8, life: Life, to_life: u64) {
        self.bytes[..HEADER].fill(0);
        self.len = HEADER;
        self.bytes[..4].copy_from_slice(&[VERSION, kind as u8, slot, flags]);
        self.at(8, &CLUSTER.to_le_bytes());
        self.at(16, &life.generation.to_le_bytes());
        self.at(24, &life.id.to_le_bytes());
        self.at(32, &to_life.to_le_bytes());
    }

    /// Takes a copy of any bytes.
    pub fn copy(&mut self, bytes: &[u8]) {
        self.len = bytes.len().min(ROOM);
        self.bytes[..self.len].copy_from_slice(&bytes[..self.len]);
    }

    /// Overwrites bytes at `at`, those that are there.
    pub fn at(&mut self, at: usize, bytes: &[u8]) {
        let at = at.min(self.len);
        let len = bytes.len().min(self.len - at);
        self.bytes[at..at + len].copy_from_slice(&bytes[..len]);
    }

    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(ROOM - self.len);
        self.bytes[self.len..self.len + len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }

    /// Appends a number of eight bytes.
    pub fn word(&mut self, word: u64) {
        self.put(&word.to_le_bytes());
    }

    /// Appends a number of four bytes.
    pub fn half(&mut self, half: u32) {
        self.put(&half.to_le_bytes());
    }

    /// Appends a map's shape with `count` entries.
    pub fn shape(&mut self, shape: &Shape, count: usize) {
        self.half(shape.schema);
        self.put(&shape.value_len.to_le_bytes());
        self.put(&(count as u16).to_le_bytes());
    }

    /// Ends it after `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Returns its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Returns its bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Gives it the length that it has, no key, and the checksum of that. What is shorter than a header stays as it is.
    pub fn seal(&mut self) {
        if self.len >= HEADER {
            let length = self.len as u16;
            self.at(20, &length.to_le_bytes());
            self.at(22, &[0]);
            restore_checksum(self.bytes_mut());
        }
    }
}
