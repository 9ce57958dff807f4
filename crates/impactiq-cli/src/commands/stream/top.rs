//! `stream top`: what a stream that runs tells of itself, in a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::args::StreamTopArgs;
use crate::commands::context::{Context, local_agent};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number;
use crate::output::table::{Align, TextTable};

/// The stream is on this machine: an answer that takes longer will not come, and Ctrl-C has to wait for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// Partitions and columns that are listed, the worst ones: a page has to fit into a terminal.
const MOST: usize = 5;
/// How often it is looked whether somebody wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A page of its own in the terminal, and back to what was there; the top left corner; the rest of the line and of the page emptied.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_PAGE: &str = "\x1b[J";

/// Runs the command.
///
/// # Errors
/// A stream that does not answer at first; later the page says so and asks again.
pub fn run(args: &StreamTopArgs, context: Context<'_>) -> Outcome<Exit> {
    let asked = Asked::new(args);
    let first = asked.report()?;
    if args.once || context.output.is_json() || !std::io::stdout().is_terminal() {
        context.output.result(&first, || page(&first, None))?;
        return Ok(Exit::Done);
    }
    let screen = Screen::enter();
    let mut last = Some((Instant::now(), first.clone()));
    screen.show(&page(&first, None));
    let mut due = Instant::now() + Duration::from_secs(args.every);
    while !context.watch.is_interrupted() {
        if Instant::now() < due {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        match asked.report() {
            Ok(report) => {
                let rate = last.as_ref().and_then(|(then, before)| rate(before, &report, then.elapsed()));
                screen.show(&page(&report, rate));
                last = Some((Instant::now(), report));
            }
            Err(failure) => {
                let before = last.as_ref().map(|(_, report)| page(report, None)).unwrap_or_default();
                screen.show(&format!("NOT ANSWERING: {}\n\n{before}", failure.message));
            }
        }
        due = Instant::now() + Duration::from_secs(args.every);
    }
    Ok(Exit::Done)
}

/// Asks the stream.
struct Asked {
    agent: ureq::Agent,
    url: String,
}

impl Asked {
    fn new(args: &StreamTopArgs) -> Self {
        Asked { agent: local_agent(PATIENCE), url: format!("http://{}/v1/stream", args.address) }
    }

    fn report(&self) -> Outcome<Value> {
        let hint = "see whether `impactiq stream` runs, and which address its configuration has under `http`";
        let away = |detail: String| Failure::new(format!("no stream answers: {detail}"), hint).at(&self.url);
        let mut answer = self.agent.get(&self.url).call().map_err(|error| away(error.to_string()))?;
        let text = answer.body_mut().read_to_string().map_err(|error| away(error.to_string()))?;
        let report: Value = serde_json::from_str(&text).map_err(|_| away("what it answered is no report".into()))?;
        if report["figures"].is_object() { Ok(report) } else { Err(away("what it answered is no report".into())) }
    }
}

/// The terminal's second page; the first one comes back when it is dropped.
struct Screen;

impl Screen {
    fn enter() -> Self {
        put(ENTER);
        Screen
    }

    fn show(&self, text: &str) {
        let mut page = HOME.to_owned();
        for line in text.lines() {
            page.extend([line, REST_OF_LINE, "\r\n"]);
        }
        page.push_str("\r\nCtrl-C ends");
        page.extend([REST_OF_LINE, REST_OF_PAGE]);
        put(&page);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        put(LEAVE);
    }
}

fn put(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Nobody looks any more where this fails.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Events a second since the last look; none for a stream that was started anew.
fn rate(before: &Value, now: &Value, passed: Duration) -> Option<f64> {
    if before["member"] != now["member"] {
        return None;
    }
    let done = total(now).checked_sub(total(before))?;
    Some(done as f64 / passed.as_secs_f64().max(1e-3))
}

/// Events that were answered: scored, or dead letters.
fn total(report: &Value) -> u64 {
    let figures = &report["figures"];
    let dead = figures["dead"].as_object().map_or(0, |dead| dead.values().filter_map(Value::as_u64).sum());
    figures["scored"].as_u64().unwrap_or(0) + dead
}

/// The page, without colours: it is read in any terminal.
fn page(report: &Value, rate: Option<f64>) -> String {
    let figures = &report["figures"];
    let count = |value: &Value| number::count(value.as_u64().unwrap_or(0));
    let mut text = String::new();
    let uptime = number::seconds(report["uptime_seconds"].as_f64().unwrap_or(0.0));
    let word = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let (name, id) = (word(&report["model"]["name"]), word(&report["model"]["id"]));
    let _ = writeln!(text, "impactiq stream, member {}, up {uptime}, model {name} ({id})", word(&report["member"]));
    for alarm in report["alarms"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "ALARM: {} (model {})", word(&alarm["kind"]), word(&alarm["model"]));
    }
    let per_second = rate.map_or_else(|| "–".to_owned(), number::thousands);
    let behind: u64 =
        figures["lag"].as_object().into_iter().flat_map(|lag| lag.values()).filter_map(Value::as_u64).sum();
    let below = |name: &str| {
        report["latency_below_ms"][name]
            .as_f64()
            .map_or_else(|| "–".into(), |ms| format!("≤ {} ms", number::thousands(ms)))
    };
    let _ = writeln!(
        text,
        "\n{} scored, {} dead letters, {per_second} a second; {} behind; half committed {}, 99 of 100 {}",
        count(&figures["scored"]),
        number::count(total(report) - figures["scored"].as_u64().unwrap_or(0)),
        number::count(behind),
        below("p50"),
        below("p99"),
    );
    let _ = writeln!(
        text,
        "{} batches, {} sent again, {} repeated attempts, {} partitions lost to others, {} users in memory",
        count(&figures["batches"]),
        count(&figures["sent_again"]),
        count(&figures["failures"]),
        count(&figures["stale"]),
        count(&figures["users_in_memory"]),
    );
    if let Some(last) = figures["last_failure"].as_str() {
        let _ = writeln!(text, "last failure: {last}");
    }
    if let Some(dead) = figures["dead"].as_object().filter(|dead| !dead.is_empty()) {
        let mut table = TextTable::new(&[("dead letters", Align::Left), ("events", Align::Right)]);
        dead.iter().for_each(|(code, n)| table.row([code.clone(), count(n)]));
        let _ = write!(text, "\n{}", table.render(0));
    }
    lag(&mut text, &figures["lag"]);
    drift(&mut text, &figures["drift"]);
    live(&mut text, &report["live"]);
    text
}

fn lag(text: &mut String, lag: &Value) {
    let Some(lag) = lag.as_object().filter(|lag| !lag.is_empty()) else { return };
    let mut furthest: Vec<(&String, u64)> =
        lag.iter().map(|(partition, n)| (partition, n.as_u64().unwrap_or(0))).collect();
    furthest.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let mut table = TextTable::new(&[("partition", Align::Right), ("behind", Align::Right)]);
    furthest.iter().take(MOST).for_each(|(partition, n)| table.row([(*partition).clone(), number::count(*n)]));
    let more = match furthest.len().saturating_sub(MOST) {
        0 => String::new(),
        n => format!("and {n} more partitions that are less far behind\n"),
    };
    let _ = write!(text, "\n{}{more}", table.render(0));
}

fn drift(text: &mut String, drift: &Value) {
    let Some(columns) = drift["columns"].as_array() else { return };
    let mut worst: Vec<&Value> = columns.iter().collect();
    let size = |column: &Value| (column["alarm"] == true, column["psi"].as_f64().unwrap_or(0.0));
    worst.sort_by(|a, b| size(b).0.cmp(&size(a).0).then(size(b).1.total_cmp(&size(a).1)));
    let mut table = TextTable::new(&[
        ("drift of", Align::Left),
        ("PSI", Align::Right),
        ("KS distance", Align::Right),
        ("", Align::Left),
    ]);
    let shown = |value: &Value| value.as_f64().map_or_else(|| "–".into(), |value| format!("{value:.3}"));
    for column in worst.into_iter().take(MOST) {
        let alarm = if column["alarm"] == true { "ALARM" } else { "" };
        let name = column["name"].as_str().unwrap_or("–").to_owned();
        table.row([name, shown(&column["psi"]), shown(&column["ks"]), alarm.to_owned()]);
    }
    let n_rows = number::count(drift["n_rows"].as_u64().unwrap_or(0));
    let _ = write!(
        text,
        "\nThe last window of {n_rows} events beside the training rows, alarms and the largest first\n{}",
        table.render(0)
    );
}

fn live(text: &mut String, live: &Value) {
    let Some(models) = live["models"].as_array().filter(|models| !models.is_empty()) else { return };
    let mut table = TextTable::new(&[
        ("live uplift of", Align::Left),
        ("outcomes", Align::Right),
        ("value", Align::Right),
        ("interval at every look", Align::Left),
        ("promised", Align::Right),
    ]);
    for model in models {
        let pick = |name: &str| model["asymptotic"][name].as_f64().or_else(|| model["exact"][name].as_f64());
        let shown = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:+.4}"));
        let interval = match (pick("lower"), pick("upper")) {
            (Some(lower), Some(upper)) => format!("{lower:+.4} … {upper:+.4}"),
            _ => "–".into(),
        };
        table.row([
            model["model"].as_str().unwrap_or("–").to_owned(),
            number::count(model["n"].as_u64().unwrap_or(0)),
            shown(pick("value")),
            interval,
            shown(model["predicted"]["predicted"].as_f64()),
        ]);
    }
    let waiting = number::count(live["n_waiting"].as_u64().unwrap_or(0));
    let _ = write!(text, "\n{}{waiting} events wait for their outcome\n", table.render(0));
}
