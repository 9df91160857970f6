//! The generation file through good starts, crashes in the middle, nonsense and directories that take no files.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("popmap-generation-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> GenerationFile {
        GenerationFile::new(self.0.join("generation"))
    }

    fn file_holding(&self, content: impl AsRef<[u8]>) -> GenerationFile {
        let file = self.file();
        fs::write(file.path(), content).unwrap();
        file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content(file: &GenerationFile) -> String {
    fs::read_to_string(file.path()).unwrap()
}

#[test]
fn rises_by_one_from_nothing() {
    let scratch = Scratch::new();
    let file = scratch.file();
    assert_eq!(file.read().unwrap(), None);
    for expected in 1..=3 {
        assert_eq!(file.raise(0).unwrap(), expected);
        assert_eq!(file.read().unwrap(), Some(expected));
    }
    assert_eq!(content(&file), "3\n");
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn exceeds_both_the_saved_generation_and_the_floor() {
    let scratch = Scratch::new();
    let file = scratch.file_holding("41\n");
    assert_eq!(file.raise(100).unwrap(), 101);
    assert_eq!(file.raise(100).unwrap(), 102);
    assert_eq!(file.raise(7).unwrap(), 103, "a clock set back lowers nothing");
}

#[test]
fn a_start_saves_and_has_no_warning() {
    let scratch = Scratch::new();
    let file = scratch.file();
    let first = file.start(1_700_000_000).unwrap();
    assert_eq!(first.generation, 1_700_000_001);
    assert!(first.warning.is_none());
    let second = file.start(1_600_000_000).unwrap();
    assert_eq!(second.generation, 1_700_000_002);
    assert_eq!(content(&file), "1700000002\n");
}

#[test]
fn numbers_are_accepted_as_editors_leave_them() {
    let scratch = Scratch::new();
    for (text, expected) in
        [("0", 0), ("7", 7), ("7\n", 7), ("7\r\n", 7), (" 007 \n\n", 7), ("4294967295", u32::MAX)]
    {
        assert_eq!(scratch.file_holding(text).read().unwrap(), Some(expected), "{text:?}");
    }
}

#[test]
fn nonsense_is_named_kept_and_does_not_stop_a_start() {
    let scratch = Scratch::new();
    let contents: [&[u8]; 10] = [
        b"",
        b"\n",
        b"seven",
        b"-1",
        b"+1",
        b"1 2",
        b"4294967296",
        b"\xff\x00\n",
        &[b'9'; 4_096],
        &[b'0'; CONTENT_LIMIT_BYTES],
    ];
    for garbage in contents {
        let file = scratch.file_holding(garbage);
        let error = file.raise(5).unwrap_err();
        assert!(matches!(error, GenerationError::Content { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(file.path().to_str().unwrap()), "{message}");
        assert!(message.contains("decimal number, 0 to 4294967295"), "{message}");
        assert!(message.len() < 600, "the quotation is bounded: {message}");

        let start = file.start(5).unwrap();
        assert_eq!(start.generation, 6, "the clock alone");
        assert!(matches!(start.warning, Some(GenerationError::Content { .. })));
        assert_eq!(fs::read(file.path()).unwrap(), garbage, "left for the operator");
    }
    let error = scratch.file_holding("sev\u{7}en\n").read().unwrap_err();
    assert!(error.to_string().contains(r#"holds "sev\x07en\n""#), "{error}");
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_generation() {
    let scratch = Scratch::new();
    let file = scratch.file_holding("8\n");
    for leftover in ["", "9", "999999999999\n", "a longer text than any number\n"] {
        fs::write(file.temporary_path(), leftover).unwrap();
        let saved = file.read().unwrap().unwrap();
        assert_eq!(file.raise(0).unwrap(), saved + 1, "after leftover {leftover:?}");
        assert_eq!(content(&file), format!("{}\n", saved + 1));
        assert!(!file.temporary_path().exists());
    }
}

#[test]
fn a_crash_at_the_first_start_counts_as_no_file() {
    let scratch = Scratch::new();
    let file = scratch.file();
    fs::write(file.temporary_path(), "77\n").unwrap();
    assert_eq!(file.read().unwrap(), None);
    assert_eq!(file.raise(0).unwrap(), 1);
}

#[test]
fn a_temporary_file_that_cannot_be_made_leaves_the_file_and_warns() {
    let scratch = Scratch::new();
    let file = scratch.file_holding("8\n");
    fs::create_dir(file.temporary_path()).unwrap();
    let error = file.raise(0).unwrap_err();
    assert!(
        matches!(error, GenerationError::Write { generation: 9, step: WriteStep::Temporary, .. }),
        "{error:?}"
    );
    assert!(error.to_string().starts_with("cannot save generation 9 in "), "{error}");

    let start = file.start(3).unwrap();
    assert_eq!(start.generation, 9, "what the file holds still counts");
    assert!(matches!(start.warning, Some(GenerationError::Write { step: WriteStep::Temporary, .. })));
    assert_eq!(content(&file), "8\n");
}

#[test]
fn a_directory_in_the_files_place_is_an_error_of_reading() {
    let scratch = Scratch::new();
    let file = GenerationFile::new(&scratch.0);
    assert!(matches!(file.raise(0), Err(GenerationError::Read { .. })));
    let start = file.start(10).unwrap();
    assert_eq!(start.generation, 11);
    assert!(start.warning.unwrap().to_string().contains(scratch.0.to_str().unwrap()));
}

#[test]
fn a_missing_directory_warns() {
    let scratch = Scratch::new();
    let file = GenerationFile::new(scratch.0.join("missing").join("generation"));
    let start = file.start(10).unwrap();
    assert_eq!(start.generation, 11);
    assert!(matches!(start.warning, Some(GenerationError::Write { step: WriteStep::Temporary, .. })));
}

#[cfg(unix)]
#[test]
fn a_read_only_directory_warns_and_the_clock_carries_on() {
    use std::os::unix::fs::PermissionsExt;

    let scratch = Scratch::new();
    let file = scratch.file_holding("8\n");
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write here all the same; the directory below is read-only for root too.
    let writable = File::create(scratch.0.join("probe")).is_ok();
    let start = file.start(100).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(start.generation, 101);
    assert_eq!(start.warning.is_none(), writable);
    assert_eq!(content(&file), if writable { "101\n" } else { "8\n" });
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_takes_no_files_warns_even_as_root() {
    let file = GenerationFile::new("/proc/popmap-generation");
    let start = file.start(100).unwrap();
    assert_eq!(start.generation, 101);
    let warning = start.warning.unwrap();
    assert!(matches!(warning, GenerationError::Write { generation: 101, step: WriteStep::Temporary, .. }));
    assert!(warning.to_string().contains("/proc/popmap-generation"), "{warning}");
    assert!(std::error::Error::source(&warning).is_some());
}

#[test]
fn the_last_generation_is_never_followed_by_a_lower_one() {
    let scratch = Scratch::new();
    let file = scratch.file_holding("4294967294\n");
    assert_eq!(file.raise(0).unwrap(), u32::MAX);
    assert!(matches!(file.raise(0), Err(GenerationError::Exhausted { .. })));
    assert!(matches!(file.start(1_700_000_000), Err(GenerationError::Exhausted { .. })));
    assert_eq!(content(&file), "4294967295\n");

    let fresh = GenerationFile::new(scratch.0.join("fresh"));
    assert!(matches!(fresh.start(u32::MAX), Err(GenerationError::Exhausted { .. })));
    assert!(!fresh.path().exists());
}

#[test]
fn a_bare_file_name_has_the_current_directory_as_its_own() {
    sync_directory_of(Path::new("generation")).unwrap();
}
