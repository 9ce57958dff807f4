//! The house's plan as data: floors of crates, and the rooms of each crate in order.
//!
//! A crate depends only on crates of its list; inside a crate a room imports only rooms
//! above it. A new room is given its place here, and in ARCHITECTURE.md when it is a
//! decision. No code lives here.

/// A crate's place in the house.
pub struct Floor {
    /// Folder and package name.
    pub name: &'static str,
    /// Crates of the house it may depend on.
    pub below: &'static [&'static str],
    /// Rooms from the ground up; the root file (lib.rs, main.rs) stands above them all.
    pub rooms: &'static [&'static str],
}

/// The house.
pub const HOUSE: [Floor; 10] = [
    Floor {
        name: "impactiq-data",
        below: &[],
        rooms: &[
            "error",
            "seed",
            "watch",
            "column",
            "table",
            "schema",
            "bin_columns",
            "bins",
            "roles",
            "treatment",
            "dose",
            "folds",
            "dataset",
            "synth",
        ],
    },
    Floor {
        name: "impactiq-metrics",
        below: &["impactiq-data"],
        rooms: &[
            "error",
            "estimate",
            "tails",
            "named",
            "least_squares",
            "robust",
            "binary_response",
            "lift",
            "averages",
            "estimands",
            "parametric",
            "pooled",
            "arms",
            "balance",
            "experiment",
            "confidence_sequence",
            "drift",
            "dose_balance",
            "radix",
            "scored",
            "slice",
            "curve",
            "area",
            "sklift",
            "causalml",
            "rate",
            "half_samples",
            "calibration",
            "policy_value",
            "targeting",
            "ranking",
            "report",
        ],
    },
    Floor {
        name: "impactiq-io",
        below: &["impactiq-data"],
        rooms: &["error", "value", "cast", "session", "features", "json", "read", "write", "artifact", "datasets"],
    },
    Floor {
        name: "impactiq-trees",
        below: &["impactiq-data"],
        rooms: &[
            "error",
            "kernel",
            "matrix",
            "records",
            "stats",
            "criterion",
            "histogram",
            "split",
            "tile",
            "partition",
            "tree",
            "grow",
            "sample",
            "forest",
            "boost",
            "explain",
        ],
    },
    Floor {
        name: "impactiq-causal",
        below: &["impactiq-trees", "impactiq-metrics", "impactiq-data"],
        rooms: &[
            "error",
            "linear",
            "base",
            "nuisance",
            "overlap",
            "effect",
            "dml",
            "iv",
            "dose",
            "instrument",
            "learners",
            "health",
            "config",
            "model",
            "render",
            "codec",
            "train",
            "forests",
            "evaluate",
        ],
    },
    Floor {
        name: "impactiq-score",
        below: &["impactiq-causal", "impactiq-metrics", "impactiq-io", "impactiq-data"],
        rooms: &[
            "error", "profile", "manifest", "card", "saved", "reports", "rows", "features", "scorer", "simulate",
            "explain",
        ],
    },
    Floor {
        name: "impactiq-store",
        below: &["impactiq-io", "impactiq-data"],
        rooms: &[
            "error",
            "settings",
            "database",
            "entry",
            "insert",
            "query",
            "retention",
            "queue",
            "writer",
            "score_log",
            "lookup",
        ],
    },
    Floor {
        name: "impactiq-stream",
        below: &["impactiq-metrics", "impactiq-io", "impactiq-data"],
        rooms: &["error", "windows", "live"],
    },
    Floor {
        name: "impactiq-serve",
        below: &[
            "impactiq-store",
            "impactiq-score",
            "impactiq-causal",
            "impactiq-metrics",
            "impactiq-io",
            "impactiq-data",
        ],
        rooms: &["error", "settings", "keys", "live", "registry", "metrics", "desk", "assets", "http", "server"],
    },
    Floor {
        name: "impactiq-cli",
        below: &[
            "impactiq-serve",
            "impactiq-stream",
            "impactiq-score",
            "impactiq-causal",
            "impactiq-trees",
            "impactiq-metrics",
            "impactiq-io",
            "impactiq-data",
        ],
        rooms: &["exit", "args", "memory", "output", "commands"],
    },
];

/// Crates that may know Arrow, Parquet and DataFusion: io and what stands above it.
pub const MAY_KNOW_ARROW: [&str; 6] =
    ["impactiq-io", "impactiq-store", "impactiq-score", "impactiq-stream", "impactiq-serve", "impactiq-cli"];

/// What metrics may take from data: a seed and a watch, so that it stays pure numbers.
pub const METRICS_FROM_DATA: [&str; 6] = ["Seed", "Stream", "Watch", "Silent", "seed", "watch"];
