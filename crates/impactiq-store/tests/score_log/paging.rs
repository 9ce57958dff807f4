//! Pages without gaps and repeats, filters, and what retention forgets.

use std::time::Duration;

use impactiq_store::{LogSettings, Query, Recorded, ScoreLog, StoreError};

use crate::databases::{TestDatabase, all_rows, databases, drained, request};

/// 300 requests of 0 to 6 rows, five at each moment, of one model that stayed and one in 24 versions.
async fn filled(database: &TestDatabase) -> ScoreLog {
    let log = database.open().await;
    for number in 0..300_i64 {
        let mut request = request(&format!("r{number}"), 1_000 + number / 5, (number % 7) as u32);
        request.model_id = format!("sha256:v{}", number % 36);
        if number % 3 == 0 {
            request.model_name = "upsell".into();
            request.model_id = "sha256:def".into();
        }
        for row in &mut request.rows {
            row.id = Some(format!("customer-{}", (number + i64::from(row.row)) % 20));
        }
        log.offer(request);
    }
    drained(&log).await;
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_skip_nor_repeat_while_rows_arrive() {
    for database in databases().await {
        let log = filled(&database).await;
        let whole = log.query(&Query { limit: 10_000, ..Query::default() }).await.unwrap();
        assert_eq!((whole.rows.len(), &whole.next), (897, &None));
        let order: Vec<_> = whole.rows.iter().map(|row| -row.received_at).collect();
        assert!(order.is_sorted(), "newest first");

        let mut paged = Vec::new();
        let mut query = Query { limit: 37, ..Query::default() };
        for number in 0.. {
            let page = log.query(&query).await.unwrap();
            assert!(page.rows.len() == 37 || page.next.is_none());
            paged.extend(page.rows);
            // New rows come first, so nobody who is on a later page sees them; late ones of an old
            // moment have no place among pages already read.
            log.offer(request(&format!("new-{number}"), 9_000_000, 5));
            drained(&log).await;
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(paged, whole.rows);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_give_the_rows_that_they_name() {
    for database in databases().await {
        let log = filled(&database).await;
        let whole = all_rows(&log, &Query::default()).await;
        let check = async |query: Query, wanted: &dyn Fn(&impactiq_store::StoredScore) -> bool| {
            let expected: Vec<_> = whole.iter().filter(|row| wanted(row)).cloned().collect();
            assert!(!expected.is_empty());
            assert_eq!(all_rows(&log, &Query { limit: 7, ..query.clone() }).await, expected, "{query:?}");
        };
        let id = |id: &str| Query { id: Some(id.into()), ..Query::default() };
        check(id("customer-3"), &|row| row.row.id.as_deref() == Some("customer-3")).await;
        check(Query { request_id: Some("r13".into()), ..Query::default() }, &|row| {
            row.request_id.as_deref() == Some("r13")
        })
        .await;
        for model in ["upsell", "sha256:def"] {
            check(Query { model: Some(model.into()), ..Query::default() }, &|row| row.model_name == "upsell").await;
        }
        check(Query { model: Some("churn".into()), ..Query::default() }, &|row| row.model_name == "churn").await;
        check(Query { model: Some("sha256:v7".into()), ..Query::default() }, &|row| row.model_id == "sha256:v7").await;
        let between = Query { from: Some(1_010), to: Some(1_020), ..Query::default() };
        check(between.clone(), &|row| (1_010..1_020).contains(&row.received_at)).await;
        check(Query { id: Some("customer-3".into()), model: Some("churn".into()), ..between }, &|row| {
            (1_010..1_020).contains(&row.received_at)
                && row.row.id.as_deref() == Some("customer-3")
                && row.model_name == "churn"
        })
        .await;
        assert!(log.query(&id("nobody")).await.unwrap().rows.is_empty());
        let lost = log.query(&Query { after: Some("page 2".into()), ..Query::default() }).await;
        assert!(matches!(lost, Err(StoreError::BadCursor { .. })));
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_forgets_old_rows_and_only_those() {
    const MINUTE: i64 = 60_000_000;
    for database in databases().await {
        let settings = LogSettings { retention: Some(Duration::from_secs(60)), ..database.settings() };
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
        let log = ScoreLog::open(settings).await.unwrap();
        // The hourly task has had its first turn when these arrive.
        tokio::time::sleep(Duration::from_millis(200)).await;
        log.offer(request("huge", now - 3 * MINUTE, 12_000));
        for number in 0..6_000 {
            log.offer(request(&format!("old-{number}"), now - 2 * MINUTE, 1));
        }
        log.offer(request("edge", now - MINUTE, 1));
        log.offer(request("new", now, 2));
        drained(&log).await;
        assert_eq!(log.enforce_retention(now).await.unwrap(), 18_000);
        assert_eq!(log.enforce_retention(now).await.unwrap(), 0);
        let left = all_rows(&log, &Query::default()).await;
        let names: Vec<_> = left.iter().map(|row| row.request_id.as_deref().unwrap()).collect();
        assert_eq!(names, ["new", "new", "edge"]);
        // A forgotten name is free again.
        assert_eq!(log.record(request("old-1", now, 1)).await.unwrap(), Recorded::Written);
        log.close().await;

        // Without being asked: the task's first turn comes when the log is opened.
        let settings = LogSettings { retention: Some(Duration::from_secs(60)), ..database.settings() };
        database.execute(&format!("UPDATE impactiq_requests SET received_at = {}", now - 2 * MINUTE)).await;
        let log = ScoreLog::open(settings).await.unwrap();
        for _ in 0..500 {
            if all_rows(&log, &Query::default()).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(all_rows(&log, &Query::default()).await.is_empty());
        log.close().await;
    }
}
