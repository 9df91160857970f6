//! The longer documents: the rules, the wire format, what an operator asks, and the figures.

#[doc = include_str!("../docs/rules.md")]
pub mod rules {}

#[doc = include_str!("../docs/wire.md")]
pub mod wire {}

#[doc = include_str!("../docs/operating.md")]
pub mod operating {}

#[doc = include_str!("../docs/trust.md")]
pub mod trust {}

// The charts first, in the text: rustdoc copies no files, and of two definitions of a link the first counts.
#[doc = include_str!("../docs/figures/images.md")]
#[doc = include_str!("../docs/figures.md")]
pub mod figures {}
