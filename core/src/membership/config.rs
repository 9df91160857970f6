//! What the protocol is told, and what it counts.

use crate::time::Duration;

/// The protocol's times and counts.
#[derive(Clone, Copy, Debug)]
pub struct SwimConfig {
    /// One member is probed each period. Default: 150 ms.
    pub period: Duration,
    /// How long a direct ping may take before others are asked. Default: 60 ms.
    pub timeout: Duration,
    /// Others asked to ping a member that did not answer. Default: 3.
    pub indirect: u8,
    /// How long a suspect has to refute once three others have confirmed the suspicion by pings of their own. Default: 500 ms.
    pub suspicion_min: Duration,
    /// The same while nobody confirms it. Default: 2 s.
    pub suspicion_max: Duration,
    /// How often everyone who holds a member suspect pings it itself before declaring it dead, evenly spaced; if at all,
    /// three times more in the last [`timeout`](Self::timeout) before that. An ack to one of these gives the suspect its
    /// time to refute anew, and who refutes tells all live members at once. Zero leaves suspects to hear of it, and their
    /// refutations to spread, as other news does, as in SWIM. Default: 3.
    pub looks: u8,
    /// How often news of members is told to some of them when no other packet does. Default: 50 ms.
    pub gossip: Duration,
    /// Members told each time. Default: 3.
    pub fanout: u8,
    /// How often a dead member is tried again, so that partitions heal. Default: 500 ms.
    pub retry_dead: Duration,
}

impl SwimConfig {
    /// The defaults, for servers in one datacenter.
    pub const DEFAULT: Self = Self {
        period: Duration::from_millis(150),
        timeout: Duration::from_millis(60),
        indirect: 3,
        suspicion_min: Duration::from_millis(500),
        suspicion_max: Duration::from_secs(2),
        looks: 3,
        gossip: Duration::from_millis(50),
        fanout: 3,
        retry_dead: Duration::from_millis(500),
    };
}

impl Default for SwimConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Counters of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SwimStats {
    /// Members pinged directly.
    pub probes: u64,
    /// Members asked to ping another.
    pub indirect_probes: u64,
    /// Probes that nobody answered in time.
    pub failed_probes: u64,
    /// Members that we suspected by our own probe.
    pub suspicions: u64,
    /// Suspicions of ourselves that we refuted.
    pub refutations: u64,
    /// Members that we declared dead.
    pub deaths: u64,
    /// Acks that answered nothing under way.
    pub stale_acks: u64,
    /// Suspicions of ourselves that no incarnation stands over: only a restart refutes them.
    pub unrefuted: u64,
    /// Times that we ourselves were late by more than a ping may take.
    pub stalls: u64,
}
