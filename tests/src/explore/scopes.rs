//! The scopes that are explored exhaustively, each bent on one part of the protocol.

use super::action::{Action, Budget, Restart};
use super::scope::{Room, Scope};

const EVERY_RESTART: &[Restart] = &[Restart::Kept, Restart::LostGreater, Restart::LostLesser];
const NOTHING: Budget = Budget {
    puts: 0,
    removes: 0,
    asks: 0,
    serves: 0,
    pushes: 0,
    pings: 0,
    requests: 0,
    syncs: 0,
    rounds: 0,
    compares: 0,
    repairs: 0,
    checkpoints: 0,
    sweeps: 0,
    ticks: 0,
    crashes: 0,
    lives: 0,
    forgets: 0,
};

/// How far to go: what every test run can afford, or what a long run can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Some hundred thousand states a scope, all of them visited.
    Short,
    /// More than can be visited; the caller bounds it.
    Long,
}

impl Reach {
    const fn pick(self, short: Budget, long: Budget) -> Budget {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

const fn put(at: u8, key: u8) -> Action {
    Action::Put { at, key }
}

/// Three replicas over a network that does as it likes, without a single reliable step.
pub fn asynchronous(reach: Reach) -> Scope {
    let mut scope = Scope::new("asynchronous", 3, 2);
    let short = Budget { puts: 2, asks: 2, serves: 3, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 3, asks: 3, serves: 3, ..short });
    scope.settle_one_in = 4;
    scope
}

/// Windows of packets, each with one record, between writes that move records in the log: the order of heads.
pub fn windows(reach: Reach) -> Scope {
    let mut scope = Scope::new("windows", 2, 2);
    scope.room = Room::Beside;
    scope.window = 3;
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 4, requests: 2, serves: 4, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 5, requests: 3, serves: 6, checkpoints: 1, ..short });
    scope.settle_one_in = 4;
    scope
}

/// A longer log, whose packets arrive with gaps: ranges ahead of the cursor, and requests for what is missing.
pub fn gaps(reach: Reach) -> Scope {
    let mut scope = Scope::new("gaps", 2, 3);
    scope.window = 4;
    scope.prelude = vec![Action::Round, put(0, 0), put(0, 1), put(0, 2)];
    let short = Budget { puts: 1, requests: 2, serves: 5, checkpoints: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 2, requests: 3, serves: 6, ..short });
    scope.settle_one_in = 4;
    scope
}

/// Checkpoints: walks that start where the receiver's version is covered, while others run.
pub fn checkpoints(reach: Reach) -> Scope {
    let mut scope = Scope::new("checkpoints", 3, 2);
    let short = Budget { puts: 2, requests: 2, serves: 2, syncs: 1, checkpoints: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 3, serves: 3, checkpoints: 2, ..short });
    scope.settle_one_in = 8;
    scope
}

/// A ring that is full: every further change drops the oldest, and one record has left it for good.
pub fn ring(reach: Reach) -> Scope {
    let mut scope = Scope::new("ring", 2, 2);
    scope.room = Room::Beside;
    scope.prelude = vec![put(0, 0), put(0, 1), Action::Round];
    scope.prelude.extend((0..7).map(|_| put(0, 1)));
    let short = Budget { puts: 3, requests: 2, serves: 3, checkpoints: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 4, requests: 3, serves: 5, ..short });
    scope.settle_one_in = 4;
    scope
}

/// A receiver that has nothing yet, and a ring that has lost sight of a record: it scans, in parts, while writes go on and
/// drive what it has not walked yet, or has walked already, out of the ring.
pub fn scans(reach: Reach) -> Scope {
    let mut scope = Scope::new("scans", 2, 2);
    scope.prelude = vec![put(0, 0), put(0, 1), put(0, 1), put(0, 1)];
    let short = Budget { puts: 4, requests: 2, serves: 3, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 6, requests: 4, serves: 6, checkpoints: 1, ..short });
    scope.settle_one_in = 4;
    scope
}

