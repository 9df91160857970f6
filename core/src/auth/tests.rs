//! Ciphers against the `aes-gcm` crate, derivations against each other, windows against a set of numbers.

use core::num::NonZeroU8;
use std::collections::BTreeSet;
use std::vec::Vec;

use aes_gcm::Aes128Gcm as Whole;
use aes_gcm::aead::{AeadInOut, KeyInit};

use super::*;
use crate::id::{Slot, SlotSet};
use crate::rng::Rng;

const LIFE: u64 = 0xb8b7_b6b5_b4b3_b2b1;

fn id(id: u8) -> NonZeroU8 {
    NonZeroU8::new(id).unwrap()
}

fn bytes<const L: usize>(rng: &mut Rng) -> [u8; L] {
    core::array::from_fn(|_| rng.next_u64() as u8)
}

fn packet(rng: &mut Rng, body: usize) -> ([u8; HEAD], Vec<u8>) {
    (bytes(rng), (0..body).map(|_| rng.next_u64() as u8).collect())
}

#[test]
fn the_tag_is_that_of_the_whole_construction() {
    let mut rng = Rng::new(1);
    for length in (0..200).chain([1_336, 8_888]) {
        let (key, number) = (bytes::<SECRET>(&mut rng), rng.next_u64());
        let (head, body) = packet(&mut rng, length);
        let nonce: [u8; 12] = [&[0; 4][..], &number.to_le_bytes()].concat().try_into().unwrap();
        let whole = Whole::new(key.first_chunk::<16>().unwrap().into());

        let associated = [&head[..], &body].concat();
        let expected =
            whole.encrypt_inout_detached(&nonce.into(), &associated, (&mut [][..]).into()).unwrap();
        let tag = Aes128Gcm.tag(&key, number, &head, &body);
        assert_eq!(tag[..], expected[..], "{length}");
        assert!(Aes128Gcm.verify(&key, number, &head, &body, &tag));

        let (mut ours, mut theirs) = (body.clone(), body.clone());
        let expected =
            whole.encrypt_inout_detached(&nonce.into(), &head, theirs.as_mut_slice().into()).unwrap();
        let tag = Aes128Gcm.encrypt(&key, number, &head, &mut ours);
        assert_eq!((&ours, &tag[..]), (&theirs, &expected[..]), "{length}");
        assert!(Aes128Gcm.decrypt(&key, number, &head, &mut ours, &tag));
        assert_eq!(ours, body);
    }
}

#[test]
fn every_bit_counts() {
    let mut rng = Rng::new(3);
    let key = bytes::<SECRET>(&mut rng);
    let (head, body) = packet(&mut rng, 150);
    for encrypts in [false, true] {
        let mut sealed = body.clone();
        let tag = if encrypts {
            Aes128Gcm.encrypt(&key, 9, &head, &mut sealed)
        } else {
            Aes128Gcm.tag(&key, 9, &head, &sealed)
        };
        let opens = |key: &[u8; SECRET], number, head: &[u8; HEAD], body: &[u8], tag: &[u8; 16]| {
            let mut body = body.to_vec();
            if encrypts {
                Aes128Gcm.decrypt(key, number, head, &mut body, tag)
            } else {
                Aes128Gcm.verify(key, number, head, &body, tag)
            }
        };
        assert!(opens(&key, 9, &head, &sealed, &tag));
        assert!(!opens(&key, 8, &head, &sealed, &tag));
        assert!(!opens(&key, 9, &head, &sealed[..149], &tag));
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..8 * 16 {
            assert!(!opens(&flipped(&key, bit).try_into().unwrap(), 9, &head, &sealed, &tag));
        }
        for bit in 0..8 * HEAD {
            assert!(!opens(&key, 9, &flipped(&head, bit).try_into().unwrap(), &sealed, &tag));
        }
        for bit in 0..8 * sealed.len() {
            assert!(!opens(&key, 9, &head, &flipped(&sealed, bit), &tag));
        }
        for bit in 0..8 * tag.len() {
            assert!(!opens(&key, 9, &head, &sealed, &flipped(&tag, bit).try_into().unwrap()));
        }
    }
}

