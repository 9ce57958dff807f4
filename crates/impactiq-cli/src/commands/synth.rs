//! `synth`: data whose true effects are known, the truth in a file of its own.
//!
//! Blocks of rows are made in parallel and written in order, so that files of any size
//! need the memory of a few blocks.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use impactiq_data::synth::{Synth, SynthKind, SynthOptions, SynthPlan};
use impactiq_data::{ColumnView, RawType, Schema, Seed, Table, Watch};
use impactiq_io::{Writer, arrow_schema};
use rayon::prelude::*;
use serde_json::json;

use super::context::{Context, refuse_existing};
use crate::args::SynthArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number;

/// The seed where none is given, as in configurations.
const SEED: u64 = 7;

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn run(args: &SynthArgs, context: Context<'_>) -> Outcome<Exit> {
    if args.list {
        let kinds: Vec<_> =
            SynthKind::ALL.iter().map(|kind| json!({"kind": kind.name(), "description": kind.describe()})).collect();
        context.output.result(&json!({ "kinds": kinds }), list)?;
        return Ok(Exit::Done);
    }
    let (Some(kind), Some(output)) = (&args.kind, &args.output) else {
        return Err(Failure::new("a design and an output are needed", "impactiq synth criteo -o trial.parquet"));
    };
    let kind = SynthKind::from_str(kind)?;
    let options = SynthOptions {
        n_features: args.n_features,
        noise: args.noise,
        n_arms: args.n_arms,
        n_clusters: args.n_clusters,
    };
    let seed = context.global.seed.unwrap_or(SEED);
    let plan = SynthPlan::new(kind, &options, args.n_rows, Seed::new(seed))?;
    let started = context.watch.elapsed();
    let truth = write(&plan, output, context)?;
    context.watch.clear();
    let seconds = context.watch.elapsed() - started;
    let probabilities = kind.probabilities(&options);
    let value = json!({
        "kind": kind.name(), "n_rows": args.n_rows, "seed": seed,
        "data": output.display().to_string(), "truth": truth.display().to_string(),
        "probabilities": probabilities, "seconds": {"total": seconds},
    });
    context.output.result(&value, || {
        format!(
            "Wrote {} rows to {} and their true effects to {} in {}\n{}: {}\nNext: impactiq init {}\n",
            number::count(args.n_rows),
            output.display(),
            truth.display(),
            number::seconds(seconds),
            kind.name(),
            kind.describe(),
            output.display(),
        )
    })?;
    Ok(Exit::Done)
}

fn list() -> String {
    let lines = SynthKind::ALL.iter().map(|kind| format!("{:<16} {}\n", kind.name(), kind.describe()));
    lines.collect::<String>() + "Next: impactiq synth criteo -n 100000 -o trial.parquet\n"
}

/// Writes a plan's data and truth; gives the truth's path.
///
/// # Errors
/// A [`Failure`]; neither file is there then.
pub fn write(plan: &SynthPlan, output: &Path, context: Context<'_>) -> Outcome<PathBuf> {
    let truth_path = truth_path(output)?;
    refuse_existing(output, context)?;
    refuse_existing(&truth_path, context)?;
    let mut writers: Option<(Writer, Writer)> = None;
    let n_blocks = plan.n_blocks();
    let window = rayon::current_num_threads() as u64;
    let mut first = 0;
    while first < n_blocks {
        context.watch.check()?;
        context.watch.progress("synth", first, n_blocks);
        let blocks: Vec<u64> = (first..n_blocks.min(first + window)).collect();
        let made: Vec<(RecordBatch, RecordBatch)> =
            blocks.par_iter().map(|&block| batches(&plan.block(block)?)).collect::<Outcome<_>>()?;
        for (data, truth) in &made {
            let (data_writer, truth_writer) = match &mut writers {
                Some(open) => open,
                None => writers.insert((
                    Writer::create(output, &data.schema(), context.global.overwrite)?,
                    Writer::create(&truth_path, &truth.schema(), context.global.overwrite)?,
                )),
            };
            data_writer.write(data)?;
            truth_writer.write(truth)?;
        }
        first += window;
    }
    context.watch.check()?;
    if let Some((data, truth)) = writers {
        truth.finish()?;
        data.finish()?;
    }
    Ok(truth_path)
}

/// `trial.csv.gz` has its truth in `trial.truth.csv.gz`.
fn truth_path(output: &Path) -> Outcome<PathBuf> {
    let name = output.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.split_once('.') {
        Some((stem, ending)) if !stem.is_empty() => Ok(output.with_file_name(format!("{stem}.truth.{ending}"))),
        _ => Err(Failure::new(
            format!("the format of {} is not known", output.display()),
            "end the name with .csv, .csv.gz, .csv.zst, .parquet or .ndjson",
        )),
    }
}

fn batches(made: &Synth) -> Outcome<(RecordBatch, RecordBatch)> {
    Ok((batch(&made.table, &made.schema)?, batch(&made.truth, &made.truth_schema)?))
}

/// A table as an Arrow batch of its schema's types.
fn batch(table: &Table, schema: &Schema) -> Outcome<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| Ok(array(table.column(&field.name)?, field.raw_type)))
        .collect::<Outcome<Vec<ArrayRef>>>()?;
    RecordBatch::try_new(Arc::new(arrow_schema(schema)), columns)
        .map_err(|error| Failure::new(format!("internal error: {error}"), "please report this"))
}

fn array(column: ColumnView<'_>, raw_type: RawType) -> ArrayRef {
    let present = |value: &f64| (!value.is_nan()).then_some(*value);
    match (column, raw_type) {
        (ColumnView::Number(values), RawType::Float32) => {
            Arc::new(values.iter().map(|v| present(v).map(|v| v as f32)).collect::<Float32Array>())
        }
        (ColumnView::Number(values), RawType::Integer) => {
            Arc::new(values.iter().map(|v| present(v).map(|v| v as i64)).collect::<Int64Array>())
        }
        (ColumnView::Number(values), _) => Arc::new(values.iter().map(present).collect::<Float64Array>()),
        (ColumnView::Category { .. }, _) => {
            Arc::new((0..column.len()).map(|row| column.text(row)).collect::<StringArray>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_stands_beside_the_data() {
        assert_eq!(truth_path(Path::new("a/b.csv.gz")).unwrap(), Path::new("a/b.truth.csv.gz"));
        assert!(truth_path(Path::new("a/b")).is_err());
    }

    #[test]
    fn batches_keep_types_levels_and_missing_values() {
        let plan = SynthPlan::new(SynthKind::MultiArm, &SynthOptions::default(), 500, Seed::new(3)).unwrap();
        let made = plan.block(0).unwrap();
        let (data, truth) = batches(&made).unwrap();
        assert_eq!((data.num_rows(), truth.num_rows()), (500, 500));
        let back = impactiq_io::to_table(&data, made.table.names()).unwrap();
        for name in made.table.names() {
            let (a, b) = (made.table.column(name).unwrap(), back.column(name).unwrap());
            assert!((0..500).all(|row| a.text(row) == b.text(row)), "{name}");
        }
    }
}
