//! A trained model: arms, features with their bins, and one effect model per outcome.
//!
//! It holds no training rows. What must not live here: bytes (that is `codec`), files.

use impactiq_data::{
    Arms, BinColumns, BinnedFeatures, ColumnView, DataError, FeatureBins, FeatureKind, OutcomeKind, Table,
};
use rayon::prelude::*;

use crate::base::Inputs;
use crate::error::CausalError;
use crate::learners::{EffectModel, Effects, LearnerKind};

/// A trained model of the effects of all arms on all outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalModel {
    pub(crate) arms: Arms,
    pub(crate) dose: Option<String>,
    pub(crate) features: Vec<String>,
    pub(crate) bins: Vec<FeatureBins>,
    pub(crate) outcomes: Vec<OutcomeModel>,
}

/// The effect model of one outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeModel {
    /// The outcome.
    pub name: String,
    /// Its kind at training.
    pub kind: OutcomeKind,
    /// The learned effects.
    pub effect: EffectModel,
}

/// What a model says about rows, for one outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// The outcome.
    pub outcome: String,
    /// Effect per arm but the control: `cate[k][row]` is of arm k + 1.
    pub cate: Vec<Vec<f64>>,
    /// Mean per arm, the control first; `mean[k + 1][row] − mean[0][row] = cate[k][row]`. Empty
    /// for learners that know effects alone.
    pub mean: Vec<Vec<f64>>,
    /// Lower end per contrast of the row's 95 % interval of the learner's own estimate; empty
    /// for learners without valid row intervals, NaN for rows without one.
    pub lower: Vec<Vec<f64>>,
    /// Upper end.
    pub upper: Vec<Vec<f64>>,
}

impl Predictions {
    /// The arm with the largest mean per row, that is the largest effect where means are not
    /// known; ties go to the lower code, the control first.
    pub fn best_arm(&self) -> Vec<u8> {
        let n = self.cate.first().map_or(0, Vec::len);
        let value = |arm: usize, row: usize| match (self.mean.get(arm), arm) {
            (Some(mean), _) => mean[row],
            (None, 0) => 0.0,
            (None, _) => self.cate[arm - 1][row],
        };
        (0..n)
            .map(|row| {
                let mut best = 0;
                for arm in 1..=self.cate.len() {
                    if value(arm, row) > value(best, row) {
                        best = arm;
                    }
                }
                best as u8
            })
            .collect()
    }
}

impl CausalModel {
    pub(crate) fn new(arms: Arms, features: Vec<String>, bins: Vec<FeatureBins>, outcomes: Vec<OutcomeModel>) -> Self {
        CausalModel { arms, dose: None, features, bins, outcomes }
    }

    /// The same model with effects of one unit of a dose instead of arms.
    pub(crate) fn of_dose(self, dose: Option<String>) -> Self {
        CausalModel { dose, ..self }
    }

    /// The dose whose unit the effects are of; there are no arms then.
    pub fn dose(&self) -> Option<&str> {
        self.dose.as_deref()
    }

    /// Number of effects per outcome: arms but the control, or one for a dose.
    pub fn n_contrasts(&self) -> usize {
        if self.dose.is_some() { 1 } else { self.arms.n_contrasts() }
    }

    /// The arms, the control first; none with a dose.
    pub fn arms(&self) -> &Arms {
        &self.arms
    }

    /// Features in order: raw columns, then derived ones. Controls are not among them.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// How each feature becomes codes.
    pub fn bins(&self) -> &[FeatureBins] {
        &self.bins
    }

    /// The effect models by outcome.
    pub fn outcomes(&self) -> &[OutcomeModel] {
        &self.outcomes
    }

    /// The kind of learner.
    pub fn learner(&self) -> LearnerKind {
        self.outcomes.first().map_or(LearnerKind::T, |outcome| outcome.effect.kind())
    }

    /// Encodes the features of a table that holds at least [`CausalModel::features`].
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn encode(&self, table: &Table) -> Result<BinnedFeatures, DataError> {
        BinnedFeatures::encode(table, &self.features, &self.bins)
    }

