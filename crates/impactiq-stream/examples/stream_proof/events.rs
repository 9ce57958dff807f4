//! Events whose scores anybody can compute again: everything about one follows from the seed and its number,
//! and window features are counted here by looking at all earlier events of the user, the slow way.

use impactiq_data::Seed;
use serde_json::{Map, Value, json};

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
/// Time of event 0.
const BEGIN: i64 = 1_780_000_000 * SECOND;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// Every so many events one is poison.
const POISON_EVERY: u64 = 97;

/// The `windows:` section that [`History::features`] repeats by hand.
pub const WINDOWS: &str = "\
windows:
  user: user
  time: time
  time_unit: us
  kind: kind
  features:
    views_1h: {count: view, over: 1h}
    spend_1d: {sum: amount, of: purchase, over: 1d}
    cities_1d: {distinct: city, over: 1d}
    since_view: {recency: view}
";

/// A message that can never be scored, and the reason it must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison(pub &'static str);

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number, and the time it was made, in order.
    pub number: u64,
    /// The user.
    pub user: u64,
    /// When it happened, in microseconds since 1970.
    pub time: i64,
    /// What the user did.
    pub kind: &'static str,
    /// What for: a multiple of a quarter, so that sums are exact in any order.
    pub amount: f64,
    /// Where.
    pub city: &'static str,
    /// Two numbers the model also looks at.
    pub traits: [f64; 2],
    /// Set for messages that are no events.
    pub poison: Option<Poison>,
}

impl Event {
    /// The event of a number.
    pub fn at(seed: u64, number: u64, n_users: u64) -> Event {
        let draws = Seed::new(seed).child(number);
        let pick = |key: u64, of: &[&'static str]| of[draws.below(key, of.len() as u64) as usize];
        // A few come late, but never so late that windows have forgotten.
        let late = if draws.below(1, 30) == 0 { draws.below(2, 1800) as i64 } else { 0 };
        let poisons = ["not_json", "not_an_object", "bad_time", "not_utf8"];
        let is_poison = number % POISON_EVERY == POISON_EVERY - 1;
        Event {
            number,
            user: draws.below(3, n_users),
            time: BEGIN + (number as i64) * SECOND / 2 - late * SECOND,
            kind: pick(4, &["view", "view", "view", "cart", "purchase"]),
            amount: draws.below(5, 400) as f64 * 0.25,
            city: pick(6, &["Ulm", "Turku", "Kraków", "Lyon", "Porto"]),
            traits: [draws.uniform(7), draws.uniform(8) * 20.0 - 10.0],
            poison: is_poison.then(|| Poison(poisons[(number / POISON_EVERY) as usize % poisons.len()])),
        }
    }

    /// Its identifier.
    pub fn id(&self) -> String {
        format!("e{:09}", self.number)
    }

    /// The key of its message.
    pub fn key(&self) -> String {
        format!("u{}", self.user)
    }

    /// The partition all events of its user are in.
    pub fn partition(&self, n_partitions: i32) -> i32 {
        Seed::new(11).below(self.user, n_partitions as u64) as i32
    }

    /// The arm, half of them.
    pub fn is_treated(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// The bytes of its message.
    pub fn value(&self) -> Vec<u8> {
        let row = self.row();
        match self.poison {
            None => Value::Object(row).to_string().into_bytes(),
            Some(Poison("not_json")) => format!("{{\"id\": \"{}\", \"time\": ", self.id()).into_bytes(),
            Some(Poison("not_an_object")) => json!([self.id(), self.time]).to_string().into_bytes(),
            Some(Poison("bad_time")) => {
                let mut row = row;
                row.insert("time".into(), json!("yesterday"));
                Value::Object(row).to_string().into_bytes()
            }
            Some(Poison(_)) => {
                let mut bytes = Value::Object(row).to_string().into_bytes();
                let at = bytes.len() - 2;
                bytes[at] = 0xff;
                bytes
            }
        }
    }

    /// Its fields, without window features.
    pub fn row(&self) -> Map<String, Value> {
        let Value::Object(row) = json!({
            "id": self.id(), "time": self.time, "user": self.key(), "kind": self.kind, "amount": self.amount,
            "city": self.city, "trait_a": self.traits[0], "trait_b": self.traits[1],
            "arm": if self.is_treated() { "treatment" } else { "control" }, "assignment_probability": 0.5,
        }) else {
            return Map::new();
        };
        row
    }
}

/// What a user did so far, in the order it arrived.
#[derive(Default)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// The window features of an event that has just arrived; the event is remembered.
    pub fn features(&mut self, event: &Event) -> Map<String, Value> {
        let before = |from: i64| {
            self.events.iter().filter(move |other| other.time <= event.time && other.time > event.time - from)
        };
        let views = before(HOUR).filter(|other| other.kind == "view").count();
        let spend: f64 = before(DAY).filter(|other| other.kind == "purchase").map(|other| other.amount).sum();
        let mut cities: Vec<&str> = before(DAY).map(|other| other.city).collect();
        cities.sort_unstable();
        cities.dedup();
        let earlier = self.events.iter().filter(|other| other.kind == "view" && other.time <= event.time);
        let since = earlier.map(|other| other.time).max().map(|time| (event.time - time) as f64 / SECOND as f64);
        let mut features = Map::new();
        features.insert("views_1h".into(), json!(views));
        features.insert("spend_1d".into(), json!(spend));
        features.insert("cities_1d".into(), json!(cities.len()));
        features.insert("since_view".into(), json!(since));
        self.events.push(event.clone());
        features
    }
}
