//! Data sets and expected numbers from the folder beside the repository.

use std::io::Read;
use std::path::PathBuf;

use impactiq_causal::base::Inputs;
use impactiq_data::dataset::number_table;
use impactiq_data::{BinnedFeatures, Seed, Table};
use serde_json::Value;

fn folder() -> PathBuf {
    std::env::var_os("IMPACTIQ_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from)
}

/// The text of a gzipped file under the data folder; says loudly when it is not there.
pub fn text(path: &str) -> Option<String> {
    let path = folder().join(path);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("NOT TESTED: {} is not there; set IMPACTIQ_DATA to the folder of data sets", path.display());
        return None;
    };
    let mut text = String::new();
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    Some(text)
}

/// A peer's numbers; NaN, which JSON doesn't have, is read as null.
pub fn peer(name: &str) -> Option<Value> {
    let text = text(&format!("../parity/{name}"))?;
    Some(serde_json::from_str(&text.replace("NaN", "null")).unwrap())
}

/// Numbers of a peer that stand in the repository, with its version, command and input hash.
pub fn golden(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A peer's input that stands in the repository.
pub fn golden_frame(name: &str) -> Frame {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
    Frame::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Named columns of numbers; what is no number is NaN.
#[derive(Clone, Debug)]
pub struct Frame {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
}

impl Frame {
    pub fn read(path: &str) -> Option<Self> {
        Frame::parse(&text(path)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let cells = |line: &str| -> Vec<String> { line.split(',').map(|c| c.trim_matches('"').to_owned()).collect() };
        let names = cells(lines.next()?);
        let mut columns = vec![Vec::new(); names.len()];
        for line in lines.filter(|line| !line.is_empty()) {
            let cells = cells(line);
            assert_eq!(cells.len(), names.len(), "{line}");
            columns.iter_mut().zip(cells).for_each(|(column, cell)| {
                column.push(match cell.as_str() {
                    "True" | "TRUE" => 1.0,
                    "False" | "FALSE" => 0.0,
                    text => text.parse().unwrap_or(f64::NAN),
                })
            });
        }
        Some(Frame { names, columns })
    }

    pub fn n_rows(&self) -> usize {
        self.columns[0].len()
    }

    pub fn column(&self, name: &str) -> &[f64] {
        let place = self.names.iter().position(|n| n == name).unwrap_or_else(|| panic!("no column {name}"));
        &self.columns[place]
    }

    pub fn push(&mut self, name: &str, values: Vec<f64>) {
        assert_eq!(values.len(), self.n_rows());
        self.names.push(name.into());
        self.columns.push(values);
    }

    pub fn keep(&self, keep: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.n_rows()).filter(|&row| keep(row)).collect();
        let columns = self.columns.iter().map(|c| rows.iter().map(|&row| c[row]).collect()).collect();
        Frame { names: self.names.clone(), columns }
    }

    /// Rows of another file with the same columns under these.
    pub fn stack(&self, other: &Frame) -> Self {
        let columns = self.names.iter().map(|name| [self.column(name), other.column(name)].concat()).collect();
        Frame { names: self.names.clone(), columns }
    }

    pub fn features(&self, names: &[&str]) -> Features {
        let table = number_table(names.iter().map(|n| ((*n).to_string(), self.column(n).to_vec())).collect()).unwrap();
        Features::new(table)
    }
}

/// Raw and binned features.
pub struct Features {
    table: Table,
    names: Vec<String>,
    binned: BinnedFeatures,
    pub row_ids: Vec<u64>,
}

impl Features {
    pub fn new(table: Table) -> Self {
        let names = table.names().to_vec();
        let binned = BinnedFeatures::learn(&table, &names, Seed::new(1), 255).unwrap();
        let row_ids = (0..table.n_rows() as u64).collect();
        Features { table, names, binned, row_ids }
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { binned: &self.binned, raw: &self.table, names: &self.names, arm: None }
    }
}

/// Fails unless two numbers agree to a relative tolerance.
#[track_caller]
pub fn close(what: &str, ours: f64, theirs: f64, relative: f64) {
    let gap = (ours - theirs).abs() / theirs.abs().max(1e-12);
    assert!(gap <= relative, "{what}: ours {ours}, theirs {theirs}, relative gap {gap:.2e}");
}
