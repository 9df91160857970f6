//! What to try: numbers at the edges of their ranges, packets that get far, and bytes overwritten.

use popmap_core::wire::HEADER;
use proptest::prelude::*;
use proptest::sample::select;

use crate::packet::{Fields, Record, restore};
use crate::site::{CONFIGURED, ME, MY_LIFE, life_of};

/// Numbers at the edges, near what the maps hold, and any.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..16_u64,
        3 => (select(vec![3, 4, 5, 6, 7, u32::MAX - 2, u32::MAX - 1, u32::MAX]), 0..6_u64)
            .prop_map(|(generation, sequence)| u64::from(generation) << 32 | sequence),
        3 => select(vec![
            u64::MAX,
            u64::MAX - 1,
            u64::MAX - 4_096,
            1 << 63,
            (1 << 63) - 1,
            1 << 31,
            1 << 32,
            (1 << 32) - 1,
            (u64::MAX >> 32) << 32,
        ]),
        1 => any::<u64>(),
    ]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..8_u32, 2 => select(vec![u32::MAX, u32::MAX - 1, 1 << 31, 4_096]), 1 => any::<u32>()]
}

fn record() -> impl Strategy<Value = Record> {
    (0..30_u8, number(), small(), 0..4_u8, any::<bool>(), any::<u8>()).prop_map(
        |(key, counter, term, slot, tombstone, value)| Record {
            key,
            counter,
            term: term.max(u32::from(value > 9)),
            slot: slot % CONFIGURED as u8,
            tombstone,
            value,
        },
    )
}

pub fn fields() -> impl Strategy<Value = Fields> {
    let sender = (
        1..14_u8,
        prop_oneof![8 => select(vec![0_u8, 2]), 1 => 0..6_u8],
        any::<u8>(),
        prop_oneof![10 => Just(0_u8), 2 => 1..7_u8],
        prop_oneof![18 => Just(MY_LIFE), 1 => Just(0), 1 => any::<u64>()],
    );
    let numbers = ([number(), number(), number()], [small(), small()], small());
    let lists = (
        prop::collection::vec(record(), 0..4),
        prop_oneof![20 => 0..8_u64, 1 => any::<u64>()],
        prop::collection::vec(number(), 1..4),
    );
    (sender, numbers, lists).prop_map(|(sender, numbers, (records, bitmap, counters))| {
        let (kind, slot, flags, life, to_life) = sender;
        let (numbers, small, body_flags) = numbers;
        let known = life_of(slot);
        let (generation, life) = match life {
            0 => (known.generation, known.id),
            1 => (known.generation + 1, known.id),
            2 => (known.generation, known.id + 1),
            3 => (known.generation, 1),
            4 => (u32::MAX, 0xfff),
            5 => (5, MY_LIFE),
            _ => (0, 0xfff),
        };
        // A push is of the author's own records, an answer about older ones of its subject's, a report of live ones.
        let author = match kind {
            3 => Some(slot),
            8 if body_flags & 1 != 0 => Some(slot),
            8 => Some(ME as u8),
            _ => None,
        };
        let records: Vec<_> = records
            .into_iter()
            .map(|record| Record {
                slot: author.unwrap_or(record.slot),
                tombstone: record.tombstone && kind != 6,
                ..record
            })
            .collect();
        let numbers = match (kind, numbers) {
            // Half of the pushes have a range that their records fit in; answers name a question that may have been asked.
            (3, [_, to, _]) if to % 2 == 0 => {
                [0, records.iter().map(|record| record.counter).fold(to, u64::max), 0]
            }
            (5, [question, from, to]) if from % 4 == 0 => [1 + question % 5, from, to],
            (5, [question, ..]) => [1 + question % 5, 0, u64::MAX],
            (_, numbers) => numbers,
        };
        Fields {
            kind,
            slot,
            flags,
            generation,
            life,
            to_life,
            numbers,
            small,
            body_flags,
            records,
            version: (bitmap, counters),
        }
    })
}

/// Bytes to overwrite: where (modulo the packet's length), how many, and with what.
fn mutation() -> impl Strategy<Value = (usize, usize, u64)> {
    (0..400_usize, select(vec![1, 2, 4, 8]), number())
}

#[derive(Clone, Debug)]
pub struct Step {
    pub fields: Fields,
    pub mutations: Vec<(usize, usize, u64)>,
    pub cut: Option<usize>,
    pub later_s: Option<u64>,
}

pub fn step() -> impl Strategy<Value = Step> {
    (
        fields(),
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(mutation(), 1..4)],
        prop::option::weighted(0.05, 0..200_usize),
        prop::option::weighted(0.5, prop_oneof![0..30_u64, Just(u64::MAX)]),
    )
        .prop_map(|(fields, mutations, cut, later_s)| Step { fields, mutations, cut, later_s })
}

impl Step {
    pub fn bytes(&self) -> Vec<u8> {
        let mut packet = self.fields.bytes();
        for &(at, width, value) in &self.mutations {
            let at = at % packet.len();
            let end = (at + width).min(packet.len());
            packet[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        if let Some(cut) = self.cut {
            packet.truncate(HEADER + cut);
        }
        restore(&mut packet);
        packet
    }
}
