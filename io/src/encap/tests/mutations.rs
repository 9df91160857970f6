//! Frames damaged at random: nothing panics, and no payload with a wrong checksum passes.

use popmap_core::rng::Rng;

use super::golden::*;
use super::*;

const FRAMES: [&str; 20] = [
    BARE,
    BARE_TAGGED,
    UDP4,
    UDP4_TAGGED,
    UDP4_NO_ZERO,
    UDP6,
    UDP6_EVERYONE,
    ARP_REQUEST,
    ARP_REPLY,
    ARP_ANNOUNCEMENT,
    ARP_PROBE_OF_STATION,
    ARP_REQUEST_TAGGED,
    NS,
    NS_STATION,
    NA,
    NA_UNSOLICITED,
    ARP_PROBE,
    ARP_PROBE_REPLY,
    DAD_NS,
    DAD_NA,
];

fn below(rng: &mut Rng, bound: usize) -> usize {
    rng.below(bound as u64) as usize
}

/// Does up to three things to a frame.
fn damage(rng: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..rng.below(4) {
        let at = below(rng, frame.len().max(1));
        match rng.below(6) {
            _ if frame.is_empty() => frame.push(0),
            0 => frame[at] ^= 1 << rng.below(8),
            1 => frame[at] = rng.next_u64() as u8,
            2 => frame.truncate(at),
            3 => frame.extend((0..rng.below(20)).map(|byte| byte as u8)),
            4 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][below(rng, 5)],
            _ => {
                let (from, len) = (below(rng, frame.len()), below(rng, 8));
                let end = (from + len).min(frame.len());
                let part = frame[from..end].to_vec();
                let end = (at + part.len()).min(frame.len());
                frame.splice(at..end, part);
            }
        }
    }
}

/// Both stations in every framing that the frames are of.
fn stations() -> Vec<Encap> {
    let other = EncapConfig::new(Framing::Ethernet { ethertype: ETHERTYPE_OTHER }).insecure(true);
    let port_258 = |local: &str| udp_config(&local.replace("7946", "258"));
    let mut all = vec![bare(B), tagged(B, other, 100), tagged(B, udp_config(B6), 100)];
    all.push(tagged(B, udp_config(B4), 4_094));
    for local in [B4, B6] {
        all.extend([udp(B, local), Encap::new(B, &port_258(local)).unwrap()]);
    }
    all.extend([udp(A, A4), udp(A, A6)]);
    all
}

#[test]
fn damaged_frames_never_panic_and_never_pass_with_a_wrong_checksum() {
    let mut rng = Rng::new(2_026);
    let frames = FRAMES.map(bytes);
    let mut stations = stations();
    let peers = [B4, B6, A4, A6, "10.0.0.77:1"].map(|text| address::from_socket(socket(text)));
    let (mut now, mut out) = (Instant::ZERO, vec![0; 1_600]);
    let (mut passed, mut mended) = (0, 0);
    for _ in 0..100_000 {
        let mut frame = frames[below(&mut rng, frames.len())].clone();
        damage(&mut rng, &mut frame);
        // Else hardly any would come past the checksums.
        if rng.below(2) == 0 {
            frame = mend(frame);
            mended += 1;
        }
        now = now + Duration::from_millis(rng.below(20));
        for encap in &mut stations {
            if let Stripped::Payload { bytes, .. } = encap.strip(now, &frame) {
                passed += 1;
                let inside = frame.as_ptr_range();
                assert!(bytes.is_empty() || inside.contains(&bytes.as_ptr()));
                check(encap, &frame, bytes);
            }
        }
        let encap = &mut stations[below(&mut rng, 10)];
        let _ = encap.prepend(now, peers[below(&mut rng, peers.len())], &mut out, 10);
        if rng.below(4) == 0 {
            assert!(encap.poll_transmit(now, &mut out).is_none_or(|len| (60..=90).contains(&len)));
        }
    }
    assert!(passed > 5_000 && mended > 40_000, "{passed} passed: too few to mean anything");
    // Damage came to every check.
    let mut counts = [0; Ignored::ALL.len()];
    for encap in &stations {
        encap.stats().ignored().for_each(|(reason, count)| counts[reason.index()] += count);
    }
    let unseen: Vec<_> = Ignored::ALL.iter().filter(|reason| counts[reason.index()] == 0).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

/// Checks what passed by other means.
fn check(encap: &Encap, frame: &[u8], payload: &[u8]) {
    let header = encap.headroom();
    if matches!(encap.framing, Wrapping::Bare { .. }) {
        let tag = if frame[12..14] == [0x81, 0] { 4 } else { 0 };
        let stated = u16::from_be_bytes([frame[18 + tag], frame[19 + tag]]);
        assert_eq!(usize::from(stated), payload.len());
        return;
    }
    let (ip, rest) = layers(frame).expect("a payload has its headers");
    assert_eq!(rest.len(), payload.len() + 8, "{header}");
    if frame[ip] >> 4 == 4 {
        assert_eq!(sum(&[&frame[ip..ip + 20]]), 0);
        if frame[rest.start + 6..rest.start + 8] == [0, 0] {
            return;
        }
    }
    assert_eq!(transport_sum(frame, ip, &rest), 0);
}
