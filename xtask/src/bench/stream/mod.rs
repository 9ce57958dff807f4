//! `impactiq stream` under load, beside the usual Python consumer with the same-shaped LightGBM model.
//!
//! Broker, generator, watcher and scorer share the machine's cores. Capacity: events are sent as long as a window of them is
//! unanswered. Latency: events are due at 70 % of the capacity, whether earlier ones were answered or not, and count from when they
//! were due. Then one event in a hundred is poison of eight kinds. `--part soak` runs at 80 % for `--minutes`
//! and looks for slopes of memory and descriptors. Run behind `.ci/kafka`.

pub mod proof;
mod sides;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cells::Cells;
use super::options::{Known, Options};
use super::record::number;
use super::table::{Goal, decimals, judge, print, row, thousands};
use sides::{House, Load, Side};

/// What the bench can be asked.
pub const KNOWN: Known = Known {
    numbers: &[
        ("rows", 100_000),
        ("trees", 300),
        ("leaves", 31),
        ("seconds", 15),
        ("batch", 1000),
        ("partitions", 4),
        ("minutes", 30),
    ],
    words: &[("part", &["all", "ours", "peer", "soak"])],
    flags: &["again"],
};

/// Share of the capacity at which latency is measured.
const BUSY: f64 = 0.7;
/// Share of the capacity of a soak.
const SOAK: f64 = 0.8;
/// Percent of poison.
const POISON: f64 = 1.0;
/// Seconds between looks at a soaking process.
const LOOK: f64 = 5.0;

/// Runs the bench.
pub fn run(options: &Options) -> Result<()> {
    let mut cells = Cells::open("stream", options.flag("again"))?;
    let house = House::build(options)?;
    let part = options.word("part");
    if part == "soak" {
        return soak(&mut cells, &house, options);
    }
    let mut found = Vec::new();
    for side in Side::all().into_iter().filter(|side| part == "all" || (part == "ours") == side.is_ours()) {
        let key = key(&house, side, options)?;
        let figures = cells.cell(&key, || measure(&house, side, options))?;
        found.push((side, figures));
    }
    tables(&found);
    println!("\nkept in docs/measured/stream.jsonl");
    Ok(())
}

fn key(house: &House, side: Side, options: &Options) -> Result<Value> {
    Ok(json!({
        "who": side.name()?, "program": side.fingerprint(house)?, "trees": options.number("trees"), "leaves": options.number("leaves"),
        "batch": options.number("batch"), "partitions": options.number("partitions"), "seconds": options.number("seconds"),
    }))
}

fn measure(house: &House, side: Side, options: &Options) -> Result<Value> {
    let seconds = options.number("seconds") as f64;
    let scorer = side.start(house)?;
    let plain = Load { seconds, ..Load::default() };
    let full = scorer.load(house, &plain)?;
    let capacity = number(&full, "per_second");
    let busy = scorer.load(house, &Load { rate: Some(BUSY * capacity), ..plain })?;
    let mut figures = json!({ "capacity": full, "busy": busy });
    if side.is_ours() {
        figures["poison"] = scorer.load(house, &Load { poison: POISON, ..plain })?;
        // Beside the poison once more, so that a drift of the machine is not taken for its cost.
        figures["again"] = scorer.load(house, &plain)?;
    }
    scorer.end()?;
    Ok(figures)
}

