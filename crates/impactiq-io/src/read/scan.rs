//! From pieces of files to typed batches: parsed, cast, extended and filtered on any
//! thread, each piece on its own.
//!
//! A piece knows its rows only by their place in it; whoever puts the pieces back in order
//! knows how many rows stand before.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use impactiq_data::{Field, RawType};

use crate::cast::{BadCell, Built, arrow_type, batch_of, build, cast_array, castable, finite, type_mismatch};
use crate::error::{IoError, Place, RowError};
use crate::features::RowFeatures;
use crate::json::{JsonCell, Slots, parse_row};
use crate::read::background::Background;
use crate::read::blocks::{Block, Blocks};
use crate::read::csv;
use crate::read::inspect::{FilePlan, utf8};
use crate::read::source::Format;
use crate::session::Expression;
use crate::value::Cell;

/// How a column is taken from the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// As a type; what does not fit is an error, or, when the type was guessed, a reason to
    /// guess anew.
    Typed { raw_type: RawType, guessed: bool },
    /// As a type; what does not fit is told per row.
    Lenient(RawType),
    /// As the file has it (CSV: as text).
    AsIs,
}

/// A column to take.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub name: String,
    pub how: How,
}

/// What to make of every piece.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub files: Vec<FilePlan>,
    pub wanted: Vec<Wanted>,
    pub features: RowFeatures,
    pub filter: Option<Expression>,
}

/// A part of a file that can be worked on alone.
#[derive(Debug)]
pub(crate) enum Unit {
    Block(Block),
    /// A row group that is still to be decoded.
    Group {
        file: usize,
        group: usize,
    },
    /// Rows that are decoded already.
    Decoded {
        file: usize,
        batch: RecordBatch,
    },
}

impl Unit {
    pub fn file(&self) -> usize {
        match self {
            Unit::Block(block) => block.file,
            Unit::Group { file, .. } | Unit::Decoded { file, .. } => *file,
        }
    }
}

/// Where the rows of a piece stand in their file's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    first_line: u64,
    offsets: Vec<u32>,
}

impl Lines {
    /// Line of a row, counted from 1; `None` for formats without lines.
    pub fn of(&self, row: usize) -> Option<u64> {
        self.offsets.get(row).map(|&offset| self.first_line + u64::from(offset))
    }
}

/// Typed rows of one unit, or of a part of one.
#[derive(Debug)]
pub(crate) struct Piece {
    pub file: usize,
    /// Rows before the filter.
    pub n_rows: usize,
    /// The wanted columns, then the features.
    pub rows: RecordBatch,
    /// Places of the kept rows in the piece; `None`: all are kept.
    pub kept: Option<Vec<u32>>,
    pub lines: Lines,
    /// Cells that did not fit; rows counted before the filter.
    pub errors: Vec<RowError>,
}

impl Piece {
    /// Where a kept row stood before the filter.
    pub fn row_before_filter(&self, row: usize) -> usize {
        self.kept.as_ref().map_or(row, |kept| kept[row] as usize)
    }
}

/// Why a unit gave no rows.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A guessed type does not hold.
    Contradiction,
    Error(IoError),
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Failure::Error(error)
    }
}

/// Units in order.
pub(crate) enum Feed {
    Text(Blocks),
    Groups(std::vec::IntoIter<(usize, usize)>),
    Decoded(Background<Unit>),
}

impl Iterator for Feed {
    type Item = Result<Unit, IoError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Feed::Text(blocks) => blocks.next().map(|block| block.map(Unit::Block)),
            Feed::Groups(groups) => groups.next().map(|(file, group)| Ok(Unit::Group { file, group })),
            Feed::Decoded(decoder) => decoder.next(),
        }
    }
}

impl Plan {
    /// Units for reading everything: blocks of text, or row groups.
    pub fn feed(&self, ahead: usize) -> Feed {
        let groups: Option<Vec<(usize, usize)>> = (self.files.iter().enumerate())
            .map(|(file, plan)| Some((0..plan.parquet.as_ref()?.n_groups()).map(move |group| (file, group))))
            .collect::<Option<Vec<_>>>()
            .map(|files| files.into_iter().flatten().collect());
        match groups {
            Some(groups) => Feed::Groups(groups.into_iter()),
            None => self.text_feed(ahead),
        }
    }

    fn text_feed(&self, ahead: usize) -> Feed {
        Feed::Text(Blocks::start(self.files.iter().map(|plan| (plan.file.clone(), plan.records())).collect(), ahead))
    }

    /// Units for streaming: small pieces, decoded in the background, in constant memory.
    pub fn stream(&self, ahead: usize) -> Feed {
        if self.files[0].parquet.is_none() {
            return self.text_feed(ahead);
        }
        let files = self.files.clone();
        let names = self.names();
        Feed::Decoded(Background::start("the decoder of Parquet", ahead, move |outlet| {
            for (file, plan) in files.iter().enumerate() {
                let Some(parquet) = &plan.parquet else { continue };
                let all = (0..parquet.n_groups()).collect();
                let mut listening = true;
                parquet.decode(&plan.file, all, &names, |batch| {
                    listening = outlet.put(Unit::Decoded { file, batch });
                    Ok(listening)
                })?;
                if !listening {
                    return Ok(());
                }
            }
            Ok(())
        }))
    }

