//! One line of a key file.

use std::num::NonZeroU8;

use popmap_core::Slot;
use popmap_core::auth::{Aead, Row, SECRET};
use popmap_core::limits::SLOTS_MAX;
use zeroize::Zeroizing;

use super::KeyFileFault;

/// What rows are derived from.
#[derive(Debug)]
pub struct Master {
    /// The id of the key.
    pub id: NonZeroU8,
    /// Its algorithm.
    pub algorithm: &'static dyn Aead,
    /// Whether packets are to be encrypted.
    pub encrypts: bool,
    secret: Secret,
}

impl Master {
    /// Derives the row of `slot`.
    #[must_use]
    pub fn row(&self, slot: Slot) -> Row {
        Row::derive(&self.secret.0, self.id, slot)
    }
}

struct Secret(Zeroizing<[u8; SECRET]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// What a line's secret is.
#[allow(clippy::large_enum_variant, reason = "a few at a start")]
pub enum Material {
    /// All servers'.
    Shared(Zeroizing<[u8; SECRET]>),
    /// One server's.
    Row(Row),
    /// What rows are derived from.
    Master(Master),
}

pub(super) struct Line {
    pub(super) id: NonZeroU8,
    pub(super) algorithm: &'static dyn Aead,
    pub(super) encrypts: bool,
    pub(super) sends: bool,
    pub(super) material: Material,
}

impl Line {
    /// Takes a line apart that is neither empty nor has a comment. What is quoted in a fault is never the last word: that
    /// may be a secret.
    pub(super) fn parse(text: &str) -> Result<Self, KeyFileFault> {
        let (id, rest) = text.split_once(':').ok_or(KeyFileFault::NoId)?;
        let id = id.trim();
        let id: NonZeroU8 = id.parse().map_err(|_| KeyFileFault::Id(quoted(id)))?;
        let mut words = rest.split_ascii_whitespace();
        let digits = words.next_back().ok_or(KeyFileFault::NoSecret(id))?;
        let name = words.next().ok_or(KeyFileFault::NoAlgorithm(id))?;
        let algorithm = super::algorithm(name).ok_or_else(|| KeyFileFault::Algorithm(quoted(name)))?;
        let (mut encrypts, mut sends, mut master, mut row) = (false, false, false, None);
        for word in words {
            let again = match word {
                "encrypt" => std::mem::replace(&mut encrypts, true),
                "send" => std::mem::replace(&mut sends, true),
                "master" => std::mem::replace(&mut master, true),
                _ => {
                    let slot = word.strip_prefix("row=").ok_or_else(|| KeyFileFault::Option(quoted(word)))?;
                    let slot = slot.parse().ok().and_then(Slot::new);
                    row.replace(slot.ok_or_else(|| KeyFileFault::Row(quoted(word)))?).is_some()
                }
            };
            if again || master && row.is_some() {
                return Err(KeyFileFault::Option(quoted(word)));
            }
        }
        let material = match row {
            Some(slot) => {
                let bytes = decoded(digits, Row::LEN)?;
                Material::Row(Row::from_bytes(slot, &bytes).expect("of its length"))
            }
            None => {
                let bytes = decoded(digits, SECRET)?;
                let secret = Zeroizing::new(bytes[..].try_into().expect("of its length"));
                match master {
                    true => Material::Master(Master { id, algorithm, encrypts, secret: Secret(secret) }),
                    false => Material::Shared(secret),
                }
            }
        };
        Ok(Self { id, algorithm, encrypts, sends, material })
    }
}

/// A word of the file for a message; not one that may be a secret at the wrong place.
fn quoted(word: &str) -> String {
    if word.len() <= 20 { word.to_owned() } else { format!("a word of {} characters", word.chars().count()) }
}

fn decoded(digits: &str, bytes: usize) -> Result<Zeroizing<Vec<u8>>, KeyFileFault> {
    if let Some(at) = digits.bytes().position(|digit| !digit.is_ascii_hexdigit()) {
        return Err(KeyFileFault::Hex { at: at + 1 });
    }
    if digits.len() != 2 * bytes {
        return Err(KeyFileFault::Length { given: digits.len(), expected: 2 * bytes });
    }
    let value = |digit: u8| (digit as char).to_digit(16).map_or(0, |value| value as u8);
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    Ok(Zeroizing::new(pairs.map(|[high, low]| value(*high) << 4 | value(*low)).collect()))
}

const _: () = assert!(SLOTS_MAX == 64, "the documentation counts the digits of a row");
