//! How fast the score log takes rows: `cargo run --release -p impactiq-store --example log_speed -- [URL] [ROWS]`.
//!
//! Offered requests (nobody waits) of one row and of a hundred, with and without names, then
//! durable commits from 1, 16 and 64 callers at once.

use std::time::{Duration, Instant};

use impactiq_store::{Door, LogSettings, LoggedRequest, LoggedRow, Offered, ScoreLog};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = tempfile::tempdir()?;
    let url = arguments.next().filter(|url| url != "-");
    let n_rows: u32 = arguments.next().map_or(Ok(300_000), |n| n.parse())?;
    for (name, rows_a_request, named) in
        [("1 row, unnamed", 1, false), ("1 row, named", 1, true), ("100 rows", 100, true)]
    {
        let url = url.clone().unwrap_or(folder.path().join(format!("{name}.db")).display().to_string());
        let log = ScoreLog::open(LogSettings { queue_rows: 10_000_000, ..LogSettings::new(url) }).await?;
        let requests: Vec<_> =
            (0..n_rows / rows_a_request).map(|number| request(name, number, rows_a_request, named)).collect();
        let began = Instant::now();
        for request in requests {
            assert_eq!(log.offer(request), Offered::Queued);
        }
        let offered = began.elapsed();
        while log.state().queued > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let rate = f64::from(n_rows) / seconds;
        println!(
            "offered, {name}: {rate:.0} rows/s written ({:.2} µs a call to offer)",
            per_call(offered, n_rows / rows_a_request)
        );
        log.close().await;
    }
    for callers in [1, 16, 64] {
        let url = url.clone().unwrap_or(folder.path().join(format!("durable{callers}.db")).display().to_string());
        let log = ScoreLog::open(LogSettings { durable: true, ..LogSettings::new(url) }).await?;
        let began = Instant::now();
        let each = 4_000 / callers;
        let tasks = (0..callers).map(|caller| {
            let log = log.clone();
            tokio::spawn(async move {
                for number in 0..each {
                    let answer = log.record(request(&format!("d{callers}-{caller}"), number, 1, true)).await;
                    answer.map(|_| ()).map_err(|error| error.to_string())?;
                }
                Ok::<(), String>(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        let rate = f64::from(callers * each) / began.elapsed().as_secs_f64();
        println!("durable, {callers} callers: {rate:.0} requests/s, each on the disk before its answer");
        log.close().await;
    }
    Ok(())
}

fn per_call(all: Duration, n: u32) -> f64 {
    all.as_secs_f64() * 1e6 / f64::from(n)
}

fn request(group: &str, number: u32, n_rows: u32, named: bool) -> LoggedRequest {
    // Names as they come in life: in no order.
    let name = format!("{:08x}-{group}-{number}", number.wrapping_mul(0x9e37_79b9));
    let row = |row: u32| LoggedRow {
        row,
        id: Some(format!("{:08x}", (number * n_rows + row).wrapping_mul(0x9e37_79b9))),
        scores: format!("{{\"cate\":0.0123{row},\"cate_lower\":-0.001,\"cate_upper\":0.0256,\"best_arm\":\"offer\"}}"),
        error: false,
    };
    LoggedRequest {
        request_id: named.then_some(name),
        body_sha256: named.then_some([3; 32]),
        received_at: 1_700_000_000_000_000 + i64::from(number),
        model_name: "churn".into(),
        model_id: "sha256:0123456789abcdef".into(),
        door: Door::Score,
        rows: (0..n_rows).map(row).collect(),
    }
}
