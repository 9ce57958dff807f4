//! What look-up tables promise: the right values of the right types, whole tables, and the last good one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{Array, AsArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Float32Type, Int64Type, Schema as ArrowSchema};
use impactiq_data::{Field, RawType, Schema};
use impactiq_io::json_rows_to_batch;
use impactiq_store::{Lookup, LookupSettings, LookupSource, StoreError};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};

fn schema() -> Schema {
    let field = |name: &str, raw_type| Field { name: name.into(), raw_type };
    Schema::new(vec![
        field("age", RawType::Integer),
        field("spend", RawType::Float64),
        field("f0", RawType::Float32),
        field("city", RawType::Text),
        field("vip", RawType::Boolean),
        field("since", RawType::Date),
        field("seen", RawType::Timestamp),
        field("live", RawType::Float64),
    ])
    .unwrap()
}

const TABLE: &str = "customer,age,spend,f0,city,vip,since,seen,unused
007,41,0.1,0.1,Köln,true,2024-02-29,2024-02-29T12:00:00.25Z,x
c2,9007199254740993,,-3,,false,,,y
";

fn settings(path: &Path) -> LookupSettings {
    let source = LookupSource::File { path: path.display().to_string() };
    LookupSettings { source, key: "customer".into(), refresh: None }
}

/// Waits until something is so; seconds, since files are looked at once a second.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about");
}

#[tokio::test]
async fn a_row_gets_its_columns_with_the_bits_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.csv");
    std::fs::write(&path, TABLE).unwrap();
    let lookup = Lookup::load(settings(&path), &schema()).await.unwrap();
    let state = lookup.state();
    assert_eq!((state.rows, state.columns.join(",").as_str()), (2, "age,spend,f0,city,vip,since,seen"));

    let mut rows = [
        json!({"customer": "007", "live": 5}),
        json!({"customer": "c2", "age": 30, "city": null}),
        json!({"customer": 7}),
        json!({"live": 1}),
        json!("no row"),
    ];
    let misses = lookup.fill(&mut rows).unwrap();
    assert_eq!(
        rows[0],
        json!({"customer": "007", "live": 5, "age": 41, "spend": 0.1, "f0": f64::from(0.1f32), "city": "Köln",
            "vip": true, "since": "2024-02-29", "seen": "2024-02-29T12:00:00.250000Z"})
    );
    // What the row brings wins, null as well.
    assert_eq!((&rows[1]["age"], &rows[1]["city"], &rows[1]["vip"]), (&json!(30), &Value::Null, &json!(false)));
    assert!(rows[1]["spend"].is_null() && rows[1].as_object().unwrap().contains_key("spend"));
    assert_eq!(rows[2], json!({"customer": 7}));
    let told: Vec<_> = misses.iter().map(|miss| (miss.to_string(), miss.hint())).collect();
    assert_eq!(told[0].0, "row 3, column 'customer': '7' is not in the look-up table");
    assert_eq!(told[1].0, "row 4, column 'customer': is missing, and so are columns that it would be looked up for");
    assert!(told[0].1.contains("add the key") && told[1].1.contains("send 'customer'"));

    // The same bits as from the file itself.
    let (batch, errors) = json_rows_to_batch(&rows[..1], &schema()).unwrap();
    assert_eq!(errors, []);
    assert_eq!(batch.column(2).as_primitive::<Float32Type>().value(0).to_bits(), 0.1f32.to_bits());
}

#[tokio::test]
async fn large_whole_numbers_keep_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.csv");
    std::fs::write(&path, TABLE).unwrap();
    let lookup = Lookup::load(settings(&path), &schema()).await.unwrap();
    let mut rows = [json!({"customer": "c2"})];
    lookup.fill(&mut rows).unwrap();
    assert_eq!(rows[0]["age"], json!(9_007_199_254_740_993_i64));
}

