//! What can happen in a world, and how often at most.

use std::fmt;

/// Names a packet by the step that sent it, so that a trace keeps its meaning when other steps are left out of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Label {
    /// The step of the trace.
    pub step: u32,
    /// Which of the packets that the step sent.
    pub nth: u8,
}

/// How a replica starts anew after a crash; its storage is empty in any case.
///
/// A server that lost its generation, and whose clock does not give a greater one either, must not start before the
/// packets of its last life are gone: that life may be the greater of the two, and a packet of it that comes late is
/// then as good as a second server in the slot. So such a restart takes these packets out of flight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Restart {
    /// The saved generation was kept: one above it.
    Kept,
    /// The saved generation was lost, and the new life id happens to be the greater.
    LostGreater,
    /// The saved generation was lost, and the new life id happens to be the lesser.
    LostLesser,
}

/// One step of a world. Replicas and keys are named by their indexes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "the fields are the indexes of replicas and keys")]
pub enum Action {
    /// A packet reaches its receiver. It stays in flight: the network may duplicate it.
    Deliver(Label),
    /// `from` sends `to` its version, and with it a request.
    Ask { from: u8, to: u8, force: bool },
    /// `from` sends `to` the next delta packet of those it owes.
    Serve { from: u8, to: u8 },
    /// `from` pushes `to` its own writes.
    Push { from: u8, to: u8 },
    /// `from` pings `to`, and so tells it the hash of its version.
    Ping { from: u8, to: u8 },
    /// `from`'s request reaches `to` at once.
    Request { from: u8, to: u8 },
    /// `to` pulls all of what it lacks from `from`, over a network that loses nothing.
    Sync { from: u8, to: u8 },
    /// Everyone pulls from everyone, over a network that loses nothing.
    Round,
    /// `from` asks `to` to compare buckets: a repair question.
    Compare { from: u8, to: u8 },
    /// `at` sends what repair owes: an answer, what goes back after one, or a report.
    Repair { at: u8 },
    /// A local write.
    Put { at: u8, key: u8 },
    /// A local delete.
    Remove { at: u8, key: u8 },
    /// A checkpoint of the change log.
    Checkpoint { at: u8 },
    /// A whole pass of the sweep.
    Sweep { at: u8 },
    /// Time passes everywhere, and packets grow old.
    Tick,
    /// A replica loses its memory and starts anew at once.
    Crash { at: u8, how: Restart },
    /// A replica is told who is alive, as a bitmap.
    Live { at: u8, set: u8 },
    /// A replica is told that `of` is dead, and by its operator to forget it.
    Forget { at: u8, of: u8 },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Deliver(Label { step, nth }) => write!(f, "deliver packet {step}.{nth}"),
            Self::Ask { from, to, force } => {
                write!(f, "S{from} sends its version to S{to}{}", if force { ", forced" } else { "" })
            }
            Self::Serve { from, to } => write!(f, "S{from} sends its next delta packet to S{to}"),
            Self::Push { from, to } => write!(f, "S{from} pushes to S{to}"),
            Self::Ping { from, to } => write!(f, "S{from} pings S{to}"),
            Self::Request { from, to } => write!(f, "S{from}'s request reaches S{to} at once"),
            Self::Sync { from, to } => write!(f, "S{to} pulls everything from S{from}, without loss"),
            Self::Round => write!(f, "everyone pulls from everyone, without loss"),
            Self::Compare { from, to } => write!(f, "S{from} asks S{to} to compare digests"),
            Self::Repair { at } => write!(f, "S{at} sends what repair owes"),
            Self::Put { at, key } => write!(f, "S{at} puts k{key}"),
            Self::Remove { at, key } => write!(f, "S{at} removes k{key}"),
            Self::Checkpoint { at } => write!(f, "S{at} notes a checkpoint"),
            Self::Sweep { at } => write!(f, "S{at} sweeps"),
            Self::Tick => write!(f, "time passes"),
            Self::Crash { at, how } => write!(f, "S{at} crashes and restarts ({how:?})"),
            Self::Forget { at, of } => write!(f, "S{at} forgets S{of}"),
            Self::Live { at, set } => write!(f, "S{at} is told that {set:#b} are alive"),
        }
    }
}

/// How often each kind of action may still happen. Deliveries are free.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[allow(missing_docs, reason = "each field is the number left of the action of that name")]
pub struct Budget {
    pub puts: u8,
    pub removes: u8,
    pub asks: u8,
    pub serves: u8,
    pub pushes: u8,
    pub pings: u8,
    pub requests: u8,
    pub syncs: u8,
    pub rounds: u8,
    pub compares: u8,
    pub repairs: u8,
    pub checkpoints: u8,
    pub sweeps: u8,
    pub ticks: u8,
    pub crashes: u8,
    pub lives: u8,
    pub forgets: u8,
}

impl Budget {
    /// No bound that a run could reach.
    pub const UNBOUNDED: Self = Self {
        puts: u8::MAX,
        removes: u8::MAX,
        asks: u8::MAX,
        serves: u8::MAX,
        pushes: u8::MAX,
        pings: u8::MAX,
        requests: u8::MAX,
        syncs: u8::MAX,
        rounds: u8::MAX,
        compares: u8::MAX,
        repairs: u8::MAX,
        checkpoints: u8::MAX,
        sweeps: u8::MAX,
        ticks: u8::MAX,
        crashes: u8::MAX,
        lives: u8::MAX,
        forgets: u8::MAX,
    };

    /// Takes one action from the budget; returns false when none of its kind is left.
    pub fn take(&mut self, action: &Action) -> bool {
        let left = match action {
            Action::Deliver(_) => return true,
            Action::Ask { .. } => &mut self.asks,
            Action::Serve { .. } => &mut self.serves,
            Action::Push { .. } => &mut self.pushes,
            Action::Ping { .. } => &mut self.pings,
            Action::Request { .. } => &mut self.requests,
            Action::Sync { .. } => &mut self.syncs,
            Action::Round => &mut self.rounds,
            Action::Compare { .. } => &mut self.compares,
            Action::Repair { .. } => &mut self.repairs,
            Action::Put { .. } => &mut self.puts,
            Action::Remove { .. } => &mut self.removes,
            Action::Checkpoint { .. } => &mut self.checkpoints,
            Action::Sweep { .. } => &mut self.sweeps,
            Action::Tick => &mut self.ticks,
            Action::Crash { .. } => &mut self.crashes,
            Action::Live { .. } => &mut self.lives,
            Action::Forget { .. } => &mut self.forgets,
        };
        match *left {
            0 => return false,
            u8::MAX => {}
            _ => *left -= 1,
        }
        true
    }
}
