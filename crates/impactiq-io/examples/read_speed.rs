//! Measures the doors on a generated Criteo-shaped trial: writing, reading, streaming and
//! fingerprints, in each format.
//!
//! `cargo run --release -p impactiq-io --example read_speed -- [ROWS] [FOLDER]`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use impactiq_data::synth::{SynthKind, SynthOptions, SynthPlan};
use impactiq_data::{Column, Seed, Silent};
use impactiq_io::{Batches, PassThrough, Source, Writer, fingerprint, read, read_schema};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let n_rows = arguments.first().map_or(Ok(2_000_000), |text| text.parse())?;
    let folder = arguments.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("{n_rows} rows on {} threads", rayon::current_num_threads());
    for ending in ["parquet", "csv", "csv.gz", "csv.zst", "ndjson"] {
        let path = folder.join(format!("read-speed.{ending}"));
        write(&path, n_rows)?;
        measure(&path)?;
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

fn write(path: &Path, n_rows: u64) -> Result<(), Failure> {
    let plan = SynthPlan::new(SynthKind::Criteo, &SynthOptions::default(), n_rows, Seed::new(1))?;
    let mut writer: Option<Writer> = None;
    let mut seconds = 0.0;
    for block in 0..plan.n_blocks() {
        let table = plan.block(block)?.table;
        let columns = table.names().iter().zip(table.columns()).map(|(name, column)| (name.as_str(), arrow_of(column)));
        let batch = RecordBatch::try_from_iter(columns)?;
        let start = Instant::now();
        if writer.is_none() {
            writer = Some(Writer::create(path, &batch.schema(), true)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
        seconds += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    if let Some(writer) = writer {
        writer.finish()?;
    }
    seconds += start.elapsed().as_secs_f64();
    let megabytes = std::fs::metadata(path)?.len() as f64 / 1e6;
    println!("{}: {megabytes:.0} MB", path.display());
    println!("  write  {seconds:6.2} s");
    Ok(())
}

/// Whole numbers as integers, others as 32-bit floats, as the original has them.
fn arrow_of(column: &Column) -> ArrayRef {
    let values = column.view().numbers().unwrap_or_default();
    if values.iter().all(|value| value.fract() == 0.0) {
        return Arc::new(Int64Array::from_iter_values(values.iter().map(|&value| value as i64)));
    }
    Arc::new(Float32Array::from_iter_values(values.iter().map(|&value| value as f32)))
}

fn measure(path: &Path) -> Result<(), Failure> {
    let source = Source { paths: vec![path.to_string_lossy().into_owned()], ..Source::default() };
    let timed = |what: &str, run: &dyn Fn() -> Result<u64, Failure>| -> Result<(), Failure> {
        let start = Instant::now();
        let n = run()?;
        println!("  {what} {:6.2} s ({n})", start.elapsed().as_secs_f64());
        Ok(())
    };
    let schema = read_schema(&source)?.schema;
    timed("read  ", &|| Ok(read(&source, &schema.names(), &Silent)?.row_ids.len() as u64))?;
    timed("three ", &|| {
        let three: Vec<String> = ["f0", "treatment", "visit"].map(str::to_owned).to_vec();
        Ok(read(&source, &three, &Silent)?.row_ids.len() as u64)
    })?;
    timed("where ", &|| {
        let source = Source { filter: Some("f0 > 14 AND treatment = 1".into()), ..source.clone() };
        Ok(read(&source, &schema.names(), &Silent)?.row_ids.len() as u64)
    })?;
    timed("stream", &|| {
        let mut n = 0;
        for batch in Batches::open(&source, &schema, &PassThrough::All)? {
            n += batch?.row_ids.len() as u64;
        }
        Ok(n)
    })?;
    timed("sha256", &|| Ok(fingerprint(&source)?.len() as u64))
}
