//! What stands behind a bench's name: `--key number`, `--key word` and `--flag`, over defaults.

use anyhow::{Result, bail};

/// The options a bench knows, with their defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Whole numbers from 1.
    pub numbers: &'static [(&'static str, u64)],
    /// Words out of a few; the first one is the default.
    pub words: &'static [(&'static str, &'static [&'static str])],
    /// Switches, off unless they are given.
    pub flags: &'static [&'static str],
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    numbers: Vec<(&'static str, u64)>,
    words: Vec<(&'static str, &'static str)>,
    flags: Vec<&'static str>,
}

impl Options {
    /// Reads the words after a bench's name.
    pub fn parse(given: &[&str], known: Known) -> Result<Self> {
        let mut options = Options {
            numbers: known.numbers.to_vec(),
            words: known.words.iter().map(|(name, allowed)| (*name, allowed.first().copied().unwrap_or(""))).collect(),
            flags: Vec::new(),
        };
        let mut given = given.iter();
        while let Some(word) = given.next() {
            let key = word.strip_prefix("--").unwrap_or("");
            if let Some(flag) = known.flags.iter().find(|flag| **flag == key) {
                options.flags.push(flag);
            } else if let Some(at) = options.numbers.iter().position(|(name, _)| *name == key) {
                let Some(value) = given.next().and_then(|v| v.replace('_', "").parse().ok()).filter(|v| *v > 0) else {
                    bail!("{word} needs a whole number, 1 or more");
                };
                options.numbers[at].1 = value;
            } else if let Some(at) = known.words.iter().position(|(name, _)| *name == key) {
                let allowed = known.words[at].1;
                let Some(value) = given.next().and_then(|v| allowed.iter().find(|allowed| *allowed == v)) else {
                    bail!("{word} needs one of: {}", allowed.join(", "));
                };
                options.words[at].1 = value;
            } else {
                bail!("'{word}' is not an option of this bench\nhint: {}", known.names().join(", "));
            }
        }
        Ok(options)
    }

    /// A number by its name, which the bench has declared.
    pub fn number(&self, name: &str) -> u64 {
        self.numbers.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }

    /// A word by its name, which the bench has declared.
    pub fn word(&self, name: &str) -> &'static str {
        self.words.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Whether a switch was given.
    pub fn flag(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }
}

impl Known {
    fn names(&self) -> Vec<String> {
        let names = self.numbers.iter().map(|(name, _)| *name).chain(self.words.iter().map(|(name, _)| *name));
        names.chain(self.flags.iter().copied()).map(|name| format!("--{name}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known =
        Known { numbers: &[("rows", 10), ("threads", 1)], words: &[("part", &["all", "scale"])], flags: &["again"] };

    #[test]
    fn options_replace_defaults() {
        let plain = Options::parse(&[], KNOWN).unwrap();
        assert_eq!((plain.number("rows"), plain.word("part"), plain.flag("again")), (10, "all", false));
        let asked = Options::parse(&["--rows", "1_000", "--again", "--part", "scale"], KNOWN).unwrap();
        assert_eq!((asked.number("rows"), asked.number("threads")), (1000, 1));
        assert_eq!((asked.word("part"), asked.flag("again")), ("scale", true));
    }

    #[test]
    fn slips_are_errors_that_name_what_is_known() {
        let slips: [&[&str]; 7] = [
            &["--row", "1"],
            &["rows", "1"],
            &["--rows"],
            &["--rows", "many"],
            &["--threads", "0"],
            &["--part", "half"],
            &["--part"],
        ];
        for slip in slips {
            assert!(Options::parse(slip, KNOWN).is_err(), "{slip:?}");
        }
        let message = Options::parse(&["--row", "1"], KNOWN).unwrap_err().to_string();
        assert!(message.contains("--rows, --threads, --part, --again"), "{message}");
    }
}
