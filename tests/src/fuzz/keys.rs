//! Key files: any text is a ring of keys or is not, by the documented rule, and no refusal tells a secret.
//!
//! So that short inputs get far, `@` stands for the digits of a secret and `^` for those of a row.

use popmap_core::auth::{KEYS_MAX, Row};
use popmap_io::keys;

/// The digits of a secret.
const SECRET: &str = "5a17c0ffee5a17c0ffee5a17c0ffee5a17c0ffee5a17c0ffee5a17c0ffee5a17";

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input).replace('^', &"c0".repeat(Row::LEN)).replace('@', SECRET);
    let parsed = keys::parse(&text);
    assert_eq!(parsed.is_ok(), judge(&text), "{text:?}");
    match parsed {
        Ok(ring) => {
            assert!((1..=KEYS_MAX).contains(&ring.keys().len()));
            assert!(ring.keys().iter().any(|key| key.id() == ring.sending().id()));
        }
        Err((line, fault)) => {
            assert!(line.is_none_or(|line| line <= text.lines().count()));
            let said = fault.to_string();
            assert!(!said.contains(&SECRET[..16]) && !said.contains("c0c0c0c0c0c0c0c0"), "{said}");
        }
    }
}

/// One key a line, `ID: ALGORITHM [encrypt] [send] [row=SLOT] SECRET`, each id once, up to four, and one sends.
fn judge(text: &str) -> bool {
    let (mut ids, mut sending) = (Vec::new(), 0);
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let Some(key) = judge_line(line) else { return false };
        ids.push(key.0);
        sending += usize::from(key.1);
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    ids.len() == count && (1..=KEYS_MAX).contains(&count) && sending == 1
}

/// Returns the id of a line's key, and whether it sends.
fn judge_line(line: &str) -> Option<(u8, bool)> {
    let (id, rest) = line.split_once(':')?;
    let id = id.trim().parse::<u8>().ok().filter(|id| *id > 0)?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let [algorithm, options @ .., digits] = &words[..] else { return None };
    if !["aes-128-gcm", "aegis-128l"].contains(algorithm) {
        return None;
    }
    let count = |is: &dyn Fn(&str) -> bool| options.iter().filter(|option| is(option)).count();
    let row = |option: &str| {
        option.strip_prefix("row=").is_some_and(|slot| slot.parse::<u8>().is_ok_and(|slot| slot < 64))
    };
    let (encrypts, sends, rows) = (count(&|o| o == "encrypt"), count(&|o| o == "send"), count(&row));
    let fits = encrypts <= 1 && sends <= 1 && rows <= 1 && encrypts + sends + rows == options.len();
    let length = if rows == 1 { 2 * Row::LEN } else { 64 };
    let is_secret = digits.len() == length && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    (fits && is_secret).then_some((id, sends == 1))
}

/// Returns files of every sort.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "1: aes-128-gcm send @\n",
        "# keys\n1: aes-128-gcm @\n2: aegis-128l encrypt send @ # new\n",
        "3: aes-128-gcm row=5 send ^\n",
        "3: aes-128-gcm row=63 encrypt ^\r\n255: aes-128-gcm send @\r\n",
        "1: aes-128-gcm @\n",
        "1: aes-128-gcm send @\n1: aegis-128l @\n",
        "1: aes-128-gcm send @\n2: aegis-128l send @\n",
        "0: aes-128-gcm send @\n",
        "1: md5 send @\n",
        "1: aes-128-gcm send master @\n",
        "1: aes-128-gcm row=64 send ^\n",
        "1: aes-128-gcm send @@\n",
        "1: aes-128-gcm send\n",
        "1 aes-128-gcm send @\n",
        "1: aes-128-gcm send @\n2: aes-128-gcm @\n3: aes-128-gcm @\n4: aes-128-gcm @\n5: aes-128-gcm @\n",
        "1: aes-128-gcm send xyz@\n",
        "+1: aes-128-gcm send @\n",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
