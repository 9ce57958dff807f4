//! Instrumental forests: the effect of a treatment by way of an instrument (Athey, Tibshirani and
//! Wager 2019, section 7).

use impactiq_data::{BinColumns, Seed, Watch};

use crate::criterion::instrument::{Instrument, InstrumentCell, InstrumentRow, InstrumentStats};
use crate::error::{TreesError, check_length};
use crate::forest::config::ForestConfig;
use crate::forest::grow::{ForestCriterion, Ground, Members};
use crate::forest::kind::ForestKind;
use crate::forest::model::Forest;
use crate::stats::Stats;

/// What to learn from which rows.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentTask<'a> {
    /// The rows to learn from, numbers into the features.
    pub rows: &'a [u32],
    /// The outcome of every row of the features, less its expectation.
    pub outcome: &'a [f64],
    /// The treatment of every row of the features, binary or a dose, less its expectation.
    pub treatment: &'a [f64],
    /// The instrument of every row of the features, less its expectation.
    pub instrument: &'a [f64],
    /// Whether a binary instrument is on (1) or off (0), by row of the features, for
    /// `min_arm_rows`; `None` for other instruments.
    pub encouraged: Option<&'a [u8]>,
    /// The weight of every row of the features; rows of weight 0 are left out.
    pub weights: Option<&'a [f64]>,
    /// The cluster of every row of the features: drawn whole.
    pub clusters: Option<&'a [u32]>,
    /// A stable number of every row of the features: the key of sampling.
    pub row_ids: &'a [u64],
}

impl<'a> InstrumentTask<'a> {
    fn members(&self) -> Members<'a> {
        Members { rows: self.rows, weights: self.weights, clusters: self.clusters, row_ids: self.row_ids }
    }

    /// The key by which a row is drawn.
    #[inline(always)]
    pub fn key(&self, row: u32) -> u64 {
        self.members().key(row)
    }

    fn cell(&self, row: u32) -> InstrumentCell {
        let i = row as usize;
        let row = InstrumentRow {
            weight: self.members().weight(row),
            outcome: self.outcome[i],
            treatment: self.treatment[i],
            instrument: self.instrument[i],
            encouraged: self.encouraged.is_some_and(|encouraged| encouraged[i] != 0),
        };
        row.cell()
    }

    fn grow(
        &self,
        earlier: Option<Forest>,
        x: &dyn BinColumns,
        config: &ForestConfig,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Forest, TreesError> {
        config.check()?;
        self.encouraged.map_or(Ok(()), |encouraged| check_length("encouraged", x.n_rows(), encouraged.len()))?;
        let numbers = [("outcome", self.outcome), ("treatment", self.treatment), ("instrument", self.instrument)];
        let members = self.members();
        let rows = members.checked(x.n_rows(), &numbers)?;
        let criterion = |min_arm_rows: u32| Instrument {
            min_arm_rows: if self.encouraged.is_some() { min_arm_rows } else { 0 },
            alpha: config.alpha,
            imbalance_penalty: config.imbalance_penalty,
        };
        let kind = (ForestKind::Instrument, criterion);
        Ground::new(kind, x, config, (&members, &rows), |row| self.cell(row))?.grow(earlier, seed, watch)
    }
}

impl ForestCriterion for Instrument {
    fn push_means(sums: &InstrumentStats, out: &mut Vec<f32>) {
        let weight = sums.weight();
        out.extend(sums.moments().map(|sum| (sum / weight) as f32));
    }
}

/// Grows an instrumental forest. Its answers are local average treatment effects, one per row.
///
/// When the watch says stop, the bags finished so far are the forest; [`continue_instrument_forest`]
/// grows the rest.
///
/// # Errors
/// [`TreesError::BadSetting`] for a setting out of range; [`TreesError::Length`],
/// [`TreesError::RowOutOfRange`], [`TreesError::NoRows`], [`TreesError::NoFeatures`] and
/// [`TreesError::BadValue`] for a task that cannot be; [`TreesError::Stopped`] when stopped
/// before the first bag.
pub fn grow_instrument_forest(
    x: &dyn BinColumns,
    task: &InstrumentTask<'_>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Forest, TreesError> {
    task.grow(None, x, config, seed, watch)
}

/// Grows the bags that `forest` lacks of `config.n_trees`, see
/// [`crate::forest::effect::continue_effect_forest`].
///
/// # Errors
/// As [`grow_instrument_forest`]; [`TreesError::FeatureCount`] and [`TreesError::BadSetting`] when
/// the forest has grown on other features, bags, another seed or for other answers.
pub fn continue_instrument_forest(
    forest: Forest,
    x: &dyn BinColumns,
    task: &InstrumentTask<'_>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Forest, TreesError> {
    task.grow(Some(forest), x, config, seed, watch)
}

#[cfg(test)]
mod tests;
