//! What the scenarios in `tests/` share: cluster, network, checker, model, explorer and simulator in virtual time; and
//! network namespaces in real time.

#![forbid(unsafe_code)]

pub mod adversary;
pub mod checker;
pub mod cluster;
pub mod explore;
pub mod figures;
pub mod forge;
pub mod fuzz;
pub mod link;
pub mod lives;
pub mod members;
#[cfg(target_os = "linux")]
pub mod netns;
pub mod scenario;
#[cfg(popmap_teeth)]
pub mod teeth;
pub mod vopr;
