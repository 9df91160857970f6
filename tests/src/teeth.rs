//! Which rule is broken in the nodes and maps that the scenarios of this thread start. Only under `--cfg popmap_teeth`.
//!
//! Knows the thread. Must not know what any rule says.

use std::cell::Cell;

use popmap_core::{Tooth, break_readers};

thread_local! {
    static BROKEN: Cell<Option<Tooth>> = const { Cell::new(None) };
}

/// Returns the rule that is broken in what this thread starts.
pub fn broken() -> Option<Tooth> {
    BROKEN.get()
}

/// Mends everything when it goes, also in a panic.
struct Mended;

impl Drop for Mended {
    fn drop(&mut self) {
        BROKEN.set(None);
        break_readers(false);
    }
}

/// Runs a scenario with a rule broken in all that it starts, and, for a rule of readers, in all readers there are.
pub fn with_broken<T>(tooth: Tooth, scenario: impl FnOnce() -> T) -> T {
    let _mended = Mended;
    BROKEN.set(Some(tooth));
    break_readers(tooth == Tooth::StampUnchecked);
    scenario()
}
