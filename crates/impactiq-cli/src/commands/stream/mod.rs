//! `impactiq stream`: scores events from Kafka until it is told to stop, or a few of them for show.
//!
//! Everything that happens to an event is `impactiq-stream`'s; here it is started, stopped and told of.

use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use impactiq_serve::StreamPages;
use impactiq_stream::StreamConfig;
use impactiq_stream::figures::FiguresNow;
use impactiq_stream::incoming::{Incoming, Place};
use impactiq_stream::processor::Processed;
use impactiq_stream::service::{self, Service};
use serde_json::{Value, json};

use super::context::Context;
use super::serve::{runtime, write_events};
use crate::args::{StreamArgs, StreamPart};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number;

mod replay;
mod top;

/// How often it is looked whether the stream should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the command.
///
/// # Errors
/// A configuration, model, store, broker or topic that cannot be used; what cannot pass while events flow.
pub fn run(args: &StreamArgs, context: Context<'_>) -> Outcome<Exit> {
    if !context.global.set.is_empty() {
        let message = "`--set` changes a training configuration, and `stream` reads none";
        return Err(Failure::new(message, "edit the stream's configuration instead").at("--set"));
    }
    match (&args.part, &args.config) {
        (Some(StreamPart::Top(args)), _) => top::run(args, context),
        (Some(StreamPart::Replay(args)), _) => replay::run(args, context),
        (None, Some(config)) => start(args, config, context),
        (None, None) => Err(Failure::new("the stream's configuration is missing", "give it with -c FILE")),
    }
}

fn start(args: &StreamArgs, config: &Path, context: Context<'_>) -> Outcome<Exit> {
    let config = StreamConfig::read(config)?;
    write_events(args.log_format, context)?;
    match args.dry_run {
        Some(n) => try_out(&config, n, args.from_file.as_deref(), context),
        None => score(&config, context),
    }
}

fn score(config: &StreamConfig, context: Context<'_>) -> Outcome<Exit> {
    let runtime = runtime()?;
    let stop = service::stop(config);
    let (ended, has_begun) = (AtomicBool::new(false), AtomicBool::new(false));
    let done = std::thread::scope(|scope| {
        // Ctrl-C and SIGTERM: nothing more is read, what is under way is finished.
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                if context.watch.is_interrupted() {
                    stop.ask();
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        let done = Service::open(config, runtime.handle(), &stop).map_err(Failure::from).and_then(|service| {
            let _pages = match config.http {
                Some(address) => {
                    let pages = runtime.block_on(StreamPages::start(address, service.clone()))?;
                    context.output.note(&format!(
                        "Figures are told at {}/metrics, the report at {}/v1/stream",
                        pages.url(),
                        pages.url()
                    ));
                    Some(pages)
                }
                None => None,
            };
            // The pages answer while the broker is waited for.
            let ledger = service.meet()?;
            tell(&service, context)?;
            has_begun.store(true, Ordering::Release);
            let done = service.run(&ledger);
            runtime.block_on(service.log.close());
            done?;
            let now = service.figures.now();
            context.output.result(&json!({"figures": now}), || summary(&now))
        });
        ended.store(true, Ordering::Release);
        done
    });
    match done {
        // It was told to stop before there was anything to finish.
        Err(_) if stop.is_asked() && !has_begun.load(Ordering::Acquire) => Ok(Exit::Interrupted),
        Err(failure) => Err(failure),
        Ok(()) => Ok(Exit::Done),
    }
}

fn tell(service: &Service, context: Context<'_>) -> Outcome<()> {
    let kafka = &service.config.kafka;
    context.output.note(&format!(
        "Scoring '{}' of {} as group '{}' with model {}; scores go to {} (Ctrl-C stops)",
        kafka.events,
        kafka.brokers,
        kafka.group,
        service.models.current().id(),
        kafka.scores.as_deref().map_or_else(|| "the log only".to_owned(), |topic| format!("'{topic}' and the log")),
    ));
    Ok(())
}

/// What was done, for people.
pub fn summary(now: &FiguresNow) -> String {
    let dead: Vec<String> = now.dead.iter().map(|(code, n)| format!("{code} {}", number::count(*n))).collect();
    let latency = match (now.latency_below_ms(0.5), now.latency_below_ms(0.99)) {
        (Some(half), Some(most)) => format!("; half were committed within {half} ms, 99 of 100 within {most} ms"),
        _ => String::new(),
    };
    format!(
        "Scored {} events in {} batches ({} seconds of work){latency}\nDead letters: {}{}\n",
        number::count(now.scored),
        number::count(now.batches),
        (now.scoring_seconds * 10.0).round() / 10.0,
        number::count(now.n_dead()),
        if dead.is_empty() { String::new() } else { format!(" ({})", dead.join(", ")) },
    )
}

fn try_out(config: &StreamConfig, n: usize, file: Option<&Path>, context: Context<'_>) -> Outcome<Exit> {
    let events = match file {
        Some(path) => from_file(path, n)?,
        None => service::first_events(config, n)?,
    };
    let runtime = runtime()?;
    let done = service::try_out(config, events, runtime.handle())?;
    let rows: Vec<Value> = (0..done.incoming.len()).map(|row| shown(&done, row)).collect();
    context.output.result(&json!({"model": done.model.id(), "events": rows}), || lines(&done))?;
    Ok(Exit::Done)
}

fn shown(done: &Processed, row: usize) -> Value {
    let place = done.incoming.place(row);
    let result = match &done.dead[row] {
        Some(dead) => json!({"dead_letter": {"reason": dead.code, "message": dead.message}}),
        None => json!({"score": serde_json::from_slice::<Value>(done.messages.get(row)).unwrap_or_default()}),
    };
    json!({"partition": place.partition, "offset": place.offset, "result": result})
}

fn lines(done: &Processed) -> String {
    let mut text = String::new();
    for row in 0..done.incoming.len() {
        let place = done.incoming.place(row);
        let told = match &done.dead[row] {
            Some(dead) => format!("dead letter ({}): {}", dead.code, dead.message),
            None => String::from_utf8_lossy(done.messages.get(row)).into_owned(),
        };
        text.push_str(&format!("{}/{}  {told}\n", place.partition, place.offset));
    }
    let n_dead = done.n_dead();
    text.push_str(&format!(
        "{} events would be scored, {n_dead} would be dead letters; nothing was written\n",
        done.incoming.len() - n_dead
    ));
    text
}

/// The first lines of a file as events.
fn from_file(path: &Path, n: usize) -> Outcome<Incoming> {
    let unreadable = |error: std::io::Error| {
        Failure::new(format!("the events cannot be read: {error}"), "give a file with one JSON object a line")
            .at(path.display())
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut events = Incoming::default();
    // Bytes, not text: what is not UTF-8 is a dead letter like any other.
    for (offset, line) in std::io::BufReader::new(file).split(b'\n').take(n).enumerate() {
        let line = line.map_err(unreadable)?;
        let place = Place { partition: 0, offset: offset as i64, epoch: 0 };
        events.push(place, 0, None, Some(line.strip_suffix(b"\r").unwrap_or(&line)));
    }
    Ok(events)
}
