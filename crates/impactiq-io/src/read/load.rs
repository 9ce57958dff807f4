//! Reading a source into a table: wanted columns only, filtered while reading.

use std::collections::HashMap;
use std::path::PathBuf;

use impactiq_data::column::number_text;
use impactiq_data::{Column, DataError, MISSING_LEVEL, Schema, Table, Watch};
use rayon::prelude::*;

use crate::cast::{column_of, float_at, infinite_rows, key_column_of};
use crate::error::IoError;
use crate::features::{RowFeatures, compile_filter};
use crate::read::blocks::take_window;
use crate::read::fingerprint::of_files;
use crate::read::inspect::Inspected;
use crate::read::scan::{Failure, Feed, How, Lines, Piece, Plan, Unit, Wanted};
use crate::read::source::Source;

/// A source in memory.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The columns asked for, in that order, of the rows that were kept.
    pub table: Table,
    /// Raw columns that a model of this table needs: those asked for and those that the
    /// derived ones asked for are computed from, in the order of the first file.
    pub schema: Schema,
    /// Number of each kept row among all rows of all files before the filter, from 0.
    pub row_ids: Vec<u64>,
    /// The files with their rows.
    pub files: Vec<FileRows>,
    /// Rows before the filter.
    pub n_rows_read: u64,
    /// Checksum of the files; see [`crate::fingerprint`].
    pub fingerprint: String,
}

/// The rows of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRows {
    /// The file.
    pub path: PathBuf,
    /// Number of its first row among all rows, from 0.
    pub first_row: u64,
    /// How many rows it has.
    pub n_rows: u64,
    /// Rows (in the file, from 0) from which on lines run ahead of rows by another amount.
    breaks: Vec<(u64, u64)>,
}

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// Row in the file, counted from 1 without the header.
    pub row: u64,
    /// Line in the file, counted from 1; text formats only.
    pub line: Option<u64>,
}

impl Loaded {
    /// Where a row stands, by its number among all rows.
    pub fn locate(&self, row_id: u64) -> Option<Location> {
        let file = self.files.iter().find(|file| (file.first_row..file.first_row + file.n_rows).contains(&row_id))?;
        let row = row_id - file.first_row;
        let ahead = file.breaks.partition_point(|&(from, _)| from <= row);
        let line = ahead.checked_sub(1).map(|index| row + file.breaks[index].1);
        Some(Location { path: file.path.clone(), row: row + 1, line })
    }
}

impl FileRows {
    fn add(&mut self, n_rows: usize, lines: &Lines) {
        for row in 0..n_rows {
            let Some(line) = lines.of(row) else { break };
            let number = self.n_rows + row as u64;
            let ahead = line - number;
            if self.breaks.last().is_none_or(|&(_, before)| before != ahead) {
                self.breaks.push((number, ahead));
            }
        }
        self.n_rows += n_rows as u64;
    }
}

/// Reads columns of a source, raw or derived, into memory.
///
/// Rows keep the order of the files (sorted by path) and of the lines in them, whatever the
/// format and the number of threads; `row_ids` are their numbers before the filter.
///
/// # Errors
/// Everything that can be wrong with files, columns, values and SQL; infinite values of the
/// columns asked for, in kept rows, are [`IoError::InfiniteValue`]. No rows left:
/// [`IoError::NoRows`] and [`IoError::NoRowsLeft`].
pub fn read(source: &Source, columns: &[String], watch: &dyn Watch) -> Result<Loaded, IoError> {
    let mut inspected = Inspected::of(source)?;
    let is_derived = |name: &String| source.derived.iter().any(|derived| derived.name == *name);
    inspected.discover(&columns.iter().filter(|name| !is_derived(name)).cloned().collect::<Vec<_>>())?;
    if let Err(IoError::SqlColumn { column, .. }) = Layout::new(source, columns, &inspected) {
        inspected.discover(&[column])?;
    }
    let mut observed = false;
    loop {
        let layout = Layout::new(source, columns, &inspected)?;
        if !observed && inspected.is_blank(&layout.needed) {
            inspected.observe_all(&layout.needed)?;
            observed = true;
            continue;
        }
        match layout.load(source, watch) {
            Ok(loaded) => return Ok(loaded),
            Err(Failure::Error(error)) => return Err(error),
            // The types of all rows are known from here on, so this happens once.
            Err(Failure::Contradiction) => {
                inspected.observe_all(&layout.needed)?;
                observed = true;
            }
        }
    }
}

