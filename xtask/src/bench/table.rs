//! How figures are written: rounded, scaled and marked as such, against what was asked.

use serde_json::Value;

use super::record::number;

/// Trees of the whole job that costs are stated for.
pub const JOB_TREES: u64 = 500;

/// CPU seconds of [`JOB_TREES`] trees, with binning where it is a step of its own.
pub fn job_cpu(figures: &Value) -> f64 {
    let binning = figures.get("binning_cpu_s").and_then(Value::as_f64).unwrap_or(0.0);
    binning + number(figures, "growing_cpu_s") * (JOB_TREES as f64 / number(figures, "trees"))
}

/// [`job_cpu`] as text; marked and explained where fewer trees were grown.
pub fn job_seconds(figures: &Value) -> String {
    let factor = JOB_TREES as f64 / number(figures, "trees");
    if factor == 1.0 {
        return decimals(job_cpu(figures));
    }
    let grown = decimals(number(figures, "growing_cpu_s"));
    format!("≈ {} ({grown} s × {})", decimals(job_cpu(figures)), decimals(factor))
}

/// A number with three significant digits, or as many as stand before the point.
pub fn decimals(value: f64) -> String {
    if !value.is_finite() || value == value.trunc() {
        return thousands(value);
    }
    match value.abs() {
        v if v >= 100.0 => thousands(value.round()),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with commas; a dash where there is none.
pub fn thousands(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A figure with so many digits, or a dash.
pub fn digits(figures: &Value, name: &str, digits: usize) -> String {
    let value = number(figures, name);
    if value.is_finite() { format!("{value:.digits$}") } else { "–".into() }
}

/// By how much of itself `ours` differs from `theirs`, in percent: `+5 %`.
pub fn difference(ours: f64, theirs: f64) -> String {
    format!("{:+.0} %", 100.0 * (ours / theirs - 1.0))
}

/// What was asked for, what was found, and whether that is enough.
pub struct Goal {
    /// What is judged.
    pub what: String,
    /// The figure.
    pub found: f64,
    /// The bound.
    pub wanted: f64,
    /// True when larger is better.
    pub at_least: bool,
}

impl Goal {
    /// Whether it is reached; a missing figure never is.
    pub fn met(&self) -> bool {
        if self.at_least { self.found >= self.wanted } else { self.found <= self.wanted }
    }

    /// One line for the screen.
    pub fn line(&self) -> String {
        let (sign, word) = (if self.at_least { "≥" } else { "≤" }, if self.met() { "met" } else { "MISSED" });
        format!("- {}: {} (asked {sign} {}) — {word}", self.what, decimals(self.found), decimals(self.wanted))
    }
}

/// Prints goals after a table.
pub fn judge(goals: &[Goal]) {
    println!();
    goals.iter().for_each(|goal| println!("{}", goal.line()));
}

/// Prints rows as a Markdown table; the first one is the header, the first column stands left.
pub fn print(title: &str, rows: &[Vec<String>]) {
    println!("\n{title}\n");
    for (at, row) in rows.iter().enumerate() {
        println!("| {} |", row.join(" | "));
        if at == 0 {
            let rule: Vec<&str> = (0..row.len()).map(|column| if column == 0 { "---" } else { "--:" }).collect();
            println!("|{}|", rule.join("|"));
        }
    }
}

/// A row of a table.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_scaled_says_so_and_what_is_measured_does_not() {
        assert_eq!(job_seconds(&json!({ "growing_cpu_s": 10.04, "trees": 500 })), "10.0");
        assert_eq!(job_seconds(&json!({ "growing_cpu_s": 10.04, "trees": 500, "binning_cpu_s": 0.25 })), "10.3");
        assert_eq!(job_seconds(&json!({ "growing_cpu_s": 7.86, "trees": 20 })), "≈ 197 (7.86 s × 25)");
        assert_eq!(job_seconds(&json!({ "growing_cpu_s": 25.2, "trees": 4 })), "≈ 3,150 (25.2 s × 125)");
        assert_eq!(job_seconds(&json!({})), "≈ – (– s × –)");
    }

    #[test]
    fn numbers_keep_three_digits_and_missing_ones_are_dashes() {
        let cases = [
            (0.01234, "0.012"),
            (1.005, "1.00"),
            (26.26, "26.3"),
            (262.6, "263"),
            (13_979_592.0, "13,979,592"),
            (f64::NAN, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(decimals(value), text);
        }
        assert_eq!((thousands(-1234.4), thousands(999.0)), ("-1,234".to_owned(), "999".to_owned()));
        assert_eq!(digits(&json!({ "rmse": 0.0109 }), "rmse", 4), "0.0109");
        assert_eq!(digits(&json!({}), "rmse", 4), "–");
        assert_eq!(difference(5110.0, 4852.0), "+5 %");
    }

    #[test]
    fn a_goal_is_missed_on_the_wrong_side_and_without_a_figure() {
        let goal = |found, wanted, at_least| Goal { what: "ratio".into(), found, wanted, at_least };
        assert!(goal(25.0, 25.0, true).met() && !goal(24.9, 25.0, true).met());
        assert!(goal(0.9, 1.0, false).met() && !goal(1.1, 1.0, false).met());
        assert!(!goal(f64::NAN, 1.0, true).met() && !goal(f64::NAN, 1.0, false).met());
        assert_eq!(goal(19.66, 25.0, true).line(), "- ratio: 19.7 (asked ≥ 25) — MISSED");
    }
}
