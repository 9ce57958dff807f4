//! `demo stream`: a minute of events through the whole stream without a broker.
//!
//! A generator stands for the topic; model, store, windows of time, live uplift and everything in between are
//! the real ones. The trial is generated, so the live uplift can be checked against the truth.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use impactiq_data::synth::{Synth, SynthKind, SynthOptions, SynthPlan, generate};
use impactiq_data::{ColumnView, Seed};
use impactiq_serve::StreamPages;
use impactiq_stream::figures::FiguresNow;
use impactiq_stream::flow::{Flow, Sink};
use impactiq_stream::follow::{Follow, LiveNow, LiveView};
use impactiq_stream::ledger::StreamName;
use impactiq_stream::memory::{Generator, MemoryEvent, MemorySource};
use impactiq_stream::partitions::Partitions;
use impactiq_stream::processor::Processed;
use impactiq_stream::service::{self, Service};
use impactiq_stream::{StreamConfig, StreamError};
use serde_json::{Map, Value, json};

use super::context::{Context, write_text};
use super::demo::{CRITEO, MODEL, Paths, config_text, judge, prepare, unwritable};
use super::load::read_config;
use super::serve::{runtime, until_stopped};
use super::stream::summary;
use super::{synth, train};
use crate::args::DemoStreamArgs;
use crate::exit::{Exit, Outcome};
use crate::output::number;

/// Rows the model is trained on.
const TRAINING_ROWS: u64 = 200_000;
const TRAINING_SEED: u64 = 1;
/// Other people than those of the training.
const EVENT_SEED: u64 = 2;
/// Seconds of event time from one event to the next; an outcome comes half an hour later.
const SECONDS_APART: i64 = 10;
const OUTCOME_AFTER: i64 = 1_800;
/// One event of so many is spoilt.
const POISON_EVERY: usize = 200;
/// 2026-03-01T00:00:00Z.
const BEGINS: i64 = 1_772_323_200;
/// The probability of treatment in the trial.
const PROBABILITY: f64 = 0.85;

/// Runs the command.
///
/// # Errors
/// A [`crate::exit::Failure`].
pub fn run(args: &DemoStreamArgs, context: Context<'_>) -> Outcome<Exit> {
    let say = |text: &str| if context.output.is_json() { Ok(()) } else { context.output.stdout(text) };
    prepare(&args.output)?;
    let folder = args.output.join(CRITEO.key);
    fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    say("A stream without a broker: a generated trial, its model, and events that are scored as they come.\n")?;
    let model = make_model(&folder, context)?;
    say(&format!(
        "Trained on {} people; now {} others come by.",
        number::count(TRAINING_ROWS),
        number::count(args.events)
    ))?;
    let config = stream_config(&folder, &model)?;
    let made = generate(SynthKind::Criteo, &SynthOptions::default(), args.events as usize, Seed::new(EVENT_SEED))?;
    let truth = mean(&made.truth.column("tau").map(numbers)?);
    let events = Arc::new(events(&made)?);
    let demo = Demo::open(&config, args.http, context)?;
    let (now, live) = demo.stream(&events)?;
    context.watch.clear();
    say(&format!("\n{}", summary(&now)))?;
    say(&told(&live, truth))?;
    say(&format!("The score log and the state are in {}", config.log))?;
    let value = json!({"figures": now, "live": live, "true_effect": truth, "log": config.log});
    if context.output.is_json() {
        context.output.result(&value, String::new)?;
    }
    demo.go_on(context);
    Ok(Exit::Done)
}

fn make_model(folder: &Path, context: Context<'_>) -> Outcome<std::path::PathBuf> {
    let data = folder.join(CRITEO.data);
    let plan = SynthPlan::new(SynthKind::Criteo, &SynthOptions::default(), TRAINING_ROWS, Seed::new(TRAINING_SEED))?;
    synth::write(&plan, &data, context)?;
    let place = folder.join("config.yaml");
    write_text(&place, &config_text(&CRITEO, &data))?;
    let config = read_config(&place, context.global)?;
    let paths = Paths::of(folder);
    train::train(&config, &place, &paths.model, context)?;
    context.watch.clear();
    judge(&paths, context)?;
    context.watch.clear();
    Ok(folder.join(MODEL))
}

