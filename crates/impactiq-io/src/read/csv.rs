//! Delimited text: fields of a block, headers, delimiters, and what can be wrong with them.
//!
//! A field that begins with `"` is quoted: it may hold delimiters and line breaks, and a
//! quote written twice. Elsewhere a quote is a character like any other. Lines end with LF
//! or CRLF; blank lines are passed over.

use std::path::Path;

use crate::error::{IoError, Place};
use crate::value::{Cell, shown};

/// Delimiters that are looked for when none is given.
pub(crate) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Marks a field that lives in the side text because it held doubled quotes.
const UNESCAPED: u32 = 1 << 31;

/// Fields of the wanted columns, row by row.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// Start (with [`UNESCAPED`]) and end of each field.
    ranges: Vec<(u32, u32)>,
    side: String,
    n_slots: usize,
    /// Line of each row, counted from the block's first.
    pub lines: Vec<u32>,
}

impl Fields {
    pub fn n_rows(&self) -> usize {
        self.lines.len()
    }

    /// The cells of one wanted column.
    pub fn cells<'a>(&'a self, text: &'a str, slot: usize) -> impl Iterator<Item = Cell<'a>> + 'a {
        self.ranges
            .iter()
            .skip(slot)
            .step_by(self.n_slots.max(1))
            .map(move |&range| Cell::Text(self.field(text, range)))
    }

    fn field<'a>(&'a self, text: &'a str, (start, end): (u32, u32)) -> &'a str {
        match start & UNESCAPED {
            0 => &text[start as usize..end as usize],
            _ => &self.side[(start & !UNESCAPED) as usize..end as usize],
        }
    }
}

/// How the fields of a file are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    pub path: &'a Path,
    pub delimiter: u8,
    /// Names of the file's columns.
    pub columns: &'a [String],
    /// For each of the file's columns the slot it fills, if it is wanted.
    pub slots: &'a [Option<usize>],
}

/// A problem of a row, before it is known where the row stands.
enum Broken {
    Ragged { row: usize, line: u32, found: usize },
    OpenQuote { line: u32, column: usize },
    AfterQuote { line: u32, column: usize, at: usize },
}

/// Cuts a block into fields; `skip_header` passes over the first record.
pub(crate) fn fields(bytes: &[u8], layout: &Layout<'_>, first_line: u64, skip_header: bool) -> Result<Fields, IoError> {
    let n_slots = layout.slots.iter().flatten().count();
    let mut cutter = Cutter { bytes, delimiter: layout.delimiter, at: 0, line: 0, side: Vec::new() };
    let mut out = Fields { n_slots, ..Fields::default() };
    let estimate = bytes.len() / (8 * layout.slots.len().max(1)) + 1;
    out.lines.reserve(estimate);
    out.ranges.reserve(estimate * n_slots);
    let mut header = skip_header;
    while cutter.skip_blank_lines() {
        if std::mem::take(&mut header) {
            cutter.record(|_, _| ()).map_err(|broken| broken.told(layout, first_line, bytes))?;
            continue;
        }
        let line = cutter.line;
        let base = out.ranges.len();
        out.ranges.resize(base + n_slots, (0, 0));
        let row = &mut out.ranges[base..];
        let found = cutter
            .record(|column, range| {
                if let Some(&Some(slot)) = layout.slots.get(column) {
                    row[slot] = range;
                }
            })
            .map_err(|broken| broken.told(layout, first_line, bytes))?;
        if found != layout.slots.len() {
            let broken = Broken::Ragged { row: out.lines.len(), line, found };
            return Err(broken.told(layout, first_line, bytes));
        }
        out.lines.push(line);
    }
    // The side text is made of pieces of the block cut at ASCII characters.
    out.side = String::from_utf8(cutter.side).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    Ok(out)
}

