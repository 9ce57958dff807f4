//! Which column plays which part, before (`RolesSpec`) and after (`Roles`) names and
//! globs are resolved against the columns that exist.

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Roles as the user writes them: names and globs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolesSpec {
    /// The treatment column; empty with a dose.
    pub treatment: String,
    /// The control's value in the treatment column; empty with a dose.
    pub control: String,
    /// The dose: a treatment that is an amount, in place of treatment and control.
    pub dose: Option<String>,
    /// Outcome columns, at least one.
    pub outcomes: Vec<String>,
    /// Feature names and globs; `None`: every column without another role.
    pub features: Option<Vec<String>>,
    /// Confounders used by nuisances only.
    pub controls: Vec<String>,
    /// The instrument.
    pub instrument: Option<String>,
    /// Row weights.
    pub weight: Option<String>,
    /// What keeps rows together.
    pub cluster: Option<String>,
    /// Identifiers that are passed through to scores.
    pub id: Vec<String>,
    /// A column that fixes the folds.
    pub fold: Option<String>,
    /// Columns known only after treatment.
    pub post_treatment: Vec<String>,
    /// The column with a row's assignment probability.
    pub probability: Option<String>,
}

/// Roles after resolution: every name exists and roles don't collide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roles {
    /// The treatment column; empty with a dose.
    pub treatment: String,
    /// The control's value; empty with a dose.
    pub control: String,
    /// The dose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dose: Option<String>,
    /// Outcome columns.
    pub outcomes: Vec<String>,
    /// Features in the table's order, then derived features.
    pub features: Vec<String>,
    /// Confounders used by nuisances only.
    pub controls: Vec<String>,
    /// The instrument.
    pub instrument: Option<String>,
    /// Row weights.
    pub weight: Option<String>,
    /// Clusters.
    pub cluster: Option<String>,
    /// Identifiers.
    pub id: Vec<String>,
    /// Fixed folds.
    pub fold: Option<String>,
    /// Post-treatment columns that exist in the table.
    pub post_treatment: Vec<String>,
    /// Assignment probability.
    pub probability: Option<String>,
}

impl RolesSpec {
    /// Resolves names and globs.
    ///
    /// `columns` are the raw columns in order, `derived` the names of SQL features, which
    /// are always features. A glob passes over columns that have another role; naming such
    /// a column outright is an error.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`], [`DataError::RoleConflict`],
    /// [`DataError::EmptyPattern`], [`DataError::NoFeatures`].
    pub fn resolve(&self, columns: &[String], derived: &[String]) -> Result<Roles, DataError> {
        let taken = self.taken(columns)?;
        let mut features = self.chosen(columns, derived, &taken)?;
        for name in derived {
            if columns.contains(name) {
                return Err(DataError::DuplicateColumn { column: name.clone() });
            }
            features.push(name.clone());
        }
        if features.is_empty() {
            return Err(DataError::NoFeatures);
        }
        Ok(Roles {
            treatment: self.treatment.clone(),
            control: self.control.clone(),
            dose: self.dose.clone(),
            outcomes: self.outcomes.clone(),
            features,
            controls: self.controls.clone(),
            instrument: self.instrument.clone(),
            weight: self.weight.clone(),
            cluster: self.cluster.clone(),
            id: self.id.clone(),
            fold: self.fold.clone(),
            post_treatment: self.post_treatment.clone(),
            probability: self.probability.clone(),
        })
    }

