//! AES-128-GCM (NIST SP 800-38D): on every CPU in constant time, fast where there are instructions for it.

use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Block};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use super::{Aead, HEAD, SECRET};

/// AES-128-GCM as in NIST SP 800-38D, with a nonce of 96 bits and a tag of 128, by the `aes`, `ctr` and `ghash` crates,
/// which look for AES and carry-less multiplication at run time and elsewhere compute in constant time without tables.
/// The key is the first half of the subkey; the nonce is four zero bytes and the packet number, little-endian.
///
/// A packet that is only authenticated is associated data throughout, which makes the tag a GMAC: two blocks of AES, and
/// GHASH over the packet. The `aes-gcm` crate wants associated data in one piece, which a packet without its MAC field is
/// not, so the three are joined here; the tests hold the result against that crate.
///
/// A nonce that was used twice would give the subkey's hash away, and with it forgeries under that subkey. None is: see
/// the rule of [`auth`](crate::auth).
#[derive(Clone, Copy, Debug)]
pub struct Aes128Gcm;

const _: () = assert!(HEAD.is_multiple_of(16), "or the padding behind the head would be authenticated data");

/// Bytes of the subkey that are the cipher's key.
const KEY: usize = 16;
const _: () = assert!(KEY <= SECRET);

/// Blocks that are hashed at once.
const AT_ONCE: usize = 4;
const _: () = assert!(HEAD <= 16 * AT_ONCE);

/// A subkey and a nonce at work.
struct Opened {
    /// The keystream of the message.
    stream: CtrCore<Aes128Enc, Ctr32BE>,
    hash: GHash,
    /// What covers the hash.
    mask: Block,
}

fn open(subkey: &[u8; SECRET], number: u64) -> Opened {
    let cipher = Aes128Enc::new(subkey.first_chunk::<KEY>().expect("a subkey is longer").into());
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
///
/// Blocks are hashed four at a time where there are four in a row, so that what is in front of the body and behind it goes
/// with blocks of the body: by themselves they would take a tenth of the time.
fn hashed(mut hash: GHash, head: &[u8; HEAD], body: &[u8], message: usize) -> GHash {
    let bits = |bytes: usize| (8 * bytes as u64).to_be_bytes();
    let (blocks, rest) = Block::slice_as_chunks(body);
    let (first, blocks) = blocks.split_at(blocks.len().min(AT_ONCE - HEAD / 16));
    let mut front = [Block::default(); AT_ONCE];
    let head = head.as_chunks::<16>().0.iter().copied().map(Block::from);
    let count = fill(&mut front, head.chain(first.iter().copied()));
    hash.update(&front[..count]);
    let (blocks, last) = blocks.split_at(blocks.len() / AT_ONCE * AT_ONCE);
    hash.update(blocks);
    let mut padded = Block::default();
    padded[..rest.len()].copy_from_slice(rest);
    let mut lengths = Block::default();
    lengths[..8].copy_from_slice(&bits(HEAD + body.len() - message));
    lengths[8..].copy_from_slice(&bits(message));
    let mut back = [Block::default(); AT_ONCE + 1];
    let rest = (!rest.is_empty()).then_some(padded);
    let count = fill(&mut back, last.iter().copied().chain(rest).chain([lengths]));
    hash.update(&back[..count]);
    hash
}

/// Fills `room` with blocks; returns how many there were.
fn fill(room: &mut [Block], blocks: impl Iterator<Item = Block>) -> usize {
    room.iter_mut().zip(blocks).map(|(place, block)| *place = block).count()
}

fn xor(a: &Block, b: &Block) -> Block {
    Block::from_fn(|at| a[at] ^ b[at])
}

impl Aead for Aes128Gcm {
    fn name(&self) -> &'static str {
        "aes-128-gcm"
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
