//! The server under load, beside the same-shaped LightGBM model behind FastAPI and MLflow.
//!
//! Every server answers on loopback, the load comes from this process, both share the
//! machine's cores. Capacity is measured in a closed loop; latency in an open loop at 70 % of it
//! and at twice it. What a server itself needed is its CPU time, from /proc.

mod load;
mod server;
mod sides;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::cells::Cells;
use super::options::{Known, Options};
use super::record::number;
use super::table::{Goal, decimals, judge, print, row, thousands};
use load::{Answers, Load, Pace, request};
pub use sides::House as Trained;
use sides::{Bodies, House, Side};

/// What the bench can be asked.
pub const KNOWN: Known = Known {
    numbers: &[("rows", 100_000), ("trees", 300), ("leaves", 31), ("seconds", 10), ("starts", 20)],
    words: &[("part", &["all", "ours", "peers"])],
    flags: &["again"],
};

/// Connections of a closed loop, and of an open one below capacity.
const CONNECTIONS: usize = 16;
/// Connections beyond capacity: more than the server works on and keeps waiting.
const CROWD: usize = 512;
/// Share of the capacity at which latency is measured.
const BUSY: f64 = 0.7;
/// Rows of a batch.
const BATCH: usize = 1000;

/// Runs the bench.
pub fn run(options: &Options) -> Result<()> {
    let mut cells = Cells::open("serve", options.flag("again"))?;
    let house = House::build(options.number("rows"), options.number("trees"), options.number("leaves"))?;
    let part = options.word("part");
    let sides = Side::all().into_iter().filter(|side| part == "all" || (part == "ours") == side.is_ours());
    let mut found = Vec::new();
    for side in sides {
        let key = json!({
            "who": side.name(&house)?, "program": side.fingerprint(&house)?, "trees": house.trees, "leaves": house.leaves,
            "seconds": options.number("seconds"),
        });
        let figures = cells.cell(&key, || Bench { house: &house, side, options }.measure())?;
        found.push((side, figures));
    }
    tables(&found);
    println!("\nkept in docs/measured/serve.jsonl");
    Ok(())
}

/// One side's turn.
struct Bench<'a> {
    house: &'a House,
    side: Side,
    options: &'a Options,
}

impl Bench<'_> {
    fn measure(&self) -> Result<Value> {
        let bodies = self.side.bodies(self.house)?;
        let mut figures = json!({ "ready_s": self.ready()?, "single": self.single(&bodies)? });
        for (name, body) in [("batch_json", &bodies.batch), ("batch_arrow", &bodies.arrow)] {
            if let Some(body) = body {
                figures[name] = self.batches(body)?;
            }
        }
        if self.side.is_ours() {
            figures["floor"] = self.floor()?;
            figures["twice"] = self.twice(&bodies.single, number(&figures["single"], "capacity"))?;
            if let (Some(body), Some(full)) = (&bodies.batch, figures.get("batch_json")) {
                let capacity = number(full, "rows_per_second") / BATCH as f64;
                figures["twice_batches"] = self.twice(std::slice::from_ref(body), capacity)?;
            }
        }
        if let Some(body) = &bodies.what_if {
            figures["what_if"] = self.what_if(body)?;
        }
        Ok(figures)
    }

    fn seconds(&self) -> f64 {
        self.options.number("seconds") as f64
    }

    /// The median time from start to the first "ready".
    fn ready(&self) -> Result<f64> {
        let starts = if self.side.is_ours() { self.options.number("starts") } else { 1 };
        let mut seconds =
            (0..starts).map(|_| Ok(self.side.start(self.house)?.ready_seconds)).collect::<Result<Vec<f64>>>()?;
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[(seconds.len() - 1) / 2])
    }

    /// One row per request: capacity, the server's own CPU, latency at part of the capacity.
    fn single(&self, bodies: &Bodies) -> Result<Value> {
        let server = self.side.start(self.house)?;
        let load = |pace, seconds| {
            Load { address: server.address, requests: &bodies.single, pace, connections: CONNECTIONS, seconds }.run()
        };
        // Caches, allocators and, on the other side, compiled bytecode.
        load(Pace::Closed, 1.0)?;
        let before = server.cpu_seconds();
        let full = whole(load(Pace::Closed, self.seconds())?)?;
        let cpu = server.cpu_seconds() - before;
        let capacity = full.rate();
        let busy = whole(load(Pace::Open(BUSY * capacity), self.seconds())?)?;
        Ok(json!({
            "capacity": capacity, "per_server_core": full.latencies.len() as f64 / cpu, "closed": full.json(),
            "busy": busy.json(), "peak_bytes": server.peak_bytes(),
        }))
    }

    /// A thousand rows per request, as fast as two connections go.
    fn batches(&self, body: &[u8]) -> Result<Value> {
        let server = self.side.start(self.house)?;
        let requests = [body.to_vec()];
        let load = |seconds| {
            Load { address: server.address, requests: &requests, pace: Pace::Closed, connections: 2, seconds }.run()
        };
        load(1.0)?;
        let before = server.cpu_seconds();
        let full = whole(load(self.seconds())?)?;
        let cpu = server.cpu_seconds() - before;
        let rows = (full.latencies.len() * BATCH) as f64;
        Ok(json!({ "rows_per_second": rows / full.seconds, "rows_per_server_core": rows / cpu, "closed": full.json() }))
    }

    /// What a request costs that asks for nothing: what HTTP and the system take before a row is looked at.
    fn floor(&self) -> Result<Value> {
        let server = self.side.start(self.house)?;
        let requests = [request("GET", "/health/live", "application/json", b"")];
        let load = |seconds| {
            Load { address: server.address, requests: &requests, pace: Pace::Closed, connections: CONNECTIONS, seconds }
                .run()
        };
        load(1.0)?;
        let before = server.cpu_seconds();
        let full = whole(load(self.seconds())?)?;
        let cpu = server.cpu_seconds() - before;
        Ok(json!({ "capacity": full.rate(), "per_server_core": full.latencies.len() as f64 / cpu }))
    }

    /// Twice the capacity: who is let in is answered as before, the rest are refused.
    fn twice(&self, requests: &[Vec<u8>], capacity: f64) -> Result<Value> {
        let server = self.side.start(self.house)?;
        let pace = Pace::Open(2.0 * capacity);
        let seconds = self.seconds();
        let answers = Load { address: server.address, requests, pace, connections: CROWD, seconds }.run()?;
        let mut figures = answers.json();
        // The load shares the cores: whether it can send twice the capacity at all is part of the answer.
        figures["asked_per_second"] = json!(2.0 * capacity);
        figures["sent_per_second"] = json!((answers.latencies.len() as u64 + answers.refused) as f64 / answers.seconds);
        figures["peak_bytes"] = json!(server.peak_bytes());
        Ok(figures)
    }

    /// A person moves a slider: a sweep of one feature, ten times a second.
    fn what_if(&self, body: &[u8]) -> Result<Value> {
        let server = self.side.start(self.house)?;
        let requests = [body.to_vec()];
        let (pace, seconds) = (Pace::Open(10.0), self.seconds());
        let answers = Load { address: server.address, requests: &requests, pace, connections: 2, seconds }.run()?;
        Ok(whole(answers)?.json())
    }
}