    /// Rows that a unit will give, where that is known and nothing is filtered out.
    pub fn rows_ahead(&self, unit: &Unit) -> u64 {
        match (unit, &self.filter) {
            (Unit::Group { file, group }, None) => {
                self.files[*file].parquet.as_ref().map_or(0, |parquet| parquet.group_rows(*group))
            }
            _ => 0,
        }
    }

    fn names(&self) -> Vec<String> {
        self.wanted.iter().map(|wanted| wanted.name.clone()).collect()
    }

    /// Works on one unit and hands on its pieces, in order.
    ///
    /// Errors name rows of the unit; [`IoError::moved`] makes them rows of the source.
    pub fn process(&self, unit: Unit, each: &mut dyn FnMut(Piece) -> Result<(), IoError>) -> Result<(), Failure> {
        match unit {
            Unit::Block(block) => {
                let piece = match self.files[block.file].file.format {
                    Format::Csv => self.csv_piece(&block)?,
                    _ => self.ndjson_piece(&block)?,
                };
                Ok(each(piece)?)
            }
            Unit::Decoded { file, batch } => Ok(each(self.arrow_piece(file, &batch)?)?),
            Unit::Group { file, group } => {
                let plan = &self.files[file];
                let Some(parquet) = &plan.parquet else { return Ok(()) };
                let mut before = 0;
                parquet.decode(&plan.file, vec![group], &self.names(), |batch| {
                    let piece = self.arrow_piece(file, &batch).map_err(|e| e.moved(before, before))?;
                    let n_rows = piece.n_rows as u64;
                    each(piece).map_err(|e| e.moved(before, before))?;
                    before += n_rows;
                    Ok(true)
                })?;
                Ok(())
            }
        }
    }

    fn csv_piece(&self, block: &Block) -> Result<Piece, Failure> {
        let plan = &self.files[block.file];
        let position = |name: &String| self.wanted.iter().position(|wanted| wanted.name == *name);
        let slots: Vec<Option<usize>> = plan.columns.iter().map(position).collect();
        let layout =
            csv::Layout { path: &plan.file.path, delimiter: plan.delimiter, columns: &plan.columns, slots: &slots };
        let text = utf8(block, &layout)?;
        let fields = csv::fields(&block.bytes, &layout, block.first_line, block.is_first)?;
        let n_rows = fields.n_rows();
        let columns = (0..self.wanted.len())
            .map(|slot| self.text_column(slot, n_rows, || fields.cells(text, slot)))
            .collect::<Result<Vec<_>, _>>()?;
        let lines = Lines { first_line: block.first_line, offsets: fields.lines };
        self.piece(block.file, n_rows, columns, lines)
    }

