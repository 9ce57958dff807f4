//! A durable log survives the sudden death of its process: every row that was acknowledged is there, none twice.
//!
//! The test runs itself as a second process, reads what that acknowledges, and kills it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use impactiq_store::{LogSettings, Query, Recorded, ScoreLog};

use crate::databases::{all_rows, databases, request};

const URL: &str = "IMPACTIQ_TEST_KILL_URL";
const ROUND: &str = "IMPACTIQ_TEST_KILL_ROUND";

/// Not a test: the process that is killed. It writes from eight tasks and prints each name once it is
/// acknowledged.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the second process of the test below"]
async fn writes_until_it_is_killed() {
    let (Ok(url), Ok(round)) = (std::env::var(URL), std::env::var(ROUND)) else { return };
    let log = ScoreLog::open(LogSettings { durable: true, ..LogSettings::new(url) }).await.unwrap();
    let tasks = (0..8).map(|task| {
        let (log, round) = (log.clone(), round.clone());
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("{round}-{task}-{number}");
                log.record(request(&name, number, 3)).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "acknowledged {name} .").and_then(|()| out.flush()).unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_row_survives_a_kill_and_none_is_there_twice() {
    for database in databases().await {
        let mut acknowledged = HashSet::new();
        for round in 0..5 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "--nocapture", "kill::writes_until_it_is_killed"])
                .env(URL, &database.url)
                .env(ROUND, round.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut names = Vec::new();
            for line in lines.by_ref().map_while(Result::ok) {
                names.extend(acknowledged_name(&line));
                if names.len() == 40 + 60 * round {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(names.len() >= 40 + 60 * round, "the second process ended by itself");
            acknowledged.extend(names);

            let log = database.open_durable().await;
            let rows = all_rows(&log, &Query { limit: 10_000, ..Query::default() }).await;
            let mut ids: Vec<_> = rows.iter().filter_map(|row| row.row.id.as_deref()).collect();
            ids.sort_unstable();
            let n_rows = ids.len();
            ids.dedup();
            assert_eq!(ids.len(), n_rows, "a row is there twice");
            for name in &acknowledged {
                for row in 0..3 {
                    let id = format!("{name}/{row}");
                    assert!(ids.binary_search(&id.as_str()).is_ok(), "{id} was acknowledged and is not there");
                }
            }
            // What died unanswered is sent again: it is there once, whichever way.
            for number in 0..5 {
                let name = format!("{round}-0-{number}");
                assert!(matches!(log.record(request(&name, 0, 3)).await.unwrap(), Recorded::Seen(_)));
            }
            log.close().await;
        }
    }
}

fn acknowledged_name(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("acknowledged ")?;
    rest.strip_suffix(" .").map(str::to_owned)
}
