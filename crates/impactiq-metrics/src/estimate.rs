//! An estimate: a number with its standard error, its 95 % interval and its n, or a reason
//! why there is none. The only way a statistic leaves this crate.
//!
//! As JSON: `{"value","std_error","lower","upper","n"}`, or `{"value": null, "reason"}`.
//! A statistic without an interval (a point) has null `std_error`, `lower` and `upper`.
//! Never NaN, never infinite: a number that isn't finite becomes an undefined estimate.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The 97.5 % quantile of the standard normal distribution.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// The reason given where every row has the same score.
pub const NO_HETEROGENEITY: &str = "no heterogeneity predicted: all scores are equal";

/// A number with its uncertainty, or the reason why it is undefined.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Defined { value: f64, spread: Option<Spread>, n: u64 },
    Undefined { reason: Cow<'static, str> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    std_error: f64,
    lower: f64,
    upper: f64,
}

impl Estimate {
    /// A value with the interval value ± 1.96 · `std_error`.
    ///
    /// A value that isn't finite gives an undefined estimate; a standard error that isn't
    /// finite (or is negative) gives a point.
    ///
    /// ```
    /// use impactiq_metrics::Estimate;
    /// let estimate = Estimate::new(1.0, 0.5, 100);
    /// assert!((estimate.lower().unwrap() - 0.020018).abs() < 1e-6);
    /// ```
    pub fn new(value: f64, std_error: f64, n: u64) -> Self {
        Estimate::with_bounds(value, std_error, value - Z_95 * std_error, value + Z_95 * std_error, n)
    }

    /// A value with an interval from Student's t distribution: few clusters make the normal
    /// quantile too small.
    pub fn with_t(value: f64, std_error: f64, degrees_of_freedom: f64, n: u64) -> Self {
        let t = t_quantile(degrees_of_freedom);
        Estimate::with_bounds(value, std_error, value - t * std_error, value + t * std_error, n)
    }

    /// A value with bounds of its own (Fieller, Student's t).
    pub fn with_bounds(value: f64, std_error: f64, lower: f64, upper: f64, n: u64) -> Self {
        if !value.is_finite() {
            return Estimate::undefined("the value is not a finite number");
        }
        let good = std_error.is_finite() && std_error >= 0.0 && lower.is_finite() && upper.is_finite();
        let spread = good.then_some(Spread { std_error, lower, upper });
        Estimate { state: State::Defined { value, spread, n } }
    }

    /// A value without an interval.
    pub fn point(value: f64, n: u64) -> Self {
        Estimate::with_bounds(value, f64::NAN, f64::NAN, f64::NAN, n)
    }

    /// No value, and why.
    pub fn undefined(reason: impl Into<Cow<'static, str>>) -> Self {
        Estimate { state: State::Undefined { reason: reason.into() } }
    }

    /// The value, unless undefined.
    pub fn value(&self) -> Option<f64> {
        match self.state {
            State::Defined { value, .. } => Some(value),
            State::Undefined { .. } => None,
        }
    }

    /// The standard error, where there is one.
    pub fn std_error(&self) -> Option<f64> {
        self.spread().map(|s| s.std_error)
    }

    /// The lower end of the 95 % interval, where there is one.
    pub fn lower(&self) -> Option<f64> {
        self.spread().map(|s| s.lower)
    }

    /// The upper end of the 95 % interval, where there is one.
    pub fn upper(&self) -> Option<f64> {
        self.spread().map(|s| s.upper)
    }

    /// Rows the value was computed from.
    pub fn n(&self) -> Option<u64> {
        match self.state {
            State::Defined { n, .. } => Some(n),
            State::Undefined { .. } => None,
        }
    }

    /// Why there is no value.
    pub fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Defined { .. } => None,
            State::Undefined { reason } => Some(reason),
        }
    }

    /// Value over standard error, where that is defined.
    pub fn z(&self) -> Option<f64> {
        let (value, std_error) = (self.value()?, self.std_error()?);
        (std_error > 0.0).then(|| value / std_error)
    }

    /// The two-sided p-value of "the true value is zero" by the normal distribution.
    pub fn p_value(&self) -> Option<f64> {
        self.z().map(two_sided_p)
    }

    /// The estimate in other units: value, error and bounds times `factor`.
    pub fn scaled(&self, factor: f64) -> Self {
        match &self.state {
            State::Undefined { .. } => self.clone(),
            State::Defined { value, spread: None, n } => Estimate::point(value * factor, *n),
            State::Defined { value, spread: Some(s), n } => {
                let (a, b) = (s.lower * factor, s.upper * factor);
                Estimate::with_bounds(value * factor, s.std_error * factor.abs(), a.min(b), a.max(b), *n)
            }
        }
    }

    /// The estimate of a value that is larger by a known number.
    pub fn shifted(&self, by: f64) -> Self {
        match &self.state {
            State::Undefined { .. } => self.clone(),
            State::Defined { value, spread: None, n } => Estimate::point(value + by, *n),
            State::Defined { value, spread: Some(s), n } => {
                Estimate::with_bounds(value + by, s.std_error, s.lower + by, s.upper + by, *n)
            }
        }
    }

    fn spread(&self) -> Option<Spread> {
        match self.state {
            State::Defined { spread, .. } => spread,
            State::Undefined { .. } => None,
        }
    }
}

