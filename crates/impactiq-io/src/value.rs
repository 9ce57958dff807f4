//! One value: how text, JSON and Arrow cells become numbers, categories and moments.
//!
//! Every door converts cells with the functions of this file and no others, so the same
//! row gives the same bits from CSV, NDJSON, JSON, Arrow and Parquet. Decimal text always
//! goes to `f64` first and to `f32` from there, as a JSON number would.
//!
//! Missing is: nothing at all, empty text, and, where a number, a truth value or a moment
//! is expected, one of `NA`, `N/A`, `NaN`, `null`, `none` in any case. In a text column those words
//! are categories like any other, because `NA` may be Namibia.

use std::borrow::Cow;

use impactiq_data::RawType;

/// A cell before it has a type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    /// No value.
    Missing,
    /// Text of a format without types (CSV): may be anything.
    Text(&'a str),
    /// Text of a format with types (JSON, Arrow): is text.
    String(&'a str),
    Boolean(bool),
    Integer(i64),
    /// Whole numbers above the range of `i64`.
    Large(u64),
    Float32(f32),
    Float64(f64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A list or an object.
    Nested,
}

/// Why a cell does not fit.
pub(crate) type Misfit = &'static str;

pub(crate) const NOT_A_NUMBER: Misfit = "is not a number";
pub(crate) const NOT_WHOLE: Misfit = "is not a whole number";
pub(crate) const NOT_BOOLEAN: Misfit = "is neither true nor false";
pub(crate) const NOT_A_DATE: Misfit = "is not a date like 2026-01-31";
pub(crate) const NOT_A_MOMENT: Misfit = "is not a moment like 2026-01-31T12:00:00Z";
pub(crate) const NESTED: Misfit = "is a list or an object where a plain value is needed";
pub(crate) const INFINITE: Misfit = "is infinite";

/// True for a word that stands for a missing number.
pub(crate) fn is_missing_word(text: &str) -> bool {
    match text.len() {
        2 => text.eq_ignore_ascii_case("na"),
        3 => text.eq_ignore_ascii_case("nan") || text.eq_ignore_ascii_case("n/a"),
        4 => text.eq_ignore_ascii_case("null") || text.eq_ignore_ascii_case("none"),
        _ => false,
    }
}

/// A number; words such as `nan` are none, `inf` is one (and refused later, with its row).
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| !value.is_nan())
}

pub(crate) fn integer(text: &str) -> Option<i64> {
    text.parse::<i64>().ok()
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Days since 1970-01-01 of a day in the Gregorian calendar, counted in eras of 400 years
/// that begin on the first of March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A date, `YYYY-MM-DD` and nothing else.
pub(crate) fn date(text: &str) -> Option<i32> {
    let b = text.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&b[..4])?, digits(&b[5..7])?, digits(&b[8..])?);
    let valid = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    valid.then(|| days_from_civil(year, month, day) as i32)
}

pub(crate) const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A moment: a date, `T` or a space, `HH:MM:SS` with up to nine decimals, and a zone
/// (`Z`, `+hh:mm`, `+hhmm`, `+hh`; none means UTC). Below a microsecond it is cut off.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if b.len() < 19 || !b.is_ascii() || !matches!(b[10], b'T' | b't' | b' ') || b[13] != b':' || b[16] != b':' {
        return None;
    }
    let day = i64::from(date(&text[..10])?);
    let (hour, minute, second) = (digits(&b[11..13])?, digits(&b[14..16])?, digits(&b[17..19])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = ((hour * 60 + minute) * 60 + second) * 1_000_000;
    let mut rest = &b[19..];
    if rest.first() == Some(&b'.') {
        let n = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if n == 0 || n > 9 {
            return None;
        }
        let fraction = digits(&rest[1..=n])?;
        micros += if n <= 6 { fraction * 10i64.pow(6 - n as u32) } else { fraction / 10i64.pow(n as u32 - 6) };
        rest = &rest[n + 1..];
    }
    let offset = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes) = match zone.len() {
                2 => (digits(zone)?, 0),
                4 => (digits(&zone[..2])?, digits(&zone[2..])?),
                5 if zone[2] == b':' => (digits(&zone[..2])?, digits(&zone[3..])?),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * 60_000_000 * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some(day * MICROS_PER_DAY + micros - offset)
}

