//! A first look at a source: its columns and their types, before rows are read.
//!
//! Parquet tells its types. Text is guessed from the first rows of every file, and guessed
//! anew from all rows when a later one contradicts: the outcome depends on the whole source,
//! never on where it was cut.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::DataType;
use impactiq_data::{DataError, Field, RawType, Schema};
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::cast::{raw_type, type_name};
use crate::error::{IoError, Place};
use crate::json::{cell_of, json_detail};
use crate::read::blocks::{Block, Blocks, Records, Splitter, take_window};
use crate::read::csv;
use crate::read::parquet::{ParquetFile, SharedParquet};
use crate::read::source::{DataFile, Format, Source, resolve};
use crate::value::Kinds;

/// Bytes of each file that are looked at before guessing.
const SAMPLE_BYTES: usize = 1 << 20;

/// A file and how to cut it.
#[derive(Clone, Debug)]
pub(crate) struct FilePlan {
    pub file: DataFile,
    pub delimiter: u8,
    /// Every column of the file, in its order (NDJSON: of the source).
    pub columns: Vec<String>,
    pub parquet: Option<SharedParquet>,
}

impl FilePlan {
    pub fn records(&self) -> Records {
        match self.file.format {
            Format::Csv => Records::Quoted(self.delimiter),
            _ => Records::Lines,
        }
    }
}

/// What is known of a column's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Known {
    /// Guessed from some rows of text.
    Seen(Kinds),
    /// Told by the file or by the user.
    Typed(RawType),
    /// Unsigned 64-bit numbers that may be too large for signed ones.
    Unsigned,
    /// Neither number, text nor time.
    Unsupported(String),
}

/// A source after the first look.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    pub files: Vec<FilePlan>,
    /// Columns in the order of the first file.
    pub columns: Vec<(String, Known)>,
    /// Columns whose values only tell things apart.
    keys: Vec<String>,
}

/// A column to read, with its type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Needed {
    pub field: Field,
    /// True when the type was guessed, so that a contradiction means guessing anew.
    pub guessed: bool,
}

/// The raw columns of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSchema {
    /// Columns that can be used, in the order of the first file. Types of text files are
    /// guessed from the first rows; [`crate::read`] widens them when later rows ask for it.
    pub schema: Schema,
    /// Columns that can't be used, with their type in the file's words.
    pub unsupported: Vec<(String, String)>,
    /// The files, sorted by path.
    pub files: Vec<PathBuf>,
    /// Rows, where the format tells.
    pub n_rows: Option<u64>,
}

/// Looks at a source's columns without reading its rows.
///
/// # Errors
/// Everything that can be wrong with paths, headers and the first rows.
pub fn read_schema(source: &Source) -> Result<RawSchema, IoError> {
    let inspected = Inspected::of(source)?;
    let mut fields = Vec::new();
    let mut unsupported = Vec::new();
    for (name, _) in &inspected.columns {
        match inspected.needed(name) {
            Ok(needed) => fields.push(needed.field),
            Err(IoError::UnsupportedType { found, .. }) => unsupported.push((name.clone(), found)),
            Err(error) => return Err(error),
        }
    }
    let n_rows = inspected.files.iter().map(|plan| Some(plan.parquet.as_ref()?.n_rows())).sum();
    Ok(RawSchema {
        schema: Schema::new(fields)?,
        unsupported,
        files: inspected.files.into_iter().map(|plan| plan.file.path).collect(),
        n_rows,
    })
}

