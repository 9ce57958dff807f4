//! What a user can get wrong is told with file, line, row, column and value, and a hint.

use std::io::Write;

use impactiq_data::{Field, RawType, Schema, Silent, Watch};
use impactiq_io::{Batches, Derived, IoError, PassThrough, Source, read, read_schema};

use crate::files::{Folder, mixed, names};

/// The error of reading everything, without the folder's name; it must have a hint.
fn told(folder: &Folder, source: &Source) -> String {
    let columns = match read_schema(source) {
        Ok(schema) => schema.schema.names(),
        Err(error) => return clean(folder, &error),
    };
    match read(source, &columns, &Silent) {
        Ok(_) => "no error".into(),
        Err(error) => clean(folder, &error),
    }
}

fn clean(folder: &Folder, error: &IoError) -> String {
    let text = error.to_string();
    assert!(error.hint().is_some(), "no hint: {text}");
    assert!(text.chars().next().is_some_and(|c| !c.is_uppercase()), "{text}");
    text.replace(&format!("{}/", folder.path("").display().to_string().trim_end_matches('/')), "")
}

#[test]
fn broken_csv_is_told_with_its_place() {
    let folder = Folder::new();
    let of = |bytes: &[u8]| told(&folder, &folder.file("a.csv", bytes));
    assert_eq!(of(b""), "a.csv is empty");
    assert_eq!(of(b"\n\n"), "a.csv is empty");
    assert_eq!(of(b"a,b\n"), "a.csv has a header but no rows");
    assert_eq!(of(b"a,b,a\n1,2,3\n"), "column 'a' stands more than once in the header of a.csv");
    assert_eq!(of(b"a,b\n1,2\n3,4,5\n"), "row 2, line 3 of a.csv: 3 fields where the header has 2");
    assert_eq!(of(b"a,b\n1,2\n3\n"), "row 2, line 3 of a.csv: 1 fields where the header has 2");
    assert_eq!(of(b"a,b\n1,x\xFFy\n"), "column 'b', line 2 of a.csv: 'x\u{FFFD}y' is not UTF-8");
    assert_eq!(of(b"a,b\xFF\n1,2\n"), "line 1 of a.csv: 'b\u{FFFD}' is not UTF-8");
    assert_eq!(of(b"\xFF\xFEa\0"), "line 1 of a.csv: 'UTF-16 text' is not UTF-8");
    assert_eq!(of(b"a,b\n1,\"2\n"), "column 'b', line 2 of a.csv: a quoted field opens here and never closes");
    assert_eq!(
        of(b"a,b\n1,\"2\"3\n"),
        "column 'b', line 2 of a.csv: '3' follows a closing quote where a delimiter or the end of the line was expected"
    );
    let source = Source { delimiter: Some(b','), ..folder.file("a.csv", "a;b\n1;2\n") };
    assert_eq!(told(&folder, &source), "a.csv has one column 'a;b' when split at ','");
}

#[test]
fn windows_files_and_byte_order_marks_are_fine() {
    let folder = Folder::new();
    let source = folder.file("w.csv", b"\xEF\xBB\xBFa;b\r\n1;\"x\r\ny\"\r\n2;\r\n");
    let loaded = read(&source, &["a".into(), "b".into()], &Silent).unwrap();
    assert_eq!(loaded.table.column("a").unwrap().numbers().unwrap(), [1.0, 2.0]);
    assert_eq!(loaded.table.column("b").unwrap().text(0).unwrap(), "x\r\ny");
    assert_eq!(loaded.table.column("b").unwrap().text(1), None);
}

#[test]
fn values_that_do_not_fit_are_told_with_row_column_and_value() {
    let folder = Folder::new();
    let mut text = String::from("a,b\n");
    (0..100_000).for_each(|row| text.push_str(&format!("{row},1.5\n")));
    text.push_str("7,1.5\noops,inf\n");
    let typed = Schema::new(vec![Field { name: "a".into(), raw_type: RawType::Integer }]).unwrap();
    let source = Source { types: Some(typed), ..folder.file("v.csv", &text) };
    assert_eq!(told(&folder, &source), "row 100002, column 'a', line 100003 of v.csv: 'oops' is not a whole number");
    let infinite = read(&source, &["b".into()], &Silent).unwrap_err();
    assert_eq!(clean(&folder, &infinite), "row 100002, column 'b', line 100003 of v.csv: the value is infinite (inf)");
    // Rows that are filtered out may hold anything finite or not.
    let filtered = Source { filter: Some("b < 1e300".into()), types: None, ..source };
    assert_eq!(read(&filtered, &["b".into()], &Silent).unwrap().row_ids.len(), 100_001);
}

#[test]
fn a_ragged_row_has_its_number_whether_types_were_guessed_once_or_twice() {
    let folder = Folder::new();
    let text = |late: &str| {
        let mut text = String::from("a,b\n");
        (0..900_000).for_each(|row| text.push_str(&format!("{row},1\n")));
        text + late + "1,2,3\n"
    };
    let expected = |row: u64| format!("row {row}, line {} of r.csv: 3 fields where the header has 2", row + 1);
    assert_eq!(told(&folder, &folder.file("r.csv", text(""))), expected(900_001));
    assert_eq!(told(&folder, &folder.file("r.csv", text("x,1\n"))), expected(900_002));
}

