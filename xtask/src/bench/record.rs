//! Tables on the screen, and the file where figures are kept.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::machine;
use crate::workspace;

/// Appends a run to docs/measured/NAME.jsonl.
pub fn keep(name: &str, machine: Value, figures: Value) -> Result<()> {
    let path = workspace::root()?.join(format!("docs/measured/{name}.jsonl"));
    append(&path, &json!({ "bench": name, "machine": machine, "figures": figures }))?;
    println!("kept in docs/measured/{name}.jsonl");
    Ok(())
}

/// Appends a line of JSON to a file, on a line of its own even where the last one was cut short.
pub fn append(path: &Path, line: &Value) -> Result<()> {
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::OpenOptions::new().create(true).read(true).append(true).open(path)?;
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != [b'\n'] {
                writeln!(file)?;
            }
        }
        writeln!(file, "{line}")
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The machine as it is before anything runs.
pub fn before() -> Value {
    machine::describe()
}

/// A number of a JSON object; NaN when it is missing.
pub fn number(object: &Value, key: &str) -> f64 {
    object.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// Prints columns, the first one to the left and the others to the right.
pub fn print(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(c, (cell, width))| match c {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