/// The two-sided p-value of a standard normal deviate.
pub fn two_sided_p(z: f64) -> f64 {
    statrs::function::erf::erfc(z.abs() / std::f64::consts::SQRT_2).min(1.0)
}

/// The one-sided p-value of a standard normal deviate: the chance of a larger one.
pub fn upper_tail_p(z: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
}

/// The 97.5 % quantile of Student's t; the normal one for very many degrees of freedom, and
/// NaN for none at all.
pub(crate) fn t_quantile(degrees_of_freedom: f64) -> f64 {
    if degrees_of_freedom > 1e6 {
        return Z_95;
    }
    if degrees_of_freedom.is_nan() || degrees_of_freedom < 1e-3 {
        return f64::NAN;
    }
    StudentsT::new(0.0, 1.0, degrees_of_freedom).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
}

impl Serialize for Estimate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.state {
            State::Undefined { reason } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("value", &None::<f64>)?;
                map.serialize_entry("reason", reason)?;
                map.end()
            }
            State::Defined { value, n, .. } => {
                let mut map = serializer.serialize_map(Some(5))?;
                map.serialize_entry("value", value)?;
                map.serialize_entry("std_error", &self.std_error())?;
                map.serialize_entry("lower", &self.lower())?;
                map.serialize_entry("upper", &self.upper())?;
                map.serialize_entry("n", n)?;
                map.end()
            }
        }
    }
}

#[derive(Deserialize)]
struct Plain {
    value: Option<f64>,
    #[serde(default)]
    std_error: Option<f64>,
    #[serde(default)]
    lower: Option<f64>,
    #[serde(default)]
    upper: Option<f64>,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    reason: Option<String>,
}

impl<'de> Deserialize<'de> for Estimate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let plain = Plain::deserialize(deserializer)?;
        let nan = f64::NAN;
        Ok(match plain.value {
            None => Estimate::undefined(plain.reason.unwrap_or_else(|| "no reason was recorded".into())),
            Some(value) => Estimate::with_bounds(
                value,
                plain.std_error.unwrap_or(nan),
                plain.lower.unwrap_or(nan),
                plain.upper.unwrap_or(nan),
                plain.n,
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_agreed_shape_and_comes_back_equal() {
        let defined = Estimate::new(0.25, 0.1, 7);
        let text = serde_json::to_string(&defined).unwrap();
        assert!(text.starts_with("{\"value\":0.25,\"std_error\":0.1,\"lower\":0.054"), "{text}");
        assert!(text.ends_with("\"n\":7}"), "{text}");
        let point = Estimate::point(2.0, 3);
        let text = serde_json::to_string(&point).unwrap();
        assert_eq!(text, "{\"value\":2.0,\"std_error\":null,\"lower\":null,\"upper\":null,\"n\":3}");
        let none = Estimate::undefined("no control rows");
        assert_eq!(serde_json::to_string(&none).unwrap(), "{\"value\":null,\"reason\":\"no control rows\"}");
        for estimate in [defined, point, none] {
            let text = serde_json::to_string(&estimate).unwrap();
            assert_eq!(serde_json::from_str::<Estimate>(&text).unwrap(), estimate);
        }
    }

    #[test]
    fn numbers_that_are_not_finite_never_get_out() {
        assert!(Estimate::new(f64::NAN, 1.0, 1).value().is_none());
        assert!(Estimate::new(f64::INFINITY, 1.0, 1).reason().is_some());
        let point = Estimate::new(1.0, f64::NAN, 1);
        assert_eq!((point.value(), point.std_error(), point.lower()), (Some(1.0), None, None));
    }

    #[test]
    fn t_quantiles_and_p_values_match_tables() {
        assert!((t_quantile(99.0) - 1.984_216_952).abs() < 1e-6);
        assert!((t_quantile(1e9) - Z_95).abs() < 1e-12);
        assert!((two_sided_p(1.959_963_984_540_054) - 0.05).abs() < 1e-9);
        assert!((upper_tail_p(1.644_853_626_951_472_2) - 0.05).abs() < 1e-9);
        assert!(two_sided_p(40.0) < 1e-300);
    }

    #[test]
    fn shifting_moves_the_bounds_and_keeps_the_error() {
        let shifted = Estimate::new(1.0, 0.5, 5).shifted(-2.0);
        assert_eq!((shifted.value(), shifted.std_error(), shifted.n()), (Some(-1.0), Some(0.5), Some(5)));
        assert!((shifted.upper().unwrap() - (Z_95 * 0.5 - 1.0)).abs() < 1e-12);
        assert_eq!(Estimate::point(1.0, 3).shifted(1.0), Estimate::point(2.0, 3));
        assert_eq!(Estimate::undefined("why").shifted(1.0).reason(), Some("why"));
    }

    #[test]
    fn scaling_by_a_negative_number_keeps_the_bounds_in_order() {
        let scaled = Estimate::new(1.0, 0.1, 5).scaled(-2.0);
        assert_eq!(scaled.value(), Some(-2.0));
        assert!(scaled.lower().unwrap() < scaled.upper().unwrap());
    }
}
