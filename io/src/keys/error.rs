//! Why a key file was refused.

use std::fmt;
use std::io;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use popmap_core::auth::KeyRingError;

use super::ALGORITHMS;

/// Why a key file was refused. No key of it is in use.
#[derive(Debug)]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1; `None` where it is the whole file.
    pub line: Option<usize>,
    /// What is wrong.
    pub fault: KeyFileFault,
}

impl KeyFileError {
    pub(super) fn new(path: &Path, line: Option<usize>, fault: KeyFileFault) -> Self {
        Self { path: path.to_owned(), line, fault }
    }
}

/// What is wrong with a key file. No message quotes a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileFault {
    /// It cannot be read.
    Read(io::Error),
    /// It is a directory or a device.
    NotAFile,
    /// Others than its owner may read or change it.
    Readable {
        /// The permissions.
        mode: u32,
    },
    /// It is longer than any key file.
    Long {
        /// Bytes that are possible.
        most: u64,
    },
    /// It is not UTF-8.
    NotText,
    /// There is no key in it.
    Empty,
    /// A line without a colon.
    NoId,
    /// An id that is none.
    Id(String),
    /// Nothing stands behind the id.
    NoSecret(NonZeroU8),
    /// A single word stands behind the id.
    NoAlgorithm(NonZeroU8),
    /// An algorithm that is not known here.
    Algorithm(String),
    /// An option that is not known, comes twice or contradicts another.
    Option(String),
    /// A row of no slot.
    Row(String),
    /// The secret has a character that is no hexadecimal digit.
    Hex {
        /// The character, counted from 1.
        at: usize,
    },
    /// The secret has another length.
    Length {
        /// Digits given.
        given: usize,
        /// Digits expected.
        expected: usize,
    },
    /// Two lines have one id.
    Duplicate {
        /// The id.
        id: NonZeroU8,
        /// The line that has it already.
        first: usize,
    },
    /// A second line says `send`.
    SecondSending {
        /// The id.
        id: NonZeroU8,
        /// The line that says so already.
        first: usize,
    },
    /// No line says `send`.
    NoneSending,
    /// More keys than a server may have.
    TooMany {
        /// Keys that are possible.
        most: usize,
    },
    /// A master, in a server's file.
    IsAMaster(NonZeroU8),
    /// A key that is no master, where masters are asked for.
    NotAMaster(NonZeroU8),
    /// Anything else that makes no ring.
    Ring(KeyRingError),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl fmt::Display for KeyFileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LINE: &str = "\"ID: ALGORITHM [encrypt] [send] [row=SLOT] SECRET\" is expected";
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::NotAFile => f.write_str("not a file; a key file is an ordinary one"),
            Self::Readable { mode } => write!(
                f,
                "its permissions are {mode:04o}, so that others than its owner get at the secrets; 0600 or 0400 are \
                 accepted (chmod 600)"
            ),
            Self::Long { most } => write!(f, "longer than {most} bytes, so no key file"),
            Self::NotText => f.write_str("not text; UTF-8 is expected"),
            Self::Empty => f.write_str("no key in it; at least one line with a key is needed"),
            Self::NoId => write!(f, "no colon; {LINE}"),
            Self::Id(given) => write!(f, "id {given:?}; a number from 1 to 255 is expected"),
            Self::NoSecret(id) => write!(f, "key {id} has no secret; {LINE}"),
            Self::NoAlgorithm(id) => write!(f, "key {id} has no algorithm; {LINE}"),
            Self::Algorithm(given) => {
                let names: Vec<_> = ALGORITHMS.iter().map(|algorithm| algorithm.name()).collect();
                write!(f, "algorithm {given:?}; {} are known here", names.join(" and "))
            }
            Self::Option(given) => write!(
                f,
                "option {given:?}; \"encrypt\", \"send\" and one of \"row=SLOT\" and \"master\" are possible, each once"
            ),
            Self::Row(given) => write!(f, "option {given:?}; slots 0 to 63 are possible"),
            Self::Hex { at } => {
                write!(f, "the secret's character {at} is no hexadecimal digit; 0 to 9 and a to f are")
            }
            Self::Length { given, expected } => {
                write!(f, "the secret has {given} hexadecimal digits; {expected} are expected")
            }
            Self::Duplicate { id, first } => {
                write!(f, "id {id} is taken by line {first}; each key needs one of its own")
            }
            Self::SecondSending { id, first } => {
                write!(f, "key {id} is to be sent with, and so is that of line {first}; one may say \"send\"")
            }
            Self::NoneSending => f.write_str("no key is to be sent with; one line must say \"send\""),
            Self::TooMany { most } => write!(f, "more than {most} keys; drop those that nobody sends with"),
            Self::IsAMaster(id) => write!(
                f,
                "key {id} is a master, which no server should have; derive the server's row from it (popmap-keys rows)"
            ),
            Self::NotAMaster(id) => {
                write!(f, "key {id} is no master; rows are derived from one that says \"master\"")
            }
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            KeyFileFault::Read(error) => Some(error),
            _ => None,
        }
    }
}