impl Broken {
    fn told(self, layout: &Layout<'_>, first_line: u64, bytes: &[u8]) -> IoError {
        let place = |line: u32, column: Option<usize>| {
            let mut place = Place::line(layout.path, first_line + u64::from(line));
            place.column = column.and_then(|column| layout.columns.get(column).cloned());
            place
        };
        match self {
            Broken::Ragged { row, line, found } => {
                let mut place = place(line, None);
                place.row = Some(row as u64 + 1);
                place.row_in_file = place.row;
                IoError::RaggedRow { place, expected: layout.slots.len(), found }
            }
            Broken::OpenQuote { line, column } => IoError::UnclosedQuote { place: place(line, Some(column)) },
            Broken::AfterQuote { line, column, at } => {
                let rest = &bytes[at..];
                let end = rest.iter().position(|&b| b == b'\n' || b == layout.delimiter).unwrap_or(rest.len());
                let value = shown(String::from_utf8_lossy(&rest[..end]).trim_end());
                IoError::BadQuote { place: place(line, Some(column)), value }
            }
        }
    }
}

struct Cutter<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    at: usize,
    line: u32,
    side: Vec<u8>,
}

impl Cutter<'_> {
    /// Passes over blank lines; false at the end.
    fn skip_blank_lines(&mut self) -> bool {
        loop {
            match &self.bytes[self.at..] {
                [b'\n', ..] => self.at += 1,
                [b'\r', b'\n', ..] => self.at += 2,
                [b'\r'] | [] => return false,
                _ => return true,
            }
            self.line += 1;
        }
    }

    /// Cuts one record and tells its fields; returns how many there were.
    fn record(&mut self, mut take: impl FnMut(usize, (u32, u32))) -> Result<usize, Broken> {
        let mut column = 0;
        loop {
            let range = match self.bytes.get(self.at) {
                Some(b'"') => self.quoted(column)?,
                _ => self.plain(),
            };
            take(column, range);
            column += 1;
            match self.bytes.get(self.at) {
                Some(&byte) if byte == self.delimiter => self.at += 1,
                Some(_) => {
                    self.at += 1;
                    self.line += 1;
                    return Ok(column);
                }
                None => return Ok(column),
            }
        }
    }

    /// A field without quotes: up to the delimiter or the end of the line.
    fn plain(&mut self) -> (u32, u32) {
        let start = self.at;
        let rest = &self.bytes[start..];
        let delimiter = self.delimiter;
        let len = rest.iter().position(|&byte| byte == delimiter || byte == b'\n').unwrap_or(rest.len());
        self.at = start + len;
        let ends_line = self.bytes.get(self.at) != Some(&delimiter);
        let end = if ends_line && len > 0 && rest[len - 1] == b'\r' { self.at - 1 } else { self.at };
        (start as u32, end as u32)
    }

    /// A quoted field, without its quotes.
    fn quoted(&mut self, column: usize) -> Result<(u32, u32), Broken> {
        let opened_on = self.line;
        let start = self.at + 1;
        let mut piece = start;
        let side_start = self.side.len();
        let mut at = start;
        let end = loop {
            let Some(offset) = self.bytes[at..].iter().position(|&byte| byte == b'"') else {
                return Err(Broken::OpenQuote { line: opened_on, column });
            };
            self.line += self.bytes[at..at + offset].iter().filter(|&&byte| byte == b'\n').count() as u32;
            at += offset;
            if self.bytes.get(at + 1) != Some(&b'"') {
                break at;
            }
            self.side.extend_from_slice(&self.bytes[piece..=at]);
            at += 2;
            piece = at;
        };
        self.at = end + 1;
        if self.bytes.get(self.at) == Some(&b'\r') && matches!(self.bytes.get(self.at + 1), Some(b'\n') | None) {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(&byte) if byte != self.delimiter && byte != b'\n' => {
                Err(Broken::AfterQuote { line: self.line, column, at: self.at })
            }
            _ if piece == start => Ok((start as u32, end as u32)),
            _ => {
                self.side.extend_from_slice(&self.bytes[piece..end]);
                Ok((side_start as u32 | UNESCAPED, self.side.len() as u32))
            }
        }
    }
}

