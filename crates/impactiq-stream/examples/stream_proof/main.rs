//! One round of the proof that the stream loses nothing and writes nothing twice, whatever is killed.
//!
//! ```text
//! .ci/kafka cargo run --release -p impactiq-cli -p impactiq-stream --example stream_proof -- --binary impactiq --kills 30
//! ```
//!
//! Two to four members of the real binary work on one group while events are produced; they are killed with
//! SIGKILL at moments drawn from a seed, leave and join, the broker is killed or stopped and comes back, the store is held up. When every
//! event is done, log, scores and dead letters are compared with what they must be: computed again from the input,
//! with windows counted by hand and scores by `impactiq score`. Prints one line of JSON; ends with 1 when a claim does not
//! hold, unless `--judge no`.
//!
//! Needs IMPACTIQ_TEST_KAFKA and IMPACTIQ_TEST_KAFKA_CONTROL; `--store postgresql` needs IMPACTIQ_TEST_POSTGRES.

mod events;
mod house;
#[path = "../kafka_topics/mod.rs"]
mod kafka_topics;
mod members;
mod store;
mod verdict;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use impactiq_data::Seed;
use rdkafka::Message;
use serde_json::{Value, json};

use events::Event;
use house::Names;
use kafka_topics::{Failure, Placed, Writer, create, number, read_all, word};
use members::Crowd;
use store::Store;
use verdict::{Expected, violations};

/// How long nothing may move, once everything has been produced, before events count as lost.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a round is asked.
struct Round {
    binary: PathBuf,
    brokers: String,
    control: String,
    server: Option<String>,
    exactly_once: bool,
    seed: u64,
    kills: u64,
    rate: u64,
    users: u64,
    partitions: i32,
    stall: Duration,
    broker: u64,
    folder: PathBuf,
}

