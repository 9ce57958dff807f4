//! A fitted linear final stage: its design, coefficients and covariances, and its answers.

use impactiq_data::DataError;
use impactiq_metrics::Estimate;
use rayon::prelude::*;

use crate::base::Inputs;
use crate::learners::task::Effects;
use crate::linear::{BoundDesign, Design, Source};

/// Rows per block of predictions.
const BLOCK: usize = 1024;

/// The effect of one arm: coefficients of the design's numbers and their covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearContrast {
    /// One coefficient per number of the design, the constant first.
    pub coefficients: Vec<f64>,
    /// Their covariance, k × k by rows.
    pub covariance: Vec<f64>,
    /// Degrees of freedom of Student's t; infinite: normal.
    pub freedom: f64,
}

/// Linear effects of all arms on one outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearStage {
    /// How raw columns become numbers: standardised, categories as indicators.
    pub design: Design,
    /// Products of two of its numbers that stand after them, by their places.
    pub products: Vec<[usize; 2]>,
    /// By contrast.
    pub contrasts: Vec<LinearContrast>,
}

/// Half the width of a 95 % interval in standard errors.
pub(super) fn width(freedom: f64) -> f64 {
    Estimate::with_t(0.0, 1.0, freedom, 0).upper().unwrap_or(f64::NAN)
}

impl LinearStage {
    /// Effects of every row, and their intervals when asked for.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub(in crate::learners) fn effects(&self, inputs: &Inputs<'_>, intervals: bool) -> Result<Effects, DataError> {
        let source = Source::new(inputs.raw);
        let bound = self.design.bind(&source)?;
        let mut effects = Effects::default();
        for contrast in &self.contrasts {
            let (cate, half) = contrast.answer(&bound, &self.products, inputs.n_rows(), intervals);
            if intervals {
                effects.lower.push(cate.iter().zip(&half).map(|(c, h)| c - h).collect());
                effects.upper.push(cate.iter().zip(&half).map(|(c, h)| c + h).collect());
            }
            effects.cate.push(cate);
        }
        Ok(effects)
    }
}

/// The numbers of some rows, column by column, and after them products of two of them.
pub(super) fn with_products(numbers: &[f64], n: usize, products: &[[usize; 2]]) -> Vec<f64> {
    let mut all = Vec::with_capacity(numbers.len() + products.len() * n);
    all.extend_from_slice(numbers);
    for &[left, right] in products {
        let (left, right) = (&numbers[left * n..][..n], &numbers[right * n..][..n]);
        all.extend(left.iter().zip(right).map(|(a, b)| a * b));
    }
    all
}

impl LinearContrast {
    fn answer(
        &self,
        design: &BoundDesign<'_>,
        products: &[[usize; 2]],
        n: usize,
        intervals: bool,
    ) -> (Vec<f64>, Vec<f64>) {
        let k = self.coefficients.len();
        let width = if intervals { width(self.freedom) } else { f64::NAN };
        let (mut cate, mut half) = (vec![0.0; n], vec![0.0; if intervals { n } else { 0 }]);
        let mut parts: Vec<(usize, &mut [f64], &mut [f64])> = Vec::with_capacity(n.div_ceil(BLOCK));
        let (mut left, mut left_half) = (cate.as_mut_slice(), half.as_mut_slice());
        for start in (0..n).step_by(BLOCK) {
            let len = BLOCK.min(n - start);
            let (a, rest) = left.split_at_mut(len);
            let (b, rest_half) = left_half.split_at_mut(if intervals { len } else { 0 });
            (left, left_half) = (rest, rest_half);
            parts.push((start, a, b));
        }
        parts.into_par_iter().for_each(|(start, cate, half)| {
            let rows: Vec<u32> = (start..start + cate.len()).map(|row| row as u32).collect();
            let len = rows.len();
            let mut x = vec![0.0; design.width() * len];
            design.fill(&rows, &mut x);
            let x = with_products(&x, len, products);
            for (column, b) in x.chunks_exact(len).zip(&self.coefficients) {
                cate.iter_mut().zip(column).for_each(|(out, x)| *out += b * x);
            }
            for (i, half) in half.iter_mut().enumerate() {
                let mut variance = 0.0;
                for a in 0..k {
                    let row: f64 = (0..k).map(|b| self.covariance[a * k + b] * x[b * len + i]).sum();
                    variance += x[a * len + i] * row;
                }
                *half = width * variance.max(0.0).sqrt();
            }
        });
        (cate, half)
    }
}
