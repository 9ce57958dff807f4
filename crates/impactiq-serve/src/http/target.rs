//! `/v1/target`: what treating the best share brings at given prices, and the list of whom to treat.
//!
//! The server measures nothing here: it scales what the evaluation measured on held-out people.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use impactiq_io::CsvRows;
use impactiq_metrics::policy_value::Economics;
use impactiq_metrics::targeting::PricedPoint;
use impactiq_score::{ScoreError, ScoreValue, Scored};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::desk::Desk;
use crate::http::answer::{in_time, on_a_thread};
use crate::http::extract::{Content, ModelQuery, body, content, json, query, unknown_content};
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::score::{Names, in_columns, numbers, read_csv, response};
use crate::http::text::{ERROR_COLUMN, csv_own, csv_text, error_line};
use crate::metrics::Door;
use crate::registry::LoadedModel;

/// The column of the list that holds the predicted effect.
const SCORE_COLUMN: &str = "score";
/// The column of the whole file that says whom to treat.
const TREAT_COLUMN: &str = "treat";

/// Prices and people.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetRequest {
    /// The outcome; left out: the model's first.
    outcome: Option<String>,
    /// The arm, or the dose; left out: the first beside control.
    arm: Option<String>,
    /// What one outcome is worth.
    value_per_outcome: f64,
    /// What treating one person costs.
    cost_per_treatment: f64,
    /// People who could be treated; left out: as many as were held out.
    population: Option<f64>,
    /// The share to treat, 0 to 1: the answer's `chosen`.
    fraction: Option<f64>,
    /// What may be spent: `chosen` is the best share it pays for.
    budget: Option<f64>,
}

/// What shares of the ranking bring.
#[derive(Serialize, ToSchema)]
pub(crate) struct TargetResponse {
    /// The outcome.
    outcome: String,
    /// The arm.
    arm: String,
    /// People it was measured on.
    n_holdout: u64,
    /// People it is stated for.
    population: f64,
    /// Every whole per cent: `{"fraction", "threshold", "n_targeted", "cost", "profit",
    /// "incremental_outcomes", "over_random"}`.
    #[schema(value_type = Vec<Object>)]
    points: Vec<PricedPoint>,
    /// The most profitable one.
    #[schema(value_type = Object)]
    best: PricedPoint,
    /// The one asked for, by share or by budget; else the best.
    #[schema(value_type = Object)]
    chosen: PricedPoint,
    /// Treating everybody.
    #[schema(value_type = Object)]
    treat_everyone: PricedPoint,
    /// What to keep in mind.
    caveats: Vec<String>,
}

/// A contrast of a model: its names, and the score column of its effect.
struct Contrast {
    outcome: String,
    arm: String,
    column: String,
}

/// Finds the contrast asked for; what is not said is the first.
fn contrast(model: &LoadedModel, outcome: Option<&str>, arm: Option<&str>) -> Result<Contrast, Problem> {
    let manifest = model.scorer.manifest();
    let all = model.scorer.columns().iter().filter_map(|column| match column.value {
        ScoreValue::Cate(index) => Some(Contrast {
            outcome: manifest.outcomes[column.outcome].name.clone(),
            arm: manifest.roles.dose.clone().unwrap_or_else(|| manifest.arms[index + 1].clone()),
            column: column.name.clone(),
        }),
        _ => None,
    });
    let mut known = Vec::new();
    for found in all {
        if outcome.is_none_or(|outcome| outcome == found.outcome) && arm.is_none_or(|arm| arm == found.arm) {
            return Ok(found);
        }
        known.push(format!("{}/{}", found.outcome, found.arm));
    }
    let asked = format!("{}/{}", outcome.unwrap_or("any"), arm.unwrap_or("any"));
    Err(Problem::new(
        Code::BadParameter,
        format!("the model '{}' knows no effect {asked} (outcome/arm)", model.name),
        format!("it knows {}", known.join(", ")),
    ))
}

/// What treating the best share brings.
#[utoipa::path(post, path = "/v1/target", tag = "targeting", params(ModelQuery), request_body = TargetRequest, responses((status = 200, description = "Profit by share, measured on held-out people", body = TargetResponse), (status = 400, description = "Prices that cannot be meant", body = ProblemBody, content_type = "application/problem+json"), (status = 404, description = "No such model, or nobody evaluated it", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn target(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response<Body>, Problem> {
    let model = query::<ModelQuery>(request.uri())?.find(&desk)?;
    let bytes = body(&desk, request).await?;
    let asked: TargetRequest = json(&bytes)?;
    let answer = on_a_thread(move || targeting(&model, &asked)).await??;
    Ok(response(serde_json::to_vec(&answer).map_err(|error| Problem::internal(&error))?, "application/json", false))
}

