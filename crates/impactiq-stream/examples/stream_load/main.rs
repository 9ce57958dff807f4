//! Load for a scorer of a topic, ours or a peer's: events in, scores watched, the scorer's process measured.
//!
//! ```text
//! stream_load topics --brokers HOST:PORT --partitions 4 --names a,b,c
//! stream_load run --brokers HOST:PORT --events E --scores S --rows rows.ndjson --process PID --seconds 20 [--rate R]
//!     [--window 20000] [--warm 3] [--first 0] [--dead-letters D --poison 1] [--sample 5]
//! ```
//!
//! Without `--rate` events are sent as long as fewer than `--window` of them are unanswered, which is what the scorer can
//! do; with it they are due at fixed times, whatever the scorer does, and latency counts from then. An event's `time` is that
//! moment, and a score repeats it. `--poison` replaces so many percent of the events by ones that cannot be scored. Prints one line
//! of JSON.

#[path = "../kafka_topics/mod.rs"]
mod kafka_topics;
mod poison;
mod process;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Value, json};

use kafka_topics::{Failure, Writer, client, create, number, word};
use process::{Cost, slope};

/// How long a scorer may take for its first score, or fall silent with events left.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is asked.
struct Load {
    brokers: String,
    events: String,
    scores: String,
    dead_letters: Option<String>,
    rests: Vec<String>,
    process: u32,
    seconds: f64,
    warm: f64,
    rate: Option<f64>,
    window: u64,
    first: u64,
    poison: f64,
    sample: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("topics") => topics(&arguments),
        Some("run") => Load::parse(&arguments).and_then(|load| load.run()),
        _ => Err("usage: stream_load topics … | stream_load run … (the file's head says more)".into()),
    };
    match done {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn needed(arguments: &[String], name: &str) -> Result<String, Failure> {
    word(arguments, name).map(str::to_owned).ok_or_else(|| format!("--{name} is needed").into())
}

fn topics(arguments: &[String]) -> Result<Value, Failure> {
    let names = needed(arguments, "names")?;
    let names: Vec<&str> = names.split(',').collect();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(create(&needed(arguments, "brokers")?, &names, number(arguments, "partitions", 4)?))?;
    Ok(json!({ "made": names }))
}

impl Load {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let path = needed(arguments, "rows")?;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        // `{"f0": …}` becomes `"f0": …}`: what follows an event's own fields.
        let rests: Vec<String> = text.lines().filter_map(|line| line.strip_prefix('{')).map(str::to_owned).collect();
        if rests.is_empty() {
            return Err(format!("{path} has no rows").into());
        }
        Ok(Load {
            brokers: needed(arguments, "brokers")?,
            events: needed(arguments, "events")?,
            scores: needed(arguments, "scores")?,
            dead_letters: word(arguments, "dead-letters").map(str::to_owned),
            rests,
            process: number(arguments, "process", 0)?,
            seconds: number(arguments, "seconds", 10.0)?,
            warm: number(arguments, "warm", 3.0)?,
            rate: word(arguments, "rate").map(|_| number(arguments, "rate", 0.0)).transpose()?,
            window: number(arguments, "window", 20_000)?,
            first: number(arguments, "first", 0)?,
            poison: number(arguments, "poison", 0.0)?,
            sample: number(arguments, "sample", 0.0)?,
        })
    }

    fn run(&self) -> Result<Value, Failure> {
        let shared = Shared::default();
        let watcher = self.watcher()?;
        let (sent, seen) = std::thread::scope(|scope| -> Result<_, Failure> {
            let sender = scope.spawn(|| {
                let sent = self.send(&shared);
                shared.ended.store(true, Ordering::Release);
                sent
            });
            let seen = self.watch(&watcher, &shared);
            shared.given_up.store(true, Ordering::Release);
            let sent = sender.join().map_err(|_| "the sender's thread died")??;
            Ok((sent, seen?))
        })?;
        let mut result = seen.json(sent.n_good);
        result["sent"] = json!(sent.n_good);
        result["asked_per_second"] = json!(self.rate);
        if let Some(topic) = &self.dead_letters {
            result["dead_letters"] = poison::found(&self.brokers, topic, &sent.poison, &self.rests)?;
        }
        Ok(result)
    }

    /// Reads the scores from their present end.
    fn watcher(&self) -> Result<BaseConsumer, Failure> {
        let mut config = client(&self.brokers);
        config.set("group.id", "stream-load").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "5");
        let consumer: BaseConsumer = config.create()?;
        let patience = Duration::from_secs(30);
        let metadata = consumer.fetch_metadata(Some(&self.scores), patience)?;
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            let (_, end) = consumer.fetch_watermarks(&self.scores, partition.id(), patience)?;
            list.add_partition_offset(&self.scores, partition.id(), Offset::Offset(end))?;
        }
        consumer.assign(&list)?;
        Ok(consumer)
    }

    fn send(&self, shared: &Shared) -> Result<Sent, Failure> {
        let writer = Writer::new(&self.brokers, &self.events)?;
        let n_partitions = {
            let consumer: BaseConsumer = client(&self.brokers).create()?;
            let metadata = consumer.fetch_metadata(Some(&self.events), Duration::from_secs(30))?;
            metadata.topics().first().map_or(1, |topic| topic.partitions().len()) as u64
        };
        let mut sent = Sent::default();
        let put = |sent: &mut Sent, number: u64, due: i64| -> Result<(), Failure> {
            let row = (number % self.rests.len() as u64) as usize;
            let partition = (number % n_partitions) as i32;
            let is_poison = self.poison > 0.0 && ((number as f64) * self.poison / 100.0).fract() < self.poison / 100.0;
            if is_poison && number > self.first {
                let number = self.first + sent.poison.len() as u64;
                sent.poison.push((number, row));
                return writer.put(number, partition, &poison::key(number), &poison::value(number, &self.rests[row]));
            }
            sent.n_good += 1;
            shared.sent.fetch_add(1, Ordering::Relaxed);
            let value = format!("{{\"id\":\"{number}\",\"time\":{due},{}", self.rests[row]);
            writer.put(number, partition, &format!("u{}", number % 10_000), value.as_bytes())
        };
        // The first event finds out when the scorer is there; until then nothing is measured.
        put(&mut sent, self.first, now())?;
        while shared.answered.load(Ordering::Acquire) == 0 {
            if shared.given_up.load(Ordering::Acquire) {
                return Ok(sent);
            }
            sleep(Duration::from_millis(1));
        }
        let (began, began_at) = (Instant::now(), now());
        let length = Duration::from_secs_f64(self.warm + self.seconds);
        let mut number = self.first + 1;
        while began.elapsed() < length && !shared.given_up.load(Ordering::Acquire) {
            let allowed = match self.rate {
                Some(rate) => (began.elapsed().as_secs_f64() * rate) as u64 + self.first + 1,
                None => {
                    let waiting =
                        shared.sent.load(Ordering::Relaxed) - shared.answered.load(Ordering::Acquire).min(sent.n_good);
                    number + self.window.saturating_sub(waiting).min(500)
                }
            };
            if number >= allowed {
                sleep(Duration::from_micros(500));
            }
            while number < allowed {
                let due = match self.rate {
                    Some(rate) => began_at + ((number - self.first - 1) as f64 / rate * 1e6) as i64,
                    None => now(),
                };
                put(&mut sent, number, due)?;
                number += 1;
            }
        }
        writer.finish()?;
        Ok(sent)
    }

    fn watch(&self, consumer: &BaseConsumer, shared: &Shared) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        let mut quiet = Instant::now();
        let mut began = None;
        let mut sampled = Instant::now();
        loop {
            // A topic that was made a moment ago has no leader yet; one that never gets one ends by the silence.
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                let arrived = now();
                let (number, time) = id_and_time(message.payload().unwrap_or_default())?;
                shared.answered.fetch_add(1, Ordering::AcqRel);
                seen.note(number.saturating_sub(self.first) as usize);
                quiet = Instant::now();
                if seen.measuring() {
                    seen.latencies.push((arrived - time) as f32 / 1000.0);
                }
                began.get_or_insert(quiet);
            }
            if let Some(began) = began {
                seen.mark(began, self);
            }
            if self.sample > 0.0 && seen.measuring() && sampled.elapsed().as_secs_f64() >= self.sample {
                sampled = Instant::now();
                seen.samples
                    .push((seen.since.map_or(0.0, |(since, _)| since.elapsed().as_secs_f64()), Cost::of(self.process)));
            }
            let all = shared.answered.load(Ordering::Acquire) >= shared.sent.load(Ordering::Acquire) + seen.repeated;
            if shared.ended.load(Ordering::Acquire) && all {
                seen.close(self);
                return Ok(seen);
            }
            if quiet.elapsed() > PATIENCE {
                return Err(format!("no score came for {} s", PATIENCE.as_secs()).into());
            }
        }
    }
}

