//! What the scenarios in `tests/` share: cluster, network, checker, model and explorer in virtual time.

#![forbid(unsafe_code)]

pub mod checker;
pub mod cluster;
pub mod scenario;
pub mod explore;
