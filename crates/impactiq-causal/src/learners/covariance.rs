//! Which covariance of a linear final stage's coefficients a user asks for.

use impactiq_metrics::robust::Covariance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the covariance of a linear final stage's coefficients is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CovarianceKind {
    /// One error variance for all rows.
    Classical,
    /// Squared residuals as they are.
    Hc0,
    /// The same times n / (n − k): the default without clusters.
    Hc1,
    /// Residuals over √(1 − leverage).
    Hc2,
    /// Residuals over 1 − leverage.
    Hc3,
    /// By cluster, times G/(G − 1) · (n − 1)/(n − k): the default with clusters.
    Cr1,
    /// By cluster with a leverage correction: for few or unequal clusters.
    Cr2,
}

impl CovarianceKind {
    /// Whether it sums by cluster.
    pub(super) fn needs_clusters(self) -> bool {
        matches!(self, CovarianceKind::Cr1 | CovarianceKind::Cr2)
    }

    /// The covariance of an ordinary regression that it is.
    pub(super) fn of_metrics(self) -> Covariance {
        match self {
            CovarianceKind::Classical => Covariance::Classical,
            CovarianceKind::Hc0 => Covariance::Hc0,
            CovarianceKind::Hc1 => Covariance::Hc1,
            CovarianceKind::Hc2 => Covariance::Hc2,
            CovarianceKind::Hc3 => Covariance::Hc3,
            CovarianceKind::Cr1 => Covariance::Cr1,
            CovarianceKind::Cr2 => Covariance::Cr2,
        }
    }

    /// The kind as the config writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            CovarianceKind::Classical => "classical",
            CovarianceKind::Hc0 => "hc0",
            CovarianceKind::Hc1 => "hc1",
            CovarianceKind::Hc2 => "hc2",
            CovarianceKind::Hc3 => "hc3",
            CovarianceKind::Cr1 => "cr1",
            CovarianceKind::Cr2 => "cr2",
        }
    }
}
