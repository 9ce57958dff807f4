//! The whole stream on a real broker, where `.ci/kafka` has started one; what was not tested is said aloud.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use impactiq_data::Silent;
use impactiq_stream::StreamConfig;
use impactiq_stream::config::KafkaConfig;
use impactiq_stream::kafka::Span;
use impactiq_stream::service::{self, Replay, Service};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::house::{House, row};

/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message: key, value and headers.
type Read = (Vec<u8>, Vec<u8>, BTreeMap<String, String>);

/// Topics of their own on the broker.
struct Broker {
    address: String,
    prefix: String,
}

impl Broker {
    fn find() -> Option<Broker> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let Ok(address) = std::env::var("IMPACTIQ_TEST_KAFKA") else {
            eprintln!("NOT TESTED: Kafka; run `.ci/kafka cargo test --release -p impactiq-stream`");
            return None;
        };
        let prefix = format!("t{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        Some(Broker { address, prefix })
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.address);
        client
    }

    fn make_topics(&self, house: &House, names: &[&str]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topics: Vec<String> = names.iter().map(|name| self.topic(name)).collect();
        let new: Vec<NewTopic<'_>> =
            topics.iter().map(|topic| NewTopic::new(topic, 2, TopicReplication::Fixed(1))).collect();
        let made = house.runtime.block_on(admin.create_topics(&new, &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }

    fn delete_topic(&self, house: &House, name: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let deleted = house.runtime.block_on(admin.delete_topics(&[&self.topic(name)], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|deleted| drop(deleted.unwrap()));
    }

    fn send(&self, name: &str, messages: impl Iterator<Item = (String, Vec<u8>)>) {
        let producer: BaseProducer = self.client().create().unwrap();
        let topic = self.topic(name);
        for (key, value) in messages {
            producer.send(BaseRecord::to(&topic).key(&key).payload(&value)).unwrap();
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Every committed message of a topic: key, value and headers.
    fn read(&self, name: &str) -> Vec<Read> {
        let consumer: BaseConsumer =
            self.client().set("group.id", "test").set("isolation.level", "read_committed").create().unwrap();
        let topic = self.topic(name);
        let mut list = TopicPartitionList::new();
        let mut ends = BTreeMap::new();
        for partition in 0..2 {
            list.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
            ends.insert(partition, consumer.fetch_watermarks(&topic, partition, PATIENCE).unwrap().1);
        }
        consumer.assign(&list).unwrap();
        let mut found = Vec::new();
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < Duration::from_secs(3) {
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.unwrap();
            let mut headers = BTreeMap::new();
            for header in message.headers().into_iter().flat_map(Headers::iter) {
                headers.insert(header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap()).into_owned());
            }
            let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
            found.push((key.to_vec(), value.to_vec(), headers));
            quiet_since = Instant::now();
        }
        found
    }

    fn config(&self, house: &House, store: &str, kafka: &str, more: &str) -> StreamConfig {
        let text = format!(
            "model: {}\nlog: '{store}'\nkafka: {{brokers: '{}', group: {}, events: {}, scores: {}, dead_letters: {}, \
             session_timeout: 6s{kafka}}}\n{more}",
            house.model.display(),
            self.address,
            self.topic("g"),
            self.topic("events"),
            self.topic("scores"),
            self.topic("dead")
        );
        StreamConfig::from_yaml(&text, "stream.yaml").unwrap()
    }
}

/// Runs a member until something holds of it, then stops it; gives what it said.
fn run_until(house: &House, config: &StreamConfig, holds: impl Fn(&Service) -> bool) -> (Service, Result<(), String>) {
    let stop = service::stop(config);
    let service = Service::open(config, house.runtime.handle(), &stop).unwrap();
    let ledger = service.meet().unwrap();
    let done = std::thread::scope(|scope| {
        let running = scope.spawn(|| service.run(&ledger).map_err(|error| error.to_string()));
        let until = Instant::now() + PATIENCE;
        while !running.is_finished() && !holds(&service) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.ask();
        running.join().unwrap()
    });
    (service, done)
}

fn messages(range: std::ops::Range<u64>) -> impl Iterator<Item = (String, Vec<u8>)> {
    range.map(|n| (format!("u{}", n % 7), row(n).to_string().into_bytes()))
}

fn n_logged(service: &Service) -> u64 {
    let now = service.figures.now();
    now.scored + now.n_dead()
}

fn ids(messages: &[Read]) -> Vec<String> {
    let id = |value: &[u8]| serde_json::from_slice::<Value>(value).unwrap()["id"].as_str().unwrap().to_owned();
    let mut ids: Vec<String> = messages.iter().map(|message| id(&message.1)).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn events_come_out_scored_in_order_and_poison_with_its_reason() {
    let Some(broker) = Broker::find() else { return };
    let house = House::new();
    for store in house.stores() {
        let broker = Broker { prefix: format!("{}-{}", broker.prefix, store.len()), address: broker.address.clone() };
        broker.make_topics(&house, &["events", "scores", "dead"]);
        broker.send("events", messages(0..500));
        broker.send("events", [("u1".to_owned(), b"nonsense".to_vec())].into_iter());
        let config = broker.config(&house, &store, ", batch_rows: 64, in_flight_rows: 200", "");
        let (service, done) = run_until(&house, &config, |service| n_logged(service) == 501);
        done.unwrap();
        assert_eq!(n_logged(&service), 501);
        // A second member goes on where the first one stopped.
        broker.send("events", messages(500..600));
        let (service, done) = run_until(&house, &config, |service| n_logged(service) == 100);
        done.unwrap();
        assert_eq!(n_logged(&service), 100);
        let scores = broker.read("scores");
        let mut wanted: Vec<String> = (0..600).map(|n| format!("e{n}")).collect();
        wanted.sort_unstable();
        assert_eq!(ids(&scores), wanted);
        let mut last: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for (key, value, _) in &scores {
            let value: Value = serde_json::from_slice(value).unwrap();
            let n: u64 = value["id"].as_str().unwrap()[1..].parse().unwrap();
            assert!(last.insert(key.clone(), n).is_none_or(|before| before < n), "order per key");
        }
        let dead = broker.read("dead");
        assert_eq!((dead.len(), dead[0].1.as_slice()), (1, b"nonsense".as_slice()));
        assert_eq!(dead[0].2["impactiq-reason"], "not_json");
        assert_eq!(dead[0].2["impactiq-topic"], broker.topic("events"));
    }
}

/// What a replay says of the events inside a span: scores by id, and how many other events were read.
fn replayed(house: &House, config: &StreamConfig, span: Span) -> (BTreeMap<String, String>, usize) {
    let mut replay = Replay::open(config, span, house.runtime.handle()).unwrap();
    let (mut scores, mut n_before) = (BTreeMap::new(), 0);
    while let Some((done, wanted)) = replay.batch(&Silent).unwrap() {
        n_before += done.incoming.len() - wanted.len();
        for row in wanted.into_iter().filter(|row| done.dead[*row].is_none()) {
            let message: Value = serde_json::from_slice(done.messages.get(row)).unwrap();
            scores.insert(message["id"].as_str().unwrap().to_owned(), message["scores"].to_string());
        }
    }
    (scores, n_before)
}

#[test]
fn a_replay_gives_the_scores_of_the_log_and_leaves_everything_as_it_was() {
    let Some(broker) = Broker::find() else { return };
    let house = House::new();
    broker.make_topics(&house, &["events", "scores", "dead"]);
    // The broker keeps the times that messages bring.
    let sent_at = |n: u64| 1_770_000_000_000 + n as i64;
    let producer: BaseProducer = broker.client().create().unwrap();
    for (n, (key, value)) in (0..300).zip(messages(0..300)) {
        let topic = broker.topic("events");
        producer.send(BaseRecord::to(&topic).key(&key).payload(&value).timestamp(sent_at(n))).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
    broker.send("events", [("u1".to_owned(), b"nonsense".to_vec())].into_iter());
    let windows = "windows:\n  user: user\n  time: time\n  features:\n    x2: {recency: buy}\n";
    for more in ["", windows] {
        let config = broker.config(&house, &house.stores()[0], ", batch_rows: 64, in_flight_rows: 200", more);
        let config = StreamConfig {
            kafka: KafkaConfig { group: format!("{}{}", config.kafka.group, more.len()), ..config.kafka.clone() },
            ..config
        };
        let (service, done) = run_until(&house, &config, |service| n_logged(service) == 301);
        done.unwrap();
        let log = house.open(&config).log();
        let logged: BTreeMap<String, String> =
            log.into_iter().filter(|row| !row.row.error).map(|row| (row.row.id.unwrap(), row.row.scores)).collect();
        let n_sent = broker.read("scores").len();
        let (whole, n_before) = replayed(&house, &config, Span::default());
        assert_eq!((whole.len(), n_before), (300, 0));
        assert_eq!(whole, logged);
        let span = Span { from: Some(sent_at(100)), to: Some(sent_at(200)) };
        let (part, _) = replayed(&house, &config, span);
        assert_eq!(part.len(), 100);
        assert!(part.iter().all(|(id, scores)| logged[id] == *scores), "windows reach back before the span");
        // Without windows nothing is read that came before.
        let (late, n_before) = replayed(&house, &config, Span { to: None, ..span });
        assert_eq!((late.len(), n_before > 0), (200, !more.is_empty()));
        let later = Span { from: Some(i64::MAX), to: None };
        assert_eq!(replayed(&house, &config, later).0.len(), 0);
        assert_eq!((broker.read("scores").len(), n_logged(&service)), (n_sent, 301));
    }
}

#[test]
fn with_transactions_each_score_is_seen_once() {
    let Some(broker) = Broker::find() else { return };
    let house = House::new();
    let store = house.stores().remove(0);
    broker.make_topics(&house, &["events", "scores", "dead"]);
    broker.send("events", messages(0..300));
    let more = ", batch_rows: 50, in_flight_rows: 100, delivery: exactly_once";
    let config = broker.config(&house, &store, more, "");
    let (_, done) = run_until(&house, &config, |service| n_logged(service) >= 100);
    done.unwrap();
    broker.send("events", messages(300..400));
    let total = Arc::new(AtomicU32::new(0));
    let (_, done) = run_until(&house, &config, |service| {
        total.store(service.figures.now().scored as u32, Ordering::Relaxed);
        let now = service.figures.now();
        !now.lag.is_empty() && now.lag.values().all(|lag| *lag == 0)
    });
    done.unwrap();
    let mut wanted: Vec<String> = (0..400).map(|n| format!("e{n}")).collect();
    wanted.sort_unstable();
    assert_eq!(ids(&broker.read("scores")), wanted);
}

#[test]
fn a_partition_that_was_held_back_when_it_went_away_flows_when_it_comes_back() {
    let Some(broker) = Broker::find() else { return };
    let house = House::new();
    let store = house.folder.path().join("held.db").display().to_string();
    broker.make_topics(&house, &["events", "scores", "dead"]);
    broker.send("events", messages(0..2_000));
    let config = broker.config(&house, &store, ", batch_rows: 20, in_flight_rows: 40", "");
    let is_disturbed = AtomicBool::new(false);
    let (service, done) = run_until(&house, &config, |service| {
        let n = n_logged(service);
        if n >= 100 && !is_disturbed.swap(true, Ordering::Relaxed) {
            // The store stalls until reading is held back; then somebody else takes the partitions and vanishes.
            house.runtime.block_on(async {
                let mut other = SqliteConnection::connect(&store).await.unwrap();
                let mut transaction = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
                tokio::time::sleep(Duration::from_secs(2)).await;
                sqlx::query("UPDATE impactiq_stream_offsets SET epoch = epoch + 1")
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                transaction.commit().await.unwrap();
            });
        }
        n == 2_000
    });
    done.unwrap();
    assert_eq!(n_logged(&service), 2_000);
    assert!(service.figures.now().stale >= 1);
}

#[test]
fn a_topic_that_was_made_again_on_the_broker_is_an_error_that_names_both_ends() {
    let Some(broker) = Broker::find() else { return };
    let house = House::new();
    let store = house.stores().remove(0);
    broker.make_topics(&house, &["events", "scores", "dead"]);
    broker.send("events", messages(0..100));
    let config = broker.config(&house, &store, "", "");
    run_until(&house, &config, |service| n_logged(service) == 100).1.unwrap();
    broker.delete_topic(&house, "events");
    std::thread::sleep(Duration::from_secs(2));
    broker.make_topics(&house, &["events"]);
    broker.send("events", messages(1_000..1_010));
    let (_, done) = run_until(&house, &config, |_| false);
    let told = done.unwrap_err();
    assert!(told.contains("made again") && told.contains("ends at offset"), "{told}");
    // Another topic of more events under the same name: the last event is another one.
    broker.send("events", messages(1_010..1_400));
    let (_, done) = run_until(&house, &config, |_| false);
    let told = done.unwrap_err();
    assert!(told.contains("made again") && told.contains("not the one"), "{told}");
}

#[test]
fn outcomes_are_joined_live_and_the_state_survives_a_restart() {
    let Some(broker) = Broker::find() else { return };
    let house = House::new();
    let store = house.stores().remove(0);
    broker.make_topics(&house, &["events", "scores", "dead", "outcomes"]);
    broker.send("events", messages(0..200));
    let outcome = |n: u64| {
        let value = json!({"id": format!("e{n}"), "outcome": n % 2, "time": "2026-03-01T12:30:00Z"});
        (format!("u{}", n % 7), value.to_string().into_bytes())
    };
    broker.send("outcomes", (0..200).map(outcome));
    let more = "live: {window: 1h, grace: 1s}\nhold_out: {share: 0.5, treat_above: -1000}\n";
    let config = broker.config(&house, &store, &format!(", outcomes: {}", broker.topic("outcomes")), more);
    let waiting = |service: &Service| service.live.get().map_or(0, |now| now.report.counts.n_outcomes);
    let (service, done) = run_until(&house, &config, |service| waiting(service) == 200);
    done.unwrap();
    assert_eq!(service.live.get().unwrap().report.counts.n_closed, 0);
    // Hours later the windows have closed.
    let late = json!({"id": "late", "time": "2026-03-01T20:00:00Z", "x1": 1, "x2": 1, "region": "north"});
    broker.send("events", [("u1".to_owned(), late.to_string().into_bytes())].into_iter());
    let closed = |service: &Service| service.live.get().map_or(0, |now| now.report.counts.n_closed);
    let (service, done) = run_until(&house, &config, |service| closed(service) == 200);
    done.unwrap();
    let live = service.live.get().unwrap();
    assert_eq!((live.report.counts.n_with_outcome, live.report.models[0].n), (200, 200));
    assert_eq!(live.report.counts.n_duplicate_events, 0);
}