/// Where a block stops being UTF-8, in terms of line, column and value.
pub(crate) fn bad_utf8(bytes: &[u8], at: usize, layout: &Layout<'_>, first_line: u64) -> IoError {
    let line_start = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = first_line + crate::read::blocks::count_lines(&bytes[..line_start]);
    let line_end = bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |newline| at + newline);
    let mut cutter =
        Cutter { bytes: &bytes[..line_end], delimiter: layout.delimiter, at: line_start, line: 0, side: Vec::new() };
    let mut place = Place::line(layout.path, line);
    let mut value = shown(String::from_utf8_lossy(&bytes[line_start..line_end]).trim_end());
    // A quoted field over several lines may not be found this way; the line is right all the same.
    let _ = cutter.record(|column, (start, end)| {
        let range = start as usize..end as usize;
        if start & UNESCAPED == 0 && range.contains(&at) {
            place.column = layout.columns.get(column).cloned();
            value = shown(&String::from_utf8_lossy(&bytes[range]));
        }
    });
    IoError::BadUtf8 { place, value }
}

/// The header of a file, and the delimiter it is cut at.
pub(crate) fn header(path: &Path, bytes: &[u8], delimiter: Option<u8>) -> Result<(Vec<String>, u8), IoError> {
    let is_tab = path.to_string_lossy().to_lowercase().contains(".tsv");
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err(IoError::BadUtf8 { place: Place::line(path, 1), value: "UTF-16 text".into() });
    }
    let given = delimiter.or(is_tab.then_some(b'\t'));
    let delimiter = given.unwrap_or_else(|| sniff(bytes));
    let (names, _) = first_record(path, bytes, delimiter)?;
    if names.is_empty() {
        return Err(IoError::EmptyFile { path: path.to_owned() });
    }
    if let [only] = names.as_slice() {
        let other = DELIMITERS.iter().find(|&&other| other != delimiter && only.contains(char::from(other)));
        if let Some(&found) = other {
            return Err(IoError::WrongDelimiter {
                path: path.to_owned(),
                delimiter: char::from(delimiter),
                found: char::from(found),
                header: shown(only),
            });
        }
    }
    let names: Vec<String> = names
        .into_iter()
        .enumerate()
        .map(|(index, name)| match name.trim() {
            "" => format!("column_{}", index + 1),
            name => name.to_owned(),
        })
        .collect();
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(IoError::DuplicateHeader { path: path.to_owned(), column: pair[0].clone() }),
        None => Ok((names, delimiter)),
    }
}

/// Fields of the first record, as text.
fn first_record(path: &Path, bytes: &[u8], delimiter: u8) -> Result<(Vec<String>, usize), IoError> {
    let mut cutter = Cutter { bytes, delimiter, at: 0, line: 0, side: Vec::new() };
    if !cutter.skip_blank_lines() {
        return Ok((Vec::new(), 0));
    }
    let start = cutter.at;
    let mut ranges = Vec::new();
    let layout = Layout { path, delimiter, columns: &[], slots: &[] };
    cutter.record(|_, range| ranges.push(range)).map_err(|broken| broken.told(&layout, 1, bytes))?;
    if let Err(error) = std::str::from_utf8(&bytes[start..cutter.at]) {
        return Err(bad_utf8(bytes, start + error.valid_up_to(), &layout, 1));
    }
    let names = ranges
        .into_iter()
        .map(|(from, to)| {
            let source = if from & UNESCAPED == 0 { bytes } else { &cutter.side };
            String::from_utf8_lossy(&source[(from & !UNESCAPED) as usize..to as usize]).into_owned()
        })
        .collect();
    Ok((names, cutter.at))
}

