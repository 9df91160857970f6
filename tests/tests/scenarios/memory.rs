//! Memory: what a map takes, relative to its records' own bytes. Run with `--nocapture` for the table.

use popmap_core::limits::{RECORD_OVERHEAD, RESERVE_DIVISOR, VALUE_DEFAULT};
use popmap_core::{Key, Lookup, Map, PutError, Shape};
use popmap_tests::link::{config, pull_all, started, storage};

const LIMIT: f64 = 1.35;

fn shape(value_len: usize) -> Shape {
    Shape { schema: 1, value_len: value_len as u16 }
}

/// Bytes of a map over the bytes of `records` records: key, stamp and value.
fn ratio(capacity: usize, records: usize, value_len: usize) -> f64 {
    let bytes = 8 * Map::<64>::words(capacity, &shape(value_len));
    bytes as f64 / (records * (RECORD_OVERHEAD + value_len)) as f64
}

/// The records at which puts stop (rule R3).
fn load_of_puts(capacity: usize) -> usize {
    capacity - capacity.div_ceil(RESERVE_DIVISOR)
}

#[test]
fn at_most_a_third_beside_the_records() {
    const CAPACITIES: [usize; 6] = [1_000, 10_000, 50_000, 100_000, 500_000, 1_000_000];
    println!("bytes of a 64-slot map / bytes of its records, when full (and where puts stop)");
    print!("{:>9}", "capacity");
    let value_lens = [8, 16, 24, 32, 64, 128];
    value_lens.iter().for_each(|len| print!("{:>16}", format!("value {len}")));
    for capacity in CAPACITIES {
        print!("\n{capacity:>9}");
        for value_len in value_lens {
            let full = ratio(capacity, capacity, value_len);
            print!(
                "{:>16}",
                format!("{full:.3} ({:.3})", ratio(capacity, load_of_puts(capacity), value_len))
            );
            if capacity >= 50_000 && value_len >= VALUE_DEFAULT {
                assert!(full <= LIMIT, "capacity {capacity}, value {value_len}: {full:.3}");
            }
        }
    }
    println!();
}

/// The capacity is real: 50,000 records fit in the storage of a map for 50,000, all of them found.
#[test]
fn every_record_of_the_capacity_fits() {
    let (capacity, shape) = (50_000, shape(VALUE_DEFAULT));
    let key = |n: usize| Key::from_name(&n.to_le_bytes());
    let value = |n: usize| [n.to_le_bytes(); 3].concat();
    let source_capacity = 60_000;
    let (mut words, mut other) = (storage::<64>(capacity, &shape), storage::<64>(source_capacity, &shape));
    let mut map = started::<64>(&mut words, &config(0, 2, capacity, shape));
    let mut source = started::<64>(&mut other, &config(1, 2, source_capacity, shape));

    let puts = load_of_puts(capacity);
    for n in 0..puts {
        map.put(key(n), &value(n)).expect("there is room");
    }
    assert_eq!(map.put(key(puts), &value(puts)), Err(PutError::Full));
    // The reserve takes the rest, from another server.
    for n in puts..capacity {
        source.put(key(n), &value(n)).expect("there is room");
    }
    let mut frame = [0; 1_400];
    pull_all(&mut source, &mut map, &mut frame);
    assert_eq!((map.len(), map.capacity()), (capacity, capacity));
    let (reader, mut found) = (map.reader(), [0; VALUE_DEFAULT]);
    for n in 0..capacity {
        assert!(matches!(reader.get(key(n), &mut found), Lookup::Found(_)), "record {n}");
        assert_eq!(found[..], value(n));
    }
    drop((map, source));
    let taken = 8 * words.len();
    let own = capacity * (RECORD_OVERHEAD + VALUE_DEFAULT);
    println!(
        "{capacity} records of {} bytes in {taken} bytes: {:.3}",
        own / capacity,
        taken as f64 / own as f64
    );
    assert!(taken as f64 <= LIMIT * own as f64);
}
