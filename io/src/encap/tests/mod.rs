//! Frames that were made elsewhere, and what tests do with them.

mod golden;
mod mutations;
mod rejects;
mod resolution;
mod round_trips;

use std::net::SocketAddr;

use popmap_core::time::Duration;

use super::*;

pub(super) const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(super) const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(super) const A4: &str = "10.0.0.1:7946";
pub(super) const B4: &str = "10.0.0.2:7946";
pub(super) const A6: &str = "[2001:db8::a:1]:7946";
pub(super) const B6: &str = "[2001:db8::b:2]:7946";

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn bare(mac: Mac) -> Encap {
    Encap::new(mac, &EncapConfig::ethernet().insecure(true)).unwrap()
}

fn udp_config(local: &str) -> EncapConfig {
    let local = socket(local);
    EncapConfig::udp(local, if local.is_ipv4() { 24 } else { 32 }).insecure(true)
}

fn udp(mac: Mac, local: &str) -> Encap {
    Encap::new(mac, &udp_config(local)).unwrap()
}

fn tagged(mac: Mac, config: EncapConfig, vlan: u16) -> Encap {
    Encap::new(mac, &EncapConfig { vlan: Some(vlan), ..config }).unwrap()
}

/// The next frame due beside payloads.
fn polled(encap: &mut Encap, now: Instant) -> Option<Vec<u8>> {
    // Whatever was in the buffer must not get out.
    let mut frame = vec![0xee; encap.frame_len()];
    let len = encap.poll_transmit(now, &mut frame)?;
    frame.truncate(len);
    Some(frame)
}

/// A frame with this payload.
fn sent(encap: &mut Encap, now: Instant, to: Address, payload: &[u8]) -> Result<Vec<u8>, Unsent> {
    let mut frame = vec![0xee; encap.frame_len().max(encap.headroom() + payload.len())];
    let start = encap.headroom();
    frame[start..start + payload.len()].copy_from_slice(payload);
    let len = encap.prepend(now, to, &mut frame, payload.len())?;
    frame.truncate(len);
    Ok(frame)
}

/// Two that have found each other, and have nothing left to say.
fn pair(mut left: Encap, mut right: Encap, now: Instant) -> (Encap, Encap) {
    let _ = sent(&mut left, now, right.local(), b"");
    settle(&mut left, &mut right, now, |_| false);
    (left, right)
}

/// Carries what is due to the other until there is nothing; `lose` decides by the number of the frame.
fn settle(left: &mut Encap, right: &mut Encap, now: Instant, mut lose: impl FnMut(usize) -> bool) {
    let mut number = 0;
    loop {
        let mut quiet = true;
        while let Some(frame) = polled(left, now) {
            quiet = false;
            number += 1;
            if !lose(number) {
                let _ = right.strip(now, &frame);
            }
        }
        while let Some(frame) = polled(right, now) {
            quiet = false;
            number += 1;
            if !lose(number) {
                let _ = left.strip(now, &frame);
            }
        }
        if quiet {
            return;
        }
    }
}

/// The reasons that were counted, each as often as it was.
fn ignored(encap: &Encap) -> Vec<Ignored> {
    let stats = encap.stats();
    stats.ignored().flat_map(|(reason, count)| std::iter::repeat_n(reason, count as usize)).collect()
}

fn unsent(encap: &Encap) -> Vec<Unsent> {
    let stats = encap.stats();
    stats.unsent().flat_map(|(reason, count)| std::iter::repeat_n(reason, count as usize)).collect()
}

/// The Internet checksum as RFC 1071 defines it, over parts of even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where the IP header of an IP frame is, and what is behind it as long as it says, if all of that is there.
fn layers(frame: &[u8]) -> Option<(usize, std::ops::Range<usize>)> {
    let ip = if frame.get(12..14)? == [0x81, 0] { 18 } else { 14 };
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])));
    let rest = match frame.get(ip)? >> 4 {
        4 => ip + 20..ip + number(ip + 2)?,
        6 => ip + 40..ip + 40 + number(ip + 4)?,
        _ => return None,
    };
    (rest.start + 8 <= rest.end && rest.end <= frame.len()).then_some((ip, rest))
}

/// The sum over pseudo header and rest, zero when its checksum is right.
fn transport_sum(frame: &[u8], ip: usize, rest: &std::ops::Range<usize>) -> u16 {
    let four = frame[ip] >> 4 == 4;
    let addresses = if four { ip + 12..ip + 20 } else { ip + 8..ip + 40 };
    let protocol = frame[if four { ip + 9 } else { ip + 6 }];
    let len = (rest.len() as u16).to_be_bytes();
    sum(&[&frame[addresses], &[0, protocol], &len, &frame[rest.clone()]])
}

/// Puts right every checksum of an IP frame, so that what is wrong with it is something else.
fn mend(mut frame: Vec<u8>) -> Vec<u8> {
    let Some((ip, rest)) = layers(&frame) else { return frame };
    let protocol = if frame[ip] >> 4 == 4 {
        frame[ip + 10..ip + 12].fill(0);
        let right = sum(&[&frame[ip..ip + 20]]);
        frame[ip + 10..ip + 12].copy_from_slice(&right.to_be_bytes());
        frame[ip + 9]
    } else {
        frame[ip + 6]
    };
    let field = rest.start + if protocol == 17 { 6 } else { 2 };
    frame[field..field + 2].fill(0);
    let right = transport_sum(&frame, ip, &rest);
    frame[field..field + 2].copy_from_slice(&right.to_be_bytes());
    frame
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