fn targeting(model: &LoadedModel, asked: &TargetRequest) -> Result<TargetResponse, Problem> {
    let Contrast { outcome, arm, .. } = contrast(model, asked.outcome.as_deref(), asked.arm.as_deref())?;
    check_prices(asked)?;
    let reports = model.reports();
    let measured = reports.held_out.as_ref().and_then(|held_out| held_out.contrast(&outcome, &arm)?.targeting.as_ref());
    let Some(measured) = measured.filter(|measured| !measured.points.is_empty()) else {
        return Err(Problem::new(
            Code::NoReport,
            format!("nobody measured what the ranking of '{}' brings on held-out people", model.name),
            format!("run `impactiq evaluate -m {}`", model.path.display()),
        ));
    };
    let prices = Economics { value_per_outcome: asked.value_per_outcome, cost_per_treatment: asked.cost_per_treatment };
    let population = asked.population.unwrap_or(measured.n_holdout as f64);
    let points: Vec<PricedPoint> = measured.points.iter().map(|point| point.priced(prices, population)).collect();
    let best = most_profitable(&points, f64::INFINITY).clone();
    let chosen = match (asked.fraction, asked.budget) {
        (Some(fraction), _) => nearest(&points, fraction).clone(),
        (None, Some(budget)) => most_profitable(&points, budget).clone(),
        (None, None) => best.clone(),
    };
    Ok(TargetResponse {
        treat_everyone: points[points.len() - 1].clone(),
        caveats: caveats(reports.evaluation.as_ref(), &outcome, &arm),
        n_holdout: measured.n_holdout,
        outcome,
        arm,
        population,
        points,
        best,
        chosen,
    })
}

fn check_prices(asked: &TargetRequest) -> Result<(), Problem> {
    let wrong = |key: &str, needed: &str| {
        Err(Problem::new(
            Code::BadParameter,
            format!("`{key}` must be {needed}"),
            "prices are per person and per outcome",
        ))
    };
    if !asked.value_per_outcome.is_finite() {
        return wrong("value_per_outcome", "a finite number");
    }
    if !(asked.cost_per_treatment.is_finite() && asked.cost_per_treatment >= 0.0) {
        return wrong("cost_per_treatment", "a number from 0");
    }
    if asked.population.is_some_and(|population| !(population.is_finite() && population >= 1.0)) {
        return wrong("population", "a number from 1");
    }
    if asked.fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
        return wrong("fraction", "between 0 and 1");
    }
    if asked.budget.is_some_and(|budget| !(budget.is_finite() && budget >= 0.0)) {
        return wrong("budget", "a number from 0");
    }
    Ok(())
}

/// The most profitable point that the budget pays for; the smallest share on ties.
fn most_profitable(points: &[PricedPoint], budget: f64) -> &PricedPoint {
    let profit = |point: &PricedPoint| point.profit.value().unwrap_or(f64::NEG_INFINITY);
    // A budget for exactly a share pays for it whatever the last bit says.
    let affordable = points.iter().filter(|point| point.cost <= budget * (1.0 + 1e-12));
    affordable.fold(&points[0], |best, point| if profit(point) > profit(best) { point } else { best })
}

fn nearest(points: &[PricedPoint], fraction: f64) -> &PricedPoint {
    let far = |point: &PricedPoint| (point.fraction - fraction).abs();
    points.iter().fold(&points[0], |best, point| if far(point) < far(best) { point } else { best })
}

fn caveats(evaluation: Option<&Value>, outcome: &str, arm: &str) -> Vec<String> {
    let mut caveats =
        vec!["the best share was chosen on the people it is valued on, which flatters it a little".to_owned()];
    let contrasts = evaluation.and_then(|evaluation| evaluation.get("contrasts")?.as_array());
    let is_this = |contrast: &&Value| contrast["outcome"] == outcome && contrast["arm"] == arm;
    let found = contrasts.into_iter().flatten().find(is_this);
    let lower = found.and_then(|contrast| contrast.pointer("/metrics/rate_autoc/lower")?.as_f64());
    if lower.is_none_or(|lower| lower <= 0.0) {
        caveats.push("the ranking of this model is not proven to beat chance on held-out people".to_owned());
    }
    caveats
}

/// How the list is cut.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// The model by its name; left out: the active one.
    model: Option<String>,
    /// The outcome; left out: the model's first.
    outcome: Option<String>,
    /// The arm, or the dose; left out: the first beside control.
    arm: Option<String>,
    /// Everybody with a predicted effect of this or more.
    threshold: Option<f64>,
    /// The best share of the rows, 0 to 1.
    fraction: Option<f64>,
    /// Every row in the order of the file, with a column `treat`.
    all: Option<bool>,
}

