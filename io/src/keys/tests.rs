//! What key files hold, and each way in which one is refused.

use std::fs;
use std::num::NonZeroU8;
use std::path::PathBuf;

use popmap_core::Slot;
use popmap_core::auth::{KeyRing, Row};

use super::*;

const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F";

fn id(id: u8) -> NonZeroU8 {
    NonZeroU8::new(id).unwrap()
}

/// A directory of its own for a test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("popmap-keys-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refused(content: &str) -> String {
    let (line, fault) = parse(content).expect_err(content);
    KeyFileError::new(Path::new("pop.keys"), line, fault).to_string()
}

fn assert_refused(content: &str, expected: &str) {
    let said = refused(content);
    assert!(said.starts_with(expected), "{said:?} does not start with {expected:?}");
    assert!(!said.contains(&ONE[..10]) && !said.contains("deadbeef"), "{said:?} has a secret in it");
}

fn described(ring: &KeyRing) -> Vec<(u8, &'static str, bool, Option<Slot>)> {
    ring.keys().iter().map(|key| (key.id().get(), key.cipher().name(), key.encrypts(), key.slot())).collect()
}

#[test]
fn what_a_file_holds() {
    let row = "5a".repeat(Row::LEN);
    let text = format!(
        "# rotation of May\n\n 7 : aes-128-gcm {ONE} # old\n255: aes-128-gcm send encrypt {ONE}\r\n\
         3: aes-128-gcm row=5 {row}"
    );
    let ring = parse(&text).unwrap();
    let gcm = "aes-128-gcm";
    let expected = [(7, gcm, false, None), (255, gcm, true, None), (3, gcm, false, Some(Slot::at(5)))];
    assert_eq!(described(&ring), expected);
    assert_eq!(ring.sending().id(), id(255));
}

#[cfg(feature = "aegis")]
#[test]
fn the_algorithm_belongs_to_the_key() {
    let ring = parse(&format!("1: aegis-128l send {ONE}")).unwrap();
    assert_eq!(described(&ring), [(1, "aegis-128l", false, None)]);
}