/// A moment, or a day's beginning in UTC, in microseconds since 1970; none where the text is neither.
pub fn moment(text: &str) -> Option<i64> {
    timestamp(text).or_else(|| date(text).map(|day| i64::from(day) * MICROS_PER_DAY))
}

/// A date as text.
pub(crate) fn date_text(days: i32) -> String {
    let (year, month, day) = civil_from_days(i64::from(days));
    format!("{year:04}-{month:02}-{day:02}")
}

/// A moment as text, in UTC, with six decimals where it has any.
pub(crate) fn timestamp_text(micros: i64) -> String {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let seconds = in_day / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    match in_day % 1_000_000 {
        0 => format!("{date}Z"),
        fraction => format!("{date}.{fraction:06}Z"),
    }
}

/// The `f64` that a door with decimal text would see for an `f32`: 0.1, not 0.100000001490116.
///
/// A Float64 column of a model was decimal text or `f64` when it was learned; an `f32` of
/// the same row is that number rounded, and its shortest decimal names it again.
pub(crate) fn widen_by_text(value: f32) -> f64 {
    let exact = f64::from(value);
    if exact == exact.trunc() || !value.is_finite() {
        return exact;
    }
    format!("{value:e}").parse().unwrap_or(exact)
}

/// A float as short text: whole numbers without a point, others so that they read back.
fn float_text(value: f64) -> String {
    impactiq_data::column::number_text(value)
}

/// What a column was seen to hold, as a set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const BOOLEAN: Kinds = Kinds(1);
    pub(crate) const INTEGER: Kinds = Kinds(2);
    pub(crate) const FLOAT: Kinds = Kinds(4);
    pub(crate) const DATE: Kinds = Kinds(8);
    pub(crate) const TIMESTAMP: Kinds = Kinds(16);
    pub(crate) const TEXT: Kinds = Kinds(32);
    pub(crate) const NESTED: Kinds = Kinds(64);
    /// Whole numbers beyond 64 bits: floats, unless they are names of things.
    pub(crate) const LARGE: Kinds = Kinds(128);

    pub(crate) fn add(&mut self, other: Kinds) {
        self.0 |= other.0;
    }

    pub(crate) fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when no value told anything.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True for whole numbers some of which are too large for 64 bits.
    pub(crate) fn is_beyond_integers(self) -> bool {
        self.contains(Kinds::LARGE) && self.0 & !(Kinds::INTEGER.0 | Kinds::LARGE.0) == 0
    }

    /// The narrowest type that holds everything seen: integers widen to floats, dates to
    /// moments, and everything else that is mixed to text. Columns without values are numbers.
    pub(crate) fn raw_type(self) -> Option<RawType> {
        let within = |allowed: u8| self.0 & !allowed == 0;
        if self.contains(Kinds::NESTED) {
            return None;
        }
        Some(if self.is_empty() {
            RawType::Float64
        } else if within(Kinds::BOOLEAN.0) {
            RawType::Boolean
        } else if within(Kinds::INTEGER.0) {
            RawType::Integer
        } else if within(Kinds::INTEGER.0 | Kinds::FLOAT.0 | Kinds::LARGE.0) {
            RawType::Float64
        } else if within(Kinds::DATE.0) {
            RawType::Date
        } else if within(Kinds::DATE.0 | Kinds::TIMESTAMP.0) {
            RawType::Timestamp
        } else {
            RawType::Text
        })
    }
}

