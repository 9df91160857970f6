//! What the servers' packets are authenticated by: a key file, or a key that is made for this run and thrown away.
//!
//! Must not know what is sent.

use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use popmap_core::auth::{Aes128Gcm, AuthKey, KeyRing};
use popmap_io::keys;
use serde::{Deserialize, Serialize};

use crate::stop::Stop;

/// Where the keys come from; a server's process is told so by the pipe that it gets its orders from.
#[derive(Clone, Serialize, Deserialize)]
pub enum Secret {
    /// A key file.
    File(PathBuf),
    /// The text of one.
    Text(String),
}

impl Secret {
    /// Returns the keys in `file`; without a file, one of our own.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(file: Option<&Path>) -> Result<Self, Stop> {
        if let Some(file) = file {
            return Ok(Self::File(file.to_owned()));
        }
        let secret = keys::secret().map_err(|error| Stop::Keys(format!("cannot draw a key: {error}")))?;
        let text = keys::format_shared(NonZeroU8::MIN, &Aes128Gcm, false, true, &secret);
        Ok(Self::Text(text.to_string()))
    }

    /// Returns the keys themselves.
    ///
    /// # Errors
    /// What is wrong with the file, by name.
    pub fn ring(&self) -> Result<KeyRing, Stop> {
        let ring = match self {
            Self::File(path) => keys::read(path).map_err(|error| Stop::Keys(error.to_string()))?,
            Self::Text(text) => keys::parse(text).expect("we wrote it ourselves"),
        };
        match (self, ring.keys().iter().find_map(AuthKey::slot)) {
            (Self::File(path), Some(slot)) => Err(Stop::Keys(format!(
                "{}: a key of {slot} alone; all servers run here, so a key that they share is needed",
                path.display()
            ))),
            _ => Ok(ring),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_our_own_is_another_each_time() {
        let [one, two] = [(); 2].map(|()| Secret::new(None).unwrap());
        assert_eq!(one.ring().unwrap().keys().len(), 1);
        let (Secret::Text(one), Secret::Text(two)) = (one, two) else { panic!("no file was named") };
        assert_ne!(one, two);
    }

    #[test]
    fn a_file_that_is_no_good_is_named() {
        let error = Secret::new(Some(Path::new("/nonexistent/pop.keys"))).unwrap().ring().unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/pop.keys: cannot be read"), "{error}");
    }
}
