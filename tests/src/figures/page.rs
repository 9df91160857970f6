//! Where figures are written: charts and numbers in the folder `figures`, tables in the page `figures.md` beside it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Drawn, Figure};

/// The page as it is checked in: what a new folder starts from.
const PAGE: &str = include_str!("../../../core/docs/figures.md");
/// The charts once more, as the definitions that the page's images refer to in rustdoc, which copies no files.
const IMAGES: &str = "images.md";

/// Rows of text under a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns' names.
    pub head: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let mut text = line(&mut self.head.iter().copied());
        text += &line(&mut self.head.iter().map(|_| "---"));
        for row in &self.rows {
            text += &line(&mut row.iter().map(String::as_str));
        }
        text
    }

    fn csv(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| cells.collect::<Vec<_>>().join(",") + "\n";
        // Thousands are grouped for readers only.
        let plain = |cell: &str| cell.replace(',', "");
        let mut text = line(&mut self.head.iter().map(|cell| plain(cell)));
        for row in &self.rows {
            text += &line(&mut row.iter().map(|cell| plain(cell)));
        }
        text
    }
}

/// Writes what a figure has come to into `out`, and its table into the page there.
///
/// # Errors
/// Which file could not be read or written, and why; or that the page has no place for the table.
pub fn write(out: &Path, figure: &Figure, drawn: &Drawn) -> Result<(), String> {
    let folder = out.join("figures");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let save = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    for (name, chart) in &drawn.charts {
        save(&folder.join(format!("{name}.svg")), &chart.draw())?;
    }
    save(&folder.join(format!("{}.csv", figure.name)), &drawn.table.csv())?;
    let page = out.join("figures.md");
    let text = if page.exists() {
        fs::read_to_string(&page).map_err(|error| format!("{}: {error}", page.display()))?
    } else {
        PAGE.to_owned()
    };
    let text = with_table(&text, figure.name, &drawn.table.markdown())
        .ok_or_else(|| format!("{}: no place for the table of {}", page.display(), figure.name))?;
    save(&page, &text)?;
    save(&folder.join(IMAGES), &images(&folder, &text)?)
}

/// Returns the page with this table in the place of the last one.
fn with_table(page: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{table}\n{end}{after}"))
}

/// Returns a definition for each image that the page refers to and that has been drawn.
fn images(folder: &Path, page: &str) -> Result<String, String> {
    let mut text = String::new();
    for name in
        page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: figures/")).map(|at| at.0)
    {
        let path = folder.join(format!("{name}.svg"));
        if path.exists() {
            let svg = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            writeln!(text, "[{name}]: data:image/svg+xml;base64,{}", base64(&svg))
                .expect("a string takes everything");
        }
    }
    Ok(text)
}

/// Encodes bytes (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_encodings() {
        let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        known.iter().for_each(|(plain, encoded)| assert_eq!(base64(plain.as_bytes()), *encoded));
    }

    #[test]
    fn a_table_takes_the_place_of_the_last() {
        let page = "a\n<!-- table: x -->\n\nold\n<!-- end -->\nb\n";
        let new = with_table(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- table: x -->\n\nnew\n\n<!-- end -->\nb\n");
        assert_eq!(with_table(&new, "x", "new\n"), Some(new.clone()));
        assert_eq!(with_table(page, "y", ""), None);
    }

    #[test]
    fn the_page_has_a_place_for_every_figure_and_its_images_exist() {
        for figure in Figure::ALL {
            assert!(with_table(PAGE, figure.name, "").is_some(), "{}", figure.name);
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/docs/figures");
        let checked_in = fs::read_to_string(folder.join(IMAGES)).unwrap();
        assert_eq!(images(&folder, PAGE).unwrap(), checked_in, "drawn, and not told to rustdoc");
        let referred = PAGE.matches("![").count();
        assert_eq!((referred, checked_in.lines().count()), (referred, referred));
    }
}