    /// Effects, means and intervals for every row. `binned` are the rows' codes under this
    /// model's bins (further columns, such as controls, may follow), `raw` the same rows' raw
    /// columns: only linear models look at them.
    ///
    /// # Errors
    /// [`CausalError::Mismatch`] when features or bins are not the model's,
    /// [`CausalError::Data`] when a raw column is missing.
    pub fn predict(&self, binned: &BinnedFeatures, raw: &Table) -> Result<Vec<Predictions>, CausalError> {
        self.answer(binned, raw, true)
    }

    /// The same without intervals, which cost time where there are any.
    ///
    /// # Errors
    /// As [`CausalModel::predict`].
    pub fn predict_effects(&self, binned: &BinnedFeatures, raw: &Table) -> Result<Vec<Predictions>, CausalError> {
        self.answer(binned, raw, false)
    }

    /// The same for a table that holds at least [`CausalModel::features`]: encoded and answered at once, nothing
    /// of the model is copied.
    ///
    /// # Errors
    /// [`CausalError::Data`] for a missing column.
    pub fn predict_table(&self, raw: &Table) -> Result<Vec<Predictions>, CausalError> {
        let views = self.features.iter().map(|name| raw.column(name)).collect::<Result<Vec<_>, _>>()?;
        let codes = RowCodes::encode(&self.bins, &views, raw.n_rows());
        self.effects(&codes, raw, true)
    }

    fn answer(&self, binned: &BinnedFeatures, raw: &Table, intervals: bool) -> Result<Vec<Predictions>, CausalError> {
        self.check(binned, raw)?;
        self.effects(binned, raw, intervals)
    }

    fn effects(&self, binned: &dyn BinColumns, raw: &Table, intervals: bool) -> Result<Vec<Predictions>, CausalError> {
        let inputs = Inputs { binned, raw, names: &self.features, arm: None };
        self.outcomes
            .iter()
            .map(|outcome| {
                let Effects { cate, mean, lower, upper } = outcome.effect.effects(&inputs, &self.arms, intervals)?;
                Ok(Predictions { outcome: outcome.name.clone(), cate, mean, lower, upper })
            })
            .collect()
    }

    fn check(&self, binned: &BinnedFeatures, raw: &Table) -> Result<(), CausalError> {
        let p = self.features.len();
        let same = binned.names().len() >= p && binned.names()[..p] == self.features && binned.bins()[..p] == self.bins;
        if !same {
            return Err(CausalError::Mismatch { problem: "their features are not encoded by the model's bins".into() });
        }
        let linear = self.outcomes.iter().any(|outcome| outcome.effect.needs_raw());
        if linear && raw.n_rows() != binned.n_rows() {
            let problem = format!("{} rows of codes, {} rows of raw columns", binned.n_rows(), raw.n_rows());
            return Err(CausalError::Mismatch { problem });
        }
        Ok(())
    }
}

/// From here on columns are encoded side by side; waking a thread costs more than fewer rows do.
const PARALLEL_ROWS: usize = 4096;

/// The codes of some rows under a model's own bins.
struct RowCodes<'a> {
    bins: &'a [FeatureBins],
    /// Column after column.
    codes: Vec<u8>,
    n_rows: usize,
}

impl<'a> RowCodes<'a> {
    fn encode(bins: &'a [FeatureBins], views: &[ColumnView<'_>], n_rows: usize) -> Self {
        let mut codes = vec![0; bins.len() * n_rows];
        let encode = |((codes, view), bins): ((&mut [u8], &ColumnView<'_>), &FeatureBins)| {
            bins.encode(*view, codes);
        };
        // Without rows there is nothing to cut into columns.
        let size = n_rows.max(1);
        if n_rows < PARALLEL_ROWS {
            codes.chunks_mut(size).zip(views).zip(bins).for_each(encode);
        } else {
            codes.par_chunks_mut(size).zip(views).zip(bins).for_each(encode);
        }
        RowCodes { bins, codes, n_rows }
    }
}

impl BinColumns for RowCodes<'_> {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_features(&self) -> usize {
        self.bins.len()
    }

    fn kind(&self, feature: usize) -> FeatureKind {
        self.bins[feature].kind()
    }

    fn n_codes(&self, feature: usize) -> usize {
        self.bins[feature].n_codes()
    }

    fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature * self.n_rows..(feature + 1) * self.n_rows]
    }
}
