//! Instruction counts by callgrind, of one stretch of a program.
//!
//! The program runs itself as a child under valgrind. The child works as usual and passes what is to be counted through
//! [`counted_stretch`]; callgrind counts only while that function is on the stack, so setting up costs time but no
//! counts.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Runs `work`. In a child of [`run_self`] the instructions of all calls together are what is counted.
// The name is what callgrind looks for: it must occur in no other function's.
#[inline(never)]
pub fn counted_stretch(work: &mut dyn FnMut()) {
    work();
}

/// Why there is no count.
#[derive(Debug)]
pub enum CallgrindError {
    /// There is no valgrind.
    Missing,
    /// The child could not be started, or callgrind's file not be read.
    Io(io::Error),
    /// The child failed; its standard error is here.
    Child(ExitStatus, String),
    /// Callgrind's file states no total, or none above zero.
    NoTotal,
}

impl fmt::Display for CallgrindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "valgrind is missing: install the package `valgrind` (on Debian also `libc6-dbg`), or use --time",
            ),
            Self::Io(error) => write!(f, "callgrind: {error}"),
            Self::Child(status, stderr) => write!(
                f,
                "the child under valgrind failed with {status}. If it met an illegal instruction: valgrind knows no \
                 AVX-512, so build without `-C target-cpu=native`. It said:\n{stderr}"
            ),
            Self::NoTotal => f.write_str("callgrind counted nothing: is the symbol table stripped?"),
        }
    }
}

impl std::error::Error for CallgrindError {}

impl From<io::Error> for CallgrindError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

/// Runs this program once more, with `arguments`, under callgrind, which writes `profile`. Returns the instructions of
/// the calls of [`counted_stretch`].
///
/// # Errors
/// When there is no valgrind, the child fails, or nothing was counted.
pub fn run_self(arguments: &[String], profile: &Path) -> Result<u64, CallgrindError> {
    let program = std::env::current_exe().map_err(CallgrindError::Io)?;
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(profile);
    let child = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*callgrind*counted_stretch*", "--error-exitcode=99"])
        .arg(out_file)
        .arg(program)
        .args(arguments)
        .output()?;
    if !child.status.success() {
        let stderr = String::from_utf8_lossy(&child.stderr).into_owned();
        return Err(CallgrindError::Child(child.status, stderr));
    }
    let text = fs::read_to_string(profile).map_err(CallgrindError::Io)?;
    total(&text).filter(|&total| total > 0).ok_or(CallgrindError::NoTotal)
}

/// Finds the total in the text of a callgrind file (Callgrind Format Specification: the line `totals:`).
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found() {
        let text = "# callgrind format\nevents: Ir\nsummary: 12\n\nfn=(1) main\n3 4\n\ntotals: 1234\n";
        assert_eq!(total(text), Some(1_234));
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(total("totals: none\n"), None);
    }
}