impl Round {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let environment = |name: &str| {
            std::env::var(name)
                .map_err(|_| Failure::from(format!("{name} is not set; hint: run behind .ci/kafka, .ci/postgres")))
        };
        let chosen = |name: &str, known: [&str; 2]| -> Result<bool, Failure> {
            match word(arguments, name).unwrap_or(known[0]) {
                found if found == known[0] => Ok(false),
                found if found == known[1] => Ok(true),
                found => Err(format!("--{name} is {} or {}, not '{found}'", known[0], known[1]).into()),
            }
        };
        let kills = number(arguments, "kills", 30)?;
        let seed = number(arguments, "seed", 1)?;
        let folder =
            word(arguments, "folder").map_or_else(|| std::env::temp_dir().join("impactiq-stream-proof"), PathBuf::from);
        Ok(Round {
            // It is run from other folders.
            binary: std::fs::canonicalize(word(arguments, "binary").ok_or("--binary is needed")?)?,
            brokers: environment("IMPACTIQ_TEST_KAFKA")?,
            control: environment("IMPACTIQ_TEST_KAFKA_CONTROL")?,
            server: if chosen("store", ["sqlite", "postgresql"])? {
                Some(environment("IMPACTIQ_TEST_POSTGRES")?)
            } else {
                None
            },
            exactly_once: chosen("delivery", ["at_least_once", "exactly_once"])?,
            seed,
            kills,
            rate: number(arguments, "rate", 800)?,
            users: number(arguments, "users", 200)?,
            partitions: number(arguments, "partitions", 4)?,
            stall: Duration::from_secs(number(arguments, "stall", 8)?),
            broker: number(arguments, "broker", (kills / 15).max(1))?,
            folder,
        })
    }

    /// Times that the store is held up.
    fn stalls(&self) -> u64 {
        u64::from(!self.stall.is_zero())
    }

    /// A name that no other round has.
    fn label(&self) -> String {
        format!("{}_{}_{}", self.seed, std::process::id(), if self.exactly_once { "eo" } else { "alo" })
    }

    fn own_folder(&self) -> PathBuf {
        self.folder.join(self.label())
    }

    fn delivery(&self) -> &'static str {
        if self.exactly_once { "exactly_once" } else { "at_least_once" }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Round::parse(&arguments).and_then(|round| play(&round).inspect_err(|_| keep_log(&round))) {
        Ok(result) => {
            println!("{result}");
            let holds = result["violations"].as_array().is_some_and(Vec::is_empty);
            // Who keeps the verdict judges it too.
            let judged_elsewhere = word(&arguments, "judge") == Some("no");
            if holds || judged_elsewhere { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Keeps what the broker has said, beside what the members said.
fn keep_log(round: &Round) {
    let path = round.own_folder().join("broker.log");
    let kept = Command::new(&round.control).arg("log").output().and_then(|log| std::fs::write(&path, log.stdout));
    match kept {
        Ok(()) => eprintln!("kept for a look: {}", round.own_folder().display()),
        Err(error) => eprintln!("the broker's log was not kept: {error}"),
    }
}

/// What was done to the stream.
#[derive(Default)]
struct Disturbances {
    broker_kills: u64,
    broker_stops: u64,
    stalls: u64,
    most_members: usize,
}

impl Disturbances {
    fn broker(&self) -> u64 {
        self.broker_kills + self.broker_stops
    }
}

fn play(round: &Round) -> Result<Value, Failure> {
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new()?;
    let model = house::model(&round.binary, &round.folder, round.users)?;
    let (label, folder) = (round.label(), round.own_folder());
    std::fs::create_dir_all(&folder)?;
    let names = Names::of(&label);
    let topics = [&names.events, &names.scores, &names.dead_letters].map(String::as_str);
    runtime.block_on(create(&round.brokers, &topics, round.partitions))?;
    let store = runtime.block_on(Store::new(&folder, round.server.as_deref(), &format!("proof_{label}")))?;
    let config = folder.join("stream.yaml");
    std::fs::write(&config, house::config(&model, &round.brokers, &names, round.delivery(), &store.address()))?;
    let mut crowd = Crowd::new(&round.binary, &config, &folder);

    let enough = AtomicBool::new(false);
    let mut done = Disturbances::default();
    let placed = std::thread::scope(|scope| -> Result<Vec<Placed>, Failure> {
        let writer = scope.spawn(|| produce(round, &names, &enough));
        let disturbed = disturb(round, &mut crowd, &store, &runtime, &mut done);
        enough.store(true, Ordering::Relaxed);
        let placed = writer.join().map_err(|_| "the producer's thread died")??;
        disturbed.map(|()| placed)
    })?;
    let disturbed_seconds = began.elapsed().as_secs_f64();
    let drained = drain(&mut crowd, &store, &runtime, placed.len() as u64)?;
    let leaving_seconds = crowd.end(Duration::from_secs(60))?;
    check_input(round, &names, &placed)?;

    let events: Vec<Event> = placed.iter().map(|one| Event::at(round.seed, one.number, round.users)).collect();
    let expected = Expected::new(&round.binary, &model, &folder, events, &placed)?;
    let rows = runtime.block_on(store.rows())?;
    let mut result = json!({
        "store": if round.server.is_some() { "postgresql" } else { "sqlite" }, "delivery": round.delivery(), "seed": round.seed,
        "kills": crowd.n_killed, "members_started": crowd.n_started, "left_orderly": crowd.n_left, "most_members": done.most_members,
        "broker_kills": done.broker_kills, "broker_stops": done.broker_stops, "store_stalls": done.stalls,
        "stall_seconds": round.stall.as_secs(), "events": placed.len(), "drained": drained,
        "log": expected.judge_log(&rows),
        "scores": expected.judge_scores(&round.brokers, &names, round.exactly_once)?,
        "dead_letters": expected.judge_dead_letters(&round.brokers, &names, round.exactly_once)?,
        "ended_by_themselves": crowd.ended_by_themselves,
        "seconds": { "disturbed": disturbed_seconds, "leaving": leaving_seconds, "total": began.elapsed().as_secs_f64() },
    });
    let violated = violations(&result, round.exactly_once);
    if violated.is_empty() {
        std::fs::remove_dir_all(&folder)?;
    } else {
        keep_log(round);
    }
    result["violations"] = json!(violated);
    Ok(result)
}

/// Produces events at a steady rate until there has been enough trouble.
fn produce(round: &Round, names: &Names, enough: &AtomicBool) -> Result<Vec<Placed>, Failure> {
    let writer = Writer::new(&round.brokers, &names.events)?;
    let began = Instant::now();
    let mut number = 0;
    while !enough.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * round.rate as f64) as u64;
        while number < due {
            let event = Event::at(round.seed, number, round.users);
            writer.put(number, event.partition(round.partitions), &event.key(), &event.value())?;
            number += 1;
        }
        sleep(Duration::from_millis(5));
    }
    writer.finish()
}

/// The topic must hold what was produced, once: otherwise the round says nothing about the stream.
fn check_input(round: &Round, names: &Names, placed: &[Placed]) -> Result<(), Failure> {
    let mut there: Vec<(i32, i64)> = Vec::with_capacity(placed.len());
    read_all(&round.brokers, &names.events, false, &mut |message| {
        there.push((message.partition(), message.offset()));
        Ok(())
    })?;
    let mut produced: Vec<(i32, i64)> = placed.iter().map(|one| (one.partition, one.offset)).collect();
    there.sort_unstable();
    produced.sort_unstable();
    if there == produced {
        return Ok(());
    }
    let (n_there, n_produced) = (there.len(), produced.len());
    Err(format!(
        "{} holds {n_there} events where {n_produced} were produced once, or at other places; play the round again",
        names.events
    )
    .into())
}

/// Kills, leaves, joins, restarts and stalls, all drawn from the seed, until there were as many of each as asked for.
fn disturb(
    round: &Round,
    crowd: &mut Crowd,
    store: &Store,
    runtime: &tokio::runtime::Runtime,
    done: &mut Disturbances,
) -> Result<(), Failure> {
    let draws = Seed::new(round.seed).child(0x6b69_6c6c);
    let mut wanted = 2;
    crowd.fill(wanted)?;
    // The first events must be through, or the kills would meet nobody at work.
    wait_for_rows(crowd, store, runtime, 1)?;
    let mut background = Background { round, store, runtime, threads: Vec::new() };
    let mut step = 0;
    loop {
        step += 1;
        let draw = |key: u64, n: u64| draws.child(step).below(key, n);
        let is_over = crowd.n_killed >= round.kills;
        if is_over && done.stalls >= round.stalls() && done.broker() >= round.broker {
            return background.end();
        }
        background.begin_one(done, crowd.n_killed, &draw);
        // Half of the kills wait until somebody has worked since the last one; the others come when they come.
        if draw(0, 2) == 0 && background.is_quiet() {
            wait_for_progress(store, runtime, Duration::from_secs(10));
        }
        sleep(Duration::from_millis(draw(1, 900)));
        crowd.look()?;
        match draw(2, 12) {
            0 => wanted = 2 + draw(3, 3) as usize,
            1 if crowd.n_working() > 2 => crowd.leave(draw(4, 1 << 20))?,
            _ if is_over => {}
            _ => {
                crowd.kill(draw(5, 1 << 20))?;
                sleep(Duration::from_millis(draw(6, 700)));
            }
        }
        crowd.fill(wanted)?;
        done.most_members = done.most_members.max(crowd.n_working());
    }
}

/// What goes on beside the kills, one thing at a time.
struct Background<'a> {
    round: &'a Round,
    store: &'a Store,
    runtime: &'a tokio::runtime::Runtime,
    threads: Vec<std::thread::JoinHandle<Result<(), String>>>,
}

