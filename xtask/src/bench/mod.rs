//! `cargo xtask bench NAME`: we and a peer, on the same rows, in one run, on one machine.
//!
//! Each bench prints a table and appends a line to docs/measured/NAME.jsonl. Quote CPU
//! seconds, not wall: machines are shared. Peers run from a virtual environment in the
//! target folder, at the versions of bench/peers/requirements.txt.

mod boosting;
mod end_to_end;
mod machine;
mod peers;
mod ranking;
mod record;

use anyhow::{Result, bail};

/// Runs one bench; words after the name are `--key value`.
pub fn run(name: &str, words: &[&str]) -> Result<()> {
    match name {
        "boosting" => {
            boosting::run(&options(words, &[("rows", 1_000_000), ("trees", 100), ("leaves", 31), ("threads", 1)])?)
        }
        "metrics" => ranking::run(&options(words, &[("rows", 13_979_592), ("threads", 1)])?),
        "end-to-end" => end_to_end::run(&options(words, &[("rows", 13_979_592), ("threads", 2)])?),
        _ => bail!("there is no bench named '{name}'\nhint: boosting, metrics or end-to-end"),
    }
}

/// `--key value` pairs over defaults, in the order of the defaults.
fn options(words: &[&str], defaults: &[(&str, u64)]) -> Result<Vec<u64>> {
    let mut values: Vec<u64> = defaults.iter().map(|(_, value)| *value).collect();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let key = word.trim_start_matches("--");
        let Some(at) = defaults.iter().position(|(name, _)| *name == key) else {
            let known: Vec<String> = defaults.iter().map(|(name, _)| format!("--{name}")).collect();
            bail!("'{word}' is not an option of this bench\nhint: {}", known.join(", "));
        };
        let Some(value) = words.next().and_then(|v| v.replace('_', "").parse().ok()).filter(|v| *v > 0) else {
            bail!("{word} needs a whole number, 1 or more");
        };
        values[at] = value;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_replace_defaults_and_slips_are_errors() {
        let defaults = [("rows", 10), ("threads", 1)];
        assert_eq!(options(&["--threads", "2"], &defaults).unwrap(), [10, 2]);
        assert_eq!(options(&["--rows", "1_000"], &defaults).unwrap(), [1000, 1]);
        for bad in [vec!["--row", "1"], vec!["--rows"], vec!["--rows", "many"], vec!["--threads", "0"]] {
            assert!(options(&bad, &defaults).is_err(), "{bad:?}");
        }
        assert!(run("chess", &[]).is_err());
    }
}