#[test]
fn what_is_refused_is_named() {
    let with = |line: &str| format!("1: aes-128-gcm send {ONE}\n{line}");
    assert_refused("", "pop.keys: no key in it;");
    assert_refused("# nothing\n", "pop.keys: no key in it;");
    assert_refused(
        &format!("1: aes-128-gcm {ONE}"),
        "pop.keys: no key is to be sent with; one line must say",
    );
    assert_refused(
        &with(&format!("2: aes-128-gcm send {ONE}")),
        "pop.keys, line 2: key 2 is to be sent with, and so is that of line 1;",
    );
    assert_refused(&with(&format!("1: aes-128-gcm {ONE}")), "pop.keys, line 2: id 1 is taken by line 1;");
    for given in ["0", "256", "-1", "", "x"] {
        let line = format!("{given}: aes-128-gcm {ONE}");
        assert_refused(&with(&line), &format!("pop.keys, line 2: id {given:?}; a number from 1 to 255"));
    }
    assert_refused(&with("nonsense"), "pop.keys, line 2: no colon;");
    assert_refused(&with("2:"), "pop.keys, line 2: key 2 has no secret;");
    assert_refused(&with(&format!("2: {ONE}")), "pop.keys, line 2: key 2 has no algorithm;");
    assert_refused(&with(&format!("2: md5 {ONE}")), "pop.keys, line 2: algorithm \"md5\"; aes-128-gcm");
    // The secret at the wrong place is not quoted.
    assert_refused(
        &with(&format!("2: {ONE} send")),
        "pop.keys, line 2: algorithm \"a word of 64 characters\";",
    );
    assert_refused(
        &with(&format!("2: aes-128-gcm crypt {ONE}")),
        "pop.keys, line 2: option \"crypt\"; \"encrypt\", \"send\" and one of",
    );
    assert_refused(&with(&format!("2: aes-128-gcm encrypt encrypt {ONE}")), "pop.keys, line 2: option");
    assert_refused(&with(&format!("2: aes-128-gcm row=1 master {ONE}")), "pop.keys, line 2: option");
    for given in ["row=64", "row=", "row=x"] {
        let line = format!("2: aes-128-gcm {given} {ONE}");
        assert_refused(&with(&line), &format!("pop.keys, line 2: option {given:?}; slots 0 to 63"));
    }
    assert_refused(
        &with("2: aes-128-gcm deadbeefxx"),
        "pop.keys, line 2: the secret's character 9 is no hexadecimal digit;",
    );
    assert_refused(
        &with("2: aes-128-gcm deadbeef"),
        "pop.keys, line 2: the secret has 8 hexadecimal digits; 64 are expected",
    );
    assert_refused(
        &with(&format!("2: aes-128-gcm row=3 {ONE}")),
        "pop.keys, line 2: the secret has 64 hexadecimal digits; 4160 are expected",
    );
    assert_refused(
        &with(&format!("2: aes-128-gcm master {ONE}")),
        "pop.keys, line 2: key 2 is a master, which no server should have;",
    );
    let many: String = (2..6).map(|n| format!("{n}: aes-128-gcm {ONE}\n")).collect();
    assert_refused(&with(&many), "pop.keys: more than 4 keys;");
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new("modes");
    let path = directory.0.join("pop.keys");
    write_new(&path, &format_shared(id(9), &Aes128Gcm, false, true, &[7; 32])).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(described(&read(&path).unwrap()), [(9, "aes-128-gcm", false, None)]);
    for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = read(&path).unwrap_err().to_string();
        let start = format!("{}: its permissions are {mode:04o}, so that others", path.display());
        assert!(said.starts_with(&start) && said.contains("0600 or 0400"), "{said}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(read(&path).is_ok());
    let said = read(directory.0.join("none.keys")).unwrap_err().to_string();
    assert!(said.contains("none.keys: cannot be read: "), "{said}");
    let said = read(&directory.0).unwrap_err().to_string();
    assert!(said.contains("not a file"), "{said}");
}

#[test]
fn a_file_is_never_overwritten() {
    let directory = Directory::new("overwrite");
    let path = directory.0.join("pop.keys");
    write_new(&path, "first").unwrap();
    let said = write_new(&path, "second").unwrap_err().to_string();
    assert!(said.contains("pop.keys: there is such a file already; keys are never overwritten"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
}

#[test]
fn rows_are_derived_from_a_master() {
    let directory = Directory::new("rows");
    let path = directory.0.join("pop.master");
    write_new(&path, &format_master(id(4), &Aes128Gcm, true, &[8; 32])).unwrap();
    let masters = read_masters(&path).unwrap();
    let [master] = &masters[..] else { panic!("one") };
    assert!(!format!("{master:?}").contains("8, 8"), "{master:?}");
    let line = |slot| {
        let row = master.row(Slot::at(slot));
        format_row(master.id, master.algorithm, master.encrypts, true, &row)
    };
    let ring = parse(&line(12)).unwrap();
    assert_eq!(described(&ring), [(4, "aes-128-gcm", true, Some(Slot::at(12)))]);
    // The group's secret is everybody's; of the rest each pair has one of its own.
    let digits = |line: &str| line.split_ascii_whitespace().next_back().unwrap().to_owned();
    let (a, b) = (digits(&line(12)), digits(&line(13)));
    let secret = |row: &str, at: usize| row[64 * at..64 * (at + 1)].to_owned();
    assert_eq!(secret(&a, 0), secret(&b, 0));
    assert_eq!(secret(&a, 1 + 13), secret(&b, 1 + 12));
    assert_ne!(secret(&a, 1 + 20), secret(&b, 1 + 20));
    fs::write(directory.0.join("no.master"), "").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(directory.0.join("no.master"), mode.clone()).unwrap();
        let shared = directory.0.join("shared.keys");
        fs::write(&shared, format!("1: aes-128-gcm {ONE}")).unwrap();
        fs::set_permissions(&shared, mode).unwrap();
        let said = read_masters(&shared).unwrap_err().to_string();
        assert!(said.contains("line 1: key 1 is no master;"), "{said}");
    }
    assert!(read_masters(directory.0.join("no.master")).unwrap_err().to_string().contains("no key in it"));
}

#[test]
fn secrets_differ() {
    assert_ne!(*secret().unwrap(), *secret().unwrap());
}

/// The crate holds the cipher itself against the vectors of its draft; this is about how it is used.
#[cfg(feature = "aegis")]
#[test]
fn aegis_opens_what_it_seals_and_nothing_else() {
    let (subkey, head, number) = ([3; 32], [5; 48], 77);
    for length in [0, 1, 16, 100, 1_336] {
        let body: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let tag = Aegis128L.tag(&subkey, number, &head, &body);
        assert!(Aegis128L.verify(&subkey, number, &head, &body, &tag));
        let mut sealed = body.clone();
        let mac = Aegis128L.encrypt(&subkey, number, &head, &mut sealed);
        assert!(mac != tag && (length < 16 || sealed != body));
        let mut opened = sealed.clone();
        assert!(Aegis128L.decrypt(&subkey, number, &head, &mut opened, &mac));
        assert_eq!(opened, body);
        for bit in 0..128 {
            let (mut wrong, mut wrong_mac) = (tag, mac);
            wrong[bit / 8] ^= 1 << (bit % 8);
            wrong_mac[bit / 8] ^= 1 << (bit % 8);
            assert!(!Aegis128L.verify(&subkey, number, &head, &body, &wrong));
            assert!(!Aegis128L.decrypt(&subkey, number, &head, &mut sealed.clone(), &wrong_mac));
        }
        for bit in 0..8 * length {
            let (mut wrong, mut wrong_sealed) = (body.clone(), sealed.clone());
            wrong[bit / 8] ^= 1 << (bit % 8);
            wrong_sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(!Aegis128L.verify(&subkey, number, &head, &wrong, &tag));
            assert!(!Aegis128L.decrypt(&subkey, number, &head, &mut wrong_sealed, &mac));
        }
        let mut other = head;
        other[47] ^= 1;
        assert!(!Aegis128L.verify(&subkey, number, &other, &body, &tag));
        assert!(!Aegis128L.verify(&subkey, number + 1, &head, &body, &tag));
        assert!(!Aegis128L.verify(&[4; 32], number, &head, &body, &tag));
        assert!(!Aegis128L.decrypt(&subkey, number, &other, &mut sealed.clone(), &mac));
        assert!(!Aegis128L.decrypt(&subkey, number + 1, &head, &mut sealed.clone(), &mac));
    }
}
