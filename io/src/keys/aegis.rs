//! AEGIS-128L by libaegis: for CPUs with AES instructions, which it looks for at run time.

use aegis::aegis128l::{Aegis128L as Cipher, Aegis128LMac};
use popmap_core::auth::{Aead, HEAD, SECRET};

/// AEGIS-128L (draft-irtf-cfrg-aegis-aead; of the CAESAR portfolio for high performance): of the algorithms here the
/// fastest on CPUs with AES instructions. Elsewhere libaegis computes AES bit by bit in constant time, slower than
/// AES-128-GCM.
///
/// The key is the first half of a subkey, and the nonce the packet number and eight zero bytes. What is only
/// authenticated, is so by AEGIS-MAC.
#[derive(Clone, Copy, Debug)]
pub struct Aegis128L;

const KEY: usize = 16;

fn key(subkey: &[u8; SECRET]) -> &[u8; KEY] {
    subkey.first_chunk().expect("a subkey is longer than a key")
}

fn nonce(number: u64) -> [u8; 16] {
    u128::from(number).to_le_bytes()
}

fn mac(subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &[u8]) -> Aegis128LMac<16> {
    let mut mac = Aegis128LMac::new_with_nonce(key(subkey), &nonce(number));
    mac.update(head);
    mac.update(body);
    mac
}

impl Aead for Aegis128L {
    fn name(&self) -> &'static str {
        "aegis-128l"
    }

    fn number(&self) -> u8 {
        2
    }

    fn tag(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &[u8]) -> [u8; 16] {
        mac(subkey, number, head, body).finalize()
    }

    fn verify(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &[u8],
        tag: &[u8; 16],
    ) -> bool {
        mac(subkey, number, head, body).verify(tag).is_ok()
    }

    fn encrypt(&self, subkey: &[u8; SECRET], number: u64, head: &[u8; HEAD], body: &mut [u8]) -> [u8; 16] {
        Cipher::new(key(subkey), &nonce(number)).encrypt_in_place(body, head)
    }

    fn decrypt(
        &self,
        subkey: &[u8; SECRET],
        number: u64,
        head: &[u8; HEAD],
        body: &mut [u8],
        tag: &[u8; 16],
    ) -> bool {
        Cipher::<16>::new(key(subkey), &nonce(number)).decrypt_in_place(body, tag, head).is_ok()
    }
}
