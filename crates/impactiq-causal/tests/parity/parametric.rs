//! Stata's `teffects` on birth weights (Cattaneo 2010), where statsmodels differs too.

use impactiq_metrics::binary_response::{BinaryLink, fit_binary};
use impactiq_metrics::parametric::{ParametricMethod, ParametricRows, potential_means};

use super::rows::{Frame, close, peer};

#[test]
fn effects_of_smoking_are_those_of_stata() {
    let Some(theirs) = peer("teffects_cattaneo2_stata.json") else { return };
    let Some(frame) = Frame::read("cattaneo2_bwt/cattaneo2.csv.gz") else { return };
    let columns = |names: &[&str]| -> Vec<&[f64]> { names.iter().map(|name| frame.column(name)).collect() };
    let outcome_columns = columns(&["prenatal1_", "mmarried_", "mage", "fbaby_"]);
    let treatment_columns = columns(&["mmarried_", "mage", "mage2", "fbaby_", "medu"]);
    let rows = ParametricRows {
        outcome: frame.column("bweight"),
        treatment: frame.column("mbsmoke_"),
        outcome_columns: &outcome_columns,
        treatment_columns: &treatment_columns,
        link: BinaryLink::Probit,
        clusters: None,
    };
    // Where statsmodels and Stata differ (ipw and aipw in the sixth digit), Stata is matched.
    let probit = fit_binary(&treatment_columns, rows.treatment, None, BinaryLink::Probit).unwrap();
    let names = ["Intercept", "mmarried_", "mage", "mage2", "fbaby_", "medu"];
    for (name, ours) in names.iter().zip(&probit.coefficients) {
        close(name, *ours, theirs["probit_params"][name].as_f64().unwrap(), 1e-8);
    }
    for (name, method) in [
        ("ra", ParametricMethod::RegressionAdjustment),
        ("ipw", ParametricMethod::Ipw),
        ("ipw_ra", ParametricMethod::IpwRegression),
        ("aipw", ParametricMethod::Aipw),
        ("aipw_wls", ParametricMethod::AipwWeighted),
    ] {
        let ours = potential_means(&rows, method).unwrap();
        let table = &theirs[name]["stata_table_first2"];
        for (row, estimate) in [&ours.ate, &ours.control].into_iter().enumerate() {
            close(name, estimate.value().unwrap(), table[row][0].as_f64().unwrap(), 1e-8);
            close(&format!("error of {name}"), estimate.std_error().unwrap(), table[row][1].as_f64().unwrap(), 1e-8);
        }
    }
}