/// A receiver that stands in front of a scan, which another receiver needed, and falls out of the ring while packets that go
/// across the scan are on their way to it: then it scans too, and what overtook or was lost must not count as walked.
pub fn overtaken(reach: Reach) -> Scope {
    let mut scope = Scope::new("overtaken", 3, 3);
    scope.room = Room::Beside;
    scope.window = 3;
    scope.prelude = vec![
        put(0, 0),
        put(0, 1),
        put(0, 2),
        Action::Sync { from: 0, to: 1 },
        put(0, 0),
        put(0, 1),
        put(0, 2),
        Action::Request { from: 2, to: 0 },
        put(0, 2),
        Action::Request { from: 1, to: 0 },
        Action::Serve { from: 0, to: 1 },
        Action::Serve { from: 0, to: 1 },
        Action::Serve { from: 0, to: 1 },
        put(0, 2),
    ];
    let short = Budget { requests: 2, serves: 4, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 1, requests: 3, serves: 5, checkpoints: 1, ..short });
    scope.settle_one_in = 4;
    scope
}

/// The author's push, beside pulls.
pub fn push(reach: Reach) -> Scope {
    let mut scope = Scope::new("push", 3, 2);
    scope.room = Room::Beside;
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 3, pushes: 3, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 4, pushes: 4, syncs: 1, ..short });
    scope.settle_one_in = 4;
    scope
}

/// Pushes that do not fit one packet, of writes that replace one another.
pub fn push_parts(reach: Reach) -> Scope {
    let mut scope = Scope::new("push in parts", 2, 3);
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 4, pushes: 5, syncs: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 5, pushes: 6, ..short });
    scope.settle_one_in = 4;
    scope
}

/// A crash with the generation kept or lost, while packets of the lives before are in flight.
pub fn crash(reach: Reach) -> Scope {
    let mut scope = Scope::new("crash", 3, 1);
    scope.restarts = EVERY_RESTART;
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 2, serves: 1, requests: 1, pushes: 1, syncs: 2, crashes: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { asks: 1, serves: 2, syncs: 3, crashes: 2, ..short });
    scope.settle_one_in = 8;
    scope
}

/// Two crashes of two replicas, so that each may hold the other's past.
pub fn crashes(reach: Reach) -> Scope {
    let mut scope = Scope::new("crashes", 2, 2);
    scope.restarts = EVERY_RESTART;
    let short = Budget { puts: 2, asks: 1, serves: 1, pushes: 1, syncs: 2, crashes: 2, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 3, requests: 1, serves: 2, ..short });
    scope.settle_one_in = 8;
    scope
}

/// A generation lost while a peer has records of that life ahead of every version.
pub fn lost_generation(reach: Reach) -> Scope {
    let mut scope = Scope::new("lost generation", 2, 1);
    scope.restarts = &[Restart::LostGreater];
    let short = Budget { puts: 3, requests: 1, serves: 1, syncs: 2, crashes: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { requests: 3, serves: 3, syncs: 3, crashes: 2, ..short });
    scope
}

/// Delete, collect and create anew, with packets that come late.
pub fn collect(reach: Reach) -> Scope {
    let mut scope = Scope::new("collect", 2, 1);
    scope.prelude = vec![Action::Round];
    let short = Budget {
        puts: 2,
        removes: 1,
        pushes: 1,
        requests: 1,
        serves: 1,
        syncs: 3,
        sweeps: 3,
        ticks: 1,
        ..NOTHING
    };
    scope.budget = reach.pick(short, Budget { removes: 2, puts: 3, syncs: 5, sweeps: 5, ticks: 2, ..short });
    scope.settle_one_in = 8;
    scope
}

/// Collection among three with a crash on the way.
pub fn collect_crash(reach: Reach) -> Scope {
    let mut scope = Scope::new("collect, crash", 3, 1);
    scope.restarts = EVERY_RESTART;
    scope.prelude = vec![Action::Round, put(0, 0), Action::Round, Action::Remove { at: 1, key: 0 }];
    let short = Budget { puts: 1, pushes: 1, rounds: 2, sweeps: 3, ticks: 1, crashes: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { pushes: 2, rounds: 3, syncs: 2, sweeps: 5, ticks: 2, ..short });
    scope.settle_one_in = 8;
    scope
}