/// What sender and watcher tell one another.
#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    answered: AtomicU64,
    ended: AtomicBool,
    given_up: AtomicBool,
}

/// What was sent.
#[derive(Default)]
struct Sent {
    n_good: u64,
    /// Number and row of each poison.
    poison: Vec<(u64, usize)>,
}

/// What came back.
#[derive(Default)]
struct Seen {
    known: Vec<bool>,
    repeated: u64,
    latencies: Vec<f32>,
    since: Option<(Instant, Cost)>,
    until: Option<(f64, Cost)>,
    samples: Vec<(f64, Cost)>,
}

impl Seen {
    /// A score came for the event of this number.
    fn note(&mut self, at: usize) {
        if self.known.len() <= at {
            self.known.resize(at + 1, false);
        }
        if std::mem::replace(&mut self.known[at], true) {
            self.repeated += 1;
        }
    }

    fn measuring(&self) -> bool {
        self.since.is_some() && self.until.is_none()
    }

    fn mark(&mut self, began: Instant, load: &Load) {
        match self.since {
            None if began.elapsed().as_secs_f64() >= load.warm => {
                self.since = Some((Instant::now(), Cost::of(load.process)))
            }
            Some((since, _)) if self.until.is_none() && since.elapsed().as_secs_f64() >= load.seconds => {
                self.close(load)
            }
            _ => {}
        }
    }