impl<'a> Cell<'a> {
    /// What kind of value this is, told by its looks where the format has no types.
    pub(crate) fn kind(&self) -> Kinds {
        match self {
            Cell::Missing => Kinds::default(),
            Cell::Text(text) => text_kind(text.trim()),
            Cell::String(text) => match text_kind(text.trim()) {
                kind if kind == Kinds::DATE || kind == Kinds::TIMESTAMP || kind.is_empty() => kind,
                _ => Kinds::TEXT,
            },
            Cell::Boolean(_) => Kinds::BOOLEAN,
            Cell::Integer(_) => Kinds::INTEGER,
            Cell::Large(_) => Kinds::LARGE,
            Cell::Float32(_) | Cell::Float64(_) => Kinds::FLOAT,
            Cell::Date(_) => Kinds::DATE,
            Cell::Timestamp(_) => Kinds::TIMESTAMP,
            Cell::Nested => Kinds::NESTED,
        }
    }

    /// True when a column whose type was guessed from other cells must be guessed anew.
    pub(crate) fn contradicts(&self, guessed: RawType) -> bool {
        match (guessed, self) {
            // The two types of most columns are told without trying the others first.
            (RawType::Text, Cell::Text(_)) => false,
            (RawType::Float64, Cell::Text(text)) => {
                let text = text.trim();
                number(text).is_none() && !text.is_empty() && !is_missing_word(text)
            }
            (RawType::Integer, Cell::Text(text)) => {
                let text = text.trim();
                integer(text).is_none() && !text.is_empty() && !is_missing_word(text)
            }
            _ => {
                let kind = self.kind();
                let allowed = match guessed {
                    RawType::Boolean => Kinds::BOOLEAN.0,
                    RawType::Integer => Kinds::INTEGER.0,
                    RawType::Float32 | RawType::Float64 => Kinds::INTEGER.0 | Kinds::FLOAT.0 | Kinds::LARGE.0,
                    RawType::Date => Kinds::DATE.0,
                    RawType::Timestamp => Kinds::DATE.0 | Kinds::TIMESTAMP.0,
                    RawType::Text => !Kinds::NESTED.0,
                };
                kind.0 & !allowed != 0
            }
        }
    }

    /// As a number; `None` is missing.
    pub(crate) fn to_number(self) -> Result<Option<f64>, Misfit> {
        Ok(match self {
            Cell::Missing => None,
            Cell::Text(text) | Cell::String(text) => return text_as(text, number, NOT_A_NUMBER),
            Cell::Boolean(value) => Some(f64::from(u8::from(value))),
            Cell::Integer(value) => Some(value as f64),
            Cell::Large(value) => Some(value as f64),
            Cell::Float32(value) => Some(widen_by_text(value)).filter(|v| !v.is_nan()),
            Cell::Float64(value) => Some(value).filter(|v| !v.is_nan()),
            Cell::Date(_) | Cell::Timestamp(_) => return Err(NOT_A_NUMBER),
            Cell::Nested => return Err(NESTED),
        })
    }

    /// As a 32-bit number; `None` is missing.
    pub(crate) fn to_number32(self) -> Result<Option<f32>, Misfit> {
        match self {
            Cell::Float32(value) => Ok(Some(value).filter(|v| !v.is_nan())),
            other => Ok(other.to_number()?.map(|value| value as f32)),
        }
    }

    /// As a whole number; `None` is missing. Floats without a fraction are whole.
    pub(crate) fn to_integer(self) -> Result<Option<i64>, Misfit> {
        let float = match self {
            Cell::Integer(value) => return Ok(Some(value)),
            Cell::Text(text) | Cell::String(text) => match integer(text.trim()) {
                Some(value) => return Ok(Some(value)),
                None => text_as(text, number, NOT_WHOLE)?,
            },
            Cell::Boolean(value) => return Ok(Some(i64::from(value))),
            Cell::Large(_) => return Err("is above the range of whole numbers"),
            Cell::Date(_) | Cell::Timestamp(_) => return Err(NOT_WHOLE),
            other => other.to_number()?,
        };
        match float {
            None => Ok(None),
            // The upper bound of i64 is no float; the next float above is just outside.
            Some(v) if v.fract() == 0.0 && (i64::MIN as f64..-(i64::MIN as f64)).contains(&v) => Ok(Some(v as i64)),
            Some(_) => Err(NOT_WHOLE),
        }
    }

