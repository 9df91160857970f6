//! New keys, and files that only their owner can read.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use popmap_core::auth::{Aead, Row, SECRET};
use zeroize::{Zeroize, Zeroizing};

/// Draws a secret from the operating system.
///
/// # Errors
/// It has no randomness to give.
pub fn secret() -> io::Result<Zeroizing<[u8; SECRET]>> {
    let mut secret = Zeroizing::new([0; SECRET]);
    getrandom::fill(&mut secret[..])?;
    Ok(secret)
}

fn line(start: &str, algorithm: &dyn Aead, options: &[(&str, bool)], bytes: &[u8]) -> Zeroizing<String> {
    // With the room at once, so that growing leaves no copies.
    let mut line = Zeroizing::new(String::with_capacity(2 * bytes.len() + 100));
    let _ = write!(line, "{start}: {}", algorithm.name());
    for (option, _) in options.iter().filter(|(_, said)| *said) {
        let _ = write!(line, " {option}");
    }
    line.push(' ');
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    line
}

/// Returns the line of a key that all servers have.
#[must_use]
pub fn format_shared(
    id: NonZeroU8,
    algorithm: &dyn Aead,
    encrypts: bool,
    sends: bool,
    secret: &[u8; SECRET],
) -> Zeroizing<String> {
    line(&id.to_string(), algorithm, &[("encrypt", encrypts), ("send", sends)], secret)
}

/// Returns the line of a master.
#[must_use]
pub fn format_master(
    id: NonZeroU8,
    algorithm: &dyn Aead,
    encrypts: bool,
    secret: &[u8; SECRET],
) -> Zeroizing<String> {
    line(&id.to_string(), algorithm, &[("encrypt", encrypts), ("master", true)], secret)
}

/// Returns the line of one server's row.
#[must_use]
pub fn format_row(
    id: NonZeroU8,
    algorithm: &dyn Aead,
    encrypts: bool,
    sends: bool,
    row: &Row,
) -> Zeroizing<String> {
    let of = format!("row={}", row.slot().get());
    let mut bytes = [0; Row::LEN];
    row.write_to(&mut bytes);
    let text =
        line(&id.to_string(), algorithm, &[("encrypt", encrypts), ("send", sends), (&of, true)], &bytes);
    bytes.zeroize();
    text
}

/// Writes a file that only its owner can read, and that was not there before.
///
/// # Errors
/// What the operating system said. Where the file was there, it is as it was.
pub fn write_new(path: &Path, content: &str) -> Result<(), NewKeyError> {
    let failed = |source| NewKeyError { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Why a key file was not written.
#[derive(Debug)]
pub struct NewKeyError {
    /// The file.
    pub path: PathBuf,
    source: io::Error,
}

impl fmt::Display for NewKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, source } = self;
        if source.kind() == io::ErrorKind::AlreadyExists {
            return write!(f, "{}: there is such a file already; keys are never overwritten", path.display());
        }
        write!(f, "{}: cannot be written: {source}", path.display())
    }
}

impl std::error::Error for NewKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