/// What is read, and what becomes of it.
struct Layout {
    plan: Plan,
    /// Raw columns that are read.
    needed: Vec<String>,
    /// Columns asked for.
    columns: Vec<String>,
    /// Of each of them: whether its values only tell things apart.
    is_key: Vec<bool>,
    schema: Schema,
}

impl Layout {
    fn new(source: &Source, columns: &[String], inspected: &Inspected) -> Result<Self, IoError> {
        let names = inspected.names();
        let raw = usable_schema(inspected)?;
        let features = RowFeatures::compile(&source.derived, &raw)?;
        let filter = source.filter.as_ref().map(|sql| compile_filter(sql, &raw, &features)).transpose()?;

        let is_derived = |name: &String| source.derived.iter().any(|derived| derived.name == *name);
        let mut available = names.clone();
        available.extend(source.derived.iter().map(|derived| derived.name.clone()));
        if let Some(missing) = columns.iter().find(|name| !available.contains(name)) {
            return Err(DataError::missing_column(missing, &available).into());
        }
        let mut of_model: Vec<String> = columns.iter().filter(|name| !is_derived(name)).cloned().collect();
        of_model.extend(features.select(columns).inputs());

        let mut computed: Vec<String> = columns.to_vec();
        computed.extend(filter.iter().flat_map(|filter| filter.columns.clone()));
        let features = features.select(&computed);
        let mut needed = of_model.clone();
        needed.extend(features.inputs());
        needed.extend(filter.iter().flat_map(|filter| filter.columns.clone()).filter(|name| !is_derived(name)));
        let in_order = |wanted: &[String]| names.iter().filter(|name| wanted.contains(name)).cloned().collect();
        let needed: Vec<String> = in_order(&needed);
        let of_model: Vec<String> = in_order(&of_model);

        let mut wanted = Vec::with_capacity(needed.len());
        for name in &needed {
            let column = inspected.needed(name)?;
            let how = How::Typed { raw_type: column.field.raw_type, guessed: column.guessed };
            wanted.push(Wanted { name: name.clone(), how });
        }
        let schema = raw.project(&of_model)?;
        let plan = Plan { files: inspected.files.clone(), wanted, features, filter };
        let is_key = columns.iter().map(|name| inspected.is_key(name)).collect();
        Ok(Layout { plan, needed, columns: columns.to_vec(), is_key, schema })
    }

    fn load(&self, source: &Source, watch: &dyn Watch) -> Result<Loaded, Failure> {
        let threads = rayon::current_num_threads();
        let is_text = self.plan.files[0].parquet.is_none();
        let mut feed = self.plan.feed(2 * threads);
        let mut into = Gathered::new(&self.plan, self.columns.len());
        loop {
            let window = take_window(&mut feed, if is_text { 2 * threads } else { threads });
            if window.is_empty() {
                break;
            }
            let parts: Vec<(usize, Result<Part, Failure>)> =
                window.into_par_iter().map(|unit| self.part(unit)).collect();
            for (file, part) in parts {
                match part {
                    Ok(part) => into.add(part),
                    Err(Failure::Error(error)) => return Err(into.moved(error, file).into()),
                    Err(contradiction) => return Err(contradiction),
                }
            }
            self.report(&feed, &into, watch)?;
        }
        let first = || self.plan.files[0].file.path.clone();
        if into.n_read == 0 {
            return Err(IoError::NoRows { path: first() }.into());
        }
        if into.row_ids.is_empty() {
            let filter = source.filter.clone().unwrap_or_default();
            return Err(IoError::NoRowsLeft { filter, n_read: into.n_read }.into());
        }
        let files: Vec<_> = self.plan.files.iter().map(|plan| plan.file.clone()).collect();
        let fingerprint = of_files(&files)?;
        Ok(into.finish(self, fingerprint)?)
    }

