//! What a log refuses to open, and what it says then.

use impactiq_store::{LogSettings, ScoreLog, StoreError};

use crate::databases::{databases, request, sqlite};

async fn refused(url: &str) -> StoreError {
    match ScoreLog::open(LogSettings::new(url)).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => {
            assert!(error.hint().is_some(), "no hint: {error}");
            error
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_later_version_is_refused_and_left_alone() {
    for database in databases().await {
        let log = database.open().await;
        log.record(request("a", 1, 1)).await.unwrap();
        log.close().await;
        let later = "INSERT INTO _impactiq_migrations (version, description, success, checksum, execution_time) \
            VALUES (99, 'later', TRUE, '', 0)";
        let later = if database.is_sqlite() { later.replace("''", "x''") } else { later.to_owned() };
        database.execute(&later).await;
        let error = refused(&database.url).await;
        assert!(matches!(error, StoreError::FutureVersion { found: 99, supported: 2, .. }), "{error}");
        database.execute("DELETE FROM _impactiq_migrations WHERE version = 99").await;
        let log = database.open().await;
        assert!(log.find("a").await.unwrap().is_some());
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();

    std::fs::write(path("text.db"), "customer,spend\n".repeat(1_000)).unwrap();
    let error = refused(&path("text.db")).await;
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");

    let other = sqlite();
    std::fs::create_dir_all(std::path::Path::new(&other.url).parent().unwrap()).unwrap();
    std::fs::write(&other.url, "").unwrap();
    other.execute("CREATE TABLE contacts (name TEXT)").await;
    let before = std::fs::read(&other.url).unwrap();
    let error = refused(&other.url).await;
    assert!(matches!(&error, StoreError::OtherProgram { table, .. } if table == "contacts"), "{error}");
    assert_eq!(std::fs::read(&other.url).unwrap(), before);

    let error = refused(folder.path().to_str().unwrap()).await;
    assert!(matches!(error, StoreError::Address { .. }), "{error}");
    let error = refused(&path("text.db/scores.db")).await;
    assert!(matches!(error, StoreError::Folder { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_file_is_told_from_a_broken_one() {
    let database = sqlite();
    database.open().await.close().await;
    let lock = database.lock().await;
    let error = refused(&database.url).await;
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    lock.release().await;
    database.open().await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    // Nobody listens on the port of a socket that was closed again.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("postgres://me:secret@127.0.0.1:{port}/scores")).await;
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains(&format!("me@127.0.0.1:{port}/scores")) && !told.contains("secret"), "{told}");

    match crate::databases::server() {
        Some(server) => {
            let error = refused(&format!("{}/no_such_database", server.rsplit_once('/').unwrap().0)).await;
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        }
        None => eprintln!("NOT TESTED: what PostgreSQL refuses; run `.ci/postgres cargo test -p impactiq-store`"),
    }
}
