//! What benches of this crate have in common: time, columns of generated tables, and files of numbers
//! that other libraries read.

use std::io::Write;
use std::time::Instant;

use impactiq_data::{ColumnView, Table};

/// CPU seconds of this process so far, or wall seconds where /proc is missing.
pub fn cpu_seconds(start: Instant) -> f64 {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    ticks.map_or(start.elapsed().as_secs_f64(), |ticks| ticks / 100.0)
}

/// A column of numbers.
pub fn numbers<'t>(table: &'t Table, name: &str) -> Result<&'t [f64], String> {
    match table.column(name).map_err(|error| error.to_string())? {
        ColumnView::Number(values) => Ok(values),
        ColumnView::Category { .. } => Err(format!("{name} is not a number")),
    }
}

/// Writes numbers as f32, little endian.
pub fn write(path: String, values: impl Iterator<Item = f64>) -> Result<(), String> {
    let bytes: Vec<u8> = values.flat_map(|value| (value as f32).to_le_bytes()).collect();
    let mut file = std::fs::File::create(&path).map_err(|e| format!("{path}: {e}"))?;
    file.write_all(&bytes).map_err(|e| format!("{path}: {e}"))
}
