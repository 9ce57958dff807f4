//! Numbers as people read them.

/// A number with so many significant digits, without an exponent where it can be read without.
pub(super) fn digits(value: f64, significant: i32) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-7..15).contains(&magnitude) {
        return format!("{value:.*e}", (significant - 1) as usize);
    }
    let decimals = (significant - 1 - magnitude).max(0) as usize;
    format!("{value:.decimals$}")
}

/// A count with separators between thousands.
pub(super) fn count(n: u64) -> String {
    let text = n.to_string();
    let mut out = String::new();
    for (i, digit) in text.chars().enumerate() {
        if i > 0 && (text.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
