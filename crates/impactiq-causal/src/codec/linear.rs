//! Linear final stages as arrays and back.

use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use crate::error::CausalError;
use crate::learners::{LinearContrast, LinearStage};
use crate::linear::{Design, DesignColumn};

/// The linear effects of one outcome; the arrays `coefficients` and `covariance` hold all contrasts
/// one after another.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinearHeader {
    design: Vec<DesignColumn>,
    /// Products of two numbers of the design, by their places; none in older models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    products: Vec<[usize; 2]>,
    /// Degrees of freedom by contrast; `null`: normal.
    freedom: Vec<Option<f64>>,
}

fn name(prefix: &str) -> String {
    format!("{prefix}.linear")
}

pub(super) fn write(model: &LinearStage, prefix: &str, writer: &mut Writer) -> LinearHeader {
    let all = |pick: &dyn Fn(&LinearContrast) -> &[f64]| -> Vec<f64> {
        model.contrasts.iter().flat_map(|contrast| pick(contrast).to_vec()).collect()
    };
    writer.f64(&name(prefix), "coefficients", &all(&|c| &c.coefficients));
    writer.f64(&name(prefix), "covariance", &all(&|c| &c.covariance));
    LinearHeader {
        design: model.design.columns().to_vec(),
        products: model.products.clone(),
        freedom: model.contrasts.iter().map(|c| Some(c.freedom).filter(|f| f.is_finite())).collect(),
    }
}

/// # Errors
/// [`CausalError::Corrupt`] for a design of other columns, arrays of another size or numbers that
/// are not finite.
pub(super) fn read(
    header: LinearHeader,
    prefix: &str,
    (names, n_contrasts): (&[&str], usize),
    reader: &mut Reader<'_>,
) -> Result<LinearStage, CausalError> {
    let corrupt = |problem: String| CausalError::corrupt(name(prefix), problem);
    if let Some(column) = header.design.iter().find(|column| !names.contains(&column.name())) {
        return Err(corrupt(format!("'{}' is no feature", column.name())));
    }
    let design = Design::from_columns(header.design).map_err(corrupt)?;
    if design.keeps_missing() {
        return Err(corrupt("a line through columns that may have no value".into()));
    }
    let products = header.products;
    if products.iter().flatten().any(|&place| place == 0 || place >= design.width()) {
        return Err(corrupt("a product of numbers that the design has not".into()));
    }
    let k = design.width() + products.len();
    let coefficients = reader.f64(&name(prefix), "coefficients")?;
    let covariance = reader.f64(&name(prefix), "covariance")?;
    let right = header.freedom.len() == n_contrasts
        && coefficients.len() == k * n_contrasts
        && covariance.len() == k * k * n_contrasts;
    if !right {
        let problem = format!("{} coefficients for {n_contrasts} contrasts of {k} columns", coefficients.len());
        return Err(corrupt(problem));
    }
    if coefficients.iter().chain(&covariance).any(|v| !v.is_finite()) {
        return Err(corrupt("a number is not finite".into()));
    }
    if header.freedom.iter().flatten().any(|f| !(f.is_finite() && *f >= 1.0)) {
        return Err(corrupt("degrees of freedom below 1".into()));
    }
    let parts = coefficients.chunks_exact(k).zip(covariance.chunks_exact(k * k)).zip(header.freedom);
    let contrasts = parts.map(|((coefficients, covariance), freedom)| LinearContrast {
        coefficients: coefficients.to_vec(),
        covariance: covariance.to_vec(),
        freedom: freedom.unwrap_or(f64::INFINITY),
    });
    Ok(LinearStage { contrasts: contrasts.collect(), design, products })
}