#[tokio::test]
async fn a_batch_gets_absent_columns_and_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.ndjson");
    std::fs::write(
        &path,
        "{\"customer\": 7, \"age\": 41, \"f0\": 0.1}\n{\"customer\": \"c2\", \"age\": 12, \"f0\": 2}\n",
    )
    .unwrap();
    let lookup = Lookup::load(settings(&path), &schema()).await.unwrap();
    let batch = |keys: Arc<dyn Array>, kind: DataType| {
        let fields = vec![ArrowField::new("customer", kind, true), ArrowField::new("f0", DataType::Float32, true)];
        let f0 = Arc::new(Float32Array::from(vec![Some(9.0); keys.len()]));
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), vec![keys, f0]).unwrap()
    };
    let keys = StringArray::from(vec![Some("c2"), None, Some("7"), Some("nobody")]);
    let (filled, misses) = lookup.fill_batch(&batch(Arc::new(keys), DataType::Utf8)).unwrap();
    assert_eq!(
        filled.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
        ["customer", "f0", "age"]
    );
    let age: Vec<_> = filled.column(2).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(age, [Some(12), None, Some(41), None]);
    assert_eq!(filled.column(1).as_primitive::<Float32Type>().value(0), 9.0);
    let missed: Vec<_> = misses.iter().map(|miss| (miss.row, miss.value.as_deref())).collect();
    assert_eq!(missed, [(1, None), (3, Some("nobody"))]);
    // A whole number is the key that its digits are.
    let (filled, misses) = lookup.fill_batch(&batch(Arc::new(Int64Array::from(vec![7])), DataType::Int64)).unwrap();
    assert_eq!((filled.column(2).as_primitive::<Int64Type>().value(0), misses.len()), (41, 0));
}