/// What one replica knows of another is of a life that is over, and a packet with a record from before the tombstone is
/// on its way to the new life: why collection waits for a packet's life.
pub fn quarantine(reach: Reach) -> Scope {
    let mut scope = Scope::new("quarantine", 3, 1);
    scope.restarts = &[Restart::Kept];
    scope.prelude = vec![
        put(2, 0),
        Action::Round,
        Action::Remove { at: 0, key: 0 },
        Action::Sync { from: 0, to: 1 },
        Action::Request { from: 1, to: 0 },
    ];
    let short = Budget { requests: 2, serves: 1, syncs: 1, sweeps: 2, ticks: 1, crashes: 1, ..NOTHING };
    scope.budget =
        reach.pick(short, Budget { puts: 1, requests: 3, serves: 2, syncs: 3, sweeps: 4, ticks: 2, ..short });
    scope.settle_one_in = 4;
    scope
}

/// What one replica knows of another is of a life that is over; the new one has taken a record that its server deleted since:
/// why a collection looks at the life again.
pub fn stale_observation(reach: Reach) -> Scope {
    let mut scope = Scope::new("stale observation", 3, 1);
    scope.prelude = vec![
        put(2, 0),
        Action::Round,
        Action::Remove { at: 0, key: 0 },
        Action::Sync { from: 0, to: 1 },
        Action::Request { from: 1, to: 0 },
        Action::Crash { at: 1, how: Restart::Kept },
        Action::Sync { from: 2, to: 1 },
        Action::Sync { from: 0, to: 2 },
        Action::Request { from: 2, to: 0 },
    ];
    let short = Budget { requests: 2, serves: 1, syncs: 2, sweeps: 2, ticks: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 1, syncs: 3, sweeps: 3, ticks: 2, ..short });
    scope.settle_one_in = 4;
    scope
}

/// A server starts anew when a tombstone has left elsewhere, and writes its key: above the floor that it was told.
pub fn floor(reach: Reach) -> Scope {
    let mut scope = Scope::new("floor", 2, 1);
    scope.prelude = vec![
        put(0, 0),
        Action::Round,
        Action::Remove { at: 1, key: 0 },
        Action::Round,
        Action::Request { from: 1, to: 0 },
        Action::Sweep { at: 0 },
        Action::Tick,
        Action::Request { from: 1, to: 0 },
        Action::Sweep { at: 0 },
        Action::Crash { at: 1, how: Restart::Kept },
    ];
    let short = Budget { puts: 2, requests: 1, serves: 1, pushes: 1, syncs: 2, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 3, pings: 1, syncs: 4, sweeps: 2, ..short });
    scope
}

/// Version hashes beside what changes versions: pushes, windows of deltas, and records that are held ahead.
pub fn hashes(reach: Reach) -> Scope {
    let mut scope = Scope::new("hashes", 3, 2);
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 2, pushes: 1, pings: 2, requests: 1, serves: 1, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 3, pushes: 2, pings: 3, serves: 2, syncs: 1, ..short });
    scope.settle_one_in = 8;
    scope
}

/// Version hashes that outlive the life which they are of.
pub fn hashes_crash(reach: Reach) -> Scope {
    let mut scope = Scope::new("hashes, crash", 2, 1);
    scope.restarts = EVERY_RESTART;
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 2, pings: 1, requests: 1, serves: 1, syncs: 2, crashes: 2, ..NOTHING };
    scope.budget = reach.pick(short, Budget { pushes: 1, pings: 3, serves: 2, syncs: 3, ..short });
    scope.settle_one_in = 8;
    scope
}

