//! Data that cannot be used: the file, the row, the column and the value are named.

use std::io::Write;

use crate::harness::{Folder, config, line, trial};

const CHECK: &[&str] = &["check", "-c", "config.yaml"];

/// The trial with one field of one row (counted from 1) replaced.
fn with_field(row: usize, column: &str, value: &str) -> String {
    let text = trial(400);
    let index = ["id", "x", "city", "t", "y"].iter().position(|name| *name == column).unwrap();
    let lines = text.lines().enumerate().map(|(number, line)| {
        if number != row {
            return line.to_owned();
        }
        let mut fields: Vec<&str> = line.split(',').collect();
        fields[index] = value;
        fields.join(",")
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The trial with a column made of something else.
fn with_column(column: &str, value: impl Fn(usize) -> String) -> String {
    let index = ["id", "x", "city", "t", "y"].iter().position(|name| *name == column).unwrap();
    let text = trial(400);
    let lines = text.lines().enumerate().map(|(number, line)| {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        if number > 0 {
            fields[index] = value(number);
        }
        fields.join(",")
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[track_caller]
fn refused_data(name: &str, content: impl AsRef<[u8]>, named: &[&str]) {
    let folder = Folder::with_trial();
    folder.write("trial.csv", content);
    folder.refused(name, CHECK, named);
}

#[test]
fn one_valued_treatment() {
    refused_data("one_valued_treatment", with_column("t", |_| "1".into()), &["'t'", "treatment", "trial.csv"]);
}

#[test]
fn empty_treatment() {
    refused_data("empty_treatment", with_column("t", |_| String::new()), &["'t'", "trial.csv"]);
}

#[test]
fn missing_treatment_value() {
    refused_data("missing_treatment_value", with_field(17, "t", ""), &["'t'", "row 17", "trial.csv, line 18"]);
}

#[test]
fn nan_treatment_value() {
    refused_data("nan_treatment_value", with_field(17, "t", "NaN"), &["'t'", "row 17", "trial.csv, line 18"]);
}

#[test]
fn treatment_of_many_values() {
    refused_data("treatment_of_many_values", with_column("t", |row| row.to_string()), &["'t'", "400"]);
}

#[test]
fn missing_outcome_value() {
    refused_data("missing_outcome_value", with_field(5, "y", ""), &["'y'", "row 5", "trial.csv, line 6"]);
}

#[test]
fn nan_outcome_value() {
    refused_data("nan_outcome_value", with_field(5, "y", "nan"), &["'y'", "row 5", "trial.csv, line 6"]);
}

#[test]
fn text_outcome() {
    refused_data("text_outcome", with_field(9, "y", "bought"), &["'y'", "bought", "9", "trial.csv"]);
}

#[test]
fn constant_outcome() {
    refused_data("constant_outcome", with_column("y", |_| "0".into()), &["'y'", "'0'", "trial.csv"]);
}

#[test]
fn infinite_outcome() {
    refused_data("infinite_outcome", with_field(30, "y", "inf"), &["'y'", "30", "inf", "trial.csv"]);
}

#[test]
fn infinite_feature() {
    refused_data("infinite_feature", with_field(31, "x", "-inf"), &["'x'", "row 31", "inf", "trial.csv"]);
}

#[test]
fn infinite_derived_feature() {
    let folder = Folder::with_trial();
    folder.write("trial.csv", with_field(12, "x", "0"));
    folder.write("config.yaml", config("features: { q: \"1.0 / x\" }\n"));
    folder.refused("infinite_derived_feature", CHECK, &["'q'", "row 12", "trial.csv"]);
}

#[test]
fn bad_utf8() {
    let mut bytes = trial(400).into_bytes();
    let at = bytes.windows(4).rposition(|w| w == b"Oulu").unwrap();
    bytes[at] = 0xff;
    refused_data("bad_utf8", bytes, &["trial.csv", "UTF-8", "line"]);
}

#[test]
fn byte_order_mark_and_windows_line_ends_are_read_like_any_file() {
    let folder = Folder::with_trial();
    let plain = folder.run(CHECK).succeeded();
    let mut bytes = vec![0xef, 0xbb, 0xbf];
    bytes.extend(trial(400).replace('\n', "\r\n").into_bytes());
    folder.write("trial.csv", bytes);
    assert_eq!(folder.run(CHECK).succeeded().stdout, plain.stdout);
}

#[test]
fn wrong_delimiter() {
    let folder = Folder::with_trial();
    folder.write("config.yaml", config("").replace("path: trial.csv", "path: trial.csv\n  delimiter: \";\""));
    folder.refused("wrong_delimiter", CHECK, &["trial.csv", ";"]);
}

#[test]
fn ragged_row() {
    let text = trial(400).replacen("c20,", "c20,extra,", 1);
    refused_data("ragged_row", text, &["trial.csv", "line 22", "6 fields", "5"]);
}

#[test]
fn duplicate_header() {
    refused_data("duplicate_header", trial(400).replacen("id,x,city", "id,x,x", 1), &["'x'", "trial.csv"]);
}

#[test]
fn unclosed_quote() {
    refused_data("unclosed_quote", trial(400).replacen("c350,", "\"c350,", 1), &["trial.csv", "line 352", "quote"]);
}

#[test]
fn truncated_gzip() {
    let folder = Folder::with_trial();
    folder.run(&["synth", "clustered", "-n", "3000", "-o", "trial.csv.gz"]).succeeded();
    let bytes = folder.read("trial.csv.gz");
    folder.write("trial.csv.gz", &bytes[..bytes.len() / 2]);
    let text = config("").replace("trial.csv", "trial.csv.gz").replace("t\n", "treatment\n").replace("  id: id\n", "");
    folder.write("config.yaml", text);
    folder.refused("truncated_gzip", CHECK, &["trial.csv.gz", "gzip"]);
}

#[test]
fn truncated_parquet() {
    let folder = Folder::with_trial();
    folder.run(&["synth", "criteo", "-n", "3000", "-o", "trial.parquet"]).succeeded();
    let bytes = folder.read("trial.parquet");
    folder.write("trial.parquet", &bytes[..bytes.len() - 100]);
    folder.write("config.yaml", config("").replace("trial.csv", "trial.parquet"));
    folder.refused("truncated_parquet", CHECK, &["trial.parquet", "Parquet"]);
}

#[test]
fn text_with_a_parquet_name() {
    let folder = Folder::with_trial();
    folder.write("trial.parquet", trial(10));
    folder.write("config.yaml", config("").replace("trial.csv", "trial.parquet"));
    folder.refused("text_with_a_parquet_name", CHECK, &["trial.parquet"]);
}

#[test]
fn broken_json_line() {
    let folder = Folder::with_trial();
    let mut text: String =
        (0..100).map(|i| format!("{{\"x\": {i}, \"t\": {}, \"y\": {}}}\n", i % 2, i % 3 % 2)).collect();
    text.push_str("{\"x\": 1, \"t\":\n");
    folder.write("trial.ndjson", text);
    folder.write("config.yaml", config("").replace("trial.csv", "trial.ndjson").replace("  id: id\n", ""));
    folder.refused("broken_json_line", CHECK, &["trial.ndjson", "line 101"]);
}

#[test]
fn empty_file() {
    refused_data("empty_file", "", &["trial.csv", "empty"]);
}

#[test]
fn header_without_rows() {
    refused_data("header_without_rows", "id,x,city,t,y\n", &["trial.csv"]);
}

#[test]
fn missing_file() {
    let folder = Folder::with_trial();
    folder.write("config.yaml", config("").replace("trial.csv", "trail.csv"));
    folder.refused("missing_file", CHECK, &["trail.csv"]);
}

#[test]
fn folder_without_data() {
    let folder = Folder::with_trial();
    std::fs::create_dir(folder.path("empty")).unwrap();
    folder.write("config.yaml", config("").replace("trial.csv", "empty"));
    folder.refused("folder_without_data", CHECK, &["empty"]);
}

#[test]
fn unknown_format() {
    let folder = Folder::with_trial();
    folder.write("trial.xlsx", trial(10));
    folder.write("config.yaml", config("").replace("trial.csv", "trial.xlsx"));
    folder.refused("unknown_format", CHECK, &["trial.xlsx"]);
}

#[test]
fn files_of_other_columns() {
    let folder = Folder::with_trial();
    std::fs::create_dir(folder.path("parts")).unwrap();
    folder.write("parts/a.csv", trial(200));
    let other: String = (200..400).map(|row| line(row).replacen(&format!("c{row},"), "", 1)).collect();
    folder.write("parts/b.csv", format!("x,city,t,y\n{other}"));
    folder.write("config.yaml", config("").replace("trial.csv", "parts"));
    folder.refused("files_of_other_columns", CHECK, &["a.csv", "b.csv", "id"]);
}

#[test]
fn row_numbers_run_over_files_and_lines_within() {
    let folder = Folder::with_trial();
    std::fs::create_dir(folder.path("parts")).unwrap();
    let text = with_field(300, "y", "");
    let (head, tail) = text.split_at(text.match_indices('\n').nth(250).unwrap().0 + 1);
    folder.write("parts/a.csv", head);
    let mut second = std::fs::File::create(folder.path("parts/b.csv")).unwrap();
    write!(second, "id,x,city,t,y\n{tail}").unwrap();
    drop(second);
    folder.write("config.yaml", config("").replace("trial.csv", "parts"));
    folder.refused("row_numbers_run_over_files_and_lines_within", CHECK, &["row 300", "b.csv, line 51"]);
}

#[test]
fn negative_weight() {
    let folder = Folder::with_trial();
    folder.write("trial.csv", with_field(40, "x", "-1"));
    folder.write("config.yaml", config("").replace("  id: id\n", "  id: id\n  weight: x\n"));
    folder.refused("negative_weight", CHECK, &["'x'", "-1", "row 40", "line 41"]);
}

#[test]
fn a_column_that_the_treatment_moves() {
    let folder = Folder::with_trial();
    let text = trial(2000);
    let lines = text.lines().enumerate().map(|(number, line)| match number {
        0 => format!("{line},banner"),
        _ => {
            let treated = line.split(',').nth(3) == Some("1");
            format!("{line},{}", u8::from(treated && number % 3 == 0))
        }
    });
    folder.write("trial.csv", lines.collect::<Vec<_>>().join("\n") + "\n");
    let arguments = ["train", "-c", "config.yaml", "-o", "model"];
    folder.refused(
        "a_column_that_the_treatment_moves",
        &arguments,
        &["'banner'", "post-treatment", "post_treatment: [banner]"],
    );
    // `check` reports the same as a failed gate.
    let checked = folder.run(CHECK);
    assert_eq!(checked.code, 1, "{}", checked.shown());
    assert!(checked.stdout.contains("FAILED  post treatment"), "{}", checked.shown());
}