    /// As a truth value; 1 and 0 are true and false; `None` is missing.
    pub(crate) fn to_boolean(self) -> Result<Option<bool>, Misfit> {
        let number = match self {
            Cell::Boolean(value) => return Ok(Some(value)),
            Cell::Text(text) | Cell::String(text) => match boolean(text.trim()) {
                Some(value) => return Ok(Some(value)),
                None => text_as(text, number, NOT_BOOLEAN)?,
            },
            Cell::Date(_) | Cell::Timestamp(_) => return Err(NOT_BOOLEAN),
            other => other.to_number()?,
        };
        match number {
            None => Ok(None),
            Some(0.0) => Ok(Some(false)),
            Some(1.0) => Ok(Some(true)),
            Some(_) => Err(NOT_BOOLEAN),
        }
    }

    /// As a day; `None` is missing. Moments at midnight (UTC) are days.
    pub(crate) fn to_date(self) -> Result<Option<i32>, Misfit> {
        match self {
            Cell::Missing => Ok(None),
            Cell::Date(days) => Ok(Some(days)),
            Cell::Timestamp(micros) => midnight(micros).ok_or(NOT_A_DATE).map(Some),
            Cell::Text(text) | Cell::String(text) => {
                text_as(text, |text| date(text).or_else(|| midnight(timestamp(text)?)), NOT_A_DATE)
            }
            Cell::Nested => Err(NESTED),
            _ => Err(NOT_A_DATE),
        }
    }

    /// As a moment; `None` is missing. Days are their midnight in UTC.
    pub(crate) fn to_timestamp(self) -> Result<Option<i64>, Misfit> {
        let of_day = |days: i32| i64::from(days) * MICROS_PER_DAY;
        match self {
            Cell::Missing => Ok(None),
            Cell::Timestamp(micros) => Ok(Some(micros)),
            Cell::Date(days) => Ok(Some(of_day(days))),
            Cell::Text(text) | Cell::String(text) => {
                text_as(text, |text| timestamp(text).or_else(|| date(text).map(of_day)), NOT_A_MOMENT)
            }
            Cell::Nested => Err(NESTED),
            _ => Err(NOT_A_MOMENT),
        }
    }

    /// As text; `None` is missing.
    pub(crate) fn to_text(self) -> Result<Option<Cow<'a, str>>, Misfit> {
        Ok(Some(match self {
            Cell::Missing | Cell::Text("") | Cell::String("") => return Ok(None),
            Cell::Text(text) | Cell::String(text) => Cow::Borrowed(text),
            Cell::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Cell::Integer(value) => Cow::Owned(value.to_string()),
            Cell::Large(value) => Cow::Owned(value.to_string()),
            Cell::Float32(value) if value.is_nan() => return Ok(None),
            Cell::Float64(value) if value.is_nan() => return Ok(None),
            Cell::Float32(value) => Cow::Owned(float_text(widen_by_text(value))),
            Cell::Float64(value) => Cow::Owned(float_text(value)),
            Cell::Date(days) => Cow::Owned(date_text(days)),
            Cell::Timestamp(micros) => Cow::Owned(timestamp_text(micros)),
            Cell::Nested => return Err(NESTED),
        }))
    }

    /// As a person would read it in an error, cut to a sensible length.
    pub(crate) fn shown(self) -> String {
        match self {
            Cell::Missing => String::new(),
            Cell::Nested => "[…]".into(),
            other => shown(&other.to_text().ok().flatten().unwrap_or_default()),
        }
    }
}

/// Text for an error message, cut to a sensible length.
pub(crate) fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

fn midnight(micros: i64) -> Option<i32> {
    (micros % MICROS_PER_DAY == 0).then(|| i32::try_from(micros / MICROS_PER_DAY).ok()).flatten()
}