impl Inspected {
    /// Looks at every file of a source.
    pub fn of(source: &Source) -> Result<Self, IoError> {
        let files = resolve(&source.paths)?;
        let mut inspected = match files[0].format {
            Format::Csv => inspect_csv(files, source.delimiter)?,
            Format::Ndjson => inspect_ndjson(files)?,
            Format::Parquet => inspect_parquet(files)?,
        };
        inspected.keys.clone_from(&source.keys);
        if let Some(types) = &source.types {
            for (name, known) in &mut inspected.columns {
                let told = types.fields().iter().find(|field| field.name == *name);
                if let (Some(field), Known::Seen(_) | Known::Typed(_) | Known::Unsigned) = (told, &known) {
                    *known = Known::Typed(field.raw_type);
                }
            }
        }
        Ok(inspected)
    }

    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// A column to read.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`], [`IoError::UnsupportedType`].
    pub fn needed(&self, name: &str) -> Result<Needed, IoError> {
        let Some((_, known)) = self.columns.iter().find(|(column, _)| column == name) else {
            return Err(DataError::missing_column(name, &self.names()).into());
        };
        let unsupported = |found: &str| IoError::UnsupportedType {
            column: name.to_owned(),
            path: self.files[0].file.path.clone(),
            found: found.to_owned(),
        };
        let is_key = self.is_key(name);
        let (raw_type, guessed) = match known {
            Known::Typed(raw) => (*raw, false),
            Known::Unsigned => (if is_key { RawType::Text } else { RawType::Float64 }, false),
            Known::Seen(kinds) if is_key && kinds.is_beyond_integers() => (RawType::Text, true),
            Known::Unsupported(found) => return Err(unsupported(found)),
            Known::Seen(kinds) => (kinds.raw_type().ok_or_else(|| unsupported("a list or an object"))?, true),
        };
        Ok(Needed { field: Field { name: name.to_owned(), raw_type }, guessed })
    }

    /// True for a column whose values only tell things apart.
    pub fn is_key(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key == name)
    }

    /// True when nothing was seen of some of these columns, so that any type would be a bet.
    pub fn is_blank(&self, names: &[String]) -> bool {
        self.columns.iter().any(|(name, known)| matches!(known, Known::Seen(k) if k.is_empty()) && names.contains(name))
    }

    /// Looks at every row and settles the types of text columns for good.
    pub fn observe_all(&mut self, names: &[String]) -> Result<(), IoError> {
        let wanted: Vec<String> = self
            .columns
            .iter()
            .filter(|(name, known)| names.contains(name) && matches!(known, Known::Seen(_)))
            .map(|(name, _)| name.clone())
            .collect();
        let files = &self.files;
        let mut blocks = Blocks::start(files.iter().map(|p| (p.file.clone(), p.records())).collect(), 4);
        let mut all = vec![Kinds::default(); wanted.len()];
        let (mut n_read, mut n_in_file) = (0, vec![0; files.len()]);
        loop {
            let window = take_window(&mut blocks, 2 * rayon::current_num_threads());
            if window.is_empty() {
                break;
            }
            let seen: Vec<(usize, Result<Seen, IoError>)> = window
                .into_par_iter()
                .map(|block| match block {
                    Ok(block) => (block.file, observe(&block, &files[block.file], &wanted)),
                    Err(error) => (0, Err(error)),
                })
                .collect();
            for (file, seen) in seen {
                let seen = seen.map_err(|error| error.moved(n_read, n_in_file[file]))?;
                all.iter_mut().zip(seen.kinds).for_each(|(all, kinds)| all.add(kinds));
                n_read += seen.n_rows;
                n_in_file[file] += seen.n_rows;
            }
        }
        for (name, known) in &mut self.columns {
            if let Some(index) = wanted.iter().position(|column| column == name) {
                *known = Known::Seen(all[index]);
            }
        }
        Ok(())
    }

    /// Adds NDJSON keys that appear only beyond the sample, when a wanted one is among them.
    pub fn discover(&mut self, wanted: &[String]) -> Result<(), IoError> {
        let lacks = |columns: &[(String, Known)]| wanted.iter().any(|name| !columns.iter().any(|(c, _)| c == name));
        if self.files[0].file.format != Format::Ndjson || !lacks(&self.columns) {
            return Ok(());
        }
        let blocks = Blocks::start(self.files.iter().map(|p| (p.file.clone(), p.records())).collect(), 4);
        for block in blocks {
            let block = block?;
            let path = &self.files[block.file].file;
            each_object(&block, path, |object| {
                add_keys(&mut self.columns, object);
                Ok(())
            })?;
        }
        let names = self.names();
        self.files.iter_mut().for_each(|plan| plan.columns.clone_from(&names));
        Ok(())
    }
}

/// What a block holds.
struct Seen {
    /// Kinds of values in the columns asked for.
    kinds: Vec<Kinds>,
    n_rows: u64,
}

