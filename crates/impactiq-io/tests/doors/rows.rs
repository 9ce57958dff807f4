//! Rows keep their order and their numbers, whatever they are packed in.

use arrow::array::AsArray;
use impactiq_data::{Column, Schema, Silent, Table};
use impactiq_io::{Batches, Derived, Loaded, PassThrough, RowError, Source, cast, read, read_schema, to_table};

use crate::files::{Folder, mixed, names};

fn in_threads<T: Send>(n: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(run)
}

/// Columns by name, their values as text.
type Values = Vec<(String, Vec<String>)>;

/// Columns as text, so that categories compare by value, and numbers by bits.
fn bits(table: &Table) -> Values {
    let text = |column: &Column| match column {
        Column::Number(values) => {
            values.iter().map(|v| format!("{:x}", if v.is_nan() { 0 } else { v.to_bits() })).collect()
        }
        Column::Category { .. } => {
            (0..column.len()).map(|row| column.view().text(row).unwrap_or_else(|| "∅".into())).collect()
        }
    };
    table.names().iter().cloned().zip(table.columns().iter().map(text)).collect()
}

/// Everything about a load but where it came from.
fn essence(loaded: &Loaded) -> (Values, Vec<u64>, u64) {
    (bits(&loaded.table), loaded.row_ids.clone(), loaded.n_rows_read)
}

#[test]
fn order_and_numbers_are_the_same_for_every_format_file_count_and_thread_count() {
    let n = 70_000;
    let folder = Folder::new();
    let batch = mixed(n);
    let columns = names(&batch);
    // Float32 is a type of Parquet and Arrow only; text files say so when asked for it.
    let typed = read_schema(&folder.batch("typed.parquet", &batch)).unwrap().schema;
    let filter = Some("age > 20 AND channel <> 'Web'".to_owned());
    let derived = vec![Derived { name: "ratio".into(), sql: "income / NULLIF(age, 0)".into() }];
    let mut wanted = columns.clone();
    wanted.push("ratio".into());

    let mut sources: Vec<Source> = Vec::new();
    for ending in ["csv", "csv.gz", "tsv.zst", "ndjson", "jsonl.gz", "parquet"] {
        sources.push(folder.batch(&format!("one.{ending}"), &batch));
        let parts = folder.path(&format!("parts-{}", ending.replace('.', "-")));
        std::fs::create_dir(&parts).unwrap();
        let cuts = [0, 1, 30_000, 30_001, n];
        for (index, cut) in cuts.windows(2).enumerate() {
            let name = format!("{}/part-{index}.{ending}", parts.file_name().unwrap().to_string_lossy());
            folder.batch(&name, &batch.slice(cut[0], cut[1] - cut[0]));
        }
        sources.push(Source { paths: vec![parts.to_string_lossy().into_owned()], ..Source::default() });
        sources.push(Source { paths: vec![format!("{}/*.{ending}", parts.display())], ..Source::default() });
    }
    let mut expected = None;
    for source in sources {
        let source = Source { filter: filter.clone(), derived: derived.clone(), types: Some(typed.clone()), ..source };
        for threads in [1, 2, 3] {
            let loaded = in_threads(threads, || read(&source, &wanted, &Silent)).unwrap_or_else(|e| panic!("{e}"));
            let found = essence(&loaded);
            assert_eq!(found.2, n as u64);
            match &expected {
                None => expected = Some(found),
                Some(expected) => assert!(*expected == found, "{:?} with {threads} threads", source.paths),
            }
        }
    }
    let (table, row_ids, _) = expected.unwrap();
    // The identifier is the row's number, so both tell whether rows kept their places.
    let ids: Vec<u64> =
        table[0].1.iter().map(|bits| f64::from_bits(u64::from_str_radix(bits, 16).unwrap()) as u64).collect();
    assert_eq!(ids, row_ids);
    assert!(row_ids.len() > 10_000 && row_ids.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn a_row_is_found_again_by_its_number() {
    let folder = Folder::new();
    folder.file("a.csv", "x,y\n1,\"two\nlines\"\n2,z\n\n3,\"w\"\n");
    folder.file("b.csv", "y,x\nq,4\n");
    let source = Source { filter: Some("x <> 2".into()), ..folder.source("") };
    let loaded = read(&source, &["x".into()], &Silent).unwrap();
    assert_eq!(loaded.row_ids, [0, 2, 3]);
    let place = |row: u64| {
        let at = loaded.locate(row).unwrap();
        (at.path.file_name().unwrap().to_string_lossy().into_owned(), at.row, at.line.unwrap())
    };
    assert_eq!(place(0), ("a.csv".into(), 1, 2));
    assert_eq!(place(1), ("a.csv".into(), 2, 4));
    assert_eq!(place(2), ("a.csv".into(), 3, 6));
    assert_eq!(place(3), ("b.csv".into(), 1, 2));
    assert_eq!(loaded.locate(4), None);
}

#[test]
fn only_what_a_model_needs_is_in_the_schema() {
    let folder = Folder::new();
    let source = Source {
        filter: Some("w > 0".into()),
        derived: vec![
            Derived { name: "ab".into(), sql: "a * b".into() },
            Derived { name: "twice".into(), sql: "ab * 2".into() },
            Derived { name: "unused".into(), sql: "w + 1".into() },
        ],
        ..folder.file("x.csv", "w,a,b,c\n1,2,3.5,x\n0,1,1,y\n5,7,2,z\n")
    };
    let loaded = read(&source, &["twice".into(), "c".into()], &Silent).unwrap();
    assert_eq!(loaded.table.names(), ["twice", "c"]);
    assert_eq!(loaded.table.column("twice").unwrap().numbers().unwrap(), [14.0, 28.0]);
    assert_eq!(loaded.schema.names(), ["a", "b", "c"]);
    assert_eq!(loaded.row_ids, [0, 2]);
}

#[test]
fn types_are_those_of_all_rows_not_of_the_first() {
    let folder = Folder::new();
    let late = |last: &str| {
        let mut text = String::from("a,b\n");
        (0..200_000).for_each(|row| text.push_str(&format!("{row},7\n")));
        text.push_str(last);
        let loaded = read(&folder.file("late.csv", text), &["a".into(), "b".into()], &Silent).unwrap();
        loaded.schema.fields().iter().map(|field| format!("{:?}", field.raw_type)).collect::<Vec<_>>()
    };
    assert_eq!(late("1,2\n"), ["Integer", "Integer"]);
    assert_eq!(late("1,2.5\n"), ["Integer", "Float64"]);
    assert_eq!(late("x,NA\n"), ["Text", "Integer"]);
    assert_eq!(late("1e3,true\n"), ["Float64", "Text"]);
    // Nothing but missing values at first tells nothing.
    let mut text = String::from("a\n");
    (0..600_000).for_each(|_| text.push_str("NA\n"));
    text.push_str("Namibia\n");
    let loaded = read(&folder.file("blank.csv", text), &["a".into()], &Silent).unwrap();
    assert!(matches!(&loaded.table.columns()[0], Column::Category { levels, .. } if levels == &["NA", "Namibia"]));
}

#[test]
fn a_key_that_appears_late_is_found() {
    let folder = Folder::new();
    let mut text = String::new();
    (0..100_000).for_each(|row| text.push_str(&format!("{{\"a\": {row}}}\n")));
    text.push_str("{\"b\": 2.5, \"a\": 1}\n");
    let source = folder.file("late.ndjson", text);
    let derived = vec![Derived { name: "twice".into(), sql: "b * 2".into() }];
    let twice = read(&Source { derived, ..source.clone() }, &["twice".into()], &Silent).unwrap();
    assert_eq!(twice.table.column("twice").unwrap().numbers().unwrap()[100_000], 5.0);
    let loaded = read(&source, &["b".into()], &Silent).unwrap();
    let b = loaded.table.column("b").unwrap().numbers().unwrap();
    assert_eq!((b.len(), b[100_000]), (100_001, 2.5));
    assert!(b[0].is_nan());
}

#[test]
fn a_stream_has_every_row_once_and_leaves_identifiers_alone() {
    let folder = Folder::new();
    let mut text = String::from("id,x,y\n");
    (0..150_000).for_each(|row| text.push_str(&format!("{row:09},{}.5,{row}\n", row % 10)));
    text.push_str("last,oops,1\n");
    let source = folder.file("s.csv", text);
    let model = Schema::new(vec![read_schema(&source).unwrap().schema.field("x").unwrap().clone()]).unwrap();
    let mut rows = 0;
    let mut errors: Vec<(u64, RowError)> = Vec::new();
    let batches = Batches::open(&source, &model, &PassThrough::Only(vec!["id".into()])).unwrap();
    let shown: Vec<String> = batches.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(shown, ["id", "x"]);
    for batch in batches {
        let batch = batch.unwrap();
        assert!(batch.rows.num_rows() <= 65_536);
        let ids = batch.rows.column(0).as_string::<i32>();
        for (row, id) in batch.row_ids.iter().enumerate() {
            assert_eq!(*id, rows);
            assert!(ids.value(row) == format!("{rows:09}") || ids.value(row) == "last");
            rows += 1;
        }
        errors.extend(batch.errors.iter().map(|error| (batch.row_ids[error.row as usize], error.clone())));
    }
    assert_eq!(rows, 150_001);
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].0, errors[0].1.value.as_str()), (150_000, "oops"));
}

