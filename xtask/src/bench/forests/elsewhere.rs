//! Figures of grf, which no package index that we install peers from carries.
//!
//! They were measured once with its R package, version 2.6.1, one thread, core mode (outcome and
//! treatment given, no out-of-bag predictions), on data of the same shape and a machine of the
//! same kind, not in the runs of this bench. Tables show them marked as such.

/// One forest of grf.
pub struct Elsewhere {
    /// Rows.
    pub rows: u64,
    /// `min.node.size`.
    pub leaf: u64,
    /// Nodes per tree.
    pub nodes_per_tree: f64,
    /// CPU milliseconds per tree, least and most of the runs.
    pub ms_per_tree: (f64, f64),
}

/// What stands beside every such figure.
pub const MARK: &str = "measured elsewhere, not in this run";

/// grf's causal forest.
pub const GRF: [Elsewhere; 3] = [
    Elsewhere { rows: 100_000, leaf: 5, nodes_per_tree: 1220.0, ms_per_tree: (220.0, 237.0) },
    Elsewhere { rows: 100_000, leaf: 100, nodes_per_tree: 56.0, ms_per_tree: (124.0, 124.0) },
    Elsewhere { rows: 1_000_000, leaf: 5, nodes_per_tree: 11_907.0, ms_per_tree: (3900.0, 4400.0) },
];

/// Rows per second with variances, forests of 2,000 trees grown on 10,000 rows, least and most.
pub const GRF_ROWS_PER_SECOND: (f64, f64) = (560.0, 770.0);

/// Milliseconds of a call for one row through R, forests of 2,000 trees, least and most.
pub const GRF_SINGLE_MS: (f64, f64) = (117.0, 494.0);
