//! The file of the saved generation: any content is a generation or is not, by the documented rule.

use popmap_io::GenerationFile;

/// Does what the bytes say.
///
/// # Panics
/// When something does not hold.
pub fn run(content: &[u8]) {
    let parsed = GenerationFile::parse(content);
    assert_eq!(parsed, judge(content));
    if let Some(generation) = parsed {
        assert_eq!(GenerationFile::parse(format!("{generation}\n").as_bytes()), Some(generation));
    }
}

/// One decimal number up to that of 32 bits, white space around it, fewer than 64 bytes in all.
fn judge(content: &[u8]) -> Option<u32> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c);
    if content.len() >= 64 {
        return None;
    }
    let start = content.iter().position(|byte| !is_space(byte))?;
    let end = content.iter().rposition(|byte| !is_space(byte))?;
    let mut number = 0u32;
    for byte in &content[start..=end] {
        let digit = u32::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    Some(number)
}
