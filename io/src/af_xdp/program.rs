//! The redirect program: which of an interface's frames are this server's, decided in the driver.
//!
//! Knows where the fields stand that tell. Must not know how a program is loaded, nor be the judge of a frame: what it
//! lets through is checked by the encapsulation, as on any device. What it does not take goes on to the host's kernel,
//! as if there were no program.
//!
//! Taken are frames for our MAC address or a group, in our VLAN, and of these
//!
//! | framing | what |
//! |---|---|
//! | bare Ethernet | our EtherType |
//! | UDP in IPv4 | our port at our address or at a broadcast address of the link; ARP about our address |
//! | UDP in IPv6 | our port at our address or at all nodes; neighbour discovery about our address or to it |
//!
//! so that the rest of the host works on: its own addresses, its own ARP, its pings. A frame for everyone that both want
//! goes to one of them only. What others announce of themselves unasked, ARP or advertisements, is the kernel's: the
//! encapsulation hears it from their packets.
//!
//! Registers: R1 the context, R2 the frame (past the tag's four bytes where there is one, so that all that follows
//! stands at one offset), R3 the frame's end, R4 the end of what is looked at, R5 a field.

use std::net::IpAddr;

use super::assembler::{Assembler, Instruction, Label, Reg, When, Width};
use crate::address::Mac;
use crate::encap::{EncapConfig, Framing};

/// Fields of the program's context, `struct xdp_md`, by their offsets.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const QUEUE: i16 = 16;
/// What a program returns to have the kernel take the frame.
const PASS: i32 = 2;
/// `bpf_redirect_map(map, key, otherwise)`.
const REDIRECT_MAP: i32 = 51;

/// Offsets in a frame without a tag.
const ETHERTYPE: i16 = 12;
const CONTROL: i16 = 14;
const ETHERNET_END: i16 = 14;
const TAG_LEN: i16 = 4;
const V4_PROTOCOL: i16 = ETHERNET_END + 9;
const V4_DESTINATION: i16 = ETHERNET_END + 16;
const V4_END: i16 = ETHERNET_END + 20;
const ARP_TARGET: i16 = ETHERNET_END + 24;
const ARP_END: i16 = ETHERNET_END + 28;
const V6_NEXT: i16 = ETHERNET_END + 6;
const V6_DESTINATION: i16 = ETHERNET_END + 24;
const V6_END: i16 = ETHERNET_END + 40;
const UDP_PORT: i16 = 2;
const UDP_LEN: i16 = 8;
const ND_TARGET: i16 = V6_END + 8;
const ND_END: i16 = V6_END + 24;

const TAGGED: u16 = 0x8100;
const VLAN: u16 = 0x0fff;
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// Version 4, five words of header: options would move the port.
const V4_START: u32 = 0x45;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;
const SOLICITATION: u32 = 135;
const ADVERTISEMENT: u32 = 136;
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// What becomes of the frames that are ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Take {
    /// They go to the socket of their queue in the map with this descriptor, or to the kernel where there is none.
    Redirect(i32),
    /// The program returns this, so that tests see it.
    #[cfg(test)]
    Say(i32),
}

/// Returns the program for the station with this MAC address.
pub(super) fn assemble(mac: Mac, config: &EncapConfig, take: Take) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let to = Targets { pass: code.label(), ours: code.label() };
    begin(&mut code, mac, to);
    ethertype(&mut code, config.vlan, to);
    match &config.framing {
        Framing::Ethernet { ethertype } => {
            // Not our EtherType: pass.
            code.jump_if(Reg::R5, When::IsNot(half(*ethertype)), to.pass);
        }
        Framing::Udp(udp) => match udp.local.ip() {
            IpAddr::V4(ip) => {
                // Every address bit that is not the prefix's is one, where that leaves more hosts than two.
                let hosts = u32::MAX.checked_shr(udp.prefix_len.into()).unwrap_or(0);
                let everyone = if hosts > 1 { ip.to_bits() | hosts } else { u32::MAX };
                ipv4(&mut code, ip.octets(), everyone.to_be_bytes(), udp.local.port(), to);
            }
            IpAddr::V6(ip) => ipv6(&mut code, ip.octets(), udp.local.port(), to),
        },
    }
    end(&mut code, take, to);
    code.finish()
}

