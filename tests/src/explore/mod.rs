//! Exploration of the real map at small scope: exhaustive, and random with shrinking.
//!
//! The code under test is `Map<'_, N>` itself with a few slots, a tiny table and frames that hold one record. Every
//! packet is written by a map, sealed, parsed, admitted and handled as a node does.

pub mod action;
mod exchange;
mod hash;
mod packet;
pub mod random;
mod replicas;
pub mod scope;
pub mod scopes;
mod search;
mod settle;
mod steps;
pub mod trace;
mod world;

pub use action::{Action, Budget, Label, Restart};
pub use hash::Hash128;
pub use scope::{Room, Scope};
pub use search::{Report, search};
