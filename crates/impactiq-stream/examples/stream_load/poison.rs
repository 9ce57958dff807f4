//! Messages that can never be scored, eight kinds of them, and what became of them.

use std::collections::BTreeMap;

use rdkafka::Message;
use serde_json::{Value, json};

use crate::kafka_topics::{Failure, header, read_all};

/// The reasons that the kinds must be given.
pub const KINDS: [&str; 8] =
    ["not_json", "not_an_object", "not_utf8", "too_deep", "too_large", "bad_id", "bad_time", "bad_value"];

/// The key of a poison; an event's keys begin otherwise.
pub fn key(number: u64) -> String {
    format!("poison-{number}")
}

/// The bytes of a poison: what is behind `"id": …, "time": …` of a good event is `rest`.
pub fn value(number: u64, rest: &str) -> Vec<u8> {
    let time = 1_780_000_000_000_000 + number;
    let good = format!("{{\"id\":\"{number}\",\"time\":{time},{rest}");
    match KINDS[(number % 8) as usize] {
        "not_json" => good[..good.len() / 2].into(),
        "not_an_object" => format!("[{good}]").into(),
        "not_utf8" => [&good.as_bytes()[..good.len() - 1], b",\"note\":\"\xff\"}"].concat(),
        "too_deep" => format!("{},\"note\":{}{}}}", &good[..good.len() - 1], "[".repeat(100), "]".repeat(100)).into(),
        "too_large" => format!("{},\"note\":\"{}\"}}", &good[..good.len() - 1], "x".repeat(5000)).into(),
        "bad_id" => format!("{{\"id\":[1],\"time\":{time},{rest}").into(),
        "bad_time" => format!("{{\"id\":\"{number}\",\"time\":\"yesterday\",{rest}").into(),
        _ => format!("{{\"id\":\"{number}\",\"time\":{time},\"f0\":\"much\",{}", without_first(rest)).into(),
    }
}

fn without_first(rest: &str) -> &str {
    rest.split_once(',').map_or(rest, |(_, others)| others)
}

/// Looks for poisons among the dead letters: how many of each kind came with their bytes and their reason.
pub fn found(brokers: &str, topic: &str, sent: &[(u64, usize)], rests: &[String]) -> Result<Value, Failure> {
    let wanted: BTreeMap<String, (u64, usize)> =
        sent.iter().map(|&(number, row)| (key(number), (number, row))).collect();
    let mut right: BTreeMap<String, bool> = BTreeMap::new();
    let mut strays: BTreeMap<String, u64> = BTreeMap::new();
    read_all(brokers, topic, false, &mut |message| {
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        let reason = header(message, "impactiq-reason").unwrap_or_default();
        match wanted.get(&key) {
            None => *strays.entry(reason).or_insert(0) += 1,
            Some(&(number, row)) => {
                let kind = KINDS[(number % 8) as usize];
                let good = reason == kind && message.payload() == Some(&value(number, &rests[row]));
                if !good {
                    *strays.entry(format!("{kind} as {reason}")).or_insert(0) += 1;
                }
                right.insert(key, good);
            }
        }
        Ok(())
    })?;
    let count = |kind: &str, keep: &dyn Fn(&str) -> bool| {
        sent.iter().filter(|(number, _)| KINDS[(number % 8) as usize] == kind && keep(&key(*number))).count()
    };
    let kinds: BTreeMap<&str, Value> = KINDS
        .iter()
        .map(|kind| {
            let right = count(kind, &|key| right.get(key).copied().unwrap_or(false));
            (*kind, json!({ "sent": count(kind, &|_| true), "with_reason": right }))
        })
        .collect();
    let n_right = right.values().filter(|good| **good).count();
    Ok(json!({ "sent": sent.len(), "with_reason": n_right, "kinds": kinds, "others": strays }))
}