#[test]
fn files_with_a_header_only_do_not_end_a_stream() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("h")).unwrap();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        folder.file(&format!("h/{name}.csv"), if name == "j" { "x\n1\n" } else { "x\n" });
    }
    let source = folder.source("h");
    let model = read_schema(&source).unwrap().schema;
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let rows: usize = one_thread.install(|| {
        Batches::open(&source, &model, &PassThrough::All).unwrap().map(|batch| batch.unwrap().rows.num_rows()).sum()
    });
    assert_eq!(rows, 1);
    assert_eq!(read(&source, &["x".into()], &Silent).unwrap().row_ids, [0]);
}

#[test]
fn infinite_values_have_the_same_row_in_every_format() {
    use arrow::array::{ArrayRef, Float64Array, RecordBatch};
    let folder = Folder::new();
    let mut values: Vec<f64> = (0..90_000).map(f64::from).collect();
    values[80_000] = f64::INFINITY;
    let batch =
        RecordBatch::try_from_iter([("x", std::sync::Arc::new(Float64Array::from(values)) as ArrayRef)]).unwrap();
    let parquet = folder.batch("x.parquet", &batch);
    let error = read(&parquet, &["x".into()], &Silent).unwrap_err();
    assert_eq!(clean(&folder, &error), "row 80001, column 'x', file x.parquet: the value is infinite (inf)");
    std::fs::create_dir(folder.path("parts")).unwrap();
    folder.batch("parts/a.parquet", &batch.slice(0, 70_000));
    folder.batch("parts/b.parquet", &batch.slice(70_000, 20_000));
    let error = read(&folder.source("parts"), &["x".into()], &Silent).unwrap_err();
    assert_eq!(
        clean(&folder, &error),
        "row 80001, column 'x', row 10001 of parts/b.parquet: the value is infinite (inf)"
    );
}

#[test]
fn a_division_by_zero_in_a_feature_is_told_with_its_row() {
    let folder = Folder::new();
    let derived = |sql: &str| vec![Derived { name: "d".into(), sql: sql.into() }];
    let source = folder.file("d.csv", "a,b\n1,2.0\n0,4.5\n");
    let of = |sql: &str| {
        let source = Source { derived: derived(sql), ..source.clone() };
        let error = read(&source, &["d".into()], &Silent).unwrap_err();
        (clean(&folder, &error), error.hint().unwrap())
    };
    assert_eq!(of("10 % a").0, "feature 'd', row 2, line 3 of d.csv: divide by zero error");
    let (text, hint) = of("b / a");
    assert_eq!(text, "row 2, column 'd', line 3 of d.csv: the value is infinite (inf)");
    assert!(hint.contains("NULLIF"), "{hint}");
}

#[test]
fn sql_is_checked_before_rows_are_read() {
    let folder = Folder::new();
    let source = folder.file("s.csv", "age,channel\n30,Web\n");
    let of = |sql: &str| {
        let source = Source { derived: vec![Derived { name: "d".into(), sql: sql.into() }], ..source.clone() };
        clean(&folder, &read(&source, &["d".into()], &Silent).unwrap_err())
    };
    assert_eq!(of("agee * 2"), "feature 'd': column 'agee' does not exist");
    assert_eq!(of("rond(age)"), "feature 'd': function 'rond' does not exist");
    assert_eq!(of("random() * age"), "feature 'd': `random()` gives another value on every run");
    assert_eq!(of("age - avg(age)"), "feature 'd': `avg(age)` is an aggregate over many rows");
    assert_eq!(of("(SELECT max(age) FROM t)"), "feature 'd': `SELECT max(age) FROM t` is a subquery");
    assert!(of("age +").starts_with("feature 'd': `age +` is not a valid expression: "), "{}", of("age +"));
    assert!(of("age + channel").starts_with("feature 'd': "), "{}", of("age + channel"));
    let filter = |sql: &str| {
        let source = Source { filter: Some(sql.into()), ..source.clone() };
        clean(&folder, &read(&source, &["age".into()], &Silent).unwrap_err())
    };
    assert_eq!(filter("age > 99"), "no rows are left of 1 after where: age > 99");
    assert_eq!(filter("age * 2"), "where: `age * 2` gives whole numbers; a condition that is true or false is needed");
}

#[test]
fn missing_columns_are_answered_with_the_closest() {
    let folder = Folder::new();
    let source = folder.file("m.csv", "age,channel\n30,Web\n");
    let error = read(&source, &["chanel".into()], &Silent).unwrap_err();
    assert_eq!(clean(&folder, &error), "column 'chanel' does not exist");
    assert_eq!(error.hint().unwrap(), "did you mean 'channel'?");
    let model = Schema::new(vec![Field { name: "aged".into(), raw_type: RawType::Float64 }]).unwrap();
    let error = Batches::open(&source, &model, &PassThrough::All).err().unwrap();
    assert_eq!(error.hint().unwrap(), "did you mean 'age'?");
}

