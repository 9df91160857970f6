//! The crate `chitchat`: Scuttlebutt, as an agent that a socket of ours feeds.
//!
//! Processing a message is not public there, so the agent runs as its users run it, on a runtime of one thread, and its
//! socket hands it prepared messages to decode. What a round takes is the time from the first to when the agent asks for
//! one more than there are; the runtime's own part of that is below a hundredth.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable, FailureDetectorConfig,
    Serializable, spawn_chitchat,
};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// Writes acks with deltas of one peer, as that peer would: `chitchat` 0.10, `Delta`.
pub struct Writer {
    version: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// Returns a peer that wrote nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { version: 0 }
    }

    /// Returns an ack that brings a change of each of these keys.
    ///
    /// Its block is not compressed: that is what the crate itself does with values that do not compress, and it is faster
    /// to decode.
    #[must_use]
    pub fn ack(&mut self, keys: &[u64]) -> Vec<u8> {
        let mut operations = Vec::new();
        operations.push(0u8);
        id(1).serialize(&mut operations);
        // What was last collected, and the version that this follows on.
        0u64.serialize(&mut operations);
        self.version.serialize(&mut operations);
        for &i in keys {
            self.version += 1;
            operations.push(1);
            name(i).serialize(&mut operations);
            format!("{:024x}", self.version).serialize(&mut operations);
            self.version.serialize(&mut operations);
            // Set, not deleted.
            operations.push(0);
        }
        // Magic number, protocol version, ack.
        let mut message = vec![0x53, 0xb0, 0, 2];
        for block in operations.chunks(16_384) {
            message.push(2);
            (block.len() as u16).serialize(&mut message);
            message.extend_from_slice(block);
        }
        message.push(0);
        message
    }
}

/// Returns the message that makes the writer known: a syn-ack whose digest has its heartbeat, and an empty delta.
fn hello() -> Vec<u8> {
    let mut message = vec![0x53, 0xb0, 0, 1];
    1u16.serialize(&mut message);
    id(1).serialize(&mut message);
    [1u64, 0, 0].iter().for_each(|word| word.serialize(&mut message));
    message.push(0);
    message
}

fn name(i: u64) -> String {
    format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn id(slot: u16) -> ChitchatId {
    ChitchatId::new(format!("node-{slot}"), 0, SocketAddr::from((Ipv4Addr::LOCALHOST, slot)))
}

#[derive(Default)]
struct Feed {
    waiting: VecDeque<Vec<u8>>,
    /// The agent has asked for one more than there are: it is done with all that there were.
    idle: bool,
}

#[derive(Clone, Default)]
struct Line {
    feed: Arc<Mutex<Feed>>,
    /// There is something to take.
    filled: Arc<Notify>,
    /// The agent has become idle.
    drained: Arc<Notify>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for Line {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Socket for Line {
    async fn send(&mut self, _: SocketAddr, _: ChitchatMessage) -> anyhow::Result<()> {
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let next = {
                let mut feed = self.lock();
                let next = feed.waiting.pop_front();
                feed.idle = next.is_none();
                next
            };
            if let Some(bytes) = next {
                let message = ChitchatMessage::deserialize(&mut &bytes[..])?;
                return Ok((id(1).gossip_advertise_addr, message));
            }
            self.drained.notify_one();
            self.filled.notified().await;
        }
    }
}

/// An agent and the runtime that it runs on.
pub struct Agent {
    runtime: Runtime,
    line: Line,
    handle: ChitchatHandle,
}

impl Agent {
    /// Starts an agent that gossips to nobody.
    ///
    /// # Panics
    /// When the runtime or the agent cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime of one thread starts");
        let line = Line::default();
        let config = ChitchatConfig {
            chitchat_id: id(2),
            cluster_id: "bench".into(),
            gossip_interval: Duration::from_secs(100_000),
            listen_addr: id(2).gossip_advertise_addr,
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: Duration::from_secs(100_000),
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let handle = runtime.block_on(spawn_chitchat(config, Vec::new(), &line)).expect("the agent starts");
        let agent = Self { runtime, line, handle };
        agent.queue([hello()]);
        agent.take();
        agent
    }

    fn drain(&self) {
        self.runtime.block_on(async {
            while !self.line.lock().idle {
                self.line.drained.notified().await;
            }
        });
    }

    /// Queues messages, of which the next [`take`](Self::take) makes something.
    pub fn queue(&self, messages: impl IntoIterator<Item = Vec<u8>>) {
        let mut feed = self.line.lock();
        feed.waiting.extend(messages);
        feed.idle = feed.waiting.is_empty();
    }

    /// Lets the agent decode and process all that is queued.
    pub fn take(&self) {
        self.line.filled.notify_one();
        self.drain();
    }

    /// Returns how many keys the agent has from the writer, and the highest version.
    #[must_use]
    pub fn seen(&self) -> (usize, u64) {
        let seen = |chitchat: &mut chitchat::Chitchat| {
            let state = chitchat.node_state(&id(1));
            state.map_or((0, 0), |state| (state.num_key_values(), state.max_version()))
        };
        self.runtime.block_on(self.handle.with_chitchat(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_takes_what_is_written() {
        let (mut writer, agent) = (Writer::new(), Agent::start());
        let keys: Vec<u64> = (0..1_000).collect();
        agent.queue([writer.ack(&keys), writer.ack(&keys[..30])]);
        agent.take();
        assert_eq!(agent.seen(), (1_000, 1_030));
        agent.queue([writer.ack(&keys[30..60])]);
        agent.take();
        assert_eq!(agent.seen(), (1_000, 1_060));
    }
}
