//! The filter: which frames of an interface the kernel puts into the ring at all.
//!
//! Knows classic BPF. Must not judge a frame: what may be for us passes, and the encapsulation counts what is wrong
//! with it. What is for others, on a busy host its own traffic most of all, costs these few instructions and no more.
//!
//! | framing | passes, with an 802.1Q tag or without |
//! |---|---|
//! | any | frames too short to tell |
//! | bare Ethernet | our EtherType |
//! | UDP in IPv4 | ARP; IPv4 to our address, or in a frame to a group |
//! | UDP in IPv6 | IPv6 to our address, or in a frame to a group |
//!
//! A socket that is bound to the EtherType would need no program. But it is handed frames only after their tags were
//! taken off and forgotten, and none on a port of a bridge.

use std::net::IpAddr;

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LEN, BPF_RET, BPF_W,
};
use socket2::SockFilter;

use crate::address;
use crate::encap::Encap;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGGED: u32 = 0x8100;

/// Where things are in a frame without a tag.
const DESTINATION: u32 = 0;
const ETHERTYPE: u32 = 12;
const V4_DESTINATION: u32 = 30;
const V6_DESTINATION: u32 = 38;

/// What the kernel knows of a frame beside its bytes.
const TAG_PRESENT: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT) as u32;
const TAG_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TPID) as u32;

/// The bit of the first byte of a MAC address that makes it a group's.
const GROUP: u32 = 1;
/// More bytes than any frame has: all of it.
const ALL: u32 = 0x40000;

/// Where to go on.
#[derive(Clone, Copy, Debug)]
enum Go {
    /// Behind so many instructions.
    Skip(u8),
    /// At the end that lets the frame pass.
    Pass,
    /// At the end that drops it.
    Drop,
}

const NEXT: Go = Go::Skip(0);

/// One instruction: a code, where to go on if so and if not, and a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// Returns the program for an encapsulation.
pub(super) fn program(encap: &Encap) -> Vec<SockFilter> {
    instructions(encap).iter().map(|i| SockFilter::new(i.code, i.yes, i.no, i.k)).collect()
}

fn instructions(encap: &Encap) -> Vec<Instruction> {
    let local = address::to_socket(encap.local()).map(|local| local.ip());
    let (ip, at, words) = match local {
        None => (None, ETHERTYPE + 2, Vec::new()),
        Some(IpAddr::V4(ip)) => (Some(IPV4), V4_DESTINATION, vec![ip.to_bits()]),
        Some(IpAddr::V6(ip)) => (Some(IPV6), V6_DESTINATION, words(ip.to_bits())),
    };
    let enough = at + 4 * words.len() as u32;
    let mut steps = vec![
        (BPF_LD | BPF_W | BPF_LEN, 0, NEXT, NEXT),
        (BPF_JMP | BPF_JGE | BPF_K, enough, NEXT, Go::Pass),
        (BPF_LD | BPF_W | BPF_ABS, TAG_PRESENT, NEXT, NEXT),
        (BPF_JMP | BPF_JEQ | BPF_K, 0, Go::Skip(2), NEXT),
        (BPF_LD | BPF_W | BPF_ABS, TAG_TYPE, NEXT, NEXT),
        (BPF_JMP | BPF_JEQ | BPF_K, TAGGED, NEXT, Go::Drop),
        (BPF_LD | BPF_H | BPF_ABS, ETHERTYPE, NEXT, NEXT),
    ];
    let is = |ethertype: u16, yes, no| (BPF_JMP | BPF_JEQ | BPF_K, u32::from(ethertype), yes, no);
    let others = encap.ethertypes().filter(|&ethertype| Some(ethertype) != ip);
    steps.extend(others.map(|ethertype| is(ethertype, Go::Pass, NEXT)));
    match ip {
        None => steps.push((BPF_RET | BPF_K, 0, NEXT, NEXT)),
        Some(ip) => {
            steps.push(is(ip, NEXT, Go::Drop));
            steps.push((BPF_LD | BPF_B | BPF_ABS, DESTINATION, NEXT, NEXT));
            steps.push((BPF_JMP | BPF_JSET | BPF_K, GROUP, Go::Pass, NEXT));
        }
    }
    for (word, at) in words.into_iter().zip((at..).step_by(4)) {
        steps.push((BPF_LD | BPF_W | BPF_ABS, at, NEXT, NEXT));
        steps.push((BPF_JMP | BPF_JEQ | BPF_K, word, NEXT, Go::Drop));
    }
    let end = steps.len();
    steps.push((BPF_RET | BPF_K, ALL, NEXT, NEXT));
    steps.push((BPF_RET | BPF_K, 0, NEXT, NEXT));
    let resolve = |here: usize, go| match go {
        Go::Skip(count) => count,
        Go::Pass => (end - here - 1) as u8,
        Go::Drop => (end - here) as u8,
    };
    let assemble = |(here, (code, k, yes, no)): (usize, (u32, u32, Go, Go))| Instruction {
        code: code as u16,
        yes: resolve(here, yes),
        no: resolve(here, no),
        k,
    };
    steps.into_iter().enumerate().map(assemble).collect()
}

