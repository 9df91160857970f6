//! The crate `foca`: SWIM.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use bincode::config::Configuration;
use foca::{
    BincodeCodec, Codec, Config, Foca, Header, Member, Message, NoCustomBroadcast, Notification, Runtime,
    State, Timer,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

type Id = SocketAddr;
type Coding = BincodeCodec<Configuration>;

const CODING: Coding = BincodeCodec(bincode::config::standard());

fn id(n: usize) -> Id {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 1 + n as u16))
}

/// Counts what foca says, and does nothing about it.
#[derive(Default)]
struct Said {
    packets: usize,
    bytes: usize,
}

impl Runtime<Id> for &mut Said {
    fn notify(&mut self, _: Notification<'_, Id>) {}

    fn send_to(&mut self, _: Id, data: &[u8]) {
        self.packets += 1;
        self.bytes += data.len();
    }

    fn submit_after(&mut self, _: Timer<Id>, _: Duration) {}
}

/// One member of a cluster of 64.
pub struct Server {
    foca: Foca<Id, Coding, SmallRng, NoCustomBroadcast>,
    said: Said,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// Returns a member that knows all others.
    ///
    /// # Panics
    /// When foca refuses that.
    #[must_use]
    pub fn new() -> Self {
        let config =
            Config { max_packet_size: NonZeroUsize::new(1_400).expect("not zero"), ..Config::simple() };
        let mut said = Said::default();
        let mut foca = Foca::new(id(0), config, SmallRng::seed_from_u64(1), CODING);
        let others = (1..64).map(|n| Member::alive(id(n)));
        foca.apply_many(others, true, &mut said).expect("members are taken");
        Self { foca, said }
    }

    /// Takes a ping, and sends the ack.
    ///
    /// # Panics
    /// When foca does not take it.
    pub fn take(&mut self, packet: &[u8]) {
        self.foca.handle_data(packet, &mut self.said).expect("the packet is valid");
    }

    /// Returns how many packets were sent.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.said.packets
    }
}

/// Returns a ping with so many members, each of this incarnation.
///
/// # Panics
/// When foca cannot encode it.
#[must_use]
pub fn ping(members: usize, incarnation: u16) -> Vec<u8> {
    let mut coding = CODING;
    let mut packet = Vec::new();
    let header =
        Header { src: id(1), src_incarnation: 0, dst: id(0), message: Message::Ping(incarnation as u8) };
    coding.encode_header(&header, &mut packet).expect("a header can be encoded");
    packet.extend_from_slice(&(members as u16).to_be_bytes());
    for n in 0..members {
        let member = Member::new(id(2 + n), incarnation, State::Alive);
        coding.encode_member(&member, &mut packet).expect("a member can be encoded");
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_changes_members_and_is_answered() {
        let mut server = Server::new();
        server.take(&ping(30, 7));
        assert_eq!(server.sent(), 1);
        let changed = server.foca.iter_members().filter(|member| member.incarnation() == 7).count();
        assert_eq!(changed, 30);
    }
}
