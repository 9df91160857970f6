//! Key files: the secrets that packets are authenticated by, as an operator keeps them.
//!
//! Knows the text and who may read it. Must not know what a key does.
//!
//! ```text
//! # One key a line: its id, its algorithm, options, and its secret in hexadecimal digits.
//! 1: aes-128-gcm 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! 2: aegis-128l encrypt send 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
//! ```
//!
//! A line is `ID: ALGORITHM [encrypt] [send] [row=SLOT | master] SECRET`. The id is 1 to 255. One line says `send`: packets
//! are sent with that key, and taken under any. A line with `row` holds what binds a server to its slot, 4,160 digits; it
//! is derived from a line with `master`, which no server should have. `#` begins a comment. `popmap-keys` writes such files.

#[cfg(feature = "aegis")]
mod aegis;
mod error;
mod line;
mod write;

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU8;
use std::path::Path;

use popmap_core::auth::{Aead, Aes128Gcm, AuthKey, KEYS_MAX, KeyRing, KeyRingError};
use zeroize::Zeroizing;

#[cfg(feature = "aegis")]
pub use self::aegis::Aegis128L;
pub use error::{KeyFileError, KeyFileFault};
pub use line::{Master, Material};
pub use write::{NewKeyError, format_master, format_row, format_shared, secret, write_new};

use line::Line;

/// The longest key file, in bytes: four rows, and room for comments.
const LIMIT: u64 = 64 * 1_024;

/// Every algorithm, by the name that key files have for it.
#[cfg(feature = "aegis")]
pub const ALGORITHMS: &[&dyn Aead] = &[&Aes128Gcm, &Aegis128L];
/// Every algorithm, by the name that key files have for it.
#[cfg(not(feature = "aegis"))]
pub const ALGORITHMS: &[&dyn Aead] = &[&Aes128Gcm];

/// Returns the algorithm of this name.
#[must_use]
pub fn algorithm(name: &str) -> Option<&'static dyn Aead> {
    ALGORITHMS.iter().copied().find(|algorithm| algorithm.name() == name)
}

/// Reads the keys of a server. Nobody but the file's owner may be able to read or change it.
///
/// # Errors
/// What is wrong, in which line, and what would be accepted.
pub fn read(path: impl AsRef<Path>) -> Result<KeyRing, KeyFileError> {
    let path = path.as_ref();
    let content = content(path)?;
    parse(&content).map_err(|(line, fault)| KeyFileError::new(path, line, fault))
}

/// Reads the masters that rows are derived from: on the operator's machine, never on a server.
///
/// # Errors
/// The same.
pub fn read_masters(path: impl AsRef<Path>) -> Result<Vec<Master>, KeyFileError> {
    let path = path.as_ref();
    let content = content(path)?;
    let masters = lines(&content).and_then(|lines| {
        let masters = lines.into_iter().map(|(at, line)| match line.material {
            Material::Master(master) => Ok(master),
            _ => Err((Some(at), KeyFileFault::NotAMaster(line.id))),
        });
        masters.collect::<Result<Vec<_>, _>>()
    });
    masters.map_err(|(line, fault)| KeyFileError::new(path, line, fault))
}

/// Returns the keys in the text of a key file.
///
/// # Errors
/// The line, counted from 1, and what is wrong with it; no line where it is the whole.
pub fn parse(content: &str) -> Result<KeyRing, (Option<usize>, KeyFileFault)> {
    let mut keys = Vec::new();
    let mut sending: Option<(usize, NonZeroU8)> = None;
    for (at, line) in lines(content)? {
        if line.sends {
            if let Some((first, _)) = sending {
                return Err((Some(at), KeyFileFault::SecondSending { id: line.id, first }));
            }
            sending = Some((at, line.id));
        }
        let key = match line.material {
            Material::Shared(secret) => AuthKey::shared(line.id, *secret),
            Material::Row(row) => AuthKey::row(line.id, row),
            Material::Master(_) => return Err((Some(at), KeyFileFault::IsAMaster(line.id))),
        };
        keys.push(key.with_cipher(line.algorithm).encrypted(line.encrypts));
    }
    let Some((_, sending)) = sending else { return Err((None, KeyFileFault::NoneSending)) };
    KeyRing::new(keys, sending).map_err(|error| {
        let fault = match error {
            KeyRingError::TooMany => KeyFileFault::TooMany { most: KEYS_MAX },
            error => KeyFileFault::Ring(error),
        };
        (None, fault)
    })
}

/// Lines with keys, and their numbers.
type Lines = Vec<(usize, Line)>;

fn lines(content: &str) -> Result<Lines, (Option<usize>, KeyFileFault)> {
    let mut lines = Lines::new();
    for (at, text) in (1..).zip(content.lines()) {
        let text = text.split_once('#').map_or(text, |(text, _)| text).trim();
        if text.is_empty() {
            continue;
        }
        let line = Line::parse(text).map_err(|fault| (Some(at), fault))?;
        if let Some((first, _)) = lines.iter().find(|(_, other)| other.id == line.id) {
            return Err((Some(at), KeyFileFault::Duplicate { id: line.id, first: *first }));
        }
        lines.push((at, line));
    }
    if lines.is_empty() { Err((None, KeyFileFault::Empty)) } else { Ok(lines) }
}

fn content(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |error| KeyFileError::new(path, None, KeyFileFault::Read(error));
    let file = File::open(path).map_err(failed)?;
    // Of what was opened, not of what has the name by now.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::new(path, None, KeyFileFault::NotAFile));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::new(path, None, KeyFileFault::Readable { mode }));
        }
    }
    if metadata.len() > LIMIT {
        return Err(KeyFileError::new(path, None, KeyFileFault::Long { most: LIMIT }));
    }
    // With the room at once, so that growing leaves no copies.
    let mut content = Zeroizing::new(Vec::with_capacity(LIMIT as usize + 1));
    file.take(LIMIT).read_to_end(&mut content).map_err(failed)?;
    match str::from_utf8(&content) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(KeyFileError::new(path, None, KeyFileFault::NotText)),
    }
}

#[cfg(all(test, feature = "aegis"))]
mod golden;
#[cfg(test)]
mod tests;