    fn report(&self, feed: &Feed, into: &Gathered, watch: &dyn Watch) -> Result<(), IoError> {
        match feed {
            Feed::Text(blocks) => {
                let total = self.plan.files.iter().map(|plan| plan.file.n_bytes).sum();
                watch.progress("read", blocks.n_bytes().min(total), total);
            }
            _ => {
                let total = self.plan.files.iter().filter_map(|plan| plan.parquet.as_ref()).map(|p| p.n_rows()).sum();
                watch.progress("read", into.n_read, total);
            }
        }
        if watch.should_stop() { Err(IoError::Interrupted) } else { Ok(()) }
    }

    /// Works on one unit: its file, and its columns as numbers and categories.
    fn part(&self, unit: Result<Unit, IoError>) -> (usize, Result<Part, Failure>) {
        let unit = match unit {
            Ok(unit) => unit,
            Err(error) => return (0, Err(error.into())),
        };
        let file = unit.file();
        let mut part = Part { file, ..Part::default() };
        let ahead = checked_rows(self.plan.rows_ahead(&unit));
        part.columns.resize_with(self.columns.len(), || Growing { ahead, ..Growing::default() });
        let worked = self.plan.process(unit, &mut |piece| part.add(self, &piece));
        (file, worked.map(|()| part))
    }
}

