//! `cargo xtask golden [--check]`: input and config in, the predictions of record out.
//!
//! Every folder of tests/golden holds config.yaml, input.csv and predictions.csv. The
//! binary trains on the input and scores it; numbers must agree to 1e-9. Rewriting is a
//! decision that stands in the CHANGELOG.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

const TOLERANCE: f64 = 1e-9;

/// Rewrites the predictions of record, or compares with them.
pub fn run(check: bool) -> Result<()> {
    let folder = workspace::root()?.join("tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.join("config.yaml").is_file()))
        .collect();
    cases.sort();
    if cases.is_empty() {
        bail!("tests/golden holds no case");
    }
    let binary = workspace::binary()?;
    let mut failures = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let scratch = workspace::target()?.join("golden").join(&name);
        let found = predictions(&binary, case, &scratch)?;
        let record = case.join("predictions.csv");
        if !check {
            std::fs::copy(&found, &record).with_context(|| format!("cannot write {}", record.display()))?;
            println!("golden: {name} written");
            continue;
        }
        let read =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        match compare(&read(&record)?, &read(&found)?) {
            Ok(largest) => println!("golden: {name} agrees, largest difference {largest:.1e}"),
            Err(reason) => failures.push(format!("{name}: {reason}")),
        }
    }
    if !failures.is_empty() {
        bail!(
            "golden predictions changed\n  {}\nhint: if this is meant, run `cargo xtask golden`, and say why in the CHANGELOG",
            failures.join("\n  ")
        );
    }
    Ok(())
}

/// Trains on a case's input and scores it; gives the file of scores.
fn predictions(binary: &Path, case: &Path, scratch: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(scratch)?;
    let (model, scores) = (scratch.join("model"), scratch.join("predictions.csv"));
    let command = |words: &[&str]| {
        let mut command = Command::new(binary);
        command.args(words).args(["--quiet", "--overwrite"]).current_dir(case).stdout(std::process::Stdio::null());
        command
    };
    let mut train = command(&["train", "-c", "config.yaml"]);
    workspace::run(train.arg("-o").arg(&model))?;
    let mut score = command(&["score", "-d", "input.csv"]);
    workspace::run(score.arg("-m").arg(&model).arg("-o").arg(&scores))?;
    Ok(scores)
}

/// Compares two CSV files cell by cell; gives the largest difference of a number.
fn compare(record: &str, found: &str) -> Result<f64, String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (record.lines().collect(), found.lines().collect());
    if a.first() != b.first() {
        return Err(format!("the columns were {:?} and are {:?}", a.first(), b.first()));
    }
    if a.len() != b.len() {
        return Err(format!("there were {} lines and are {}", a.len(), b.len()));
    }
    let mut largest = 0.0f64;
    for (line, (was, is)) in a.iter().zip(&b).enumerate().skip(1) {
        let (was, is): (Vec<&str>, Vec<&str>) = (was.split(',').collect(), is.split(',').collect());
        if was.len() != is.len() {
            return Err(format!("line {} had {} cells and has {}", line + 1, was.len(), is.len()));
        }
        for (was, is) in was.iter().zip(&is) {
            match (was.parse::<f64>(), is.parse::<f64>()) {
                (Ok(x), Ok(y)) if (x - y).abs() <= TOLERANCE * x.abs().max(1.0) => largest = largest.max((x - y).abs()),
                _ if was == is => {}
                _ => return Err(format!("line {}: {was} became {is}", line + 1)),
            }
        }
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_to_nine_digits_agrees_and_anything_else_does_not() {
        let record = "id,cate\n1,0.5\n2,\n";
        assert_eq!(compare(record, "id,cate\n1,0.5\n2,\n"), Ok(0.0));
        assert!(compare(record, "id,cate\n1,0.5000000001\n2,\n").is_ok());
        for changed in [
            "id,cate\n1,0.50000001\n2,\n",
            "id,cate\n1,0.5\n2,0.0\n",
            "id,uplift\n1,0.5\n2,\n",
            "id,cate\n1,0.5\n",
            "id,cate\n1,NaN\n2,\n",
            "id,cate\n1,0.5,1\n2,\n",
        ] {
            assert!(compare(record, changed).is_err(), "{changed}");
        }
    }
}
