//! Damaged and hostile bytes give errors, never panics or endless work.

use std::panic::{AssertUnwindSafe, catch_unwind};

use impactiq_data::{Seed, Silent};
use impactiq_io::{Batches, PassThrough, Source, read, read_schema};
use proptest::prelude::*;

use crate::files::{Folder, mixed};

/// Reads a file in every way; whatever comes of it must not be a panic.
fn survive(source: &Source) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        let Ok(raw) = read_schema(source) else { return };
        let _ = read(source, &raw.schema.names(), &Silent);
        if let Ok(batches) = Batches::open(source, &raw.schema, &PassThrough::All) {
            for batch in batches {
                if batch.is_err() {
                    break;
                }
            }
        }
    }))
    .is_ok()
}

#[test]
fn truncated_anywhere_a_file_is_an_error_or_shorter() {
    let folder = Folder::new();
    let batch = mixed(60);
    for name in ["t.csv", "t.csv.gz", "t.csv.zst", "t.ndjson", "t.ndjson.gz", "t.parquet"] {
        let source = folder.batch(name, &batch);
        let whole = std::fs::read(folder.path(name)).unwrap();
        let step = (whole.len() / 150).max(1);
        for end in (0..whole.len()).step_by(step) {
            std::fs::write(folder.path(name), &whole[..end]).unwrap();
            assert!(survive(&source), "{name} cut at {end}");
        }
    }
}

#[test]
fn damaged_anywhere_a_file_is_an_error_or_other_rows() {
    let folder = Folder::new();
    let batch = mixed(60);
    for name in ["d.csv", "d.csv.gz", "d.csv.zst", "d.ndjson", "d.parquet"] {
        let source = folder.batch(name, &batch);
        let whole = std::fs::read(folder.path(name)).unwrap();
        for round in 0..200u64 {
            let hash = Seed::new(7).hash(round);
            let mut bytes = whole.clone();
            let at = hash as usize % bytes.len();
            bytes[at] ^= (hash >> 40) as u8 | 1;
            std::fs::write(folder.path(name), &bytes).unwrap();
            assert!(survive(&source), "{name} damaged at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_format_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), format in 0..5usize) {
        let folder = Folder::new();
        let name = ["h.csv", "h.ndjson", "h.parquet", "h.csv.gz", "h.csv.zst"][format];
        prop_assert!(survive(&folder.file(name, &bytes)));
    }

    #[test]
    fn anything_like_csv_is_survived(text in "[ab1,;\"\n\r\t .-]{0,120}") {
        let folder = Folder::new();
        prop_assert!(survive(&folder.file("h.csv", text.as_bytes())));
    }

    #[test]
    fn anything_like_json_is_survived(text in "[{}\\[\\]\":,a1 \ntrue.e-]{0,80}") {
        let folder = Folder::new();
        prop_assert!(survive(&folder.file("h.ndjson", text.as_bytes())));
    }
}
