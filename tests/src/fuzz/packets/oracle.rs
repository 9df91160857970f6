//! The documented format, checked anew from `core/docs/wire.md`: offsets and numbers, and nothing of the code under test.

use popmap_core::{Key, Reject, Shape};

use crate::forge::checksum;
use crate::fuzz::bytes::number;

/// Says whether a packet is to be taken by a receiver with these slots, or for what it is to be rejected first.
///
/// # Errors
/// The reason.
pub fn judge(bytes: &[u8], cluster: u64, shape: &Shape, slots: usize) -> Result<(), Reject> {
    let (kind, body, members) = header(bytes, cluster, slots)?;
    if !members.chunks(64).all(|entry| is_member(entry, slots)) {
        return Err(Reject::Member);
    }
    self::body(kind, body, shape, slots)
}

/// Fails with `why` unless it is so.
fn require(is_so: bool, why: Reject) -> Result<(), Reject> {
    if is_so { Ok(()) } else { Err(why) }
}

/// Returns the kind, the body without members, and those.
fn header(bytes: &[u8], cluster: u64, slots: usize) -> Result<(u8, &[u8], &[u8]), Reject> {
    require(bytes.len() >= 64, Reject::Truncated)?;
    let kind = bytes[1];
    require(bytes[0] >> 4 == 1, Reject::WireVersion)?;
    require((1..=13).contains(&kind), Reject::Kind)?;
    require(number::<8>(bytes, 8) == cluster, Reject::Cluster)?;
    let length = number::<2>(bytes, 20) as usize;
    require(length >= 64, Reject::Length)?;
    require(length <= bytes.len(), Reject::Truncated)?;
    require(bytes[22] == 0, Reject::KeyId)?;
    let packet = &bytes[..length];
    require(number::<4>(bytes, 4) == u64::from(checksum(packet)), Reject::Checksum)?;
    require(usize::from(bytes[2]) < slots && number::<8>(bytes, 24) != 0, Reject::Header)?;
    let members = 64 * usize::from(bytes[23]);
    require(64 + members <= length, Reject::Length)?;
    let (body, members) = packet[64..].split_at(length - 64 - members);
    Ok((kind, body, members))
}

fn is_member(entry: &[u8], slots: usize) -> bool {
    usize::from(entry[0]) < slots
        && (1..=4).contains(&entry[1])
        && entry[12..16].iter().all(|&by| by == 0 || usize::from(by - 1) < slots)
        && number::<8>(entry, 16) != 0
}

fn body(kind: u8, body: &[u8], shape: &Shape, slots: usize) -> Result<(), Reject> {
    const FIXED: [usize; 13] = [40, 40, 32, 24, 40, 8, 24, 16, 16, 16, 16, 16, 0];
    let fixed = FIXED[usize::from(kind) - 1];
    require(body.len() >= fixed, Reject::Length)?;
    if kind <= 8 {
        require(number::<4>(body, 0) == u64::from(shape.schema), Reject::Schema)?;
        require(number::<2>(body, 4) == u64::from(shape.value_len), Reject::ValueLength)?;
    }
    let list = &body[fixed..];
    match kind {
        1 => {
            let behind = version(list, slots)?;
            if number::<2>(body, 26) & 8 == 0 {
                return Ok(());
            }
            let forgotten = &behind[..behind.len() - version(behind, slots)?.len()];
            // All of a generation each.
            require(forgotten[8..].chunks(8).all(|counter| counter[..4] == [0xff; 4]), Reject::Field)
        }
        2 => {
            let [from, to, head] = [8, 16, 24].map(|at| number::<8>(body, at));
            let flags = number::<4>(body, 36);
            let complete = flags & 2 != 0;
            require(from <= to && to <= head && (!complete || to == head), Reject::Field)?;
            let behind = version(records(body, fixed, shape, slots)?.1, slots)?;
            if flags & 16 == 0 { Ok(()) } else { version(behind, slots).map(|_| ()) }
        }
        3 => {
            require(number::<8>(body, 8) <= number::<8>(body, 16), Reject::Field)?;
            records(body, fixed, shape, slots).map(|_| ())
        }
        4 => {
            let (count, first, bits) = (number::<2>(body, 6), number::<4>(body, 16), body[20]);
            require(bits <= 31 && count > 0 && first + count <= 1 << bits, Reject::Field)?;
            require(list.len() as u64 >= 8 * count, Reject::Length)
        }
        5 => {
            let (records, _) = records(body, fixed, shape, slots)?;
            let (from, to, back) = (number::<8>(body, 16), number::<8>(body, 24), body[32] & 1 != 0);
            let is_inside = |record: &[u8]| {
                let mix = Key(record[..16].try_into().expect("a key")).mix();
                from <= mix && mix <= to && record[29] & 1 == 0
            };
            let inside = records.chunks(shape.record_len()).all(is_inside);
            require(from <= to && (inside || back), Reject::Field)
        }
        6 => {
            let (records, _) = records(body, fixed, shape, slots)?;
            let live = records.chunks(shape.record_len()).all(|record| record[29] & 1 == 0);
            require(live, Reject::Field)
        }
        8 => records(body, fixed, shape, slots).map(|_| ()),
        9 => require(usize::from(body[4]) < slots && number::<8>(body, 8) != 0, Reject::Field),
        10..=12 => require(usize::from(body[4]) < slots, Reject::Field),
        _ => Ok(()),
    }
}

/// Splits a body behind its fixed part into its records and the rest.
fn records<'b>(
    body: &'b [u8],
    fixed: usize,
    shape: &Shape,
    slots: usize,
) -> Result<(&'b [u8], &'b [u8]), Reject> {
    let value_len = usize::from(shape.value_len);
    let record_len = 32 + value_len.div_ceil(8) * 8;
    let len = number::<2>(body, 6) as usize * record_len;
    require(body.len() - fixed >= len, Reject::Length)?;
    let (records, rest) = body[fixed..].split_at(len);
    let is_record = |record: &[u8]| {
        let used = if record[29] == 1 { 32 } else { 32 + value_len };
        number::<8>(record, 16) != 0
            && number::<4>(record, 24) != 0
            && usize::from(record[28]) < slots
            && record[29] <= 1
            && record[30..32] == [0, 0]
            && record[used..].iter().all(|&byte| byte == 0)
    };
    require(records.chunks(record_len).all(is_record), Reject::Record)?;
    Ok((records, rest))
}

/// Returns what is behind a version vector.
fn version(bytes: &[u8], slots: usize) -> Result<&[u8], Reject> {
    require(bytes.len() >= 8, Reject::Length)?;
    let bitmap = number::<8>(bytes, 0);
    require(slots == 64 || bitmap >> slots == 0, Reject::Field)?;
    let len = 8 + 8 * bitmap.count_ones() as usize;
    require(bytes.len() >= len, Reject::Length)?;
    Ok(&bytes[len..])
}