#[test]
fn a_filtered_stream_keeps_the_numbers_of_the_rows() {
    let folder = Folder::new();
    let batch = mixed(1000);
    for name in ["f.csv", "f.parquet", "f.ndjson"] {
        let source = Source { filter: Some("age < 30".into()), ..folder.batch(name, &batch) };
        let model = read_schema(&source).unwrap().schema.project(&["income".into()]).unwrap();
        let ids = |source: &Source| -> Vec<u64> {
            Batches::open(source, &model, &PassThrough::Only(vec!["id".into()]))
                .unwrap()
                .flat_map(|batch| batch.unwrap().row_ids)
                .collect()
        };
        let loaded = read(&source, &["id".into()], &Silent).unwrap();
        assert_eq!(ids(&source), loaded.row_ids, "{name}");
    }
}

#[test]
fn a_stream_gives_a_model_the_bits_it_was_trained_on() {
    let folder = Folder::new();
    let batch = mixed(5000);
    let typed = read_schema(&folder.batch("a.parquet", &batch)).unwrap().schema;
    let columns = names(&batch);
    let expected = bits(&to_table(&batch, &columns).unwrap());
    for name in ["a.parquet", "b.csv", "b.csv.zst", "b.ndjson"] {
        let source = folder.batch(name, &batch);
        let mut found: Option<Values> = None;
        for item in Batches::open(&source, &typed, &PassThrough::default()).unwrap() {
            let item = item.unwrap();
            assert_eq!(item.errors, []);
            let (again, errors) = cast(&item.rows, &typed).unwrap();
            assert_eq!(errors, []);
            let part = bits(&to_table(&again, &columns).unwrap());
            match &mut found {
                None => found = Some(part),
                Some(all) => all.iter_mut().zip(part).for_each(|(all, part)| all.1.extend(part.1)),
            }
        }
        assert!(found.unwrap() == expected, "{name}");
    }
}
