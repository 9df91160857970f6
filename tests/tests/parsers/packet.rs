//! Packets from the documented layout, with any number in any field. Knows bytes and offsets, and no writer of the code
//! under test.

use popmap_core::wire::{HEADER, VERSION};
use popmap_core::{Key, Shape};
use popmap_tests::forge::restore_checksum;

pub const CLUSTER: u64 = 0xc1a5;
/// Twelve bytes of value: the last four of a record are padding.
pub const SHAPE: Shape = Shape { schema: 7, value_len: 12 };

/// The fields of a packet; which are used depends on the kind.
#[derive(Clone, Debug)]
pub struct Fields {
    pub kind: u8,
    pub slot: u8,
    pub flags: u8,
    pub generation: u32,
    pub life: u64,
    pub to_life: u64,
    pub numbers: [u64; 3],
    pub small: [u32; 2],
    pub body_flags: u32,
    pub records: Vec<Record>,
    pub version: (u64, Vec<u64>),
}

#[derive(Clone, Debug)]
pub struct Record {
    pub key: u8,
    pub counter: u64,
    pub term: u32,
    pub slot: u8,
    pub tombstone: bool,
    pub value: u8,
}

/// What a packet says of a member.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub slot: u8,
    pub state: u8,
    pub incarnation: u32,
    pub generation: u32,
    pub by: [u8; 4],
    pub life: u64,
    pub address: u8,
    pub weight: u16,
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.slot, self.state, 0, 0];
        bytes.extend(self.incarnation.to_le_bytes());
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.by);
        bytes.extend(self.life.to_le_bytes());
        bytes.extend([self.address; 24]);
        bytes.extend(self.weight.to_le_bytes());
        bytes.extend([0; 14]);
        bytes
    }
}

pub fn key(n: u8) -> Key {
    Key::from_name(&[n])
}

impl Record {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = key(self.key).0.to_vec();
        bytes.extend(self.counter.to_le_bytes());
        bytes.extend(self.term.to_le_bytes());
        bytes.extend([self.slot, u8::from(self.tombstone), 0, 0]);
        bytes.extend([if self.tombstone { 0 } else { self.value }; 12]);
        bytes.extend([0; 4]);
        bytes
    }
}

impl Fields {
    pub fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        packet[0] = VERSION;
        packet[1] = self.kind;
        packet[2] = self.slot;
        packet[3] = self.flags;
        packet[8..16].copy_from_slice(&CLUSTER.to_le_bytes());
        packet[16..20].copy_from_slice(&self.generation.to_le_bytes());
        packet[24..32].copy_from_slice(&self.life.to_le_bytes());
        packet[32..40].copy_from_slice(&self.to_life.to_le_bytes());
        let records: Vec<u8> = self.records.iter().flat_map(Record::bytes).collect();
        let count = self.records.len() as u16;
        let [a, b, c] = self.numbers;
        let [small, other] = self.small;
        let shape = |packet: &mut Vec<u8>, count: u16| {
            packet.extend(SHAPE.schema.to_le_bytes());
            packet.extend(SHAPE.value_len.to_le_bytes());
            packet.extend(count.to_le_bytes());
        };
        let version = |packet: &mut Vec<u8>| {
            let (bitmap, counters) = &self.version;
            packet.extend(bitmap.to_le_bytes());
            let listed = bitmap.count_ones() as usize;
            counters.iter().cycle().take(listed).for_each(|counter| packet.extend(counter.to_le_bytes()));
        };
        match self.kind {
            1 => {
                shape(&mut packet, 0);
                packet.extend(a.to_le_bytes());
                packet.extend(b.to_le_bytes());
                packet.extend((other as u16).to_le_bytes());
                packet.extend((self.body_flags as u16).to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([0; 8]);
                version(&mut packet);
            }
            2 => {
                shape(&mut packet, count);
                let mut range = [a, b, c];
                range.sort_unstable();
                if self.body_flags & 2 != 0 {
                    range[1] = range[2];
                }
                range.iter().for_each(|number| packet.extend(number.to_le_bytes()));
                packet.extend(small.to_le_bytes());
                packet.extend(self.body_flags.to_le_bytes());
                packet.extend(records);
                version(&mut packet);
            }
            3 => {
                shape(&mut packet, count);
                packet.extend(a.min(b).to_le_bytes());
                packet.extend(a.max(b).to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([0; 4]);
                packet.extend(records);
            }
            4 => {
                let bits = (other % 34) as u8;
                let listed = (c % 40 + 1) as u16;
                shape(&mut packet, listed);
                packet.extend(a.to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([bits, 0, 0, 0]);
                (0..listed).for_each(|_| packet.extend(b.to_le_bytes()));
            }
            5 => {
                shape(&mut packet, count);
                packet.extend(a.to_le_bytes());
                packet.extend(b.min(c).to_le_bytes());
                packet.extend(b.max(c).to_le_bytes());
                packet.extend(self.body_flags.to_le_bytes());
                packet.extend([0; 4]);
                packet.extend(records);
            }
            6 => {
                shape(&mut packet, count);
                packet.extend(records);
            }
            7 => {
                shape(&mut packet, 0);
                packet.extend(a.to_le_bytes());
                packet.extend(small.to_le_bytes());
                packet.extend([0; 4]);
            }
            8 => {
                shape(&mut packet, count);
                packet.extend(small.to_le_bytes());
                packet.extend(self.body_flags.to_le_bytes());
                packet.extend(records);
            }
            9 => {
                packet.extend(small.to_le_bytes());
                packet.extend([other as u8 % 4, 0, 0, 0]);
                packet.extend(a.to_le_bytes());
            }
            _ => {
                packet.extend((a as u32).to_le_bytes());
                packet.extend([other as u8 % 4, small as u8, 0, 0]);
                packet.extend(b.to_le_bytes());
            }
        }
        restore(&mut packet);
        packet
    }

    /// The same with these members at its end.
    pub fn with_members(&self, members: &[Entry]) -> Vec<u8> {
        let mut packet = self.bytes();
        packet.extend(members.iter().flat_map(Entry::bytes));
        packet[23] = members.len() as u8;
        restore(&mut packet);
        packet
    }
}

/// Gives a packet the length and the checksum that fit its bytes.
pub fn restore(packet: &mut [u8]) {
    let length = packet.len() as u16;
    packet[20..22].copy_from_slice(&length.to_le_bytes());
    packet[22] = 0;
    restore_checksum(packet);
}

/// A version that says and asks nothing.
pub fn idle() -> Fields {
    Fields {
        kind: 1,
        slot: 0,
        flags: 0,
        generation: 3,
        life: 0xa0,
        to_life: 0,
        numbers: [0; 3],
        small: [0; 2],
        body_flags: 0,
        records: vec![],
        version: (0, vec![]),
    }
}
