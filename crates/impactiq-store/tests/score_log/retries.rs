//! A request that is sent again is answered what it was answered first, and written once.

use std::time::Duration;

use impactiq_store::{LogSettings, Offered, Query, Recorded, ScoreLog};

use crate::databases::{all_rows, databases, drained, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_with_the_rows_logged_first() {
    for database in databases().await {
        let log = database.open_durable().await;
        let first = request("order-1", 1_000, 3);
        assert_eq!(log.record(first.clone()).await.unwrap(), Recorded::Written);

        let mut again = request("order-1", 2_000, 1);
        again.model_id = "sha256:later".into();
        again.rows[0].scores = "{}".into();
        let Recorded::Seen(seen) = log.record(again).await.unwrap() else { panic!("written twice") };
        assert_eq!((seen.rows, seen.model_id.as_str(), seen.received_at), (first.rows.clone(), "sha256:abc", 1_000));

        let mut other = request("order-1", 3_000, 3);
        other.body_sha256 = Some([8; 32]);
        assert_eq!(log.record(other).await.unwrap(), Recorded::Conflict);
        log.close().await;

        let log = database.open().await;
        let found = log.find("order-1").await.unwrap().unwrap();
        assert_eq!((found.rows, found.body_sha256), (first.rows, Some([7; 32])));
        assert_eq!(log.find("order-2").await.unwrap(), None);
        assert_eq!(all_rows(&log, &Query::default()).await.len(), 3);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_retries_one_is_written_and_the_others_see_it() {
    for database in databases().await {
        // Two servers on one database, each with callers at once.
        let logs = [database.open_durable().await, database.open_durable().await];
        for round in 0..20 {
            let name = format!("race-{round}");
            let racers = (0..10).map(|racer| {
                let log = logs[racer % 2].clone();
                let mut request = request(&name, racer as i64, 2);
                request.rows[0].scores = format!("{{\"racer\":{racer}}}");
                tokio::spawn(async move { (request.rows.clone(), log.record(request).await.unwrap()) })
            });
            let mut told = Vec::new();
            for racer in racers.collect::<Vec<_>>() {
                told.push(racer.await.unwrap());
            }
            let written: Vec<_> = told.iter().filter(|(_, recorded)| *recorded == Recorded::Written).collect();
            assert_eq!(written.len(), 1);
            for (_, recorded) in &told {
                if let Recorded::Seen(seen) = recorded {
                    assert_eq!(seen.rows, written[0].0);
                }
            }
        }
        assert_eq!(all_rows(&logs[0], &Query::default()).await.len(), 40);
        for log in logs {
            log.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_line_is_found_and_a_second_one_is_dropped() {
    for database in databases().await {
        let settings = LogSettings { batch_wait: Duration::from_secs(30), ..database.settings() };
        let log = ScoreLog::open(settings).await.unwrap();
        assert_eq!(log.offer(request("a", 1, 2)), Offered::Queued);
        assert_eq!(log.find("a").await.unwrap().unwrap().rows, request("a", 1, 2).rows);
        assert_eq!(log.offer(request("a", 2, 5)), Offered::Queued);
        assert_eq!(log.state().queued, 7);
        log.close().await;
        assert_eq!((log.state().queued, log.state().written, log.state().lost), (0, 2, 0));

        let log = database.open().await;
        assert_eq!(all_rows(&log, &Query::default()).await.len(), 2);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_name_are_all_written() {
    for database in databases().await {
        let log = database.open().await;
        for number in 0..1_500 {
            let mut request = request("x", number, 1);
            request.request_id = None;
            request.body_sha256 = None;
            assert_eq!(log.offer(request), Offered::Queued);
        }
        drained(&log).await;
        assert_eq!(all_rows(&log, &Query { limit: 1_000, ..Query::default() }).await.len(), 1_500);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_with_the_character_0_is_no_obstacle() {
    for database in databases().await {
        let log = database.open_durable().await;
        let mut odd = request("a\0b", 1, 1);
        odd.rows[0].id = Some("\0".into());
        odd.rows[0].scores = r#"{"x":"\u0000"}"#.into();
        assert_eq!(log.record(odd.clone()).await.unwrap(), Recorded::Written);
        assert!(matches!(log.record(odd.clone()).await.unwrap(), Recorded::Seen(_)));
        let seen = log.find("a\0b").await.unwrap().unwrap();
        assert_eq!(seen.rows[0].scores, odd.rows[0].scores);
        let query = Query { id: Some("\0".into()), ..Query::default() };
        assert_eq!(log.query(&query).await.unwrap().rows.len(), 1);
        log.close().await;
    }
}
