//! What benches of effects have in common: options that are whole numbers, and the error of effects.

/// Options with whole numbers, by name, and what they are unless given.
pub struct WholeNumbers(pub Vec<(&'static str, usize)>);

impl WholeNumbers {
    /// Sets an option.
    pub fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        let known = self.0.iter_mut().find(|(name, _)| *name == word).ok_or(format!("unknown option {word}"))?;
        known.1 = value.parse().map_err(|_| format!("{word}: '{value}' is not a whole number"))?;
        Ok(())
    }

    /// An option; 0 for one that does not exist.
    pub fn get(&self, name: &str) -> usize {
        self.0.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }
}

/// Root mean squared error and correlation.
pub fn accuracy(effects: &[f64], truth: &[f64]) -> (f64, f64) {
    let n = truth.len() as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(effects), mean(truth));
    let moment = |f: &dyn Fn(f64, f64) -> f64| effects.iter().zip(truth).map(|(a, b)| f(*a, *b)).sum::<f64>() / n;
    let rmse = moment(&|a, b| (a - b) * (a - b)).sqrt();
    let covariance = moment(&|a, b| (a - mean_a) * (b - mean_b));
    let spread = moment(&|a, _| (a - mean_a).powi(2)).sqrt() * moment(&|_, b| (b - mean_b).powi(2)).sqrt();
    (rmse, covariance / spread)
}
