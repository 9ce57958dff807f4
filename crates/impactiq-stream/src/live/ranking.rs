//! The training ranking: where its tenths end, and what was measured in each on held-out rows.

use impactiq_metrics::Estimate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::StreamError;

/// Parts of the held-out ranking, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRanking {
    /// Scores at least this high belong to the part, for all parts but the last; descending.
    cuts: Vec<f64>,
    /// The effect of each part on held-out rows.
    effects: Vec<Estimate>,
}

impl TrainingRanking {
    /// From cut points (descending, one fewer than parts) and effects by part, best first.
    ///
    /// # Errors
    /// [`StreamError::Setting`] for other numbers of them or cut points out of order.
    pub fn new(cuts: Vec<f64>, effects: Vec<Estimate>) -> Result<Self, StreamError> {
        let descending = cuts.windows(2).all(|pair| pair[0] >= pair[1]);
        if cuts.len() + 1 != effects.len() || !descending || cuts.iter().any(|cut| !cut.is_finite()) {
            let value = format!("{cuts:?} for {} parts", effects.len());
            let allowed = "give finite scores in descending order, one fewer than parts";
            return Err(StreamError::Setting { key: "cut points", value, allowed });
        }
        Ok(TrainingRanking { cuts, effects })
    }

    /// From a model's `reports/evaluation.json`: its deciles, which end where the shares of
    /// `targeting` do. `None` where it has none for this outcome and arm (equal scores, an
    /// evaluation by an earlier version).
    ///
    /// # Errors
    /// [`StreamError::Damaged`] for a report that says something else there.
    pub fn of_evaluation(report: &Value, outcome: &str, arm: &str) -> Result<Option<Self>, StreamError> {
        let damaged = |problem: &str| StreamError::Damaged { what: "evaluation", problem: problem.into() };
        let is_asked = |contrast: &&Value| contrast["outcome"] == outcome && contrast["arm"] == arm;
        let contrasts = report["contrasts"].as_array().ok_or_else(|| damaged("it has no contrasts"))?;
        let Some(contrast) = contrasts.iter().find(is_asked) else { return Ok(None) };
        let (Some(deciles), Some(points)) =
            (contrast["deciles"].as_array(), contrast["targeting"]["points"].as_array())
        else {
            return Ok(None);
        };
        let n = deciles.len();
        if n < 2 {
            return Ok(None);
        }
        let threshold = |part: usize| {
            let share = part as f64 / n as f64;
            let is_there = |point: &&Value| point["fraction"].as_f64().is_some_and(|f| (f - share).abs() < 1e-9);
            points.iter().find(is_there).and_then(|point| point["threshold"].as_f64())
        };
        let cuts = (1..n).map(threshold).collect::<Option<Vec<f64>>>();
        let cuts = cuts.ok_or_else(|| damaged("a decile has no end"))?;
        let effect = |decile: &Value| {
            // Doubly robust where there is one, else the difference in means.
            let of = |key: &str| serde_json::from_value::<Estimate>(decile[key].clone()).ok();
            of("effect").filter(|found| found.value().is_some()).or_else(|| of("uplift"))
        };
        let effects = deciles.iter().map(effect).collect::<Option<Vec<Estimate>>>();
        Self::new(cuts, effects.ok_or_else(|| damaged("a decile has no effect"))?).map(Some)
    }

    /// Number of parts.
    pub fn n_parts(&self) -> usize {
        self.effects.len()
    }

    /// The part of a score, 0 for the best.
    pub fn part(&self, score: f64) -> usize {
        self.cuts.partition_point(|cut| *cut > score)
    }

    /// The effect of a part on held-out rows.
    pub fn effect(&self, part: usize) -> &Estimate {
        &self.effects[part]
    }

    /// The lowest score of the best `n_parts` parts; `None` where that is everybody.
    pub fn threshold(&self, n_parts: usize) -> Option<f64> {
        self.cuts.get(n_parts.checked_sub(1)?).copied()
    }

    /// The effect among the best `n_parts` parts together; parts are equally large and have no row
    /// in common.
    pub fn effect_of_best(&self, n_parts: usize) -> Estimate {
        let parts = &self.effects[..n_parts.min(self.effects.len())];
        let known = parts.iter().map(|e| Some((e.value()?, e.std_error()?, e.n()?))).collect::<Option<Vec<_>>>();
        let Some(known) = known.filter(|known| !known.is_empty()) else {
            return Estimate::undefined("a part of the held-out ranking has no effect with an error");
        };
        let k = known.len() as f64;
        let value = known.iter().map(|part| part.0).sum::<f64>() / k;
        let error = known.iter().map(|part| part.1 * part.1).sum::<f64>().sqrt() / k;
        Estimate::new(value, error, known.iter().map(|part| part.2).sum())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        let estimate =
            |value: f64| json!({"value": value, "std_error": 0.3, "lower": value - 0.6, "upper": value + 0.6, "n": 10});
        let none = json!({"value": null, "reason": "no doubly robust scores"});
        json!({"contrasts": [{"outcome": "visit", "arm": "1",
            "deciles": [{"effect": estimate(3.0), "uplift": estimate(9.0)}, {"effect": estimate(2.0), "uplift": estimate(9.0)},
                {"effect": none, "uplift": estimate(1.0)}, {"effect": estimate(0.0), "uplift": estimate(9.0)}],
            "targeting": {"points": [{"fraction": 0.0, "threshold": null}, {"fraction": 0.25, "threshold": 0.5},
                {"fraction": 0.5, "threshold": 0.2}, {"fraction": 0.75, "threshold": 0.2}, {"fraction": 1.0, "threshold": -1.0}]}}]})
    }

    #[test]
    fn scores_fall_into_the_part_they_had_on_held_out_rows() {
        let ranking = TrainingRanking::of_evaluation(&report(), "visit", "1").unwrap().unwrap();
        let parts: Vec<usize> = [9.0, 0.5, 0.499, 0.2, 0.1, -9.0].map(|score| ranking.part(score)).to_vec();
        assert_eq!(parts, [0, 0, 1, 1, 3, 3]);
        assert_eq!(ranking.effect(2).value(), Some(1.0));
        assert_eq!((ranking.threshold(1), ranking.threshold(4)), (Some(0.5), None));
        let best = ranking.effect_of_best(2);
        assert_eq!(best.value(), Some(2.5));
        assert!((best.std_error().unwrap() - 0.3 / 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn an_evaluation_without_parts_is_none_and_a_damaged_one_an_error() {
        assert!(TrainingRanking::of_evaluation(&report(), "visit", "2").unwrap().is_none());
        assert!(
            TrainingRanking::of_evaluation(&json!({"contrasts": [{"outcome": "a", "arm": "1"}]}), "a", "1")
                .unwrap()
                .is_none()
        );
        assert!(TrainingRanking::of_evaluation(&json!({}), "a", "1").is_err());
        let mut broken = report();
        broken["contrasts"][0]["targeting"]["points"] = json!([]);
        assert!(TrainingRanking::of_evaluation(&broken, "visit", "1").is_err());
        assert!(TrainingRanking::new(vec![0.1, 0.2], vec![Estimate::point(0.0, 1); 3]).is_err());
    }
}