/// Where a decision leads.
#[derive(Clone, Copy, Debug)]
struct Targets {
    pass: Label,
    ours: Label,
}

/// What an instruction loads where these bytes stand.
fn half(big_endian: u16) -> u32 {
    u16::from_ne_bytes(big_endian.to_be_bytes()).into()
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

/// The frame has an Ethernet header, and is for our MAC address or for a group.
fn begin(code: &mut Assembler, mac: Mac, to: Targets) {
    let [a, b, c, d, e, f] = mac.0;
    let addressed = code.label();
    // R2 = the frame, R3 = its end.
    code.load(Reg::R2, Width::Word, Reg::R1, DATA);
    code.load(Reg::R3, Width::Word, Reg::R1, DATA_END);
    // Shorter than an Ethernet header: pass.
    within(code, ETHERNET_END, to);
    // The first bit on the wire says whether it is for a group.
    code.load(Reg::R5, Width::Byte, Reg::R2, 0);
    code.jump_if(Reg::R5, When::HasAny(1), addressed);
    // For another station, as a bridge or a promiscuous interface sees them: pass.
    code.load(Reg::R5, Width::Word, Reg::R2, 0);
    code.jump_if(Reg::R5, When::IsNot(word([a, b, c, d])), to.pass);
    code.load(Reg::R5, Width::Half, Reg::R2, 4);
    code.jump_if(Reg::R5, When::IsNot(half(u16::from_be_bytes([e, f]))), to.pass);
    code.place(addressed);
}

/// R5 = the EtherType behind the tag, of a frame in this VLAN.
fn ethertype(code: &mut Assembler, vlan: Option<u16>, to: Targets) {
    let typed = code.label();
    code.load(Reg::R5, Width::Half, Reg::R2, ETHERTYPE);
    // Without a tag: another network if we have a VLAN, and done if we have none.
    let untagged = if vlan.is_some() { to.pass } else { typed };
    code.jump_if(Reg::R5, When::IsNot(half(TAGGED)), untagged);
    // Cut short in the tag: pass.
    within(code, ETHERNET_END + TAG_LEN, to);
    // Another VLAN: pass. VLAN 0 is none: a priority alone.
    code.load(Reg::R5, Width::Half, Reg::R2, CONTROL);
    code.and(Reg::R5, half(VLAN));
    code.jump_if(Reg::R5, When::IsNot(half(vlan.unwrap_or(0))), to.pass);
    // Past the tag, everything stands where it does without one.
    code.add(Reg::R2, TAG_LEN.into());
    code.load(Reg::R5, Width::Half, Reg::R2, ETHERTYPE);
    code.place(typed);
}

fn ipv4(code: &mut Assembler, ip: [u8; 4], everyone: [u8; 4], port: u16, to: Targets) {
    let arp = code.label();
    // ARP is dealt with below. Neither ARP nor IPv4: pass.
    code.jump_if(Reg::R5, When::Is(half(ARP)), arp);
    code.jump_if(Reg::R5, When::IsNot(half(IPV4)), to.pass);
    // Too short for IPv4 and UDP: pass.
    within(code, V4_END + UDP_LEN, to);
    // Another version, or options: pass.
    code.load(Reg::R5, Width::Byte, Reg::R2, ETHERNET_END);
    code.jump_if(Reg::R5, When::IsNot(V4_START), to.pass);
    // Not UDP: pass.
    code.load(Reg::R5, Width::Byte, Reg::R2, V4_PROTOCOL);
    code.jump_if(Reg::R5, When::IsNot(UDP), to.pass);
    // Another port: pass. In a later fragment this is no port; what it lets through then is seen to be one.
    code.load(Reg::R5, Width::Half, Reg::R2, V4_END + UDP_PORT);
    code.jump_if(Reg::R5, When::IsNot(half(port)), to.pass);
    // To us, to everyone on the link, to everyone on any link: ours. To another host: pass.
    code.load(Reg::R5, Width::Word, Reg::R2, V4_DESTINATION);
    code.jump_if(Reg::R5, When::Is(word(ip)), to.ours);
    code.jump_if(Reg::R5, When::Is(word(everyone)), to.ours);
    code.jump_if(Reg::R5, When::Is(u32::MAX), to.ours);
    code.jump(to.pass);
    // Too short for ARP: pass.
    code.place(arp);
    within(code, ARP_END, to);
    // Both a question for our address and an answer to us have it as their target. About another: pass.
    code.load(Reg::R5, Width::Word, Reg::R2, ARP_TARGET);
    code.jump_if(Reg::R5, When::IsNot(word(ip)), to.pass);
}

fn ipv6(code: &mut Assembler, ip: [u8; 16], port: u16, to: Targets) {
    let (icmp, about, to_us) = (code.label(), code.label(), code.label());
    // Not IPv6, or too short for it and UDP: pass.
    code.jump_if(Reg::R5, When::IsNot(half(IPV6)), to.pass);
    within(code, V6_END + UDP_LEN, to);
    // ICMPv6 is dealt with below. Neither that nor UDP, also behind an extension header: pass.
    code.load(Reg::R5, Width::Byte, Reg::R2, V6_NEXT);
    code.jump_if(Reg::R5, When::Is(ICMPV6), icmp);
    code.jump_if(Reg::R5, When::IsNot(UDP), to.pass);
    // Another port: pass.
    code.load(Reg::R5, Width::Half, Reg::R2, V6_END + UDP_PORT);
    code.jump_if(Reg::R5, When::IsNot(half(port)), to.pass);
    // To all nodes: ours. To another host than us: pass.
    unless_address(code, V6_DESTINATION, ALL_NODES, to_us);
    code.jump(to.ours);
    // Neighbour discovery that asks for a station or says one. Other ICMPv6: pass.
    code.place(icmp);
    code.load(Reg::R5, Width::Byte, Reg::R2, V6_END);
    code.jump_if(Reg::R5, When::Is(SOLICITATION), about);
    code.jump_if(Reg::R5, When::IsNot(ADVERTISEMENT), to.pass);
    code.place(about);
    within(code, ND_END, to);
    // About our address, whoever is told: ours. Else an answer to us is about the one who gives it.
    unless_address(code, ND_TARGET, ip, to_us);
    code.jump(to.ours);
    code.place(to_us);
    unless_address(code, V6_DESTINATION, ip, to.pass);
}

/// Leads on to what follows if the address at this offset is `ip`, and to `otherwise` if not.
fn unless_address(code: &mut Assembler, offset: i16, ip: [u8; 16], otherwise: Label) {
    for (part, at) in ip.as_chunks().0.iter().zip((offset..).step_by(4)) {
        code.load(Reg::R5, Width::Word, Reg::R2, at);
        code.jump_if(Reg::R5, When::IsNot(word(*part)), otherwise);
    }
}

/// Passes frames that end before this offset. The kernel refuses a program that looks at bytes without having asked.
fn within(code: &mut Assembler, end: i16, to: Targets) {
    code.copy(Reg::R4, Reg::R2);
    code.add(Reg::R4, end.into());
    code.jump_if(Reg::R4, When::Above(Reg::R3), to.pass);
}

fn end(code: &mut Assembler, take: Take, to: Targets) {
    code.place(to.ours);
    match take {
        Take::Redirect(map) => {
            // return bpf_redirect_map(map, context->rx_queue_index, PASS): to the queue's socket, or pass.
            code.load(Reg::R2, Width::Word, Reg::R1, QUEUE);
            code.load_map(Reg::R1, map);
            code.set(Reg::R3, PASS);
            code.call(REDIRECT_MAP);
        }
        #[cfg(test)]
        Take::Say(what) => code.set(Reg::R0, what),
    }
    code.exit();
    // return PASS
    code.place(to.pass);
    code.set(Reg::R0, PASS);
    code.exit();
}

#[cfg(test)]
mod tests;
