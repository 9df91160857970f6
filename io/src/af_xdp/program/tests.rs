//! The program against the encapsulation that judges what it lets through, in an interpreter and in the kernel.

use std::net::SocketAddr;

use popmap_core::Address;
use popmap_core::rng::Rng;
use popmap_core::time::Instant;

use super::super::assembler::opcode;
use super::super::bpf;
use super::*;
use crate::address;
use crate::encap::{Encap, Stripped};

const A: Mac = Mac([2, 0, 0, 0, 0, 0xfa]);
const B: Mac = Mac([2, 0, 0, 0, 0, 0xfb]);
const NOW: Instant = Instant::from_millis(1);
/// What the program says of frames that are ours, in these tests.
const OURS: i32 = 3;

/// Runs a program as the kernel does; panics where the kernel would refuse it.
fn interpret(program: &[Instruction], frame: &[u8]) -> i32 {
    const CONTEXT: u64 = 1 << 32;
    const START: u64 = 2 << 32;
    let end = START + frame.len() as u64;
    let mut registers = [0, CONTEXT, 0, 0, 0, 0];
    let mut at = 0;
    loop {
        let Instruction { opcode, offset, number, .. } = program[at];
        let (to, from) = program[at].registers();
        at += 1;
        let low = registers[to] as u32;
        let jump = match opcode {
            opcode::EXIT => return registers[0] as i32,
            opcode::COPY => {
                registers[to] = registers[from];
                false
            }
            opcode::SET => {
                registers[to] = i64::from(number) as u64;
                false
            }
            opcode::ADD => {
                registers[to] += i64::from(number) as u64;
                false
            }
            opcode::AND => {
                registers[to] &= i64::from(number) as u64;
                false
            }
            opcode::JUMP => true,
            opcode::JUMP_IS => low == number as u32,
            opcode::JUMP_IS_NOT => low != number as u32,
            opcode::JUMP_HAS_ANY => low & number as u32 != 0,
            opcode::JUMP_ABOVE => registers[to] > registers[from],
            load if load & 0xe7 == opcode::LOAD => {
                let width = match load & 0x18 {
                    0x10 => 1,
                    0x08 => 2,
                    _ => 4,
                };
                registers[to] = match (registers[from], offset) {
                    (CONTEXT, DATA) => START,
                    (CONTEXT, DATA_END) => end,
                    (pointer, offset) => {
                        let start = (pointer - START) as usize + usize::try_from(offset).unwrap();
                        let mut bytes = [0; 8];
                        let place = if cfg!(target_endian = "big") { 8 - width } else { 0 };
                        bytes[place..place + width].copy_from_slice(&frame[start..start + width]);
                        u64::from_ne_bytes(bytes)
                    }
                };
                false
            }
            other => panic!("opcode {other:#x}"),
        };
        if jump {
            at += usize::try_from(offset).unwrap();
        }
    }
}

fn takes(mac: Mac, config: &EncapConfig, frame: &[u8]) -> bool {
    match interpret(&assemble(mac, config, Take::Say(OURS)), frame) {
        OURS => true,
        PASS => false,
        other => panic!("{other}"),
    }
}

fn udp(local: &str) -> EncapConfig {
    let local: SocketAddr = local.parse().unwrap();
    EncapConfig::udp(local, if local.is_ipv4() { 24 } else { 64 }).insecure(true)
}

fn tagged(config: EncapConfig, vlan: u16) -> EncapConfig {
    EncapConfig { vlan: Some(vlan), ..config }
}

/// Each framing, for the one who sends and the one who receives.
fn framings() -> Vec<(EncapConfig, EncapConfig)> {
    let bare = EncapConfig::ethernet().insecure(true);
    let mut all = vec![
        (bare, bare),
        (udp("10.0.0.1:7946"), udp("10.0.0.2:7947")),
        (udp("[2001:db8::1]:7946"), udp("[2001:db8::ff02:2]:7947")),
    ];
    all.extend(all.clone().into_iter().map(|(left, right)| (tagged(left, 0x123), tagged(right, 0x123))));
    all
}

fn encap(mac: Mac, config: &EncapConfig) -> Encap {
    Encap::new(mac, config).unwrap()
}

