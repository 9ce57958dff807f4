//! When the database is locked, away or full: what is kept, what is lost, and what callers are told.

use std::time::Duration;

use impactiq_store::{LogSettings, Offered, Query, Recorded, ScoreLog, StoreError};

use crate::databases::{all_rows, databases, drained, request, sqlite};

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_database_loses_nothing_within_the_bound_and_counts_what_is_beyond() {
    for database in databases().await {
        let settings = LogSettings { queue_rows: 1_000, batch_rows: 100, ..database.settings() };
        let log = ScoreLog::open(settings).await.unwrap();
        let lock = database.lock().await;
        let mut queued = 0;
        for number in 0..300 {
            if log.offer(request(&format!("r{number}"), number, 5)) == Offered::Queued {
                queued += 5;
            }
        }
        let state = log.state();
        assert_eq!((queued, state.queued, state.lost, state.written), (1_000, 1_000, 500, 0));
        // Longer than a connection waits for a lock: the batch fails and is tried again.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(log.state().queued, 1_000);
        if database.is_sqlite() {
            let state = log.state();
            assert!(state.failed_batches >= 1);
            assert!(state.last_error.unwrap().contains("locked by another program"));
        }
        lock.release().await;
        drained(&log).await;
        assert_eq!((log.state().written, log.state().lost), (1_000, 500));
        assert_eq!(all_rows(&log, &Query::default()).await.len(), 1_000);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_commit_is_told_that_it_did_not_happen() {
    let database = sqlite();
    let log = database.open_durable().await;
    let lock = database.lock().await;
    let told = log.record(request("a", 1, 1)).await.unwrap_err();
    assert!(told.is_passing() && told.to_string().contains("locked"), "{told}");
    assert!(told.hint().is_some());
    lock.release().await;
    assert_eq!(log.record(request("a", 1, 1)).await.unwrap(), Recorded::Written);
    assert_eq!(log.state().lost, 0);
    log.close().await;
    assert!(matches!(log.record(request("b", 1, 1)).await, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_table_can_hold_does_not_hold_up_others() {
    for database in databases().await {
        let settings = LogSettings { batch_wait: Duration::from_secs(20), ..database.settings() };
        let log = ScoreLog::open(settings).await.unwrap();
        for number in 0..50 {
            let mut request = request(&format!("r{number}"), number, 3);
            if number == 20 {
                request.rows[1].row = 0;
            }
            log.offer(request);
        }
        log.close().await;
        let state = log.state();
        assert_eq!((state.written, state.lost, state.queued), (147, 3, 0));
        assert!(state.last_error.unwrap().contains("cannot take the rows"));
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_takes_no_rows() {
    let database = sqlite();
    let log = database.open_durable().await;
    log.record(request("a", 1, 1)).await.unwrap();
    let elsewhere = format!("{}.moved", database.url);
    std::fs::rename(&database.url, &elsewhere).unwrap();
    let told = log.record(request("b", 1, 1)).await.unwrap_err();
    assert!(told.to_string().contains("was deleted or replaced"), "{told}");
    std::fs::rename(&elsewhere, &database.url).unwrap();
    assert_eq!(log.record(request("b", 1, 1)).await.unwrap(), Recorded::Written);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_away_and_came_back_has_everything_once() {
    let Some(server) = crate::databases::server() else {
        eprintln!("NOT TESTED: an outage of PostgreSQL; run `.ci/postgres cargo test --release -p impactiq-store`");
        return;
    };
    let database = crate::databases::postgresql(&server).await;
    let log = database.open().await;
    log.offer(request("before", 1, 2));
    drained(&log).await;
    // Every connection is cut, several times, while rows arrive.
    for round in 0..20 {
        for number in 0..50 {
            let mut request = request("during", number, 1);
            request.request_id = None;
            request.rows[0].id = Some(format!("{round}/{number}"));
            log.offer(request);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&server).await.unwrap();
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE pid <> pg_backend_pid() AND datname = $1";
        let name = database.url.rsplit_once('/').unwrap().1;
        sqlx::query(cut).bind(name).execute(&mut other).await.unwrap();
    }
    drained(&log).await;
    let mut ids: Vec<_> = all_rows(&log, &Query::default()).await.into_iter().filter_map(|row| row.row.id).collect();
    assert_eq!(ids.len(), 1_002);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1_002, "some rows were written twice");
    log.close().await;
}
