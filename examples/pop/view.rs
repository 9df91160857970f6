//! What is seen on the terminal: lines that stay, and below them a block that is drawn over and over.
//!
//! Knows ANSI escapes and when not to use any. Must not know what the lines mean.
//!
//! Each redraw is one write that goes over the old text without clearing it first, so nothing flickers. Between redraws
//! the cursor stands below the block, hidden; it is shown again when the view is dropped, however that comes about.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Stdout, Write};
use std::time::{Duration, Instant};

/// Wall time between two redraws.
const REFRESH: Duration = Duration::from_millis(100);

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// Lines that are too long are cut off, not continued: the block must keep its height.
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// Bold, and back to normal.
const BOLD: (&str, &str) = ("\x1b[1m", "\x1b[22m");

/// Stdout, live or plain.
pub struct View {
    out: Stdout,
    live: bool,
    /// Lines of the block as it stands on the terminal.
    drawn: usize,
    /// The last block, to be drawn again below new lines.
    block: Vec<String>,
    next_refresh: Instant,
}

impl View {
    /// Shows the cursor again, where another process that drew here was ended and could not.
    pub fn show_cursor() {
        let mut out = io::stdout();
        if out.is_terminal() {
            // Nobody looks.
            let _ = out.write_all(SHOW_CURSOR.as_bytes());
        }
    }

    /// Returns a view on stdout: live on a terminal that understands escapes, unless `plain` is wanted.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn new(plain: bool) -> io::Result<Self> {
        let out = io::stdout();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = !plain && !dumb && out.is_terminal();
        let mut view = Self { out, live, drawn: 0, block: Vec::new(), next_refresh: Instant::now() };
        if live {
            view.write(HIDE_CURSOR)?;
        }
        Ok(view)
    }

    /// Prints a line that stays.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        let mut text = self.to_top();
        let clear = if self.live { CLEAR_TO_END_OF_LINE } else { "" };
        // What stays may wrap; only the block must not.
        let _ = writeln!(text, "{line}{clear}");
        self.draw(text)
    }

    /// Prints a heading that stays.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn heading(&mut self, line: &str) -> io::Result<()> {
        if self.live { self.line(&format!("{}{line}{}", BOLD.0, BOLD.1)) } else { self.line(line) }
    }

    /// Whether it is time for a new block.
    pub fn wants_block(&self) -> bool {
        self.live && Instant::now() >= self.next_refresh
    }

    /// Draws a new block in place of the old one.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn block(&mut self, lines: Vec<String>) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        self.next_refresh = Instant::now() + REFRESH;
        let text = self.to_top();
        self.block = lines;
        self.draw(text)
    }

    /// Takes the block away.
    ///
    /// # Errors
    /// When stdout cannot be written to.
    pub fn end_block(&mut self) -> io::Result<()> {
        self.block(Vec::new())
    }

    /// Returns what moves the cursor to the top of the block.
    fn to_top(&self) -> String {
        if self.drawn > 0 { format!("\x1b[{}A\r", self.drawn) } else { String::new() }
    }

    fn draw(&mut self, mut text: String) -> io::Result<()> {
        if self.live {
            text.push_str(WRAP_OFF);
            for line in &self.block {
                let _ = writeln!(text, "{line}{CLEAR_TO_END_OF_LINE}");
            }
            text.push_str(CLEAR_BELOW);
            text.push_str(WRAP_ON);
            self.drawn = self.block.len();
        }
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.live {
            // Whatever is wrong with stdout, there is nobody left to tell.
            let _ = self.end_block();
            let _ = self.write(SHOW_CURSOR);
        }
    }
}

/// Returns `text` in lines that fit the narrowest terminal in use.
pub fn wrapped(text: &str) -> Vec<String> {
    const COLUMNS: usize = 78;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= COLUMNS => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns a bar of `width` characters, of which `share` (0 to 1) is filled.
pub fn bar(share: f64, width: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).floor() as usize;
    format!("[{}{}]", "#".repeat(filled), "-".repeat(width - filled))
}

/// Returns a whole number with a comma between each three digits.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a count with what is counted, such as `1 origin` or `1,000 origins`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n as u64), if n == 1 { "" } else { "s" })
}

/// Returns a span of nanoseconds in milliseconds with a sensible number of digits.
pub fn millis(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    match ms {
        _ if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        _ if ms >= 1_000.0 => format!("{:.2} s", ms / 1e3),
        _ if ms >= 100.0 => format!("{ms:.0} ms"),
        _ => format!("{ms:.1} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_keep_every_word_and_fit() {
        let text = "word ".repeat(100);
        let lines = wrapped(&text);
        assert!(lines.iter().all(|line| line.len() <= 78 && !line.is_empty()));
        assert_eq!(lines.join(" "), text.trim_end());
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1_000, 50_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "50,000", "1,234,567"]
        );
        assert_eq!([0, 1, 2_000].map(|n| count(n, "key")), ["0 keys", "1 key", "2,000 keys"]);
        assert_eq!([1_200_000, 340_000_000, 1_384_000_000].map(millis), ["1.2 ms", "340 ms", "1.38 s"]);
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(|share| bar(share, 4)), ["[----]", "[##--]", "[####]", "[####]"]);
    }
}