#[tokio::test]
async fn a_table_that_cannot_be_right_is_refused_with_row_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.csv");
    let refused = async |text: &str| {
        std::fs::write(&path, text).unwrap();
        let error = Lookup::load(settings(&path), &schema()).await.err().expect("it was taken");
        assert!(error.hint().is_some(), "no hint: {error}");
        error.to_string()
    };
    let twice = refused("customer,age\na,1\nb,2\na,3\n").await;
    assert!(twice.ends_with("has the key 'a' twice, in rows 1 and 3"), "{twice}");
    let none = refused("customer,age\na,1\n,2\n").await;
    assert!(none.ends_with("has no 'customer' in row 2"), "{none}");
    let cell = refused("customer,age\na,1\nb,old\n").await;
    assert!(cell.contains("row 2, column 'age': 'old' is not a"), "{cell}");
    let nothing = refused("customer,shoes\na,1\n").await;
    assert!(nothing.contains("no column that the model needs beside its key 'customer'"), "{nothing}");
    let key = refused("custmer,age\na,1\n").await;
    assert!(key.contains("'customer' does not exist"), "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_read_again_and_no_request_sees_half_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.csv");
    let write = |generation: i64| {
        let rows: String = (0..2_000).map(|row| format!("c{row},{generation},{generation}.0\n")).collect();
        let new = folder.path().join("new");
        std::fs::write(&new, format!("customer,age,spend\n{rows}")).unwrap();
        std::fs::rename(&new, &path).unwrap();
    };
    write(0);
    let lookup = Lookup::load(settings(&path), &schema()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (lookup, done) = (lookup.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let mut rows: Vec<Value> =
                    (0..2_000).step_by(50).map(|row| json!({"customer": format!("c{row}")})).collect();
                assert!(lookup.fill(&mut rows).unwrap().is_empty());
                let generation = rows[0]["age"].as_i64().unwrap();
                assert!(generation >= last, "an old table came back");
                last = generation;
                for row in &rows {
                    assert_eq!((row["age"].as_i64(), row["spend"].as_f64()), (Some(last), Some(last as f64)));
                }
            }
            last
        })
    };
    for generation in 1..40 {
        write(generation);
        lookup.refresh().await.unwrap();
    }
    // Without being asked.
    write(40);
    until(|| lookup.state().refreshes == 40).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    done.store(true, Ordering::Relaxed);
    assert_eq!(reader.join().unwrap(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_leaves_the_last_good_table_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.csv");
    std::fs::write(&path, TABLE).unwrap();
    let lookup = Lookup::load(settings(&path), &schema()).await.unwrap();
    let age = || {
        let mut rows = [json!({"customer": "007"})];
        lookup.fill(&mut rows).unwrap();
        rows[0]["age"].clone()
    };
    for bad in ["customer,age\n007,1\n007,2\n", "customer,age\n007,old\n", ""] {
        std::fs::write(&path, bad).unwrap();
        assert!(lookup.refresh().await.is_err());
        assert_eq!((age(), lookup.state().refreshes), (json!(41), 0));
        assert!(lookup.state().last_error.is_some());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(lookup.refresh().await.is_err());
    assert_eq!(age(), json!(41));
    std::fs::write(&path, "customer,age\n007,42\n").unwrap();
    until(|| lookup.state().refreshes == 1).await;
    assert_eq!((age(), lookup.state().last_error), (json!(42), None));
}

/// The same table as [`TABLE`] in SQL of both dialects.
const SQL: &str = "CREATE TABLE customers (customer TEXT, age BIGINT, spend DOUBLE PRECISION, f0 REAL, city TEXT, vip BOOLEAN, since DATE);
    INSERT INTO customers VALUES ('007', 41, 0.1, 0.1, 'Köln', TRUE, '2024-02-29');
    INSERT INTO customers VALUES ('c2', 9007199254740993, NULL, -3, NULL, FALSE, NULL);";

async fn from_sql(url: &str) -> Lookup {
    let query = "SELECT * FROM customers -- every one of them\n;".to_owned();
    let source = LookupSource::Sql { url: url.into(), query };
    let settings = LookupSettings { source, key: "customer".into(), refresh: Some(Duration::from_secs(1)) };
    Lookup::load(settings, &schema()).await.unwrap()
}

async fn check_sql(lookup: &Lookup) {
    let mut rows = [json!({"customer": "007"}), json!({"customer": "c2"})];
    assert!(lookup.fill(&mut rows).unwrap().is_empty());
    let (batch, errors) = json_rows_to_batch(&rows, &schema()).unwrap();
    assert_eq!(errors, []);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[41, 9_007_199_254_740_993]);
    assert_eq!(rows[0]["spend"], json!(0.1));
    assert_eq!(batch.column(2).as_primitive::<Float32Type>().value(0).to_bits(), 0.1f32.to_bits());
    assert_eq!(
        (&rows[0]["city"], &rows[0]["vip"], &rows[0]["since"]),
        (&json!("Köln"), &json!(true), &json!("2024-02-29"))
    );
    assert!(rows[1]["city"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_on_sqlite_is_a_table_and_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("crm.db").display().to_string();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&url).create_if_missing(true);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(SQL).execute(&mut connection).await.unwrap();
    let lookup = from_sql(&url).await;
    check_sql(&lookup).await;

    sqlx::raw_sql("UPDATE customers SET age = 42 WHERE customer = '007'").execute(&mut connection).await.unwrap();
    until(|| {
        let mut rows = [json!({"customer": "007"})];
        lookup.fill(&mut rows).unwrap();
        rows[0]["age"] == json!(42)
    })
    .await;

    // A query cannot write.
    let query = "DELETE FROM customers RETURNING *".to_owned();
    let source = LookupSource::Sql { url, query };
    let told = Lookup::load(LookupSettings { source, key: "customer".into(), refresh: None }, &schema()).await;
    assert!(matches!(told, Err(StoreError::ReadOnly { .. })), "{:?}", told.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_on_postgresql_is_a_table() {
    let Ok(server) = std::env::var("IMPACTIQ_TEST_POSTGRES") else {
        eprintln!("NOT TESTED: look-ups from PostgreSQL; run `.ci/postgres cargo test --release -p impactiq-store`");
        return;
    };
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let name = format!("lookup_{}", std::process::id());
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(SQL).execute(&mut connection).await.unwrap();
    check_sql(&from_sql(&url).await).await;
    let query = "DELETE FROM customers RETURNING *".to_owned();
    let source = LookupSource::Sql { url, query };
    assert!(Lookup::load(LookupSettings { source, key: "customer".into(), refresh: None }, &schema()).await.is_err());
}