fn everyone(config: &EncapConfig) -> Address {
    match &config.framing {
        Framing::Ethernet { .. } => address::from_mac(Mac::BROADCAST),
        Framing::Udp(udp) => {
            let all = if udp.local.is_ipv4() { "10.0.0.255:7947" } else { "[ff02::1]:7947" };
            address::from_socket(all.parse().unwrap())
        }
    }
}

fn due(encap: &mut Encap) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut frame = vec![0; encap.frame_len()];
    while let Some(len) = encap.poll_transmit(NOW, &mut frame) {
        frames.push(frame[..len].to_vec());
    }
    frames
}

/// All kinds of frames from A to B that B is to get, without announcements, which it is not: about addresses, and with
/// payloads.
fn kinds(left: &EncapConfig, right: &EncapConfig) -> [Vec<Vec<u8>>; 2] {
    let (mut a, mut b) = (encap(A, left), encap(B, right));
    let _announced = (due(&mut a), due(&mut b));
    let mut frame = vec![7; a.frame_len()];
    let (mut about, mut payloads) = (Vec::new(), Vec::new());
    // The question for B, and the answer to B's.
    let _ = a.prepend(NOW, b.local(), &mut frame, 5);
    let _ = b.prepend(NOW, a.local(), &mut vec![0; b.frame_len()], 5);
    let (from_a, from_b) = (due(&mut a), due(&mut b));
    from_b.iter().for_each(|frame| assert_eq!(a.strip(NOW, frame), Stripped::Resolution));
    about.extend(from_a);
    about.extend(due(&mut a));
    about.iter().for_each(|frame| assert_eq!(b.strip(NOW, frame), Stripped::Resolution));
    due(&mut b).iter().for_each(|frame| assert_eq!(a.strip(NOW, frame), Stripped::Resolution));
    for to in [b.local(), everyone(right)] {
        for len in [0, 1, 31, 200, 1_400] {
            let len = a.prepend(NOW, to, &mut frame, len).unwrap();
            assert!(matches!(b.strip(NOW, &frame[..len]), Stripped::Payload { .. }));
            payloads.push(frame[..len].to_vec());
        }
    }
    [about, payloads]
}

fn frames(left: &EncapConfig, right: &EncapConfig) -> Vec<Vec<u8>> {
    kinds(left, right).concat()
}

#[test]
fn what_the_other_sends_us_is_ours() {
    for (left, right) in framings() {
        let frames = frames(&left, &right);
        assert!(frames.len() >= 10);
        for frame in &frames {
            assert!(takes(B, &right, frame), "{right:?}: {frame:x?}");
        }
    }
}

#[test]
fn what_is_for_others_is_passed() {
    let configs = framings();
    let others = [
        (A, udp("10.0.0.2:7947")),
        (B, udp("10.0.0.3:7947")),
        (B, udp("10.0.0.2:7948")),
        (B, udp("[2001:db8::3]:7947")),
        (B, udp("[2001:db8::ff02:2]:7948")),
        (A, udp("[2001:db8::ff02:2]:7947")),
        (B, tagged(udp("10.0.0.2:7947"), 0x124)),
        (B, tagged(udp("[2001:db8::ff02:2]:7947"), 0x124)),
        (A, EncapConfig::ethernet().insecure(true)),
        (B, tagged(EncapConfig::ethernet().insecure(true), 0x124)),
        (B, EncapConfig::new(Framing::Ethernet { ethertype: 0x88b6 }).insecure(true)),
    ];
    let ip = |config: &EncapConfig| match &config.framing {
        Framing::Udp(udp) => Some(udp.local.ip()),
        Framing::Ethernet { .. } => None,
    };
    for (left, right) in &configs {
        let [about, payloads] = kinds(left, right);
        let to_one = |frame: &&Vec<u8>| frame[0] & 1 == 0;
        for (mac, other) in &others {
            for frame in payloads.iter().filter(to_one) {
                assert!(!takes(*mac, other, frame), "{mac} {other:?}: {frame:x?}");
            }
            // Frames about an address know no port.
            if (*mac, ip(other), other.vlan) == (B, ip(right), right.vlan) {
                continue;
            }
            for frame in about.iter().filter(to_one) {
                assert!(!takes(*mac, other, frame), "{mac} {other:?}: {frame:x?}");
            }
        }
    }
}

