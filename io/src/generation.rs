//! The saved generation: a small text file that makes each start of a slot's server a new life.
//!
//! Knows the file and how to replace it durably. Must not read the clock (its reading is an argument) nor know
//! what a generation is used for.
//!
//! The file holds one decimal number, 0 to 4294967295, and a newline. It is replaced, never rewritten: temporary
//! file beside it, fsync, rename, fsync of the directory. A crash leaves the old file or the new one, and at worst
//! a stray temporary file, which is never read and which the next raise overwrites.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::clock::is_set;

/// Bytes read of the file. A number and its newline need 11; the rest is for quoting what stands there instead. A
/// file that fills it is no generation, whatever it starts with.
const CONTENT_LIMIT_BYTES: usize = 64;

/// The file in which a slot's generation survives restarts (DESIGN R4.1).
///
/// One process at a time: two that start at once on one file may draw the same generation, which the life id then
/// tells apart (DESIGN R4.5).
#[derive(Clone, Debug)]
pub struct GenerationFile {
    path: PathBuf,
}

/// What a server starts with: see [`GenerationFile::start`].
#[derive(Debug)]
#[must_use = "the warning says that the generation was not saved"]
pub struct Start {
    /// The new life's generation, at least 1.
    pub generation: u32,
    /// Whether nothing shows that the generation is above that of the slot's last life. It rests neither on a saved one,
    /// with the new one saved in turn, nor on a clock that was ever set
    /// ([`SET_CLOCK_SECONDS`](crate::SET_CLOCK_SECONDS)). Then no packet may be sent while one of the last life may still
    /// be under way (DESIGN R4); a [`Driver`](crate::Driver) waits.
    pub in_doubt: bool,
    /// Why the generation could not be saved, for an operator to see; `None` where it is on disk.
    pub warning: Option<GenerationError>,
}

impl GenerationFile {
    /// Names the file; nothing is opened yet. Its directory must exist and be writable when a generation is raised,
    /// and the temporary file stands beside it, with `.tmp` appended to the name.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the file's path, as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the saved generation; `None` where there is no file yet.
    ///
    /// # Errors
    ///
    /// [`Read`](GenerationError::Read) and [`Content`](GenerationError::Content). The file is untouched.
    pub fn read(&self) -> Result<Option<u32>, GenerationError> {
        let failed = |source| GenerationError::Read { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut content = Vec::with_capacity(CONTENT_LIMIT_BYTES);
        file.take(CONTENT_LIMIT_BYTES as u64).read_to_end(&mut content).map_err(failed)?;
        match Self::parse(&content) {
            Some(generation) => Ok(Some(generation)),
            None => {
                let found = content.escape_ascii().to_string();
                Err(GenerationError::Content { path: self.path.clone(), found })
            }
        }
    }

    /// Returns the generation that a file with this content holds; `None` where the content is something else.
    ///
    /// Digits and nothing else, but for white space around them: `u32::from_str` alone would take a sign. A content of 64
    /// bytes or more is no generation, whatever it starts with.
    #[must_use]
    pub fn parse(content: &[u8]) -> Option<u32> {
        let digits = content.trim_ascii();
        if content.len() >= CONTENT_LIMIT_BYTES || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Raises the saved generation by one, to above `floor` where that is higher still, and returns it once it is
    /// durably on disk. A missing file counts as generation 0; `raise(0)` is the plain raise by one.
    ///
    /// `floor` is what the new generation must exceed: the clock's seconds at a start
    /// ([`wall_clock_seconds`](crate::wall_clock_seconds)), or the greatest generation seen of this slot (DESIGN R4.5).
    ///
    /// # Errors
    ///
    /// Any [`GenerationError`]; the file never holds less than before.
    pub fn raise(&self, floor: u32) -> Result<u32, GenerationError> {
        let next = self.above(self.read()?, floor)?;
        self.replace(next)?;
        Ok(next)
    }

    /// Returns the generation to start with: as [`raise`](Self::raise), but a file that cannot be used does not
    /// keep the server down.
    ///
    /// A file that cannot be read or makes no sense is left as it is, for an operator to look at, and the generation
    /// is `clock_seconds` + 1; a file that cannot be replaced still counts with what it holds. Either way it comes
    /// with a warning, because an unsaved generation rises at the next start only as far as the clock does: where
    /// the clock stands still too, peers and the life id have to tell the lives apart, and the start is
    /// [in doubt](Start::in_doubt).
    ///
    /// # Errors
    ///
    /// [`Exhausted`](GenerationError::Exhausted) only: no generation is left above what is saved, and starting
    /// below it would be starting in the past.
    pub fn start(&self, clock_seconds: u32) -> Result<Start, GenerationError> {
        let (saved, unusable) = match self.read() {
            Ok(saved) => (saved, None),
            Err(unusable) => (None, Some(unusable)),
        };
        let generation = self.above(saved, clock_seconds)?;
        let warning = unusable.or_else(|| self.replace(generation).err());
        // Where saving fails it may have failed before, and the last life have had this same generation.
        let by_file = saved.is_some() && warning.is_none();
        let by_clock = is_set(clock_seconds) && saved.is_none_or(|saved| saved <= clock_seconds);
        Ok(Start { generation, in_doubt: !by_file && !by_clock, warning })
    }

    fn above(&self, saved: Option<u32>, floor: u32) -> Result<u32, GenerationError> {
        let least = saved.unwrap_or(0).max(floor);
        least.checked_add(1).ok_or_else(|| GenerationError::Exhausted { path: self.path.clone() })
    }

    /// Puts `generation` in the file's place: all of it or nothing, and on disk when this returns.
    fn replace(&self, generation: u32) -> Result<(), GenerationError> {
        let failed =
            |step, source| GenerationError::Write { path: self.path.clone(), generation, step, source };
        let temporary = self.temporary_path();
        write_durably(&temporary, generation).map_err(|source| failed(WriteStep::Temporary, source))?;
        fs::rename(&temporary, &self.path).map_err(|source| failed(WriteStep::Rename, source))?;
        // Without this the rename itself may not survive a power cut.
        sync_directory_of(&self.path).map_err(|source| failed(WriteStep::Directory, source))
    }

    fn temporary_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".tmp");
        path.into()
    }
}

