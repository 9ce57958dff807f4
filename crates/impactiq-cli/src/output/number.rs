//! Numbers as people read them: thousands, percentage points, intervals, seconds, bytes.

use impactiq_metrics::Estimate;

/// In what an effect is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The effect on a probability, shown in percentage points.
    Points,
    /// A share, shown in percent.
    Percent,
    /// The outcome's own unit.
    Plain,
    /// A number of outcomes.
    Count,
}

impl Unit {
    /// The value as text, with its unit.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Points => format!("{} pp", signed(value * 100.0)),
            Unit::Percent => format!("{} %", signed(value * 100.0)),
            Unit::Plain => signed(value),
            Unit::Count => format!("{}{}", if value > 0.0 { "+" } else { "" }, thousands(value)),
        }
    }

    /// The value as text without its unit, for intervals and axis labels.
    pub fn bare(self, value: f64) -> String {
        match self {
            Unit::Points | Unit::Percent => signed(value * 100.0),
            Unit::Plain => signed(value),
            Unit::Count => self.text(value),
        }
    }

    /// What a value is multiplied with to be shown.
    pub fn scale(self) -> f64 {
        match self {
            Unit::Points | Unit::Percent => 100.0,
            Unit::Plain | Unit::Count => 1.0,
        }
    }
}

/// A number with a sign and as many digits as it deserves (three or four that matter).
fn signed(value: f64) -> String {
    let digits = decimals(value);
    let rounded = format!("{value:.digits$}");
    // A value that rounds to nothing has no sign.
    if rounded.chars().all(|c| matches!(c, '-' | '0' | '.')) {
        return rounded.trim_start_matches('-').to_owned();
    }
    if value > 0.0 { format!("+{rounded}") } else { rounded.replace('-', "−") }
}

/// Decimals for a number of this size: 0.0123, 0.123, 1.23, 12.3, 123.
fn decimals(value: f64) -> usize {
    match value.abs() {
        0.0 => 0,
        a if a >= 1000.0 => 0,
        a if a >= 100.0 => 1,
        a if a >= 1.0 => 2,
        a if a >= 0.1 => 3,
        a if a >= 0.01 => 4,
        _ => 5,
    }
}

/// A number without a forced sign.
pub fn plain(value: f64) -> String {
    if value.abs() >= 1000.0 {
        return thousands(value);
    }
    if value == value.trunc() {
        return format!("{value:.0}").replace('-', "−");
    }
    signed(value).trim_start_matches('+').to_owned()
}

/// A difference in standard deviations.
pub fn standardised(value: f64) -> String {
    format!("{value:+.3}").replace('-', "−")
}

/// A p-value.
pub fn p_value(p: f64) -> String {
    if p < 1e-4 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

/// A rounded whole number with commas.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("−{text}") } else { text }
}

/// A count with commas.
pub fn count(n: impl TryInto<u64>) -> String {
    thousands(n.try_into().map_or(f64::NAN, |n| n as f64))
}

/// The 95 % interval, e.g. `+1.20 … +3.40`; why there is no value, or a dash.
pub fn interval(estimate: &Estimate, unit: Unit) -> String {
    match (estimate.lower(), estimate.upper()) {
        (Some(lower), Some(upper)) => format!("{} … {}", unit.bare(lower), unit.bare(upper)),
        _ => estimate.reason().unwrap_or("–").to_owned(),
    }
}

/// The value with its unit; a dash when there is none.
pub fn value(estimate: &Estimate, unit: Unit) -> String {
    estimate.value().map_or_else(|| "–".into(), |value| unit.text(value))
}

/// The standard error in the unit's scale, or a dash.
pub fn std_error(estimate: &Estimate, unit: Unit) -> String {
    estimate.std_error().map_or_else(|| "–".into(), |error| plain(error * unit.scale()))
}

/// Seconds, or minutes and seconds.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 120.0 => format!("{} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s if s >= 10.0 => format!("{s:.1} s"),
        s => format!("{s:.2} s"),
    }
}

/// Bytes in the largest unit that keeps them above one.
pub fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1024.0 * 1024.0);
    if mib >= 1024.0 { format!("{:.2} GiB", mib / 1024.0) } else { format!("{mib:.0} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_a_person_wrote_them() {
        assert_eq!(Unit::Points.text(0.076590), "+7.66 pp");
        assert_eq!(Unit::Points.text(-0.45), "−45.00 pp");
        assert_eq!(Unit::Plain.text(0.0), "0");
        assert_eq!(Unit::Plain.text(-1e-9), "0.00000");
        assert_eq!(Unit::Count.text(12_345.6), "+12,346");
        assert_eq!(thousands(-1_000_000.0), "−1,000,000");
        assert_eq!(count(999_usize), "999");
        assert_eq!(seconds(125.0), "2 min 5 s");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
    }
}
