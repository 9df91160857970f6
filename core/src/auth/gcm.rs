//! AES-256-GCM (NIST SP 800-38D): on every CPU in constant time, fast where there are instructions for it.

use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes256Enc, Block};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use super::{Aead, HEAD, SECRET};

/// AES-256-GCM as in NIST SP 800-38D, with a nonce of 96 bits and a tag of 128, by the `aes`, `ctr` and `ghash` crates,
/// which look for AES and carry-less multiplication at run time and elsewhere compute in constant time without tables.
/// The nonce is four zero bytes and the packet number, little-endian.
///
/// A packet that is only authenticated is associated data throughout, which makes the tag a GMAC: two blocks of AES, and
/// GHASH over the packet. The `aes-gcm` crate wants associated data in one piece, which a packet without its MAC field is
/// not, so the three are joined here; the tests hold the result against that crate.
///
/// A nonce that was used twice would give the subkey's hash away, and with it forgeries under that subkey. None is: see
/// the rule of [`auth`](crate::auth).
#[derive(Clone, Copy, Debug)]
pub struct Aes256Gcm;

const _: () = assert!(HEAD.is_multiple_of(16), "or the padding behind the head would be authenticated data");

/// A subkey and a nonce at work.
struct Opened {
    /// The keystream of the message.
    stream: CtrCore<Aes256Enc, Ctr32BE>,
    hash: GHash,
    /// What covers the hash.
    mask: Block,
}

fn open(subkey: &[u8; SECRET], number: u64) -> Opened {
    let cipher = Aes256Enc::new(subkey.into());
    let mut counter = Block::default();
    counter[4..12].copy_from_slice(&number.to_le_bytes());
    counter[15] = 1;
    let mut blocks = [Block::default(), counter];
    cipher.encrypt_blocks(&mut blocks);
    let [mut key, mask] = blocks;
    let hash = GHash::new(&key);
    key.as_mut_slice().zeroize();
    // The first block of the counter covers the hash, the message begins with the second.
    counter[15] = 2;
    Opened { stream: CtrCore::inner_iv_init(cipher, &counter), hash, mask }
}

/// Hashes the packet, of whose body `message` bytes are ciphertext: all or none.
fn hashed(mut hash: GHash, head: &[u8; HEAD], body: &[u8], message: usize) -> GHash {
    let bits = |bytes: usize| (8 * bytes as u64).to_be_bytes();
    let mut lengths = Block::default();
    lengths[..8].copy_from_slice(&bits(HEAD + body.len() - message));
    lengths[8..].copy_from_slice(&bits(message));
    hash.update_padded(head);
    hash.update_padded(body);
    hash.update(&[lengths]);
    hash
}

fn xor(a: &Block, b: &Block) -> Block {
    Block::from_fn(|at| a[at] ^ b[at])
}

impl Aead for Aes256Gcm {
    fn name(&self) -> &'static str {
        "aes-256-gcm"
    }

    fn number(&self) -> u8 {
        1
    }

    fn tag(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &[u8]) -> [u8; 16] {
        let Opened { hash, mask, .. } = open(subkey, number);
        xor(&hashed(hash, head, body, 0).finalize(), &mask).into()
    }

    fn verify(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &[u8],
        tag: &[u8; 16],
    ) -> bool {
        let Opened { hash, mask, .. } = open(subkey, number);
        hashed(hash, head, body, 0).verify(&xor(tag.into(), &mask)).is_ok()
    }

    fn encrypt(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &mut [u8]) -> [u8; 16] {
        let Opened { stream, hash, mask } = open(subkey, number);
        stream.apply_keystream_partial((&mut *body).into());
        xor(&hashed(hash, head, body, body.len()).finalize(), &mask).into()
    }

    fn decrypt(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &mut [u8],
        tag: &[u8; 16],
    ) -> bool {
        let Opened { stream, hash, mask } = open(subkey, number);
        let valid = hashed(hash, head, body, body.len()).verify(&xor(tag.into(), &mask)).is_ok();
        if valid {
            stream.apply_keystream_partial(body.into());
        }
        valid
    }
}