    fn close(&mut self, load: &Load) {
        if let (Some((since, _)), None) = (self.since, self.until) {
            self.until = Some((since.elapsed().as_secs_f64(), Cost::of(load.process)));
        }
    }

    fn json(mut self, n_sent: u64) -> Value {
        self.latencies.sort_by(f32::total_cmp);
        let last = self.latencies.len().saturating_sub(1) as f64;
        let quantile = |share: f64| self.latencies.get((share * last).ceil() as usize).map(|ms| f64::from(*ms));
        let before = self.since.map(|(_, cost)| cost).unwrap_or_default();
        let (seconds, after) = self.until.unwrap_or_default();
        let cpu = after.cpu_seconds - before.cpu_seconds;
        let n = self.latencies.len() as f64;
        let answered = self.known.iter().filter(|known| **known).count() as u64;
        let line = |what: &dyn Fn(&Cost) -> f64| -> Vec<(f64, f64)> {
            self.samples.iter().map(|(at, cost)| (*at / 3600.0, what(cost))).collect()
        };
        let (memory, files) = (line(&|cost| cost.resident), line(&|cost| cost.descriptors));
        // The first quarter fills caches and allocators.
        let steady = |points: &[(f64, f64)]| slope(&points[points.len() / 4..]);
        json!({
            "answered": answered, "missing": n_sent.saturating_sub(answered), "repeated": self.repeated,
            "seconds": seconds, "measured": n, "per_second": n / seconds,
            "cpu_seconds": cpu, "per_core_second": n / cpu,
            "p50_ms": quantile(0.5), "p99_ms": quantile(0.99), "p999_ms": quantile(0.999), "max_ms": quantile(1.0),
            "peak_bytes": after.peak, "resident_bytes": after.resident, "descriptors": after.descriptors,
            "samples": self.samples.iter().map(|(at, cost)| json!([at, cost.resident, cost.descriptors])).collect::<Vec<_>>(),
            "memory_bytes_per_hour": (!memory.is_empty()).then(|| steady(&memory)),
            "descriptors_per_hour": (!files.is_empty()).then(|| steady(&files)),
        })
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Number and time of a score, ours or the peer's.
fn id_and_time(bytes: &[u8]) -> Result<(u64, i64), Failure> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        id: &'a str,
        time: i64,
    }
    let head: Head<'_> = serde_json::from_slice(bytes)
        .map_err(|error| format!("not a score: {error}: {}", String::from_utf8_lossy(bytes)))?;
    Ok((head.id.parse()?, head.time))
}
