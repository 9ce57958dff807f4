//! How well a ranking finds the best tenth, where the truth is known.

/// What the best-ranked tenth gains over the average, as a share of what the truth's would.
pub fn best_tenth(effects: &[f64], truth: &[f64]) -> f64 {
    let n = truth.len() / 10;
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let gain = |by: &[f64]| {
        let mut order: Vec<usize> = (0..truth.len()).collect();
        order.sort_by(|&a, &b| by[b].total_cmp(&by[a]));
        order[..n].iter().map(|&row| truth[row]).sum::<f64>() / n as f64 - mean
    };
    gain(effects) / gain(truth)
}
