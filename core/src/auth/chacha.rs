//! ChaCha20-Poly1305 (RFC 8439): on every CPU, in constant time without tables.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use zeroize::Zeroize;

use super::{Aead, HEAD, SECRET};

/// ChaCha20-Poly1305 as in RFC 8439, section 2.8, by the `chacha20` and `poly1305` crates, which look for AVX2 at run
/// time. The nonce is four zero bytes and the packet number, little-endian.
///
/// A packet that is only authenticated is associated data throughout: one block of ChaCha20, and Poly1305 over the
/// packet. The `chacha20poly1305` crate wants associated data in one piece, which a packet without its MAC field is not,
/// so the two are joined here; the tests hold the result against that crate.
#[derive(Clone, Copy, Debug)]
pub struct ChaCha20Poly1305;

/// Where the keystream of the message begins: the first block makes the one-time key.
const MESSAGE: u32 = 64;

const _: () = assert!(HEAD.is_multiple_of(16), "or the padding behind the head would be authenticated data");

fn begin(subkey: &[u8; SECRET], number: u64) -> (ChaCha20, Poly1305) {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    let mut cipher = ChaCha20::new(subkey.into(), &nonce.into());
    let mut once = poly1305::Key::default();
    cipher.apply_keystream(&mut once);
    let mac = Poly1305::new(&once);
    once.as_mut_slice().zeroize();
    (cipher, mac)
}

/// The lengths of associated data and of ciphertext end what is authenticated.
fn lengths(associated: usize, encrypted: usize) -> poly1305::Block {
    let mut block = poly1305::Block::default();
    block[..8].copy_from_slice(&(associated as u64).to_le_bytes());
    block[8..].copy_from_slice(&(encrypted as u64).to_le_bytes());
    block
}

fn authenticated(mut mac: Poly1305, head: &[u8; HEAD], body: &[u8]) -> Poly1305 {
    mac.update_padded(head);
    mac.update_padded(body);
    mac.update(&[lengths(HEAD + body.len(), 0)]);
    mac
}

fn encrypted(mut mac: Poly1305, head: &[u8; HEAD], body: &[u8]) -> Poly1305 {
    mac.update_padded(head);
    mac.update_padded(body);
    mac.update(&[lengths(HEAD, body.len())]);
    mac
}

impl Aead for ChaCha20Poly1305 {
    fn name(&self) -> &'static str {
        "chacha20-poly1305"
    }

    fn number(&self) -> u8 {
        1
    }

    fn tag(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &[u8]) -> [u8; 16] {
        let (_, mac) = begin(subkey, number);
        authenticated(mac, head, body).finalize().into()
    }

    fn verify(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &[u8],
        tag: &[u8; 16],
    ) -> bool {
        let (_, mac) = begin(subkey, number);
        authenticated(mac, head, body).verify(tag.into()).is_ok()
    }

    fn encrypt(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &mut [u8]) -> [u8; 16] {
        let (mut cipher, mac) = begin(subkey, number);
        cipher.seek(MESSAGE);
        cipher.apply_keystream(body);
        encrypted(mac, head, body).finalize().into()
    }

    fn decrypt(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &mut [u8],
        tag: &[u8; 16],
    ) -> bool {
        let (mut cipher, mac) = begin(subkey, number);
        let valid = encrypted(mac, head, body).verify(tag.into()).is_ok();
        if valid {
            cipher.seek(MESSAGE);
            cipher.apply_keystream(body);
        }
        valid
    }
}
