//! How trees grow: matrix, histograms, criteria, the grower and boosting.