fn soak(cells: &mut Cells, house: &House, options: &Options) -> Result<()> {
    let side = Side::AtLeastOnce;
    let minutes = options.number("minutes");
    let mut key = key(house, side, options)?;
    key["soak_minutes"] = json!(minutes);
    let figures = cells.cell(&key, || {
        let scorer = side.start(house)?;
        let full = scorer.load(house, &Load { seconds: options.number("seconds") as f64, ..Load::default() })?;
        let rate = Some(SOAK * number(&full, "per_second"));
        let load = Load { seconds: 60.0 * minutes as f64, rate, sample: LOOK, ..Load::default() };
        let soaked = scorer.load(house, &load)?;
        scorer.end()?;
        Ok(json!({ "capacity": full, "soak": soaked }))
    })?;
    let soaked = &figures["soak"];
    let mebibytes = |name: &str| number(soaked, name) / f64::from(1 << 20);
    let cells = [
        minutes.to_string(),
        thousands(number(soaked, "per_second").round()),
        decimals(number(soaked, "p50_ms")),
        decimals(number(soaked, "p99_ms")),
        decimals(mebibytes("peak_bytes")),
        decimals(mebibytes("memory_bytes_per_hour")),
        decimals(number(soaked, "descriptors_per_hour")),
    ];
    let head = row(["minutes", "events/s", "p50 ms", "p99 ms", "peak MiB", "MiB per hour", "descriptors per hour"]);
    print("Soak at 80 %", &[head, cells.to_vec()]);
    Ok(())
}

fn tables(found: &[(Side, Value)]) {
    let mut rows = vec![row([
        "scorer",
        "events/s",
        "per core of scorer time",
        "p50 ms at 70 %",
        "p99 ms at 70 %",
        "peak MiB",
        "missing",
    ])];
    for (side, figures) in found {
        let (full, busy) = (&figures["capacity"], &figures["busy"]);
        rows.push(vec![
            side.label().to_owned(),
            thousands(number(full, "per_second").round()),
            thousands(number(full, "per_core_second").round()),
            decimals(number(busy, "p50_ms")),
            decimals(number(busy, "p99_ms")),
            thousands((number(busy, "peak_bytes") / f64::from(1 << 20)).round()),
            thousands(number(full, "missing") + number(busy, "missing")),
        ]);
    }
    print("Events to scores", &rows);
    judge(&goals(found));
    for (side, figures) in found {
        if let Some(poison) = figures.get("poison") {
            poisoned(*side, poison, figures);
        }
    }
}

fn poisoned(side: Side, poison: &Value, figures: &Value) {
    let letters = &poison["dead_letters"];
    let mut rows = vec![row(["kind", "sent", "dead letters with their reason"])];
    for (kind, counts) in letters["kinds"].as_object().into_iter().flatten() {
        rows.push(vec![kind.clone(), thousands(number(counts, "sent")), thousands(number(counts, "with_reason"))]);
    }
    print(&format!("1 % poison, {}", side.label()), &rows);
    let before = (number(&figures["capacity"], "per_core_second") + number(&figures["again"], "per_core_second")) / 2.0;
    let cost = 100.0 * (1.0 - number(poison, "per_core_second") / before);
    println!("\nscorer's time per event with poison: {cost:+.1} %; unexpected dead letters: {}", letters["others"]);
}

fn goals(found: &[(Side, Value)]) -> Vec<Goal> {
    let of = |side: Side| found.iter().find(|(other, _)| *other == side).map(|(_, figures)| figures);
    let goal = |what: &str, found, wanted, at_least| Goal { what: what.into(), found, wanted, at_least };
    let mut goals = Vec::new();
    let Some(ours) = of(Side::AtLeastOnce) else { return goals };
    if let Some(peer) = of(Side::Confluent) {
        let rate = |figures: &Value| number(&figures["capacity"], "per_second");
        goals.push(goal("end to end over confluent-kafka + LightGBM", rate(ours) / rate(peer), 10.0, true));
    }
    let letters = &ours["poison"]["dead_letters"];
    let share = number(letters, "with_reason") / number(letters, "sent");
    goals.push(goal("events/s per core of scorer time", number(&ours["capacity"], "per_core_second"), 50_000.0, true));
    goals.push(goal("share of poison in dead letters with its reason", share, 1.0, true));
    goals.push(goal(
        "events without a score",
        number(&ours["capacity"], "missing") + number(&ours["busy"], "missing"),
        0.0,
        false,
    ));
    goals
}

/// The broker that `.ci/kafka` started.
pub fn broker() -> Result<String> {
    std::env::var("IMPACTIQ_TEST_KAFKA")
        .context("IMPACTIQ_TEST_KAFKA names no broker\nhint: .ci/kafka cargo xtask bench stream")
}
