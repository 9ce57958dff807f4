//! `stream replay`: events of the topic scored once more, into a file. What another model would have said, or what one says
//! of events that came before it.

use std::sync::Arc;

use arrow::array::{ArrayBuilder, TimestampMillisecondBuilder};
use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use impactiq_io::{IoError, Writer, format_of};
use impactiq_stream::StreamConfig;
use impactiq_stream::kafka::Span;
use impactiq_stream::processor::Processed;
use impactiq_stream::service::Replay;
use serde_json::{Map, Value, json};

use crate::args::StreamReplayArgs;
use crate::commands::context::{Context, refuse_existing};
use crate::commands::serve::runtime;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number;

/// Columns that a row has whatever the model is.
const OWN: [&str; 6] = ["partition", "offset", "timestamp", "id", "reason", "message"];

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; no file is left then.
pub fn run(args: &StreamReplayArgs, context: Context<'_>) -> Outcome<Exit> {
    refuse_existing(&args.output, context)?;
    // A file that cannot be written is told of before a broker is asked.
    format_of(&args.output).ok_or_else(|| IoError::UnknownFormat { path: args.output.clone() })?;
    if args.from.zip(args.to).is_some_and(|(from, to)| from >= to) {
        return Err(Failure::new("--from is not before --to", "give a span that has a length"));
    }
    let mut config = StreamConfig::read(&args.config)?;
    if let Some(model) = &args.model {
        config.model.clone_from(model);
    }
    let runtime = runtime()?;
    let mut replay = Replay::open(&config, Span { from: args.from, to: args.to }, runtime.handle())?;
    let schema = schema(&replay, &config);
    let mut writer = Writer::create(&args.output, &schema, context.global.overwrite)?;
    let (mut n_scored, mut n_dead, mut n_outside) = (0_u64, 0_u64, 0_u64);
    while let Some((done, wanted)) = replay.batch(context.watch)? {
        let rows = Rows::of(&schema, &done, &wanted);
        n_dead += rows.n_dead;
        n_scored += wanted.len() as u64 - rows.n_dead;
        n_outside += (done.incoming.len() - wanted.len()) as u64;
        writer.write(&rows.batch(&schema)?)?;
    }
    context.watch.clear();
    writer.finish()?;
    let result = json!({
        "output": args.output.display().to_string(), "model": replay.model_id(), "scored": n_scored, "dead_letters": n_dead,
        "read_outside": n_outside,
    });
    context.output.result(&result, || {
        let outside = match n_outside {
            0 => String::new(),
            n => format!("; {} more were read and are not of this span", number::count(n)),
        };
        format!(
            "Scored {} events with model {}, {} would be dead letters{outside}\nWrote {}; the log and the topics are as they were\n",
            number::count(n_scored),
            replay.model_id(),
            number::count(n_dead),
            args.output.display(),
        )
    })?;
    Ok(Exit::Done)
}

fn schema(replay: &Replay, config: &StreamConfig) -> SchemaRef {
    let types = [
        DataType::Int32,
        DataType::Int64,
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
    ];
    let mut fields: Vec<Field> = OWN.into_iter().zip(types).map(|(name, kind)| Field::new(name, kind, true)).collect();
    fields.extend(replay.score_schema().fields().iter().map(|field| field.as_ref().clone()));
    if config.hold_out.is_some() {
        let decided = [("would_treat", DataType::Boolean), ("treat", DataType::Boolean)];
        fields.extend(decided.map(|(name, kind)| Field::new(name, kind, true)));
        fields.push(Field::new("assignment_probability", DataType::Float64, true));
    }
    Arc::new(Schema::new(fields))
}

/// Rows of the file under construction.
struct Rows {
    columns: Vec<ArrayRef>,
    n_dead: u64,
}

impl Rows {
    fn of(schema: &Schema, done: &Processed, wanted: &[usize]) -> Self {
        let messages: Vec<Map<String, Value>> =
            wanted.iter().map(|row| serde_json::from_slice(done.messages.get(*row)).unwrap_or_default()).collect();
        let dead = |row: &usize| done.dead[*row].as_ref();
        let mut columns = own(done, wanted, &messages);
        for field in schema.fields().iter().skip(OWN.len()) {
            let cells =
                messages.iter().map(|message| message.get("scores").and_then(|scores| scores.get(field.name())));
            columns.push(column(field.data_type(), cells));
        }
        Rows { columns, n_dead: wanted.iter().filter_map(dead).count() as u64 }
    }

    fn batch(self, schema: &SchemaRef) -> Outcome<RecordBatch> {
        RecordBatch::try_new(Arc::clone(schema), self.columns).map_err(|error| {
            Failure::new(format!("the scores do not make a table: {error}"), "report this as a defect")
        })
    }
}

fn own(done: &Processed, wanted: &[usize], messages: &[Map<String, Value>]) -> Vec<ArrayRef> {
    let (mut partition, mut offset) = (Int32Builder::new(), Int64Builder::new());
    let mut timestamp = TimestampMillisecondBuilder::new().with_timezone("UTC");
    let [mut id, mut reason, mut message] = [(); 3].map(|()| StringBuilder::new());
    for (row, text) in wanted.iter().zip(messages) {
        let place = done.incoming.place(*row);
        partition.append_value(place.partition);
        offset.append_value(place.offset);
        timestamp.append_value(done.incoming.timestamp(*row));
        id.append_option(text.get("id").and_then(Value::as_str));
        let dead = done.dead[*row].as_ref();
        reason.append_option(dead.map(|dead| dead.code.as_ref()));
        message.append_option(dead.map(|dead| dead.message.as_str()));
    }
    let builders: [&mut dyn ArrayBuilder; 6] =
        [&mut partition, &mut offset, &mut timestamp, &mut id, &mut reason, &mut message];
    builders.map(ArrayBuilder::finish).to_vec()
}

/// A column of scores; null for dead letters.
fn column<'a>(kind: &DataType, cells: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    match kind {
        DataType::Float64 => {
            let mut built = Float64Builder::new();
            cells.for_each(|cell| built.append_option(cell.and_then(Value::as_f64)));
            Arc::new(built.finish())
        }
        DataType::Boolean => {
            let mut built = BooleanBuilder::new();
            cells.for_each(|cell| built.append_option(cell.and_then(Value::as_bool)));
            Arc::new(built.finish())
        }
        _ => {
            let mut built = StringBuilder::new();
            cells.for_each(|cell| built.append_option(cell.and_then(Value::as_str)));
            Arc::new(built.finish())
        }
    }
}
