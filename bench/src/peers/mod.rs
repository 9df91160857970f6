//! What popmap is measured beside: the floor, hand-written code, and crates that do a part of the same job.
//!
//! Each file knows one peer and how to feed it. None knows how it is measured.

pub mod chitchat;
pub mod crdts;
pub mod floor;
pub mod foca;
pub mod plain;
pub mod rendezvous;
pub mod shared;
pub mod tables;
