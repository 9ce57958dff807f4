//! What the treatment is decides what else may be asked: arms, a dose or an instrument, and the
//! estimators that are defined for each. Nothing here looks at data.

use super::estimators::InstrumentsConfig;
use super::sections::{AssignmentKind, Config, ScoreKind};
use super::values::Probability;
use crate::error::CausalError;
use crate::learners::LearnerKind;

impl Config {
    /// Arms or a dose, never both, and a learner that can learn from what there is.
    pub(super) fn check_exposure(&self) -> Result<(), CausalError> {
        self.check_instrument()?;
        let kind = self.learner.kind;
        let Some(dose) = &self.roles.dose else { return Ok(()) };
        let useless = |key: &str| Err(CausalError::NotWithDose { key: key.to_owned(), dose: dose.clone() });
        if !self.roles.treatment.is_empty() {
            return useless("roles.treatment");
        }
        if self.roles.control.is_some() {
            return useless("roles.control");
        }
        if self.assignment.probability.is_some() && self.roles.instrument.is_none() {
            return useless("assignment.probability");
        }
        if self.evaluate.scores == ScoreKind::Ipw {
            return useless("evaluate.scores: ipw");
        }
        if self.learner.recalibrate.is_some() {
            return useless("learner.recalibrate");
        }
        if self.learner.budget().is_some() {
            return useless("learner.tune");
        }
        if let Some(key) = self.averages.written().next() {
            return useless(key);
        }
        if let Some(model) = self.dml.models.iter().find(|model| model.needs_arms()) {
            return useless(&format!("dml.models: {}", model.name()));
        }
        if !kind.takes_doses() {
            return Err(CausalError::NotForDoses {
                kind: kind.name().to_owned(),
                dose: dose.clone(),
                learners: LearnerKind::names_for_doses(),
            });
        }
        Ok(())
    }

    /// With an instrument, `assignment` speaks of the instrument: what people did with it was chosen.
    fn check_instrument(&self) -> Result<(), CausalError> {
        let kind = self.learner.kind;
        if self.roles.instrument.is_none() {
            if kind.needs_instrument() {
                return Err(CausalError::MissingRole { role: "instrument", needed_by: kind.name() });
            }
            if self.instruments != InstrumentsConfig::default() {
                return Err(CausalError::MissingRole { role: "instrument", needed_by: "the keys of 'instruments'" });
            }
            return match self.dml.models.iter().any(|model| model.needs_instrument()) {
                true => Err(CausalError::MissingRole { role: "instrument", needed_by: "pliv and iivm" }),
                false => Ok(()),
            };
        }
        if let Some(kind) = self.instruments.covariance
            && kind.by_cluster()
            && self.roles.cluster.is_none()
        {
            let allowed = "a covariance by cluster needs roles.cluster";
            return Err(CausalError::setting("instruments.covariance", kind.name(), allowed));
        }
        if !matches!(self.assignment.probability, None | Some(Probability::Number(_))) {
            let allowed = "with an instrument it is the probability that the instrument is 1, one number";
            return Err(CausalError::setting("assignment.probability", "a table or a column", allowed));
        }
        if !kind.needs_instrument() && self.assignment.kind == AssignmentKind::Randomised {
            let allowed = "it takes the treatment for assigned, but with roles.instrument chance dealt out the instrument and \
                           the treatment was chosen: choose instrumental_forest or intent_to_treat_driv, or say \
                           assignment: {kind: observational}";
            return Err(CausalError::setting("learner.kind", kind.name(), allowed));
        }
        if kind == LearnerKind::IntentToTreatDriv && self.assignment.kind == AssignmentKind::Observational {
            let allowed = "intent_to_treat_driv needs an offer made by chance: choose instrumental_forest";
            return Err(CausalError::setting("assignment.kind", "observational", allowed));
        }
        match self.averages.written().next() {
            Some(key) if kind.needs_instrument() => {
                let allowed = "with this learner the treatment was chosen, so there are no averages over arms";
                Err(CausalError::setting(key, "given", allowed))
            }
            _ => Ok(()),
        }
    }

    /// Averages and repetitions that this assignment and these roles allow.
    pub(super) fn check_estimators(&self) -> Result<(), CausalError> {
        self.averages.check(&self.roles.outcome.0)?;
        self.dml.check()?;
        if self.roles.fold.is_some() && self.dml.repetitions > 1 {
            let allowed = "roles.fold fixes the folds, so there is one way to deal them";
            return Err(CausalError::setting("dml.repetitions", self.dml.repetitions, allowed));
        }
        let observational = self.assignment.kind == AssignmentKind::Observational;
        for key in self.averages.written() {
            let of_observational = key == "averages.trim";
            if of_observational && !observational {
                let allowed =
                    "in a trial every row could have been in either arm: it is for assignment: {kind: observational}";
                return Err(CausalError::setting(key, "given", allowed));
            }
            if observational && !of_observational {
                let allowed = "it compares arms as they are, which only chance makes alike";
                return Err(CausalError::setting(key, "given", allowed));
            }
        }
        Ok(())
    }

    pub(super) fn check_probability(&self) -> Result<(), CausalError> {
        let Some(probability) = &self.assignment.probability else { return Ok(()) };
        if self.assignment.kind == AssignmentKind::Observational {
            return Err(CausalError::setting(
                "assignment.kind",
                "observational",
                "with a declared assignment.probability it must be randomised",
            ));
        }
        let valid = |p: f64| p > 0.0 && p < 1.0;
        match probability {
            Probability::Number(p) if !valid(*p) => {
                Err(CausalError::setting("assignment.probability", p, "it must lie strictly between 0 and 1"))
            }
            Probability::PerArm(arms) => match arms.iter().find(|(_, p)| !valid(*p)) {
                Some((arm, p)) => Err(CausalError::setting(
                    format!("assignment.probability.{arm}"),
                    p,
                    "it must lie strictly between 0 and 1",
                )),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
