//! How often this program allocates.

#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Returns how often `work` calls the allocator on this thread.
pub fn count(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

fn note() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every method passes its arguments on to the system's allocator unchanged and returns what that returned, so
// the contract of `GlobalAlloc` holds because it holds there. Counting neither allocates nor unwinds: the cell is
// constant-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same there. Large zeroed blocks must come
        // from there: their pages stay untouched.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from a method of this allocator with `layout`, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: `block` came from a method of this allocator with `layout`, and the caller keeps the rest.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_allocates_is_counted() {
        assert_eq!(count(|| drop(std::hint::black_box(Box::new(7)))), 1);
        assert_eq!(count(|| _ = std::hint::black_box(7)), 0);
    }
}