    fn ndjson_piece(&self, block: &Block) -> Result<Piece, Failure> {
        let plan = &self.files[block.file];
        let slots = Slots::new(self.names());
        let empty: &[String] = &[];
        let layout = csv::Layout { path: &plan.file.path, delimiter: b'\n', columns: empty, slots: &[] };
        let text = utf8(block, &layout)?;
        let mut cells: Vec<JsonCell<'_>> = Vec::new();
        let mut offsets = Vec::new();
        for (offset, line) in text.split('\n').enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let start = cells.len();
            cells.resize(start + slots.len(), JsonCell::Missing);
            parse_row(line, &slots, &mut cells[start..]).map_err(|detail| IoError::BadJson {
                place: Place::line(&plan.file.path, block.first_line + offset as u64),
                detail,
            })?;
            offsets.push(offset as u32);
        }
        let n_rows = offsets.len();
        let columns = (0..slots.len())
            .map(|slot| {
                self.text_column(slot, n_rows, || cells.iter().skip(slot).step_by(slots.len()).map(JsonCell::cell))
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.piece(block.file, n_rows, columns, Lines { first_line: block.first_line, offsets })
    }

    /// A column of a text file.
    fn text_column<'a, I: Iterator<Item = Cell<'a>>>(
        &self,
        slot: usize,
        n_rows: usize,
        cells: impl Fn() -> I,
    ) -> Result<Built, Failure> {
        let (raw_type, guessed) = match self.wanted[slot].how {
            How::Typed { raw_type, guessed } => (raw_type, guessed),
            How::Lenient(raw_type) => (raw_type, false),
            How::AsIs => (RawType::Text, false),
        };
        if !guessed {
            return Ok(build(raw_type, n_rows, cells()));
        }
        // CSV numbers that parse as floats, and text, contradict nothing; other guesses hold
        // only while cells look like the guess, not merely while they could be converted.
        let is_csv = self.files[0].file.format == Format::Csv;
        let told_by_building = is_csv && matches!(raw_type, RawType::Float64 | RawType::Text);
        if !told_by_building && cells().any(|cell| cell.contradicts(raw_type)) {
            return Err(Failure::Contradiction);
        }
        let built = build(raw_type, n_rows, cells());
        if built.bad.is_empty() { Ok(built) } else { Err(Failure::Contradiction) }
    }

    /// A piece of decoded rows.
    fn arrow_piece(&self, file: usize, batch: &RecordBatch) -> Result<Piece, IoError> {
        let columns = self
            .wanted
            .iter()
            .map(|wanted| {
                let array = batch
                    .column_by_name(&wanted.name)
                    .ok_or_else(|| crate::cast::missing_column(&wanted.name, batch))?;
                let raw_type = match wanted.how {
                    How::AsIs => return Ok(Built { array: Arc::clone(array), bad: Vec::new() }),
                    How::Typed { raw_type, .. } | How::Lenient(raw_type) => raw_type,
                };
                castable(array.data_type(), raw_type).then(|| cast_array(array, raw_type)).flatten().ok_or_else(|| {
                    let field = Field { name: wanted.name.clone(), raw_type };
                    IoError::from(type_mismatch(&field, array.data_type()))
                })
            })
            .collect::<Result<Vec<_>, IoError>>()?;
        match self.piece(file, batch.num_rows(), columns, Lines::default()) {
            Ok(piece) => Ok(piece),
            Err(Failure::Error(error)) => Err(error),
            // Decoded columns are never guessed.
            Err(Failure::Contradiction) => Err(IoError::Interrupted),
        }
    }

    /// Checks cells, adds features and filters.
    fn piece(&self, file: usize, n_rows: usize, columns: Vec<Built>, lines: Lines) -> Result<Piece, Failure> {
        if let Some(error) = self.first_bad(file, &columns, &lines) {
            return Err(error.into());
        }
        let mut errors = Vec::new();
        let mut fields = Vec::with_capacity(columns.len());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        for (wanted, built) in self.wanted.iter().zip(columns) {
            let array = match wanted.how {
                How::Lenient(raw_type) => finite(&Field { name: wanted.name.clone(), raw_type }, built, &mut errors),
                _ => built.array,
            };
            fields.push(ArrowField::new(&wanted.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        errors.sort_by_key(|error| error.row);
        let batch = batch_of(ArrowSchema::new(fields), arrays, n_rows);
        let here = |error: IoError| self.at_row(error, file, &lines);
        let batch = self.features.apply(&batch).map_err(here)?;
        let (rows, kept) = match &self.filter {
            None => (batch, None),
            Some(filter) => {
                let mask = filter.mask(&batch).map_err(here)?;
                let kept: Vec<u32> = mask.values().set_indices().map(|row| row as u32).collect();
                let rows = filter_record_batch(&batch, &mask).map_err(|e| IoError::Corrupt {
                    path: self.files[file].file.path.clone(),
                    format: self.files[file].file.format.name(),
                    detail: e.to_string(),
                })?;
                (rows, (kept.len() < n_rows).then_some(kept))
            }
        };
        Ok(Piece { file, n_rows, rows, kept, lines, errors })
    }

    /// The first cell that does not fit, by row, then by column.
    fn first_bad(&self, file: usize, columns: &[Built], lines: &Lines) -> Option<IoError> {
        let strict = |wanted: &Wanted| !matches!(wanted.how, How::Lenient(_));
        let (wanted, bad): (&Wanted, &BadCell) = self
            .wanted
            .iter()
            .zip(columns)
            .filter(|(wanted, _)| strict(wanted))
            .filter_map(|(wanted, built)| Some((wanted, built.bad.first()?)))
            .min_by_key(|(_, bad)| bad.row)?;
        Some(IoError::BadValue {
            place: self.place(file, lines, bad.row, Some(&wanted.name)),
            value: bad.value.clone(),
            reason: bad.reason.to_owned(),
        })
    }

    /// Where a row of a piece stands; rows are those of the piece until the error is moved.
    pub fn place(&self, file: usize, lines: &Lines, row: usize, column: Option<&str>) -> Box<Place> {
        Box::new(Place {
            path: self.files[file].file.path.clone(),
            row: Some(row as u64 + 1),
            row_in_file: Some(row as u64 + 1),
            line: lines.of(row),
            column: column.map(str::to_owned),
        })
    }

    fn at_row(&self, mut error: IoError, file: usize, lines: &Lines) -> IoError {
        if let IoError::SqlRow { place, .. } = &mut error {
            let row = place.row.unwrap_or(1) as usize - 1;
            *place = self.place(file, lines, row, None);
        }
        error
    }

    /// The Arrow schema of the wanted columns, where the files tell it.
    pub fn wanted_schema(&self) -> ArrowSchema {
        let field = |wanted: &Wanted| {
            let data_type = match (wanted.how, &self.files[0].parquet) {
                (How::Typed { raw_type, .. } | How::Lenient(raw_type), _) => arrow_type(raw_type),
                (How::AsIs, Some(parquet)) => parquet
                    .schema()
                    .field_with_name(&wanted.name)
                    .map_or(arrow_type(RawType::Text), |field| field.data_type().clone()),
                (How::AsIs, None) => arrow_type(RawType::Text),
            };
            ArrowField::new(&wanted.name, data_type, true)
        };
        ArrowSchema::new(self.wanted.iter().map(field).collect::<Vec<_>>())
    }
}