impl Background<'_> {
    fn is_quiet(&self) -> bool {
        self.threads.iter().all(std::thread::JoinHandle::is_finished)
    }

    /// Begins the next one when its turn has come.
    fn begin_one(&mut self, done: &mut Disturbances, n_killed: u64, draw: &dyn Fn(u64, u64) -> u64) {
        let round = self.round;
        if !self.is_quiet() {
            return;
        }
        // Spread over the round: stalls and restarts in turn.
        let n_all = round.stalls() + round.broker;
        let n_done = done.stalls + done.broker();
        if n_done >= n_all || n_killed * (n_all + 1) < round.kills * (n_done + 1) {
            return;
        }
        let stalls_now = done.stalls < round.stalls() && (n_done % 2 == 1 || done.broker() >= round.broker);
        if stalls_now {
            done.stalls += 1;
            let (store, stall, handle) = (self.store.clone(), round.stall, self.runtime.handle().clone());
            self.threads
                .push(std::thread::spawn(move || handle.block_on(store.stall(stall)).map_err(|e| e.to_string())));
            return;
        }
        let word = if draw(7, 2) == 0 { "kill" } else { "stop" };
        *(if word == "kill" { &mut done.broker_kills } else { &mut done.broker_stops }) += 1;
        let (control, away) = (round.control.clone(), Duration::from_millis(500 + draw(8, 2500)));
        self.threads.push(std::thread::spawn(move || {
            broker(&control, word)?;
            sleep(away);
            broker(&control, "start")
        }));
    }

    fn end(self) -> Result<(), Failure> {
        for thread in self.threads {
            thread.join().map_err(|_| "a disturbing thread died")??;
        }
        Ok(())
    }
}

fn broker(control: &str, word: &str) -> Result<(), String> {
    let ran = Command::new(control).arg(word).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match ran {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("`{control} {word}`: {other:?}")),
    }
}

fn wait_for_rows(
    crowd: &mut Crowd,
    store: &Store,
    runtime: &tokio::runtime::Runtime,
    wanted: u64,
) -> Result<bool, Failure> {
    let mut newest = 0;
    let mut moved = Instant::now();
    loop {
        crowd.look()?;
        crowd.fill(2)?;
        let n_rows = runtime.block_on(store.count());
        if n_rows >= wanted {
            return Ok(true);
        }
        if n_rows > newest {
            (newest, moved) = (n_rows, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            return Ok(false);
        }
        sleep(Duration::from_millis(250));
    }
}

/// Waits until the log has grown, but not for ever.
fn wait_for_progress(store: &Store, runtime: &tokio::runtime::Runtime, most: Duration) {
    let began = Instant::now();
    let before = runtime.block_on(store.count());
    while runtime.block_on(store.count()) <= before && began.elapsed() < most {
        sleep(Duration::from_millis(50));
    }
}

/// Waits until the log has a row for every event; false when it stands still before.
fn drain(crowd: &mut Crowd, store: &Store, runtime: &tokio::runtime::Runtime, n_events: u64) -> Result<bool, Failure> {
    let all = wait_for_rows(crowd, store, runtime, n_events)?;
    // In exactly-once delivery the scores follow the log.
    sleep(Duration::from_secs(3));
    Ok(all)
}