/// Collection by what version hashes tell alone, with a crash on the way and keys created anew.
pub fn hashes_collect(reach: Reach) -> Scope {
    let mut scope = Scope::new("hashes, collect", 2, 1);
    scope.restarts = &[Restart::Kept];
    scope.prelude = vec![put(0, 0), Action::Round];
    let short =
        Budget { puts: 2, removes: 1, pings: 3, syncs: 1, sweeps: 3, ticks: 1, crashes: 1, ..NOTHING };
    let long = Budget { removes: 2, pushes: 1, pings: 5, requests: 1, sweeps: 5, ticks: 2, ..short };
    scope.budget = reach.pick(short, long);
    scope.settle_one_in = 8;
    scope
}

/// Repair beside deltas and pushes: it may bring a record early, and never finds anything to mend.
pub fn repair(reach: Reach) -> Scope {
    let mut scope = Scope::new("repair", 2, 2);
    scope.room = Room::Beside;
    scope.prelude = vec![Action::Round];
    let short = Budget { puts: 2, removes: 1, requests: 1, serves: 1, compares: 1, repairs: 3, ..NOTHING };
    let long = Budget { puts: 3, removes: 1, pushes: 1, serves: 2, compares: 2, repairs: 4, ..short };
    scope.budget = reach.pick(short, long);
    scope.settle_one_in = 8;
    scope
}

const REMOVED_WITHOUT_S2: [Action; 5] = [
    put(2, 0),
    Action::Round,
    Action::Remove { at: 0, key: 0 },
    Action::Sync { from: 0, to: 1 },
    Action::Sync { from: 1, to: 0 },
];

/// A slot is forgotten while its server is only cut off: the tombstone of a key which that server still has leaves, and
/// its packets and its table come back.
pub fn forget(reach: Reach) -> Scope {
    let mut scope = Scope::new("forget", 3, 1);
    scope.prelude = REMOVED_WITHOUT_S2.to_vec();
    let short = Budget { requests: 1, serves: 1, syncs: 2, sweeps: 2, ticks: 1, forgets: 1, ..NOTHING };
    let long = Budget {
        puts: 1,
        pushes: 1,
        requests: 2,
        serves: 2,
        syncs: 4,
        sweeps: 4,
        ticks: 2,
        forgets: 2,
        ..short
    };
    scope.budget = reach.pick(short, long);
    scope.settle_one_in = 8;
    scope
}

/// The same when it is forgotten already, and servers start anew that may meet the forgotten one first.
pub fn forget_crash(reach: Reach) -> Scope {
    let mut scope = Scope::new("forget, crash", 3, 1);
    scope.restarts = EVERY_RESTART;
    scope.prelude = REMOVED_WITHOUT_S2.to_vec();
    scope.prelude.extend([Action::Forget { at: 0, of: 2 }, Action::Sweep { at: 0 }, Action::Tick]);
    let short = Budget { requests: 1, serves: 1, syncs: 3, sweeps: 1, crashes: 1, ..NOTHING };
    let long = Budget {
        asks: 1,
        puts: 1,
        requests: 2,
        pushes: 1,
        syncs: 5,
        sweeps: 3,
        ticks: 1,
        crashes: 2,
        forgets: 1,
        ..short
    };
    scope.budget = reach.pick(short, long);
    scope.settle_one_in = 8;
    scope
}

/// Three writers of one key who tell each other whole versions: where the published order goes in a circle.
pub fn circle(reach: Reach) -> Scope {
    let mut scope = Scope::new("circle", 3, 1);
    scope.room = Room::Beside;
    let short = Budget { puts: 3, syncs: 4, ..NOTHING };
    scope.budget = reach.pick(short, Budget { puts: 4, syncs: 6, ..short });
    scope
}

/// All of them.
pub fn all(reach: Reach) -> Vec<Scope> {
    let scopes = [
        asynchronous,
        windows,
        gaps,
        checkpoints,
        ring,
        scans,
        overtaken,
        push,
        push_parts,
        crash,
        crashes,
        lost_generation,
        collect,
        collect_crash,
        quarantine,
        stale_observation,
        floor,
        hashes,
        hashes_crash,
        hashes_collect,
        repair,
        forget,
        forget_crash,
        circle,
    ];
    scopes.map(|scope| scope(reach)).into()
}