fn write_durably(path: &Path, generation: u32) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(format!("{generation}\n").as_bytes())?;
    file.sync_all()
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Why a generation could not be read or saved. Each names the path, and none ever lowers what is saved.
#[derive(Debug)]
#[non_exhaustive]
pub enum GenerationError {
    /// The file is there but could not be read. It is untouched.
    Read {
        /// The generation file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file holds something other than a generation. It is untouched.
    Content {
        /// The generation file.
        path: PathBuf,
        /// The first bytes of what stands there, escaped.
        found: String,
    },
    /// The new generation could not be saved. The file holds what it held before, except after
    /// [`WriteStep::Directory`].
    Write {
        /// The generation file.
        path: PathBuf,
        /// The generation that was to be saved.
        generation: u32,
        /// How far the write came.
        step: WriteStep,
        /// What the operating system said.
        source: io::Error,
    },
    /// Generation 4294967295 is taken and none comes after it. The file is untouched.
    Exhausted {
        /// The generation file.
        path: PathBuf,
    },
}

/// The step at which saving a generation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// Writing the temporary file beside it, or its fsync: the generation file is as before.
    Temporary,
    /// Renaming the temporary file: the generation file is as before.
    Rename,
    /// The directory's fsync: the file holds the new generation, but a power cut may bring the old one back.
    Directory,
}

impl fmt::Display for GenerationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => {
                write!(f, "cannot read the generation file {}: {source}", path.display())
            }
            Self::Content { path, found } => write!(
                f,
                "the generation file {} holds \"{found}\"; accepted is one decimal number, 0 to {}, with or without \
                 a newline",
                path.display(),
                u32::MAX
            ),
            Self::Write { path, generation, step, source } => {
                let doing = match step {
                    WriteStep::Temporary => "writing the temporary file beside it",
                    WriteStep::Rename => "renaming the temporary file over it",
                    WriteStep::Directory => "syncing its directory",
                };
                write!(
                    f,
                    "cannot save generation {generation} in {}: {doing} failed: {source}",
                    path.display()
                )
            }
            Self::Exhausted { path } => write!(
                f,
                "no generation is left: {} or the clock stands at {}; accepted is anything below",
                path.display(),
                u32::MAX
            ),
        }
    }
}

impl std::error::Error for GenerationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Content { .. } | Self::Exhausted { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
