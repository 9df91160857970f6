//! What DPDK says: the reason behind an error number, most often.
//!
//! Knows lines. Must not know what they mean.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int};
use std::slice;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use popmap_dpdk_sys as sys;

/// Lines that are remembered.
const LINES: usize = 64;
/// Lines that an error quotes.
const QUOTED: usize = 4;
/// Bytes of a line that are remembered; a driver may log whatever a peer sends it.
const LINE: usize = 512;

static LOG: Mutex<Log> = Mutex::new(Log { lines: VecDeque::new(), count: 0 });
static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

struct Log {
    /// The last of all.
    lines: VecDeque<String>,
    /// How many there were.
    count: usize,
}

fn lock() -> MutexGuard<'static, Log> {
    // Whole between any two statements that can panic: allocation alone.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has DPDK's log kept here, and told to `listener`, instead of written to standard error and to syslog. To be called
/// once, before EAL is started.
pub(super) fn install(listener: Option<fn(&str)>) {
    if let Some(listener) = listener {
        let _ = LISTENER.set(listener);
    }
    // SAFETY: `write` is a function of that signature, callable from any thread for as long as the process lives.
    let installed: c_int = unsafe { sys::popmap_log_to(Some(write)) };
    // If there was no memory for it, DPDK goes on writing to standard error.
    let _ = installed;
}

/// Returns how many lines there were so far, for [`since`].
pub(super) fn mark() -> usize {
    lock().count
}

/// Returns the last lines, at most 64.
pub(super) fn all() -> Vec<String> {
    lock().lines.iter().cloned().collect()
}

/// Returns the lines since a mark, or the last four of them: there the reason stands.
pub(super) fn since(mark: usize) -> Vec<String> {
    let log = lock();
    let new = log.count.saturating_sub(mark).min(QUOTED).min(log.lines.len());
    log.lines.range(log.lines.len() - new..).cloned().collect()
}

/// Takes what DPDK writes; one call is one message, most often one line.
///
/// # Safety
/// `text` points to `len` bytes.
unsafe extern "C" fn write(text: *const c_char, len: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: the caller's promise; nobody else writes to what it hands over during the call.
    let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), len) };
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        note(&String::from_utf8_lossy(&line[..line.len().min(LINE)]));
    }
}

fn note(line: &str) {
    let mut log = lock();
    if log.lines.len() == LINES {
        log.lines.pop_front();
    }
    log.lines.push_back(line.to_owned());
    log.count += 1;
    drop(log);
    if let Some(listener) = LISTENER.get() {
        listener(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines() {
        let start = mark();
        for n in 0..LINES + 3 {
            let text = format!("line {n}\n\n");
            // SAFETY: the text outlives the call.
            unsafe { write(text.as_ptr().cast(), text.len()) };
        }
        assert_eq!(mark() - start, LINES + 3);
        let lines = all();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES, "line 3"));
        assert_eq!(since(start), ["line 63", "line 64", "line 65", "line 66"]);
        assert_eq!(since(mark() - 1), ["line 66"]);
        assert_eq!(since(mark()), [""; 0]);
    }
}