fn text_as<T>(text: &str, parse: impl Fn(&str) -> Option<T>, misfit: Misfit) -> Result<Option<T>, Misfit> {
    let text = text.trim();
    match parse(text) {
        Some(value) => Ok(Some(value)),
        None if text.is_empty() || is_missing_word(text) => Ok(None),
        None => Err(misfit),
    }
}

/// Digits with or without a sign: called when they did not fit 64 bits.
fn is_large(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn text_kind(text: &str) -> Kinds {
    if text.is_empty() || is_missing_word(text) {
        Kinds::default()
    } else if integer(text).is_some() {
        Kinds::INTEGER
    } else if is_large(text) {
        Kinds::LARGE
    } else if number(text).is_some() {
        Kinds::FLOAT
    } else if boolean(text).is_some() {
        Kinds::BOOLEAN
    } else if date(text).is_some() {
        Kinds::DATE
    } else if timestamp(text).is_some() {
        Kinds::TIMESTAMP
    } else {
        Kinds::TEXT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_moments_are_read_and_written() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2000-03-01"), Some(11_017));
        assert_eq!(date("1900-02-29"), None);
        assert_eq!(date_text(-1), "1969-12-31");
        for days in (-800_000..800_000).step_by(37) {
            assert_eq!(date(&date_text(days)).filter(|_| days >= -719_162), (days >= -719_162).then_some(days));
        }
        assert_eq!(timestamp("1970-01-01T00:00:01.5Z"), Some(1_500_000));
        assert_eq!(timestamp("1970-01-01 01:00:00+01:00"), Some(0));
        assert_eq!(timestamp("1970-01-01 00:00:00.123456789"), Some(123_456));
        assert_eq!(timestamp("1970-01-01 24:00:00"), None);
        assert_eq!(timestamp("1970-01-01Tää:00:00Z"), None);
        assert_eq!(timestamp_text(-1), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn types_widen_and_never_narrow() {
        let of = |cells: &[&str]| {
            let mut kinds = Kinds::default();
            cells.iter().for_each(|text| kinds.add(Cell::Text(text).kind()));
            kinds.raw_type().unwrap()
        };
        assert_eq!(of(&["1", "", "-2", "NA"]), RawType::Integer);
        assert_eq!(of(&["1", "2.5"]), RawType::Float64);
        assert_eq!(of(&["9223372036854775808"]), RawType::Float64);
        assert_eq!(of(&["1", "x"]), RawType::Text);
        assert_eq!(of(&["true", "FALSE"]), RawType::Boolean);
        assert_eq!(of(&["true", "1"]), RawType::Text);
        assert_eq!(of(&["2026-01-01", "2026-01-01T00:00:00Z"]), RawType::Timestamp);
        assert_eq!(of(&["", "nan"]), RawType::Float64);
    }

    #[test]
    fn whole_floats_are_integers_and_others_are_not() {
        assert_eq!(Cell::Text("3.0").to_integer(), Ok(Some(3)));
        assert_eq!(Cell::Float64(3.0).to_integer(), Ok(Some(3)));
        assert_eq!(Cell::Float64(3.5).to_integer(), Err(NOT_WHOLE));
        assert_eq!(Cell::Float64(1e300).to_integer(), Err(NOT_WHOLE));
        assert_eq!(Cell::Float64(f64::NAN).to_integer(), Ok(None));
        assert_eq!(Cell::Text(" NA ").to_integer(), Ok(None));
    }

    #[test]
    fn every_door_gives_a_tenth_the_same_bits() {
        let cells = [Cell::Text("0.1"), Cell::Float64(0.1), Cell::Float32(0.1)];
        for cell in cells {
            assert_eq!(cell.to_number32().unwrap().unwrap().to_bits(), 0.1f32.to_bits());
            assert_eq!(cell.to_number().unwrap().unwrap().to_bits(), 0.1f64.to_bits());
        }
    }
}