/// Returns the 32-bit words of an IPv6 address.
fn words(bits: u128) -> Vec<u32> {
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Mac;
    use crate::encap::EncapConfig;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const ALL_STATIONS: [u8; 6] = [0xff; 6];

    /// Runs a program as the kernel does; `tag` is the type of a tag that was taken off.
    fn passes(program: &[Instruction], frame: &[u8], tag: Option<u16>) -> bool {
        let (mut at, mut a) = (0, 0u32);
        loop {
            let Instruction { code, yes, no, k } = program[at];
            at += 1;
            let code = u32::from(code);
            let load = |len: usize| {
                let bytes = frame.get(k as usize..)?.get(..len)?;
                Some(bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)))
            };
            let jump = |so| usize::from(if so { yes } else { no });
            let loaded = match code {
                _ if code == BPF_LD | BPF_W | BPF_LEN => Some(frame.len() as u32),
                _ if code == BPF_LD | BPF_W | BPF_ABS && k == TAG_PRESENT => Some(tag.is_some().into()),
                _ if code == BPF_LD | BPF_W | BPF_ABS && k == TAG_TYPE => Some(tag.unwrap_or(0).into()),
                _ if code == BPF_LD | BPF_W | BPF_ABS => load(4),
                _ if code == BPF_LD | BPF_H | BPF_ABS => load(2),
                _ if code == BPF_LD | BPF_B | BPF_ABS => load(1),
                _ if code == BPF_RET | BPF_K => return k > 0,
                _ => {
                    at += match code {
                        _ if code == BPF_JMP | BPF_JEQ | BPF_K => jump(a == k),
                        _ if code == BPF_JMP | BPF_JGE | BPF_K => jump(a >= k),
                        _ if code == BPF_JMP | BPF_JSET | BPF_K => jump(a & k != 0),
                        _ => panic!("code {code:#x}"),
                    };
                    continue;
                }
            };
            match loaded {
                Some(loaded) => a = loaded,
                // Beyond the end: the kernel drops the frame.
                None => return false,
            }
        }
    }

    fn compiled(config: &EncapConfig) -> Vec<Instruction> {
        let encap = Encap::new(Mac(MAC), &config.insecure(true)).unwrap();
        let program = instructions(&encap);
        assert!(program.len() < 256);
        program
    }

    fn frame(to: [u8; 6], ethertype: u16, rest: &[u8]) -> Vec<u8> {
        let mut frame = to.to_vec();
        frame.extend([2, 0, 0, 0, 0, 9]);
        frame.extend(ethertype.to_be_bytes());
        frame.extend(rest);
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// A header of an IP packet, as far as the filter looks.
    fn ip(destination: IpAddr) -> Vec<u8> {
        match destination {
            IpAddr::V4(ip) => [&[0; 16][..], &ip.octets()].concat(),
            IpAddr::V6(ip) => [&[0; 24][..], &ip.octets()].concat(),
        }
    }

    #[test]
    fn bare_frames_pass_by_their_type() {
        let program = compiled(&EncapConfig::ethernet());
        for (ethertype, expected) in [(0x88b5, true), (0x88b6, false), (IPV4, false), (0x0806, false)] {
            assert_eq!(passes(&program, &frame(MAC, ethertype, &[]), None), expected, "{ethertype:#x}");
        }
        // To whomever: a wrong one is counted.
        assert!(passes(&program, &frame([2; 6], 0x88b5, &[]), None));
        assert!(passes(&program, &[0; 13], None), "a runt is counted");
    }

    #[test]
    fn only_tags_of_one_kind_pass() {
        for config in [EncapConfig::ethernet(), EncapConfig::udp("10.0.0.1:7946".parse().unwrap(), 24)] {
            let program = compiled(&config);
            let ethertype = if config == EncapConfig::ethernet() { 0x88b5 } else { 0x0806 };
            let frame = |ethertype| frame(ALL_STATIONS, ethertype, &[0; 40]);
            assert!(passes(&program, &frame(ethertype), Some(0x8100)));
            assert!(!passes(&program, &frame(ethertype), Some(0x88a8)));
            // A second one.
            assert!(!passes(&program, &frame(0x8100), Some(0x8100)));
        }
    }

    #[test]
    fn packets_for_our_address_pass_and_the_hosts_own_do_not() {
        for (ours, other, ethertype, foreign) in [
            ("10.0.0.1", "10.0.0.2", IPV4, IPV6),
            ("2001:db8::1", "2001:db8::2", IPV6, IPV4),
            ("2001:db8::1", "3001:db8::1", IPV6, 0x88b5),
        ] {
            let local = std::net::SocketAddr::new(ours.parse().unwrap(), 7946);
            let program = compiled(&EncapConfig::udp(local, 24));
            let packet = |ip: &str| self::ip(ip.parse().unwrap());
            assert!(passes(&program, &frame(MAC, ethertype, &packet(ours)), None));
            assert!(!passes(&program, &frame(MAC, ethertype, &packet(other)), None), "{other}");
            assert!(!passes(&program, &frame(MAC, foreign, &packet(ours)), None));
            // To everyone, or to all that may have an address: the encapsulation looks on.
            assert!(passes(&program, &frame(ALL_STATIONS, ethertype, &packet(other)), None));
            assert!(passes(&program, &frame([0x33, 0x33, 0, 0, 0, 1], ethertype, &packet(other)), None));
            assert_eq!(passes(&program, &frame(ALL_STATIONS, 0x0806, &[0; 46]), None), ours == "10.0.0.1");
            let short = &frame(MAC, ethertype, &[])[..30];
            assert!(passes(&program, short, None), "too short to tell is counted");
        }
    }
}