fn stream_config(folder: &Path, model: &Path) -> Outcome<StreamConfig> {
    let log = folder.join("stream.sqlite");
    let text = format!(
        "# The demo's stream; with a broker, `impactiq stream -c` takes the same file.\n\
         model: {}\nlog: {}\nlog_durable: false\nkafka:\n  brokers: 127.0.0.1:9092\n  group: demo\n  events: events\n  \
         scores: scores\n  outcomes: outcomes\n  dead_letters: dead_letters\nevent: {{time_unit: s}}\n\
         live: {{window: 1h, grace: 1m}}\n",
        model.display(),
        log.display()
    );
    let place = folder.join("stream.yaml");
    write_text(&place, &text)?;
    Ok(StreamConfig::from_yaml(&text, &place.display().to_string())?)
}

/// An event with what became of it.
struct DemoEvent {
    text: String,
    outcome: String,
}

fn events(made: &Synth) -> Outcome<Vec<DemoEvent>> {
    let names: Vec<&String> = made.table.names().iter().filter(|name| name.starts_with('f')).collect();
    let features = names.iter().map(|name| made.table.column(name).map(numbers)).collect::<Result<Vec<_>, _>>()?;
    let column = |name: &str| made.table.column(name).map(numbers);
    let (treatment, visit) = (column("treatment")?, column("visit")?);
    let of = |row: usize| {
        let time = BEGINS + row as i64 * SECONDS_APART;
        let mut event = Map::new();
        event.insert("id".into(), format!("visitor-{row}").into());
        event.insert("time".into(), time.into());
        event.insert("arm".into(), (treatment[row] as i64).to_string().into());
        event.insert("assignment_probability".into(), PROBABILITY.into());
        for (name, values) in names.iter().zip(&features) {
            event.insert((*name).clone(), values[row].into());
        }
        let outcome = json!({"id": format!("visitor-{row}"), "outcome": visit[row], "time": time + OUTCOME_AFTER});
        let mut text = Value::Object(event).to_string();
        if row % POISON_EVERY == POISON_EVERY - 1 {
            text.truncate(text.len() / 2);
        }
        DemoEvent { text, outcome: outcome.to_string() }
    };
    Ok((0..treatment.len()).map(of).collect())
}