/// Answers that are all good; capacity with failures in it would be a lie.
fn whole(answers: Answers) -> Result<Answers> {
    let failure = answers.first_failure.clone().unwrap_or_default();
    ensure!(answers.failed == 0, "{} requests failed, the first with: {failure}", answers.failed);
    ensure!(answers.refused == 0, "{} requests were refused below capacity", answers.refused);
    Ok(answers)
}

fn tables(found: &[(Side, Value)]) {
    let mut rows = vec![row([
        "server",
        "requests/s",
        "per core of server time",
        "p50 ms at 70 %",
        "p99 ms at 70 %",
        "peak MiB",
        "ready s",
    ])];
    let mut batches =
        vec![row(["server, 1,000 rows a request", "rows/s", "per core of server time", "p50 ms", "p99 ms"])];
    for (side, figures) in found {
        let single = &figures["single"];
        rows.push(vec![
            side.label().to_owned(),
            thousands(number(single, "capacity").round()),
            thousands(number(single, "per_server_core").round()),
            decimals(number(&single["busy"], "p50_ms")),
            decimals(number(&single["busy"], "p99_ms")),
            thousands((number(single, "peak_bytes") / f64::from(1 << 20)).round()),
            decimals(number(figures, "ready_s")),
        ]);
        for (name, format) in [("batch_json", "JSON"), ("batch_arrow", "Arrow")] {
            if let Some(batch) = figures.get(name) {
                batches.push(vec![
                    format!("{}, {format}", side.label()),
                    thousands(number(batch, "rows_per_second").round()),
                    thousands(number(batch, "rows_per_server_core").round()),
                    decimals(number(&batch["closed"], "p50_ms")),
                    decimals(number(&batch["closed"], "p99_ms")),
                ]);
            }
        }
    }
    print("One row per request", &rows);
    print("Batches", &batches);
    judge(&goals(found));
}

fn goals(found: &[(Side, Value)]) -> Vec<Goal> {
    let of = |side: Side| found.iter().find(|(other, _)| *other == side).map(|(_, figures)| figures);
    let goal = |what: &str, found, wanted, at_least| Goal { what: what.into(), found, wanted, at_least };
    let mut goals = Vec::new();
    let Some(ours) = of(Side::Ours { durable: false }) else { return goals };
    let capacity = |figures: &Value| number(&figures["single"], "capacity");
    for peer in [Side::FastApi, Side::Mlflow] {
        if let Some(theirs) = of(peer) {
            goals.push(goal(
                &format!("throughput over {}", peer.label()),
                capacity(ours) / capacity(theirs),
                10.0,
                true,
            ));
        }
    }
    let twice = &ours["twice"];
    goals.push(goal("p99 ms at 70 %, one row, default log", number(&ours["single"]["busy"], "p99_ms"), 2.0, false));
    goals.push(goal("requests/s per core of server time", number(&ours["single"], "per_server_core"), 25_000.0, true));
    goals.push(goal("what-if p99 ms", number(&ours["what_if"], "p99_ms"), 20.0, false));
    goals.push(goal("ready, ms", 1e3 * number(ours, "ready_s"), 150.0, false));
    goals.push(goal("p99 ms of those let in at twice the capacity", number(twice, "p99_ms"), 50.0, false));
    let from_sending = number(twice, "p99_from_sending_ms");
    goals.push(goal("the same from when they were sent", from_sending, 50.0, false));
    let sent = number(twice, "sent_per_second") / number(twice, "asked_per_second");
    goals.push(goal("share of twice the capacity that the load could send", sent, 0.9, true));
    goals.push(goal("share refused at twice the capacity", share_refused(twice), 0.2, true));
    goals.push(goal("neither answered nor refused at twice the capacity", number(twice, "failed"), 0.0, false));
    let batches = &ours["twice_batches"];
    goals.push(goal(
        "p99 ms of those let in, 1,000 rows, at twice the capacity",
        number(batches, "p99_ms"),
        250.0,
        false,
    ));
    goals.push(goal("share refused, 1,000 rows, at twice the capacity", share_refused(batches), 0.2, true));
    goals
}

fn share_refused(figures: &Value) -> f64 {
    let [answered, refused] = ["answered", "refused"].map(|name| number(figures, name));
    refused / (answered + refused)
}