/// Which kinds of values a block holds in some columns.
fn observe(block: &Block, plan: &FilePlan, wanted: &[String]) -> Result<Seen, IoError> {
    let mut kinds = vec![Kinds::default(); wanted.len()];
    let mut n_rows = 0;
    match plan.file.format {
        Format::Csv => {
            let slots: Vec<Option<usize>> =
                plan.columns.iter().map(|name| wanted.iter().position(|column| column == name)).collect();
            let layout =
                csv::Layout { path: &plan.file.path, delimiter: plan.delimiter, columns: &plan.columns, slots: &slots };
            let text = utf8(block, &layout)?;
            let fields = csv::fields(&block.bytes, &layout, block.first_line, block.is_first)?;
            n_rows = fields.n_rows() as u64;
            for (slot, kinds) in kinds.iter_mut().enumerate() {
                for cell in fields.cells(text, slot) {
                    if kinds.contains(Kinds::TEXT) {
                        break;
                    }
                    kinds.add(cell.kind());
                }
            }
        }
        _ => each_object(block, &plan.file, |object| {
            n_rows += 1;
            for (name, kinds) in wanted.iter().zip(&mut kinds) {
                if let Some(value) = object.get(name) {
                    kinds.add(cell_of(value).kind());
                }
            }
            Ok(())
        })?,
    }
    Ok(Seen { kinds, n_rows })
}

/// A block's text.
pub(crate) fn utf8<'a>(block: &'a Block, layout: &csv::Layout<'_>) -> Result<&'a str, IoError> {
    std::str::from_utf8(&block.bytes)
        .map_err(|error| csv::bad_utf8(&block.bytes, error.valid_up_to(), layout, block.first_line))
}

fn each_object(
    block: &Block,
    file: &DataFile,
    mut each: impl FnMut(&Map<String, Value>) -> Result<(), IoError>,
) -> Result<(), IoError> {
    for (line, bytes) in block.bytes.split(|&byte| byte == b'\n').enumerate() {
        let place = || Place::line(&file.path, block.first_line + line as u64);
        let text = std::str::from_utf8(bytes).map_err(|_| IoError::BadUtf8 {
            place: place(),
            value: crate::value::shown(&String::from_utf8_lossy(bytes)),
        })?;
        if text.trim().is_empty() {
            continue;
        }
        let object = serde_json::from_str(text)
            .map_err(|error| IoError::BadJson { place: place(), detail: json_detail(&error) })?;
        each(&object)?;
    }
    Ok(())
}

fn sample(file: &DataFile, index: usize, records: Records) -> Result<Block, IoError> {
    let mut splitter = Splitter::open(file, index, records, SAMPLE_BYTES, &Arc::default())?;
    splitter.next_block()?.ok_or_else(|| IoError::EmptyFile { path: file.path.clone() })
}

fn inspect_csv(files: Vec<DataFile>, delimiter: Option<u8>) -> Result<Inspected, IoError> {
    let mut plans: Vec<FilePlan> = Vec::with_capacity(files.len());
    let mut columns: Vec<(String, Known)> = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        // The delimiter isn't known yet; as quoted fields hold no end of a record under any
        // of them, cutting at a comma is good enough for a sample.
        let block = sample(&file, index, Records::Quoted(delimiter.unwrap_or(b',')))?;
        let (names, delimiter) = csv::header(&file.path, &block.bytes, delimiter)?;
        let plan = FilePlan { file, delimiter, columns: names, parquet: None };
        if let Some(first) = plans.first() {
            same_columns(first, &plan)?;
        } else {
            columns = plan.columns.iter().map(|name| (name.clone(), Known::Seen(Kinds::default()))).collect();
        }
        let block = sample(&plan.file, index, plan.records())?;
        let wanted: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let seen = observe(&block, &plan, &wanted)?;
        add_kinds(&mut columns, &seen.kinds);
        plans.push(plan);
    }
    Ok(Inspected { files: plans, columns, keys: Vec::new() })
}

fn add_kinds(columns: &mut [(String, Known)], seen: &[Kinds]) {
    for ((_, known), seen) in columns.iter_mut().zip(seen) {
        if let Known::Seen(kinds) = known {
            kinds.add(*seen);
        }
    }
}