/// Every usable raw column with its (present) type.
fn usable_schema(inspected: &Inspected) -> Result<Schema, IoError> {
    let mut fields = Vec::new();
    for name in inspected.names() {
        match inspected.needed(&name) {
            Ok(column) => fields.push(column.field),
            Err(IoError::UnsupportedType { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Schema::new(fields)?)
}

/// Rows of one unit.
#[derive(Default)]
struct Part {
    file: usize,
    n_rows: u64,
    kept: Vec<u32>,
    columns: Vec<Growing>,
    lines: Vec<(usize, Lines)>,
}

impl Part {
    fn add(&mut self, layout: &Layout, piece: &Piece) -> Result<(), IoError> {
        for ((name, &is_key), into) in layout.columns.iter().zip(&layout.is_key).zip(&mut self.columns) {
            let array =
                piece.rows.column_by_name(name).ok_or_else(|| crate::cast::missing_column(name, &piece.rows))?;
            if let Some(&row) = infinite_rows(array).first() {
                let before = piece.row_before_filter(row);
                return Err(IoError::InfiniteValue {
                    place: layout.plan.place(piece.file, &piece.lines, before, Some(name)),
                    value: float_at(array, row).to_string(),
                    derived: layout.plan.features.fields().iter().any(|field| field.name == *name),
                });
            }
            into.append(if is_key { key_column_of(array) } else { column_of(array) });
        }
        let base = self.n_rows as u32;
        match &piece.kept {
            None => self.kept.extend((0..piece.n_rows as u32).map(|row| base + row)),
            Some(kept) => self.kept.extend(kept.iter().map(|row| base + row)),
        }
        self.n_rows += piece.n_rows as u64;
        self.lines.push((piece.n_rows, piece.lines.clone()));
        Ok(())
    }
}

/// A column that grows; its first part decides whether it holds numbers or categories.
#[derive(Default)]
struct Growing {
    column: Option<Column>,
    /// Rows that are expected in all, to make room for at once.
    ahead: usize,
    index: HashMap<String, u32>,
}

impl Growing {
    fn append(&mut self, mut part: Column) {
        let Some(column) = &mut self.column else {
            self.begin(part);
            return;
        };
        // Large keys are categories from the first part on that holds one.
        match (&*column, &part) {
            (Column::Number(_), Column::Category { .. }) => {
                let Some(Column::Number(before)) = self.column.take() else { return };
                self.begin(named(&before));
            }
            (Column::Category { .. }, Column::Number(values)) => part = named(values),
            _ => {}
        }
        let Some(column) = &mut self.column else { return };
        match (column, part) {
            (Column::Number(all), Column::Number(values)) => all.extend_from_slice(&values),
            (Column::Category { codes, levels }, Column::Category { codes: new_codes, levels: new_levels }) => {
                let map: Vec<u32> = new_levels
                    .into_iter()
                    .map(|level| match self.index.get(&level) {
                        Some(&code) => code,
                        None => {
                            let code = levels.len() as u32;
                            levels.push(level.clone());
                            self.index.insert(level, code);
                            code
                        }
                    })
                    .collect();
                codes.extend(
                    new_codes.into_iter().map(
                        |code| {
                            if code == MISSING_LEVEL { MISSING_LEVEL } else { map[code as usize] }
                        },
                    ),
                );
            }
            _ => unreachable!("both were made categories above"),
        }
    }

    fn begin(&mut self, mut part: Column) {
        match &mut part {
            Column::Number(values) => values.reserve_exact(self.ahead.saturating_sub(values.len())),
            Column::Category { codes, levels } => {
                codes.reserve_exact(self.ahead.saturating_sub(codes.len()));
                self.index = levels.iter().cloned().zip(0..).collect();
            }
        }
        self.column = Some(part);
    }

    fn finish(self) -> Column {
        match self.column {
            Some(Column::Number(mut values)) => {
                values.shrink_to_fit();
                Column::Number(values)
            }
            Some(Column::Category { mut codes, levels }) => {
                codes.shrink_to_fit();
                Column::Category { codes, levels }
            }
            None => Column::Number(Vec::new()),
        }
    }
}

/// Numbers as categories by their text.
fn named(values: &[f64]) -> Column {
    let mut levels: Vec<String> = Vec::new();
    let mut index: HashMap<u64, u32> = HashMap::new();
    let code = |value: &f64| {
        if value.is_nan() {
            return MISSING_LEVEL;
        }
        // Adding 0 makes one value of 0 and −0.
        *index.entry((value + 0.0).to_bits()).or_insert_with(|| {
            levels.push(number_text(*value));
            levels.len() as u32 - 1
        })
    };
    let codes = values.iter().map(code).collect();
    Column::Category { codes, levels }
}

/// Row counts of a damaged file may be anything: room is made for a plausible number only.
fn checked_rows(n_rows: u64) -> usize {
    n_rows.min(1 << 24) as usize
}

/// Everything read so far, in order.
struct Gathered {
    columns: Vec<Growing>,
    row_ids: Vec<u64>,
    files: Vec<FileRows>,
    n_read: u64,
}

impl Gathered {
    fn new(plan: &Plan, n_columns: usize) -> Self {
        let all = |file: &crate::read::inspect::FilePlan| Some(file.parquet.as_ref()?.n_rows());
        let ahead = match plan.filter {
            None => checked_rows(plan.files.iter().map(all).sum::<Option<u64>>().unwrap_or(0)),
            Some(_) => 0,
        };
        let mut columns = Vec::new();
        columns.resize_with(n_columns, || Growing { ahead, ..Growing::default() });
        let file = |plan: &crate::read::inspect::FilePlan| FileRows {
            path: plan.file.path.clone(),
            first_row: 0,
            n_rows: 0,
            breaks: Vec::new(),
        };
        Gathered { columns, row_ids: Vec::new(), files: plan.files.iter().map(file).collect(), n_read: 0 }
    }

    fn add(&mut self, part: Part) {
        let file = &mut self.files[part.file];
        if file.n_rows == 0 {
            file.first_row = self.n_read;
        }
        for (n_rows, lines) in &part.lines {
            file.add(*n_rows, lines);
        }
        self.row_ids.extend(part.kept.iter().map(|&row| self.n_read + u64::from(row)));
        self.n_read += part.n_rows;
        self.columns.par_iter_mut().zip(part.columns).for_each(|(into, part)| {
            if let Some(column) = part.column {
                into.append(column);
            }
        });
    }

    fn moved(&self, error: IoError, file: usize) -> IoError {
        error.moved(self.n_read, self.files[file].n_rows)
    }

    fn finish(self, layout: &Layout, fingerprint: String) -> Result<Loaded, IoError> {
        let mut table = Table::new();
        for (name, column) in layout.columns.iter().zip(self.columns) {
            table.push(name.clone(), column.finish())?;
        }
        // Files without rows stand where the next one begins.
        let mut files = self.files;
        let mut next = 0;
        for file in &mut files {
            file.first_row = next;
            next += file.n_rows;
        }
        Ok(Loaded {
            table,
            schema: layout.schema.clone(),
            row_ids: self.row_ids,
            files,
            n_rows_read: self.n_read,
            fingerprint,
        })
    }
}