#[test]
fn subkeys_differ_by_all_that_they_are_for() {
    let secret = [7; SECRET];
    let key = || AuthKey::shared(id(1), secret);
    let subkey = |key: &AuthKey, slot, life| key.subkey(Slot::at(slot), life, None).0;
    let row = AuthKey::row(id(1), Row::derive(&secret, id(1), Slot::at(0)));
    let all = [
        subkey(&key(), 0, 1),
        subkey(&key(), 1, 1),
        subkey(&key(), 0, 2),
        subkey(&key().encrypted(true), 0, 1),
        subkey(&AuthKey::shared(id(2), secret), 0, 1),
        subkey(&AuthKey::shared(id(1), [8; SECRET]), 0, 1),
        subkey(&row, 0, 1),
        row.subkey(Slot::at(0), 1, Some(Slot::at(0))).0,
        row.subkey(Slot::at(0), 1, Some(Slot::at(1))).0,
        secret,
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

/// Two servers have the same secret for their pair, whichever way the packet goes, and a third has another.
#[test]
fn a_row_speaks_for_its_own_slot() {
    let (master, key) = ([9; SECRET], id(2));
    let row = |slot| AuthKey::row(key, Row::derive(&master, key, Slot::at(slot)));
    let (a, b, thief) = (row(1), row(60), row(5));
    let [a_slot, b_slot, thief_slot] = [1, 60, 5].map(Slot::at);
    let (sent, received) = (a.subkey(a_slot, LIFE, Some(b_slot)), b.subkey(a_slot, LIFE, Some(a_slot)));
    assert_eq!(sent.0, received.0);
    // The thief claims to be the first: the best it has is what it shares with the second, which is not asked for.
    for with in [a_slot, b_slot, thief_slot] {
        assert_ne!(thief.subkey(a_slot, LIFE, Some(with)).0, received.0);
    }
    assert_ne!(thief.subkey(a_slot, LIFE, None).0, received.0);
    // The group's secret is everybody's.
    assert_eq!(a.subkey(a_slot, LIFE, None).0, thief.subkey(a_slot, LIFE, None).0);
    let mut bytes = [0; Row::LEN];
    Row::derive(&master, key, a_slot).write_to(&mut bytes);
    let again = AuthKey::row(key, Row::from_bytes(a_slot, &bytes).unwrap());
    assert!(again.is_same(&a) && !again.is_same(&b));
    assert!(Row::from_bytes(a_slot, &bytes[1..]).is_none());
    assert!(Row::from_bytes(a_slot, &[&bytes[..], &[0]].concat()).is_none());
}

#[test]
fn nothing_secret_is_printed() {
    let row = Row::derive(&[0x5a; SECRET], id(2), Slot::at(1));
    let keys = [AuthKey::shared(id(1), [0x5a; SECRET]), AuthKey::row(id(2), row.clone())];
    let ring = KeyRing::new(keys, id(1)).unwrap();
    let text = std::format!("{ring:?} {row:?}");
    assert!(text.contains("aes-128-gcm") && text.contains("S1"), "{text}");
    for secret in ["5a", "90, 90", "0x5A", "5A5A"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn rings_are_checked() {
    let key = |n| AuthKey::shared(id(n), [n; SECRET]);
    let ring = |ids: &[u8], sending| KeyRing::new(ids.iter().map(|&n| key(n)), id(sending));
    assert_eq!(ring(&[1, 2, 1], 1).unwrap_err(), KeyRingError::Duplicate(id(1)));
    assert_eq!(ring(&[1, 2, 3, 4, 5], 1).unwrap_err(), KeyRingError::TooMany);
    assert_eq!(ring(&[1, 2], 3).unwrap_err(), KeyRingError::NotThere(id(3)));
    assert_eq!(ring(&[], 3).unwrap_err(), KeyRingError::NotThere(id(3)));
    assert_eq!(ring(&[1, 2], 2).unwrap().sending().id(), id(2));

    let nobody = |_: NonZeroU8| SlotSet::EMPTY;
    let next = |from: &KeyRing, to: &KeyRing| from.check_next(to, nobody);
    let (old, both) = (ring(&[1], 1).unwrap(), ring(&[1, 2], 1).unwrap());
    let (new, only) = (ring(&[2, 1], 2).unwrap(), ring(&[2], 2).unwrap());
    // In order.
    assert_eq!((next(&old, &both), next(&both, &new), next(&new, &only)), (Ok(()), Ok(()), Ok(())));
    // And back, as long as the old one is there.
    assert_eq!((next(&new, &both), next(&both, &old)), (Ok(()), Ok(())));
    assert_eq!(next(&old, &new), Err(RotationError::NotAccepted(id(2))));
    assert_eq!(next(&old, &only), Err(RotationError::NotAccepted(id(2))));
    assert_eq!(next(&both, &only), Err(RotationError::StillSent(id(1))));
    let user = |key: NonZeroU8| if key == id(1) { SlotSet::EMPTY.with(Slot::at(9)) } else { SlotSet::EMPTY };
    let in_use = RotationError::InUse { id: id(1), slot: Slot::at(9) };
    assert_eq!(new.check_next(&only, user), Err(in_use));
    let other = KeyRing::new([AuthKey::shared(id(1), [9; SECRET])], id(1)).unwrap();
    assert_eq!(next(&old, &other), Err(RotationError::Changed(id(1))));
    let encrypted = KeyRing::new([key(1).encrypted(true)], id(1)).unwrap();
    assert_eq!(next(&old, &encrypted), Err(RotationError::Changed(id(1))));
    let row = AuthKey::row(id(1), Row::derive(&[1; SECRET], id(1), Slot::at(4)));
    let ring = KeyRing::new([row], id(1)).unwrap();
    assert_eq!(ring.check_slot(Slot::at(4)), Ok(()));
    let refused = RotationError::OtherSlot { id: id(1), slot: Slot::at(3) };
    assert_eq!(ring.check_slot(Slot::at(3)), Err(refused));
}

#[test]
fn a_window_takes_each_number_once() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut window, mut model, mut highest) = (Window::NEW, BTreeSet::new(), None::<u64>);
        let mut base = rng.below(1 << 40);
        for _ in 0..3_000 {
            base +=
                [0, 1, 1, 2, 70, 1_023, 1_024, 5_000][rng.below(8) as usize] * u64::from(rng.below(4) == 0);
            let number = (base + rng.below(1_100)).saturating_sub(rng.below(1_100));
            let old = highest.is_some_and(|highest| number + REPLAY_WINDOW as u64 <= highest);
            let expected = !old && model.insert(number);
            assert_eq!(window.take(number), expected, "seed {seed}: {number} of {highest:?}");
            highest = highest.max(Some(number));
        }
    }
}

#[test]
fn a_window_survives_the_reordering_of_all_that_it_spans() {
    let mut window = Window::NEW;
    assert!((0..REPLAY_WINDOW as u64).rev().all(|number| window.take(number)));
    assert!((0..REPLAY_WINDOW as u64).all(|number| !window.take(number)));
    assert!(window.take(REPLAY_WINDOW as u64) && !window.take(0) && !window.take(1));
}
