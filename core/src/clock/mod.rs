//! Causality: dots and version vectors.
//!
//! Knows which write comes before which. Must not know what was written.

mod dot;
mod version_vector;

pub use dot::Dot;
pub(crate) use dot::generation_of;
pub use version_vector::{Order, VersionVector};
