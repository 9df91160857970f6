//! What the scenarios in `tests/` share: cluster, network, checker, model and explorer in virtual time.

#![forbid(unsafe_code)]

pub mod checker;
pub mod cluster;
pub mod explore;
pub mod forge;
pub mod link;
pub mod lives;
pub mod members;
pub mod scenario;
