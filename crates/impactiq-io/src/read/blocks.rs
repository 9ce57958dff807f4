//! Text files as blocks of whole records: opened, unpacked and cut in the background.
//!
//! A block ends where a record ends, quoted line breaks respected, so blocks can be parsed
//! on any thread and put back in order. Where blocks are cut depends on the bytes only.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{IoError, Place};
use crate::read::background::{Background, Outlet};
use crate::read::source::{Compression, DataFile};

/// Bytes of text in a block, about.
pub(crate) const BLOCK_BYTES: usize = 4 << 20;

/// A record longer than this is taken for a quote left open or for another format.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;

/// Whole records of one file.
#[derive(Debug)]
pub(crate) struct Block {
    /// Index of the file.
    pub file: usize,
    /// True for the first block, which begins with the header.
    pub is_first: bool,
    /// Line of the first record, counted from 1.
    pub first_line: u64,
    pub bytes: Vec<u8>,
}

/// How records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    /// At every line break.
    Lines,
    /// At line breaks outside quoted fields of this delimiter.
    Quoted(u8),
}

/// Counts the bytes that were read from disk, for progress.
struct Counted<R> {
    inner: R,
    n_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Opens a text file and unpacks it on the fly.
pub(crate) fn open(file: &DataFile, n_bytes: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>, IoError> {
    let failed = |source| IoError::Open { path: file.path.clone(), source };
    let inner = File::open(&file.path).map_err(failed)?;
    let counted = Counted { inner, n_bytes: Arc::clone(n_bytes) };
    Ok(match file.compression {
        Compression::None => Box::new(counted),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 17, counted))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(counted).map_err(failed)?),
    })
}

/// A failed read of a packed or plain file, in our words.
pub(crate) fn read_error(file: &DataFile, error: std::io::Error) -> IoError {
    let path = file.path.clone();
    match (file.compression, error.kind()) {
        (Compression::None, _) => IoError::read(&path, error),
        (_, ErrorKind::UnexpectedEof) => IoError::Truncated { path, format: file.packing() },
        (_, ErrorKind::PermissionDenied) => IoError::read(&path, error),
        _ => IoError::Corrupt { path, format: file.packing(), detail: error.to_string() },
    }
}

/// Cuts one file into blocks.
pub(crate) struct Splitter {
    file: DataFile,
    index: usize,
    records: Records,
    reader: Box<dyn Read + Send>,
    target: usize,
    carry: Vec<u8>,
    line: u64,
    is_first: bool,
    at_end: bool,
}

impl Splitter {
    pub fn open(
        file: &DataFile,
        index: usize,
        records: Records,
        target: usize,
        n_bytes: &Arc<AtomicU64>,
    ) -> Result<Self, IoError> {
        Ok(Splitter {
            reader: open(file, n_bytes)?,
            file: file.clone(),
            index,
            records,
            target,
            carry: Vec::new(),
            line: 1,
            is_first: true,
            at_end: false,
        })
    }

    /// The next block, or `None` at the end of the file.
    pub fn next_block(&mut self) -> Result<Option<Block>, IoError> {
        let mut bytes = std::mem::take(&mut self.carry);
        loop {
            self.fill(&mut bytes)?;
            let end = if self.at_end { Some(bytes.len()) } else { last_record_end(&bytes, self.records) };
            match end {
                Some(0) if self.at_end => return Ok(None),
                Some(end) => {
                    self.carry = bytes.split_off(end);
                    let first_line = self.line;
                    self.line += count_lines(&bytes);
                    let is_first = std::mem::replace(&mut self.is_first, false);
                    return Ok(Some(Block { file: self.index, is_first, first_line, bytes }));
                }
                None if bytes.len() >= MAX_RECORD_BYTES => return Err(self.too_long(&bytes)),
                None => {}
            }
        }
    }

    /// Reads up to the target size, or as much again when a record is longer than that.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> Result<(), IoError> {
        // Three bytes at least, to see a byte order mark.
        let wanted = if bytes.len() < self.target { self.target.max(3) } else { bytes.len() * 2 };
        let missing = (wanted - bytes.len()) as u64;
        let before = bytes.len();
        bytes.reserve(missing as usize);
        let n = (&mut self.reader).take(missing).read_to_end(bytes).map_err(|e| read_error(&self.file, e))?;
        if (n as u64) < missing {
            self.at_end = true;
        }
        if self.is_first && before == 0 && bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        Ok(())
    }

    fn too_long(&self, bytes: &[u8]) -> IoError {
        let line = self.line;
        match self.records {
            Records::Quoted(delimiter) => match open_quote(bytes, delimiter) {
                Some(offset) => {
                    IoError::UnclosedQuote { place: Place::line(&self.file.path, line + count_lines(&bytes[..offset])) }
                }
                None => IoError::RowTooLong { place: Place::line(&self.file.path, line), limit: MAX_RECORD_BYTES },
            },
            Records::Lines => {
                IoError::RowTooLong { place: Place::line(&self.file.path, line), limit: MAX_RECORD_BYTES }
            }
        }
    }
}

pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.chunks(1 << 16).map(|chunk| chunk.iter().filter(|&&byte| byte == b'\n').count() as u64).sum()
}

/// Where the last whole record ends (after its line break); `None` without a whole record.
fn last_record_end(bytes: &[u8], records: Records) -> Option<usize> {
    let last_line = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
    match records {
        Records::Lines => last_line(bytes),
        Records::Quoted(_) if !bytes.contains(&b'"') => last_line(bytes),
        Records::Quoted(delimiter) => scan_quoted(bytes, delimiter).0,
    }
}

/// Where a quote is left open.
fn open_quote(bytes: &[u8], delimiter: u8) -> Option<usize> {
    scan_quoted(bytes, delimiter).1
}

/// Walks through fields from the start of a record: the end of the last whole record, and
/// where a quote is still open at the end.
fn scan_quoted(bytes: &[u8], delimiter: u8) -> (Option<usize>, Option<usize>) {
    let mut last_end = None;
    let mut at = 0;
    let mut field_start = true;
    while at < bytes.len() {
        let byte = bytes[at];
        if field_start && byte == b'"' {
            let opened = at;
            at += 1;
            loop {
                match bytes[at..].iter().position(|&byte| byte == b'"') {
                    None => return (last_end, Some(opened)),
                    Some(offset) if bytes.get(at + offset + 1) == Some(&b'"') => at += offset + 2,
                    Some(offset) => {
                        at += offset + 1;
                        break;
                    }
                }
                if at >= bytes.len() {
                    return (last_end, Some(opened));
                }
            }
            field_start = false;
            continue;
        }
        at += 1;
        if byte == b'\n' {
            last_end = Some(at);
        }
        field_start = byte == delimiter || byte == b'\n';
    }
    (last_end, None)
}

/// Blocks of several files in order, cut by a thread of their own.
pub(crate) struct Blocks {
    cutter: Background<Block>,
    n_bytes: Arc<AtomicU64>,
}

impl Blocks {
    /// Starts cutting; at most `ahead` blocks wait to be taken.
    pub fn start(files: Vec<(DataFile, Records)>, ahead: usize) -> Self {
        let n_bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&n_bytes);
        let cutter = Background::start("the reader of text", ahead, move |outlet| cut(files, outlet, &counter));
        Blocks { cutter, n_bytes }
    }

    /// Bytes read from disk so far.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes.load(Ordering::Relaxed)
    }
}

fn cut(files: Vec<(DataFile, Records)>, outlet: &Outlet<Block>, n_bytes: &Arc<AtomicU64>) -> Result<(), IoError> {
    for (index, (file, records)) in files.iter().enumerate() {
        let mut splitter = Splitter::open(file, index, *records, BLOCK_BYTES, n_bytes)?;
        while let Some(block) = splitter.next_block()? {
            // Nobody listens any more: the reader was dropped.
            if !outlet.put(block) {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Iterator for Blocks {
    type Item = Result<Block, IoError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cutter.next()
    }
}

/// Takes up to `n` items; stops after an error, which is the last item then.
pub(crate) fn take_window<T>(
    items: &mut dyn Iterator<Item = Result<T, IoError>>,
    n: usize,
) -> VecDeque<Result<T, IoError>> {
    let mut window = VecDeque::with_capacity(n);
    while window.len() < n {
        match items.next() {
            None => break,
            Some(item) => {
                let failed = item.is_err();
                window.push_back(item);
                if failed {
                    break;
                }
            }
        }
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::source::Format;

    fn blocks(content: &[u8], target: usize) -> Vec<(u64, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, content).unwrap();
        let file =
            DataFile { path, format: Format::Csv, compression: Compression::None, n_bytes: content.len() as u64 };
        let mut splitter = Splitter::open(&file, 0, Records::Quoted(b','), target, &Arc::default()).unwrap();
        let mut out = Vec::new();
        while let Some(block) = splitter.next_block().unwrap() {
            out.push((block.first_line, String::from_utf8(block.bytes).unwrap()));
        }
        out
    }

    #[test]
    fn blocks_end_where_records_end_for_any_size() {
        let text = "a,b\n1,\"x\ny\"\n2,\"q\"\"\n\"\n3,5\" inch\n4,z";
        let whole = blocks(text.as_bytes(), 1 << 20);
        assert_eq!(whole, [(1, text.to_owned())]);
        for target in 1..text.len() {
            let parts = blocks(text.as_bytes(), target);
            assert_eq!(parts.iter().map(|(_, text)| text.as_str()).collect::<String>(), text);
            let starts = ["a,b", "1,", "2,", "3,", "4,"];
            let lines = [1u64, 2, 4, 6, 7];
            for (line, part) in &parts {
                let at = starts.iter().position(|start| part.starts_with(start)).expect("starts at a record");
                assert_eq!(*line, lines[at]);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_header() {
        assert_eq!(blocks(b"\xEF\xBB\xBFa\n1\n", 2)[0].1, "a\n");
    }
}
