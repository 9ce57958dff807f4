//! A length of time as people write it: `30m`, `7d`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNITS: [(&str, i64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
const MICROS: i64 = 1_000_000;

/// A length of time in microseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

impl Span {
    /// So many seconds.
    pub const fn seconds(n: u32) -> Self {
        Span(n as i64 * MICROS)
    }

    /// In microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads a whole number with a unit: `s`, `m`, `h`, `d` or `w`; at most 100 years.
    ///
    /// ```
    /// use impactiq_stream::windows::Span;
    /// assert_eq!(Span::parse("7d"), Some(Span::seconds(7 * 86_400)));
    /// assert_eq!(Span::parse("7 days"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let total = number.parse::<i64>().ok()?.checked_mul(seconds)?;
        (total <= 100 * 366 * 86_400).then_some(Span(total * MICROS))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / MICROS;
        let (name, unit) = UNITS.into_iter().find(|(_, unit)| seconds % unit == 0).unwrap_or(("s", 1));
        write!(f, "{}{name}", seconds / unit)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Span::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("'{text}' is not a length of time like 90s, 30m, 1h, 7d or 2w")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_written_and_come_back() {
        for text in ["90s", "1m", "1h", "5d", "2w", "36h"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "7", "d", "-1d", "1.5h", "7days", "99999999999w", "é"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(Span::parse("7d").unwrap().to_string(), "1w");
    }
}
