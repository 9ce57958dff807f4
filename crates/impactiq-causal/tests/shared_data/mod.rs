//! Tables of the data folder beside the repository, for tests and examples that read real data.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use impactiq_data::{Column, Table};

/// A gzipped CSV file under the data folder: a column whose cells are all numbers or empty is one of
/// numbers, any other a category. Says loudly when the file is not there.
pub fn table(path: &str) -> Option<Table> {
    let folder = std::env::var_os("IMPACTIQ_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = folder.join(path);
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("NOT TESTED: {} is not there; set IMPACTIQ_DATA to the folder of data sets", path.display());
        return None;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut lines = text.lines().map(cells);
    let names = lines.next()?;
    let rows: Vec<Vec<String>> = lines.filter(|cells| cells.len() == names.len()).collect();
    let mut table = Table::new();
    for (place, name) in names.into_iter().enumerate() {
        table.push(name, column(rows.iter().map(|row| row[place].as_str()))).unwrap();
    }
    Some(table)
}

/// The cells of a line; quotes keep commas.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.trim_end_matches('\r').chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

fn column<'a>(cells: impl Iterator<Item = &'a str> + Clone) -> Column {
    let numbers: Option<Vec<f64>> = cells
        .clone()
        .map(|cell| if cell.is_empty() || cell == "NA" { Some(f64::NAN) } else { cell.parse().ok() })
        .collect();
    if let Some(numbers) = numbers {
        return Column::Number(numbers);
    }
    let mut known: BTreeMap<&str, u32> = BTreeMap::new();
    let mut levels = Vec::new();
    let codes = cells
        .map(|cell| match cell {
            "" | "NA" => impactiq_data::MISSING_LEVEL,
            cell => *known.entry(cell).or_insert_with(|| {
                levels.push(cell.to_owned());
                levels.len() as u32 - 1
            }),
        })
        .collect();
    Column::Category { codes, levels }
}
