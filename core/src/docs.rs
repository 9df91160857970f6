//! The longer documents: the rules and the wire format.

#[doc = include_str!("../docs/rules.md")]
pub mod rules {}

#[doc = include_str!("../docs/wire.md")]
pub mod wire {}