    /// Columns that have a role other than feature.
    fn taken<'a>(&'a self, columns: &[String]) -> Result<Vec<(&'a String, &'static str)>, DataError> {
        let exists = |name: &String| {
            if columns.contains(name) { Ok(()) } else { Err(DataError::missing_column(name, columns)) }
        };
        let mut taken: Vec<(&String, &'static str)> = Vec::new();
        let mut take = |name: &'a String, role: &'static str| {
            exists(name)?;
            if let Some(&(_, first)) = taken.iter().find(|(other, _)| *other == name) {
                return Err(DataError::RoleConflict { column: name.clone(), first, second: role });
            }
            taken.push((name, role));
            Ok(())
        };
        match &self.dose {
            Some(dose) => take(dose, "dose")?,
            None => take(&self.treatment, "treatment")?,
        }
        self.outcomes.iter().try_for_each(|name| take(name, "outcome"))?;
        for (name, role) in [
            (&self.instrument, "instrument"),
            (&self.weight, "weight"),
            (&self.fold, "fold"),
            (&self.probability, "assignment.probability"),
        ] {
            name.iter().try_for_each(|name| take(name, role))?;
        }
        for name in self.post_treatment.iter().filter(|name| !self.outcomes.contains(name)) {
            take(name, "post_treatment")?;
        }
        self.controls.iter().try_for_each(|name| take(name, "controls"))?;
        // An identifier may name the cluster too; neither is a feature.
        for name in self.id.iter().chain(&self.cluster) {
            exists(name)?;
            let role = if self.cluster.as_ref() == Some(name) { "cluster" } else { "id" };
            match taken.iter().find(|(other, _)| *other == name) {
                Some((_, "id" | "cluster")) => {}
                Some(&(_, first)) => {
                    return Err(DataError::RoleConflict { column: name.clone(), first, second: role });
                }
                None => taken.push((name, role)),
            }
        }
        Ok(taken)
    }

    /// Raw feature columns in the table's order.
    fn chosen(
        &self,
        columns: &[String],
        derived: &[String],
        taken: &[(&String, &'static str)],
    ) -> Result<Vec<String>, DataError> {
        let role_of = |name: &String| taken.iter().find(|(other, _)| *other == name).map(|&(_, role)| role);
        let mut wanted = vec![false; columns.len()];
        let Some(patterns) = &self.features else {
            return Ok(columns.iter().filter(|name| role_of(name).is_none()).cloned().collect());
        };
        for pattern in patterns.iter().filter(|pattern| !derived.contains(pattern)) {
            if let Some(index) = columns.iter().position(|name| name == pattern) {
                if let Some(first) = role_of(pattern) {
                    return Err(DataError::RoleConflict { column: pattern.clone(), first, second: "features" });
                }
                wanted[index] = true;
                continue;
            }
            if !pattern.contains(['*', '?']) {
                return Err(DataError::missing_column(pattern, columns));
            }
            let empty = || DataError::EmptyPattern { pattern: pattern.clone() };
            let glob = glob::Pattern::new(pattern).map_err(|_| empty())?;
            let matches = |name: &String| glob.matches(name) && role_of(name).is_none();
            if !columns.iter().any(matches) {
                return Err(empty());
            }
            columns.iter().zip(&mut wanted).filter(|(name, _)| matches(name)).for_each(|(_, wanted)| *wanted = true);
        }
        Ok(columns.iter().zip(&wanted).filter(|&(_, &wanted)| wanted).map(|(name, _)| name.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn spec() -> RolesSpec {
        RolesSpec {
            treatment: "t".into(),
            control: "0".into(),
            outcomes: names("y"),
            post_treatment: names("exposure"),
            ..RolesSpec::default()
        }
    }

    #[test]
    fn features_default_to_columns_without_a_role() {
        let roles = spec().resolve(&names("f0 t y f1 exposure"), &names("f0_f1")).unwrap();
        assert_eq!(roles.features, names("f0 f1 f0_f1"));
    }

    #[test]
    fn globs_pass_over_roles_but_names_collide() {
        let globbed = RolesSpec { features: Some(names("f* e*x")), ..spec() };
        assert!(matches!(
            globbed.resolve(&names("f0 t y f1 exposure"), &[]).unwrap_err(),
            DataError::EmptyPattern { .. }
        ));
        let named = RolesSpec { features: Some(names("f0 exposure")), ..spec() };
        assert_eq!(
            named.resolve(&names("f0 t y exposure"), &[]).unwrap_err(),
            DataError::RoleConflict { column: "exposure".into(), first: "post_treatment", second: "features" }
        );
    }

    #[test]
    fn a_slip_of_the_finger_is_answered() {
        let err = RolesSpec { treatment: "treatmnt".into(), ..spec() }
            .resolve(&names("treatment y exposure f"), &[])
            .unwrap_err();
        assert_eq!(err.hint().unwrap(), "did you mean 'treatment'?");
    }
}
