//! Building full delta packets, beside copying as many records by a list of positions.

use std::cell::RefCell;
use std::hint::black_box;

use popmap_bench::contest::{Contest, time};
use popmap_bench::peers::floor::Copier;
use popmap_bench::stream::{PER_PACKET, Stream};
use popmap_core::limits::PAYLOAD_DEFAULT;

use crate::Effort;
use crate::merge::BURST;
use crate::report::{Row, Rows};

/// The sizes of the map, in keys.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

fn name(keys: usize) -> String {
    if keys >= 1_000_000 { format!("{}M", keys / 1_000_000) } else { format!("{}k", keys / 1_000) }
}

/// What a round changes, for each size.
type Round = Vec<Vec<u64>>;

pub fn deltas(effort: &Effort, rows: &mut Rows) {
    let row_names = |size: usize| [format!("delta/{}", name(size)), format!("delta-crc/{}", name(size))];
    let wanted = |size: &usize| effort.wants(&row_names(*size)) || effort.wants(&["delta-sizes"]);
    let sizes: Vec<usize> = SIZES.into_iter().filter(wanted).collect();
    if sizes.is_empty() {
        return;
    }
    let streams: Vec<_> = sizes.iter().map(|&size| RefCell::new(Stream::new(size, 1))).collect();
    let mut contest = Contest::new();
    for (n, &size) in sizes.iter().enumerate() {
        let stream = &streams[n];
        for (checksum, [ours, floor]) in [(false, ["ours", "copy"]), (true, ["ours, CRC", "copy, CRC"])] {
            contest.enter(format!("{ours} {size}"), move |round: &mut Round| {
                let mut ns = 0.0;
                // Once off the clock, so that all that these keys touch is warm.
                stream.borrow_mut().build(&round[n], checksum, |build| build());
                stream.borrow_mut().build(&round[n], checksum, |build| ns = time(BURST, build));
                ns
            });
            let mut copier = Copier::new(size);
            contest.enter(format!("{floor} {size}"), move |round| {
                let positions: Vec<u32> = round[n].iter().map(|&at| at as u32).collect();
                copier.write(&positions);
                let mut frames = vec![[0; PAYLOAD_DEFAULT]; BURST];
                time(BURST, || {
                    for (frame, positions) in frames.iter_mut().zip(positions.chunks_exact(PER_PACKET)) {
                        copier.copy(black_box(positions), frame);
                        if checksum {
                            black_box(sum(frame));
                        }
                        black_box(frame);
                    }
                })
            });
        }
    }
    let results = contest.run(effort.rounds(100), || {
        streams.iter().map(|stream| stream.borrow_mut().pick(BURST * PER_PACKET)).collect()
    });
    for &size in &sizes {
        let [plain, crc] = row_names(size);
        let pair = |ours, floor| [format!("{ours} {size}"), format!("{floor} {size}")];
        for (row, [ours, floor]) in [(plain, pair("ours", "copy")), (crc, pair("ours, CRC", "copy, CRC"))] {
            rows.compare(row, &results, [&ours, &floor], Some(1.5));
        }
    }
    if sizes.len() == SIZES.len() {
        let ns = |size: &usize| results.ns(&format!("ours {size}"));
        let by_time = |a: &&usize, b: &&usize| ns(a).total_cmp(&ns(b));
        let (most, least) = (sizes.iter().max_by(by_time), sizes.iter().min_by(by_time));
        if let (Some(most), Some(least)) = (most, least) {
            let pair = [format!("ours {most}"), format!("ours {least}")];
            let ratio = results.ratio(&pair[0], &pair[1]);
            let other = format!("{} keys to {}", name(*most), name(*least));
            rows.push(Row::new("delta-sizes", other, Some([ns(most), ns(least)]), ratio, Some(1.5)));
        }
    }
}

/// Returns the checksum of a whole packet.
fn sum(frame: &[u8]) -> u32 {
    crc32fast::hash(frame)
}
