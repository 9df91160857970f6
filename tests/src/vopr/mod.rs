//! The simulator: whole PoPs of real nodes in virtual time, every fault at once, every promise checked.
//!
//! A run is a pure function of its seed and the options beside it, in the manner of TigerBeetle's VOPR. The seed draws a
//! plan ([`plan`], [`scenario`]): servers, faults, writes. For some seconds of virtual time an adversary (`faults`) crashes,
//! pauses and cuts off servers, sets clocks wrong, starts second servers in a slot, while packets are lost, repeated,
//! overtaken, damaged and sent again later (`network`), and while everybody writes (`workload`). Then the faults end, and
//! everything has to become equal within a bound (`settle`, which derives it). The nodes are `popmap_core::Node`, with
//! membership on and all times at their defaults.
//!
//! ```text
//! cargo run --release -p popmap-tests --bin vopr                      64 seeds on all cores
//! cargo run --release -p popmap-tests --bin vopr -- --seed 7          one seed, and what it did
//! cargo run --release -p popmap-tests --bin vopr -- --seeds 0..10000 --scenario deletes
//! ```
//!
//! # What is checked, and when
//!
//! After *every packet, every timer and every write* the server concerned is looked at ([`checks`]), at a cost in proportion
//! to what changed there:
//!
//! - **R6 in full.** A server's state at a key, tombstones that it collected among it, is noted. It must never fall
//!   (`StateFell`): the change log tells which keys changed. So a write that was covered and held once stays held, and R6
//!   can only break where a *version* rises. Then every write of the history that it has come to cover is held against the
//!   state at its key (`Invariant`). Both together are R6 for all keys, servers and writes, at each write once per server.
//!   It is enough to hold a greater write (R1), or that a tombstone at least as great was collected somewhere.
//! - **Lost writes.** A write that no table shows and no version covers is lost: its author crashed before anybody had it.
//!   Nobody is held to it, unless a packet brings it back to some table: then everybody is. What only a server holds in whose
//!   slot there is a greater life counts as lost: nobody takes its packets.
//! - **No resurrection.** When a tombstone is collected anywhere no table shows less at its key, and from then on no table
//!   comes to.
//! - **Forgotten slots.** What only a server holds whose life an operator had forgotten somewhere counts as lost. A tombstone
//!   that left while a forgotten slot was not asked may still be lacked by that server, and by one that started since and met
//!   it; by nobody whose version covers it or who was told of it, unless its life is over.
//! - **Dots.** A record is a write of the history, or a new write of the server that shows it; no two writes have one dot,
//!   unless the first is lost.
//! - **Lives.** Versions and generations never fall within a life; HELD covers the version and the table; nobody begins to
//!   write before all are met or the deadline is over (R4.2); whose life is over writes nothing, sends no data and stays so
//!   (R4.5, R2).
//! - **Mends.** Whatever repair or the exchange of older records brings where the version covers it must be waived, see
//!   below; so must what is reported as claimed and absent.
//! - **Budget.** With every packet that leaves: data sent by a server in any span fits the stated budget (`budget`).
//! - **No panic.** A panic is a violation like any other, with its seed.
//!
//! *Four times in a run and at each stage of its end* everything is looked at once more: every table record by record
//! against what the log told, every version against the whole history, and the owners that servers with equal views name.
//!
//! *After the faults*: all start but one that is gone for good, which is forgotten instead, so that tombstones go without it;
//! whose life is over, fenced or forgotten, starts anew. They agree on who is alive, and have equal versions and digests, then
//! no tombstones, each within its bound; and R6 in full.
//!
//! # What may be broken
//!
//! Some failures break R6 from outside the protocol (core/docs/rules.md, R4.2, R4.5, "Repair"): a life begins to write
//! though a configured server was not met; a slot has two servers; a generation is lost, restored from a backup, or its
//! server alone. [`history`] says which writes each of them *waives*, one by one. A waived write excuses its own key, up to
//! its own rank, and nothing else; at the end tables must be equal there too, because repair must have mended it. The
//! plan of five seeds in six has no second servers and no restored generations, and most have nothing waived at all.
//!
//! The network keeps the one promise that the protocol asks of it: no packet lives for
//! [`QUARANTINE`](popmap_core::limits::QUARANTINE), waiting for a paused receiver and replays included. A clock that leaps
//! forward shortens a quarantine, so where tombstones are collected all leaps of a clock and a packet's life together stay
//! below it; elsewhere clocks leap by up to hours, and days pass at once while nothing is on the way.

mod budget;
mod capture;
pub mod checks;
mod faults;
pub mod history;
mod network;
mod owners;
pub mod plan;
pub mod run;
pub mod scenario;
mod server;
mod settle;
mod slots;
mod trace;
pub mod violation;
mod workload;
mod world;

pub use plan::{Plan, Seeds, Wishes};
pub use run::{Failure, Options, Summary, capture, run};
pub use scenario::Scenario;
pub use violation::{Rule, Violation};