fn numbers(view: ColumnView<'_>) -> Vec<f64> {
    match view {
        ColumnView::Number(values) => values.to_vec(),
        ColumnView::Category { codes, .. } => codes.iter().map(|code| f64::from(*code)).collect(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |sum, value| sum + value) / values.len().max(1) as f64
}

/// Stands for the topics: scores go to whoever follows them, and outcomes follow their events.
struct DemoSink {
    follow: Arc<Mutex<Follow>>,
    events: Arc<Vec<DemoEvent>>,
    view: Arc<LiveView>,
}

impl Sink for DemoSink {
    fn deliver(&mut self, group: &[Processed], _: &[i32]) -> Result<(), StreamError> {
        let mut follow = self.follow.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in group {
            let rows: Vec<usize> = (0..batch.incoming.len()).filter(|row| batch.dead[*row].is_none()).collect();
            let messages: Vec<&[u8]> = rows.iter().map(|row| batch.messages.get(*row)).collect();
            follow.scores(&messages)?;
            let of = |row: &usize| usize::try_from(batch.incoming.place(*row).offset).ok();
            let outcomes: Vec<&[u8]> =
                rows.iter().filter_map(|row| Some(self.events.get(of(row)?)?.outcome.as_bytes())).collect();
            follow.outcomes(&outcomes)?;
            follow.advance()?;
            self.view.put(follow.report());
        }
        Ok(())
    }
}

/// The parts of the demo that outlive its events.
struct Demo {
    runtime: tokio::runtime::Runtime,
    service: Service,
    pages: Option<StreamPages>,
}

impl Demo {
    fn open(config: &StreamConfig, http: Option<SocketAddr>, context: Context<'_>) -> Outcome<Demo> {
        let runtime = runtime()?;
        let service = Service::open(config, runtime.handle(), &service::stop(config))?;
        let pages = match http {
            Some(address) => Some(runtime.block_on(StreamPages::start(address, service.clone()))?),
            None => None,
        };
        if let Some(pages) = &pages {
            context.output.note(&format!("The report is told at {}/v1/stream", pages.url()));
        }
        Ok(Demo { runtime, service, pages })
    }

    fn stream(&self, events: &Arc<Vec<DemoEvent>>) -> Outcome<(FiguresNow, LiveNow)> {
        let (service, runtime) = (&self.service, &self.runtime);
        let name = StreamName { cluster: "demo".into(), topic: "events".into(), group: "demo".into() };
        let ledger = service.ledger(&name)?;
        let positions = runtime.block_on(ledger.take(&[0]))?;
        let mut follow = Follow::new(&service.config)?;
        follow.add_model(&service.models.current())?;
        let follow = Arc::new(Mutex::new(follow));
        let partitions = Arc::new(Partitions::default());
        let (of_sink, view) = (Arc::clone(&follow), Arc::clone(&service.live));
        let flow = Flow {
            source: Box::new(MemorySource::new(generator(events), &positions, &partitions)),
            sink: Box::new(DemoSink { follow: of_sink, events: Arc::clone(events), view }),
            processor: service.processor(&ledger)?,
            ledger,
            handle: runtime.handle().clone(),
            partitions,
            figures: Arc::clone(&service.figures),
            stop: Arc::clone(&service.stop),
            topic: "events".into(),
            settings: service.settings(),
        };
        flow.run()?;
        runtime.block_on(service.log.close());
        let live = follow.lock().unwrap_or_else(PoisonError::into_inner).report();
        Ok((service.figures.now(), live))
    }

    /// Answers until Ctrl-C, where it was asked to answer.
    fn go_on(&self, context: Context<'_>) {
        if self.pages.is_some() {
            context.output.note("All events are scored; the report is still there (Ctrl-C stops)");
            self.runtime.block_on(until_stopped(context));
        }
    }
}

fn generator(events: &Arc<Vec<DemoEvent>>) -> Generator {
    let events = Arc::clone(events);
    let mut row = 0;
    Box::new(move || {
        let event = events.get(row)?;
        row += 1;
        let timestamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
        Some(MemoryEvent { partition: 0, timestamp, key: None, value: Some(event.text.clone().into_bytes()) })
    })
}

fn told(live: &LiveNow, truth: f64) -> String {
    let Some(model) = live.report.models.first() else { return "No event has been followed to its end yet.\n".into() };
    let points = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format!("{:.2}", 100.0 * value));
    let best = if model.asymptotic.value().is_some() { &model.asymptotic } else { &model.exact };
    let mut text = format!(
        "Live uplift of {} people whose window has closed: {} points, between {} and {} at every look \
         (the truth is {:.2})\nPredicted by the scores: {} points. Arms as recorded: {}.\n",
        number::count(model.n),
        points(best.value()),
        points(best.lower()),
        points(best.upper()),
        100.0 * truth,
        points(model.predicted.predicted),
        if model.srm.alarm { "no, something is wrong" } else { "yes" },
    );
    if !model.deciles.is_empty() {
        text.push_str("\n tenth   people   promised   live (points)\n");
    }
    for decile in &model.deciles {
        let live = if decile.asymptotic.value().is_some() { &decile.asymptotic } else { &decile.exact };
        text.push_str(&format!(
            "{:>6} {:>8} {:>10} {:>10}\n",
            decile.decile,
            number::count(decile.n),
            points(decile.promised.value()),
            points(live.value())
        ));
    }
    text
}