fn add_keys(columns: &mut Vec<(String, Known)>, object: &Map<String, Value>) {
    for (position, (key, value)) in object.iter().enumerate() {
        let kind = cell_of(value).kind();
        let guess = columns.get(position).is_some_and(|(name, _)| name == key).then_some(position);
        match guess.or_else(|| columns.iter().position(|(name, _)| name == key)) {
            Some(index) => {
                if let Known::Seen(kinds) = &mut columns[index].1 {
                    kinds.add(kind);
                }
            }
            None => columns.push((key.clone(), Known::Seen(kind))),
        }
    }
}

fn inspect_ndjson(files: Vec<DataFile>) -> Result<Inspected, IoError> {
    let mut columns: Vec<(String, Known)> = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let mut block = sample(file, index, Records::Lines)?;
        block.file = index;
        each_object(&block, file, |object| {
            add_keys(&mut columns, object);
            Ok(())
        })?;
    }
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let files = files
        .into_iter()
        .map(|file| FilePlan { file, delimiter: b',', columns: names.clone(), parquet: None })
        .collect();
    Ok(Inspected { files, columns, keys: Vec::new() })
}

fn inspect_parquet(files: Vec<DataFile>) -> Result<Inspected, IoError> {
    let mut plans: Vec<FilePlan> = Vec::with_capacity(files.len());
    let mut columns: Vec<(String, Known)> = Vec::new();
    for file in files {
        let parquet = ParquetFile::open(&file)?;
        let names: Vec<String> = parquet.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(IoError::DuplicateHeader { path: file.path.clone(), column: pair[0].clone() });
        }
        let plan = FilePlan { file, delimiter: b',', columns: names, parquet: Some(Arc::new(parquet)) };
        let types = plan.parquet.iter().flat_map(|parquet| parquet.schema().fields()).map(|field| {
            let fits = || plan.parquet.iter().all(|parquet| parquet.fits_signed(field.name()));
            let known = match raw_type(field.data_type()) {
                Some(RawType::Integer) if *field.data_type() == DataType::UInt64 && !fits() => Known::Unsigned,
                Some(raw) => Known::Typed(raw),
                None => Known::Unsupported(field.data_type().to_string()),
            };
            (field.name().clone(), known)
        });
        match plans.first() {
            None => columns = types.collect(),
            Some(first) => {
                same_columns(first, &plan)?;
                for (name, known) in types {
                    unify(&mut columns, &name, known, first, &plan)?;
                }
            }
        }
        plans.push(plan);
    }
    Ok(Inspected { files: plans, columns, keys: Vec::new() })
}

/// Numbers of several widths become the widest; anything else must agree.
fn unify(
    columns: &mut [(String, Known)],
    name: &str,
    known: Known,
    first: &FilePlan,
    plan: &FilePlan,
) -> Result<(), IoError> {
    let Some((_, before)) = columns.iter_mut().find(|(column, _)| column == name) else { return Ok(()) };
    if *before == known {
        return Ok(());
    }
    let is_whole = |known: &Known| matches!(known, Known::Unsigned | Known::Typed(RawType::Integer));
    if is_whole(before) && is_whole(&known) {
        *before = Known::Unsigned;
        return Ok(());
    }
    let is_number = |known: &Known| {
        matches!(known, Known::Unsigned | Known::Typed(RawType::Integer | RawType::Float32 | RawType::Float64))
    };
    if is_number(before) && is_number(&known) {
        *before = Known::Typed(RawType::Float64);
        return Ok(());
    }
    let told = |known: &Known| match known {
        Known::Typed(raw) => type_name(*raw).to_owned(),
        Known::Unsigned => type_name(RawType::Float64).to_owned(),
        Known::Unsupported(found) => found.clone(),
        Known::Seen(_) => String::new(),
    };
    Err(IoError::TypesDiffer {
        column: name.to_owned(),
        path: plan.file.path.clone(),
        found: told(&known),
        first: first.file.path.clone(),
        expected: told(before),
    })
}

fn same_columns(first: &FilePlan, other: &FilePlan) -> Result<(), IoError> {
    let without = |names: &[String], others: &[String]| -> Vec<String> {
        names.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    let missing = without(&first.columns, &other.columns);
    let extra = without(&other.columns, &first.columns);
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(IoError::ColumnsDiffer { path: other.file.path.clone(), first: first.file.path.clone(), missing, extra })
}