#[test]
fn announcements_and_questions_for_others_stay_the_kernels() {
    for (left, right) in framings() {
        for frame in due(&mut encap(A, &left)) {
            assert!(!takes(B, &right, &frame), "{right:?}: {frame:x?}");
        }
    }
    // A whole group is asked for one address.
    let (left, right) = (udp("[2001:db8::1]:7946"), udp("[2001:db8:0:0:1::ff02:2]:7947"));
    let near = udp("[2001:db8::ff02:2]:7947");
    let mut asking = encap(A, &left);
    let _announced = due(&mut asking);
    let near = address::from_socket(match near.framing {
        Framing::Udp(udp) => udp.local,
        Framing::Ethernet { .. } => unreachable!(),
    });
    let _ = asking.prepend(NOW, near, &mut vec![0; asking.frame_len()], 1);
    let asked = due(&mut asking);
    assert!(!asked.is_empty() && asked.iter().all(|frame| !takes(B, &right, frame)));
}

#[test]
fn a_priority_without_a_vlan_is_no_tag() {
    let (left, right) = (tagged(udp("10.0.0.1:7946"), 1), udp("10.0.0.2:7947"));
    for mut frame in frames(&left, &tagged(right, 1)) {
        assert!(!takes(B, &right, &frame));
        frame[14..16].copy_from_slice(&[0xe0, 0]);
        assert!(takes(B, &right, &frame));
        assert!(!takes(B, &tagged(right, 1), &frame));
    }
}

/// The program must not be stricter than the judge: a frame that is damaged and good all the same gets through.
#[test]
fn what_the_encapsulation_accepts_is_ours() {
    let mut rng = Rng::new(0x5eed);
    let mut accepted = 0;
    for (left, right) in framings() {
        let (frames, program) = (frames(&left, &right), assemble(B, &right, Take::Say(OURS)));
        for frame in &frames {
            for _ in 0..2_000 {
                let mut frame = frame.clone();
                frame.truncate(if rng.below(4) == 0 {
                    rng.below(frame.len() as u64 + 1) as usize
                } else {
                    1_500
                });
                for _ in 0..rng.below(3) {
                    let at = rng.below(frame.len().clamp(1, 80) as u64) as usize;
                    if let Some(byte) = frame.get_mut(at) {
                        *byte = rng.below(256) as u8;
                    }
                }
                let stripped = encap(B, &right).strip(NOW, &frame);
                let said = interpret(&program, &frame);
                if matches!(stripped, Stripped::Payload { .. }) {
                    accepted += 1;
                    assert_eq!(said, OURS, "{right:?}: {frame:x?}");
                }
            }
        }
    }
    assert!(accepted > 10_000, "{accepted}");
}

/// Also the proof that the kernel's verifier accepts every program.
#[test]
fn the_kernel_says_the_same() {
    for (left, right) in framings() {
        let program = assemble(B, &right, Take::Say(OURS));
        let loaded = match bpf::load(&program) {
            Ok(loaded) => loaded,
            Err(error) if error.is_permission() => {
                println!("NOT TESTED: loading a program needs CAP_BPF and CAP_NET_ADMIN: {error}");
                assert!(std::env::var_os("POPMAP_REQUIRE_NETNS").is_none_or(|value| value != "1"));
                return;
            }
            Err(error) => panic!("{right:?}: {error}"),
        };
        let map = bpf::socket_map(1).unwrap();
        bpf::load(&assemble(B, &right, Take::Redirect(bpf::descriptor(&map)))).unwrap();
        let mut rng = Rng::new(0x5eed);
        for frame in frames(&left, &right).iter().flat_map(|frame| std::iter::repeat_n(frame, 50)) {
            let mut frame = frame.clone();
            let at = rng.below(frame.len().min(80) as u64) as usize;
            if rng.below(2) == 0 {
                frame[at] ^= 1 << rng.below(8);
            }
            // The kernel runs nothing on less than an Ethernet header and a byte.
            frame.truncate(if rng.below(4) == 0 { at.max(15) } else { 1_500 });
            let said = bpf::test_run(&loaded, &frame).unwrap();
            assert_eq!(said, interpret(&program, &frame).cast_unsigned(), "{right:?}: {frame:x?}");
        }
    }
}