/// Whom to treat, best first.
///
/// CSV in, CSV out: your columns and `score`. With `all=true` every row stays, and `treat` says 1 or 0.
#[utoipa::path(post, path = "/v1/target/list", tag = "targeting", params(ListQuery), request_body(content = String, content_type = "text/csv"), responses((status = 200, description = "The rows to treat, best first", body = String, content_type = "text/csv"), (status = 400, description = "A file that cannot be read, or no cut", body = ProblemBody, content_type = "application/problem+json"), (status = 404, description = "No such model", body = ProblemBody, content_type = "application/problem+json"), (status = 413, description = "Too many bytes or rows", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn list(State(desk): State<Arc<Desk>>, request: Request) -> Result<Response<Body>, Problem> {
    let asked: ListQuery = query(request.uri())?;
    let model = ModelQuery { model: asked.model.clone() }.find(&desk)?;
    let chosen = contrast(&model, asked.outcome.as_deref(), asked.arm.as_deref())?;
    let cut = match (asked.threshold, asked.fraction) {
        (Some(threshold), None) if threshold.is_finite() => Cut::Threshold(threshold),
        (None, Some(fraction)) if (0.0..=1.0).contains(&fraction) => Cut::Fraction(fraction),
        _ => {
            return Err(Problem::new(
                Code::BadParameter,
                "either `threshold` (a finite number) or `fraction` (0 to 1) says where the list ends",
                "e.g. /v1/target/list?fraction=0.2",
            ));
        }
    };
    if content(request.headers())? != Content::Csv {
        return Err(unknown_content("a body without the content type text/csv"));
    }
    let names = Names::of(request.headers());
    let bytes = body(&desk, request).await?;
    let began = Instant::now();
    let question = (Door::Target, model, names.identity(false, &bytes)?);
    let read = move |model: &LoadedModel| read_csv(model, &bytes);
    let write =
        move |csv: CsvRows, scored: &Scored| ranked(&csv, scored, &chosen.column, cut, asked.all.unwrap_or(false));
    in_time(&desk, began, in_columns(&desk, question, (read, write), "text/csv; charset=utf-8")).await
}

/// Where a list ends.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Threshold(f64),
    Fraction(f64),
}

fn ranked(csv: &CsvRows, scored: &Scored, column: &str, cut: Cut, all: bool) -> Result<Vec<u8>, Problem> {
    let scores = numbers(scored, column).unwrap_or_default();
    let mut order: Vec<(usize, f64)> =
        scores.iter().enumerate().filter_map(|(row, score)| Some((row, (*score)?))).collect();
    // Rows of one score keep the order of the file.
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let n_chosen = match cut {
        Cut::Threshold(threshold) => order.partition_point(|&(_, score)| score >= threshold),
        Cut::Fraction(fraction) => (fraction * order.len() as f64).round() as usize,
    };
    let names: Vec<&str> = csv.texts.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    let added: &[&str] = if all { &[SCORE_COLUMN, TREAT_COLUMN, ERROR_COLUMN] } else { &[SCORE_COLUMN] };
    if let Some(twice) = added.iter().find(|added| names.contains(*added)) {
        return Err(ScoreError::ColumnTwice { column: (*twice).to_owned() }.into());
    }
    let delimiter = csv.delimiter;
    let mut out = Vec::with_capacity(if all { csv.texts.num_rows() } else { n_chosen } * 96 + 256);
    for name in names {
        csv_text(name, delimiter, &mut out);
        out.push(delimiter);
    }
    out.extend_from_slice(added.join(&char::from(delimiter).to_string()).as_bytes());
    out.push(b'\n');
    if !all {
        for &(row, score) in &order[..n_chosen] {
            csv_own(&csv.texts, row, delimiter, &mut out);
            out.extend_from_slice(format!("{score:?}\n").as_bytes());
        }
        return Ok(out);
    }
    let mut treat = vec![false; scores.len()];
    order[..n_chosen].iter().for_each(|&(row, _)| treat[row] = true);
    let mut errors = scored.errors.iter().peekable();
    for (row, score) in scores.iter().enumerate() {
        csv_own(&csv.texts, row, delimiter, &mut out);
        if let Some(score) = score {
            out.extend_from_slice(format!("{score:?}").as_bytes());
        }
        out.push(delimiter);
        out.push(if treat[row] { b'1' } else { b'0' });
        out.push(delimiter);
        if let Some(error) = errors.next_if(|error| error.row == row as u64) {
            csv_text(&error_line(error), delimiter, &mut out);
        }
        out.push(b'\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_metrics::Estimate;

    fn point(fraction: f64, cost: f64, profit: f64) -> PricedPoint {
        PricedPoint {
            fraction,
            threshold: None,
            n_targeted: 0.0,
            cost,
            profit: Estimate::point(profit, 1),
            incremental_outcomes: Estimate::point(0.0, 1),
            over_random: Estimate::point(0.0, 1),
        }
    }

    #[test]
    fn the_best_share_is_the_most_profitable_one_that_the_budget_pays_for() {
        let points = [point(0.0, 0.0, 0.0), point(0.5, 50.0, 20.0), point(1.0, 100.0, 30.0)];
        assert_eq!(most_profitable(&points, f64::INFINITY).fraction, 1.0);
        assert_eq!(most_profitable(&points, 99.0).fraction, 0.5);
        assert_eq!(most_profitable(&points, 0.0).fraction, 0.0);
        assert_eq!(nearest(&points, 0.4).fraction, 0.5);
        let losing = [point(0.0, 0.0, 0.0), point(1.0, 1.0, -1.0)];
        assert_eq!(most_profitable(&losing, f64::INFINITY).fraction, 0.0);
    }
}