/// The delimiter that cuts the first records into the same number of fields, the most of
/// them; else the one the header holds most often; else a comma.
fn sniff(bytes: &[u8]) -> u8 {
    let counts = |delimiter: u8| -> Vec<usize> {
        let mut cutter = Cutter { bytes, delimiter, at: 0, line: 0, side: Vec::new() };
        let mut counts = Vec::new();
        while counts.len() < 20 && cutter.skip_blank_lines() {
            match cutter.record(|_, _| ()) {
                Ok(n) => counts.push(n),
                Err(_) => break,
            }
        }
        // The last record may be cut off.
        if counts.len() > 2 && cutter.at >= bytes.len() {
            counts.pop();
        }
        counts
    };
    let mut best = (b',', false, 1);
    for delimiter in DELIMITERS {
        let counts = counts(delimiter);
        let n = counts.first().copied().unwrap_or(1);
        let even = counts.iter().all(|&count| count == n);
        if n > 1 && (even, n) > (best.1, best.2) {
            best = (delimiter, even, n);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, n: usize) -> Result<Vec<Vec<String>>, IoError> {
        let columns: Vec<String> = (0..n).map(|i| format!("c{i}")).collect();
        let slots: Vec<Option<usize>> = (0..n).map(Some).collect();
        let layout = Layout { path: Path::new("a.csv"), delimiter: b',', columns: &columns, slots: &slots };
        let fields = fields(text.as_bytes(), &layout, 1, false)?;
        let by_column: Vec<Vec<String>> =
            (0..n).map(|slot| fields.cells(text, slot).map(|cell| cell.shown()).collect()).collect();
        Ok((0..fields.n_rows()).map(|row| by_column.iter().map(|column| column[row].clone()).collect()).collect())
    }

    #[test]
    fn quotes_line_ends_and_blank_lines_are_understood() {
        let rows = cut("1,\"a,b\"\r\n\r\n2,\"say \"\"hi\"\"\"\n\n3,x\"y\n4,", 2).unwrap();
        assert_eq!(rows, [["1", "a,b"], ["2", "say \"hi\""], ["3", "x\"y"], ["4", ""]]);
        assert_eq!(cut("\"a\nb\"\n\"\"\n", 1).unwrap(), [["a\nb"], [""]]);
    }

    #[test]
    fn broken_rows_name_line_and_column() {
        let told = |text: &str| cut(text, 2).unwrap_err().to_string();
        assert_eq!(told("1,2\n3\n"), "row 2, line 2 of a.csv: 1 fields where the header has 2");
        assert_eq!(told("1,\"2\n3,4"), "column 'c1', line 1 of a.csv: a quoted field opens here and never closes");
        assert_eq!(
            told("1,2\n\"3\"x,4\n"),
            "column 'c0', line 2 of a.csv: 'x' follows a closing quote where a delimiter or the end of the line was expected"
        );
    }

    #[test]
    fn delimiters_are_told_from_the_first_lines() {
        let of =
            |text: &str| header(Path::new("a.csv"), text.as_bytes(), None).map(|(names, d)| (names.len(), d as char));
        assert_eq!(of("a,b\n1,2\n").unwrap(), (2, ','));
        assert_eq!(of("a;b;c\n1,5;2,5;3\n").unwrap(), (3, ';'));
        assert_eq!(of("a\tb\n1\t2\n").unwrap(), (2, '\t'));
        assert_eq!(of("a|b\n").unwrap(), (2, '|'));
        assert_eq!(of("\"a;b\",c\n1,2\n").unwrap(), (2, ','));
        assert_eq!(of("a\n1\n").unwrap(), (1, ','));
        let error = header(Path::new("a.csv"), b"a;b\n1;2\n", Some(b',')).unwrap_err();
        assert_eq!(error.hint().unwrap(), "set `data.delimiter: \";\"`");
        assert!(matches!(of("a,b,a\n").unwrap_err(), IoError::DuplicateHeader { .. }));
        assert_eq!(header(Path::new("a.csv"), b",x\n", None).unwrap().0, ["column_1", "x"]);
    }
}