#[test]
fn files_of_one_source_must_agree() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("d")).unwrap();
    folder.file("d/a.csv", "x,y\n1,2\n");
    folder.file("d/b.csv", "x,z\n1,2\n");
    assert_eq!(
        told(&folder, &folder.source("d")),
        "d/b.csv does not have the columns of d/a.csv: it lacks y and it adds z"
    );
    std::fs::remove_file(folder.path("d/b.csv")).unwrap();
    folder.file("d/b.ndjson", "{\"x\": 1}\n");
    assert_eq!(told(&folder, &folder.source("d")), "d/a.csv is CSV but d/b.ndjson is NDJSON");

    std::fs::create_dir(folder.path("p")).unwrap();
    let batch = mixed(10);
    folder.batch("p/a.parquet", &batch.project(&[1]).unwrap());
    let renamed = arrow::array::RecordBatch::try_from_iter([("age", batch.column(5).clone())]).unwrap();
    folder.batch("p/b.parquet", &renamed);
    assert_eq!(
        told(&folder, &folder.source("p")),
        "column 'age' is text in p/b.parquet but whole numbers in p/a.parquet"
    );
}

#[test]
fn broken_json_lines_are_told_with_their_line() {
    let folder = Folder::new();
    let of = |text: &str| told(&folder, &folder.file("j.ndjson", text));
    assert!(of("{\"a\": 1}\n{\"a\": \n").starts_with("line 2 of j.ndjson: EOF"), "{}", of("{\"a\": 1}\n{\"a\": \n"));
    assert!(of("[{\"a\": 1}]\n").starts_with("line 1 of j.ndjson: invalid type"), "{}", of("[{\"a\": 1}]\n"));
    assert_eq!(of("{\"a\": 1, \"a\": 2}\n"), "line 1 of j.ndjson: the key 'a' stands twice at character 12");
    let nested = folder.file("n.ndjson", "{\"a\": [1], \"b\": 2}\n");
    assert_eq!(told(&folder, &nested), "no error");
    let error = read(&nested, &["a".into()], &Silent).unwrap_err();
    assert_eq!(
        clean(&folder, &error),
        "column 'a' of n.ndjson is a list or an object, which is neither a number nor text"
    );
}

#[test]
fn truncated_files_are_told_apart_from_damaged_ones() {
    let folder = Folder::new();
    let batch = mixed(3000);
    for name in ["t.csv.gz", "t.csv.zst", "t.ndjson.gz", "t.parquet"] {
        let source = folder.batch(name, &batch);
        let whole = std::fs::read(folder.path(name)).unwrap();
        std::fs::write(folder.path(name), &whole[..whole.len() / 2]).unwrap();
        let text = told(&folder, &source);
        assert!(text.starts_with(&format!("{name} ends in the middle")), "{text}");
    }
    assert!(told(&folder, &folder.file("x.parquet", b"a,b\n1,2\n")).starts_with("x.parquet is not readable Parquet"));
    assert!(
        told(&folder, &folder.file("x.csv.gz", b"a,b\n1,2\n3,4\n5,6\n")).starts_with("x.csv.gz is not readable gzip")
    );
    assert!(
        told(&folder, &folder.file("x.csv.zst", b"a,b\n1,2\n3,4\n5,6\n"))
            .starts_with("x.csv.zst is not readable Zstandard")
    );
}

#[test]
fn paths_that_lead_nowhere_are_told() {
    let folder = Folder::new();
    assert_eq!(
        told(&folder, &folder.source("no.csv")),
        "no.csv cannot be opened: No such file or directory (os error 2)"
    );
    assert_eq!(told(&folder, &folder.source("*.csv")), "'*.csv' matches no data file");
    assert_eq!(told(&folder, &folder.file("data.xlsx", b"PK")), "the format of data.xlsx is not known");
    std::fs::create_dir(folder.path("empty")).unwrap();
    assert_eq!(told(&folder, &folder.source("empty")), "'empty' matches no data file");
}

#[test]
fn whoever_watches_can_stop_the_reading() {
    struct Stop;
    impl Watch for Stop {
        fn should_stop(&self) -> bool {
            true
        }
    }
    let folder = Folder::new();
    let batch = mixed(10);
    let source = folder.batch("s.csv", &batch);
    assert!(matches!(read(&source, &names(&batch), &Stop).unwrap_err(), IoError::Interrupted));
}

#[test]
fn a_row_too_long_to_be_one_is_refused_without_eating_memory() {
    let folder = Folder::new();
    let mut file = std::fs::File::create(folder.path("long.csv")).unwrap();
    file.write_all(b"a,b\n1,\"").unwrap();
    let chunk = vec![b'x'; 1 << 20];
    (0..70).for_each(|_| file.write_all(&chunk).unwrap());
    let error = read(&folder.source("long.csv"), &["a".into()], &Silent).unwrap_err();
    assert!(matches!(error, IoError::UnclosedQuote { .. }), "{error}");
    assert_eq!(clean(&folder, &error), "line 2 of long.csv: a quoted field opens here and never closes");
}
