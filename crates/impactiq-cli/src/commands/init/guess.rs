//! Guesses which column plays which part, from names and values.
//!
//! A guess is a starting point for a person: it is written down with its reason, and what
//! cannot be guessed is asked for.

use impactiq_data::RawType;

/// What is known of a column after a look at the first rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnProfile {
    /// Name.
    pub name: String,
    /// Raw type.
    pub raw_type: RawType,
    /// Rows looked at.
    pub n_rows: u64,
    /// Rows without a value.
    pub n_missing: u64,
    /// Distinct values with their rows, most frequent first; `None`: too many to count.
    pub values: Option<Vec<(String, u64)>>,
    /// True when no value occurs twice in the rows looked at.
    pub is_unique: bool,
}

impl ColumnProfile {
    fn n_values(&self) -> usize {
        self.values.as_ref().map_or(usize::MAX, Vec::len)
    }

    fn is_number(&self) -> bool {
        matches!(self.raw_type, RawType::Boolean | RawType::Integer | RawType::Float32 | RawType::Float64)
    }

    /// Lower-case words of the name: `exposedUser_2` gives exposed, user, 2.
    fn words(&self) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut after_lower = false;
        for c in self.name.chars() {
            if !c.is_alphanumeric() || (c.is_uppercase() && after_lower) {
                words.push(String::new());
            }
            if c.is_alphanumeric()
                && let Some(word) = words.last_mut()
            {
                word.extend(c.to_lowercase());
            }
            after_lower = c.is_lowercase();
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// How well the name fits some words: 2 when it is one of them, 1 when it contains one.
    fn fits(&self, wanted: &[&str]) -> u32 {
        let words = self.words();
        if wanted.contains(&words.join("_").as_str()) {
            2
        } else {
            u32::from(words.iter().any(|word| wanted.contains(&word.as_str())))
        }
    }
}

/// What the user said; it beats every guess.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The treatment column.
    pub treatment: Option<String>,
    /// The control's value.
    pub control: Option<String>,
    /// Outcome columns.
    pub outcomes: Vec<String>,
}

/// Roles as guessed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guess {
    /// Treatment and why; `None`: nothing fits.
    pub treatment: Option<(String, String)>,
    /// True when the treatment is an amount: named by the user, a number, of too many values to be arms.
    pub dose: bool,
    /// The arms with their rows, most frequent first.
    pub arms: Vec<(String, u64)>,
    /// The control's value.
    pub control: Option<String>,
    /// Outcomes with why.
    pub outcomes: Vec<(String, String)>,
    /// Identifiers with why.
    pub ids: Vec<(String, String)>,
    /// Columns probably known only after treatment, with why.
    pub post_treatment: Vec<(String, String)>,
    /// A column that looks like what keeps rows together.
    pub cluster: Option<String>,
    /// A column that looks like a row weight.
    pub weight: Option<String>,
    /// Columns with a role in which values are missing.
    pub incomplete: Vec<String>,
    /// Few-valued columns that could be the treatment.
    pub candidates: Vec<String>,
}

const TREATMENT: &[&str] = &[
    "treatment",
    "treat",
    "treated",
    "arm",
    "variant",
    "group",
    "segment",
    "experiment",
    "condition",
    "assigned",
    "assignment",
    "intervention",
    "campaign",
    "promotion",
    "offer",
    "test",
    "w",
    "z",
];
const CONTROL: &[&str] =
    &["control", "none", "placebo", "holdout", "ctrl", "baseline", "untreated", "no", "false", "0", "nothing"];
const OUTCOME: &[&str] = &[
    "outcome",
    "conversion",
    "converted",
    "convert",
    "visit",
    "visited",
    "purchase",
    "purchased",
    "bought",
    "spend",
    "spent",
    "revenue",
    "sales",
    "response",
    "responded",
    "target",
    "label",
    "y",
    "churn",
    "churned",
    "orders",
    "profit",
    "subscribed",
    "retained",
    "retention",
];
const POST_TREATMENT: &[&str] = &[
    "exposure",
    "exposed",
    "exposures",
    "impression",
    "impressions",
    "opened",
    "opens",
    "delivered",
    "viewed",
    "views",
    "click",
    "clicks",
    "clicked",
    "received",
    "seen",
    "reach",
    "reached",
    "redeemed",
    "complied",
    "takeup",
    "post",
    "after",
    "followup",
];
const CLUSTER: &[&str] =
    &["cluster", "village", "villnum", "school", "store", "household", "hh", "region", "dma", "classroom", "ward"];
const WEIGHT: &[&str] = &["weight", "weights", "wt", "sampleweight"];

/// The most values a guessed treatment may have.
const MOST_ARMS: usize = 12;

/// Guesses roles.
pub fn guess(columns: &[ColumnProfile], told: &Told) -> Guess {
    let mut guess = Guess { candidates: candidates(columns), ..Guess::default() };
    let treatment = match &told.treatment {
        Some(name) => columns.iter().find(|c| c.name == *name).map(|c| (c, "as told".to_owned())),
        None => guess_treatment(columns),
    };
    if let Some((column, why)) = treatment {
        guess.treatment = Some((column.name.clone(), why));
        guess.dose = told.control.is_none() && column.is_number() && column.n_values() > MOST_ARMS;
        if !guess.dose {
            guess.arms = column.values.clone().unwrap_or_default();
            guess.control = told.control.clone().or_else(|| guess_control(&guess.arms));
        }
    }
    let taken = |guess: &Guess, name: &str| {
        guess.treatment.as_ref().is_some_and(|(t, _)| t == name)
            || [&guess.outcomes, &guess.ids, &guess.post_treatment]
                .iter()
                .any(|list| list.iter().any(|(n, _)| n == name))
    };
    guess.outcomes = match told.outcomes.as_slice() {
        [] => guess_outcomes(columns, |name| taken(&guess, name)),
        names => names.iter().map(|name| (name.clone(), "as told".to_owned())).collect(),
    };
    for column in columns {
        if taken(&guess, &column.name) {
            continue;
        }
        let pair = |why: &str| (column.name.clone(), why.to_owned());
        let words = column.words();
        let named_id =
            words.last().is_some_and(|word| matches!(word.as_str(), "id" | "uuid" | "guid" | "key" | "email"));
        let whole = matches!(column.raw_type, RawType::Integer | RawType::Text);
        if column.is_unique && column.n_rows >= 50 && whole {
            guess.ids.push(pair("every value occurs once"));
        } else if named_id && column.n_values() > MOST_ARMS {
            guess.ids.push(pair("its name"));
        } else if column.fits(POST_TREATMENT) > 0 {
            guess.post_treatment.push(pair("its name"));
        } else if column.fits(OUTCOME) == 2 && !told.outcomes.is_empty() && column.is_number() {
            guess.post_treatment.push(pair("it looks like another outcome"));
        } else if column.fits(CLUSTER) > 0 && guess.cluster.is_none() && column.n_values() > 20 {
            guess.cluster = Some(column.name.clone());
        } else if column.fits(WEIGHT) == 2 && guess.weight.is_none() && column.is_number() {
            guess.weight = Some(column.name.clone());
        }
    }
    let needed = guess.treatment.iter().chain(&guess.outcomes).map(|(name, _)| name.clone());
    guess.incomplete = needed.filter(|name| columns.iter().any(|c| c.name == *name && c.n_missing > 0)).collect();
    guess
}

fn candidates(columns: &[ColumnProfile]) -> Vec<String> {
    columns.iter().filter(|c| (2..=MOST_ARMS).contains(&c.n_values())).map(|c| c.name.clone()).collect()
}

fn guess_treatment(columns: &[ColumnProfile]) -> Option<(&ColumnProfile, String)> {
    let fitting = columns.iter().filter(|c| (2..=MOST_ARMS).contains(&c.n_values()) && !c.is_unique);
    // The first of the best: earlier words of the list are surer than later ones.
    let score = |c: &ColumnProfile| {
        let words = c.words();
        let place = TREATMENT.iter().position(|wanted| words.iter().any(|word| word == wanted)).unwrap_or(usize::MAX);
        (c.fits(TREATMENT), usize::MAX - place)
    };
    let best =
        fitting.filter(|c| c.fits(TREATMENT) > 0).fold(None, |best: Option<&ColumnProfile>, column| match best {
            Some(best) if score(best) >= score(column) => Some(best),
            _ => Some(column),
        })?;
    Some((best, format!("its name, and {} values", best.n_values())))
}

fn guess_control(arms: &[(String, u64)]) -> Option<String> {
    let words = |value: &str| -> Vec<String> {
        value.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
    };
    let place = |value: &str| {
        CONTROL.iter().position(|wanted| words(value).iter().any(|word| word == wanted)).unwrap_or(usize::MAX)
    };
    let named = arms.iter().map(|(value, _)| value).filter(|value| place(value) < usize::MAX);
    let named = named.min_by_key(|value| place(value));
    let number = |value: &String| value.parse::<f64>().ok();
    let smallest = || {
        arms.iter().map(|(value, _)| value).min_by(|a, b| match (number(a), number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => a.cmp(b),
        })
    };
    named.or_else(smallest).cloned()
}

fn guess_outcomes(columns: &[ColumnProfile], taken: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let free = || columns.iter().filter(|c| c.is_number() && c.n_values() > 1 && !taken(&c.name));
    let exact: Vec<&ColumnProfile> = free().filter(|c| c.fits(OUTCOME) == 2).collect();
    let found = if exact.is_empty() {
        free().filter(|c| c.fits(OUTCOME) == 1 && c.fits(POST_TREATMENT) == 0).take(1).collect()
    } else {
        exact
    };
    found.into_iter().map(|c| (c.name.clone(), "its name".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, raw_type: RawType, values: &[&str]) -> ColumnProfile {
        ColumnProfile {
            name: name.into(),
            raw_type,
            n_rows: 1000,
            n_missing: 0,
            values: (!values.is_empty()).then(|| values.iter().map(|v| ((*v).to_owned(), 10)).collect()),
            is_unique: false,
        }
    }

    fn names(list: &[(String, String)]) -> Vec<&str> {
        list.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn an_email_trial_is_understood() {
        let columns = [
            column("customer_id", RawType::Integer, &[]),
            column("history_segment", RawType::Text, &["1) $0", "2) $100"]),
            column("womens", RawType::Integer, &["0", "1"]),
            column("segment", RawType::Text, &["Womens E-Mail", "No E-Mail", "Mens E-Mail"]),
            column("visit", RawType::Integer, &["0", "1"]),
            column("conversion", RawType::Integer, &["0", "1"]),
            column("spend", RawType::Float64, &[]),
        ];
        let guess = guess(&columns, &Told::default());
        assert_eq!(guess.treatment.unwrap().0, "segment");
        assert_eq!(guess.control.unwrap(), "No E-Mail");
        assert_eq!(names(&guess.outcomes), ["visit", "conversion", "spend"]);
        assert_eq!(names(&guess.ids), ["customer_id"]);
    }

    #[test]
    fn an_advertising_trial_keeps_exposure_out() {
        let columns = [
            column("f0", RawType::Float64, &[]),
            column("treatment", RawType::Integer, &["1", "0"]),
            column("visit", RawType::Integer, &["0", "1"]),
            column("exposure", RawType::Integer, &["0", "1"]),
        ];
        let guess = guess(&columns, &Told::default());
        assert_eq!((guess.treatment.unwrap().0.as_str(), guess.control.as_deref()), ("treatment", Some("0")));
        assert_eq!(names(&guess.post_treatment), ["exposure"]);
        assert!(guess.incomplete.is_empty());
    }

    #[test]
    fn what_is_told_beats_what_is_guessed() {
        let mut any = column("any", RawType::Float64, &["1", "0"]);
        any.n_missing = 7;
        let columns = [column("villnum", RawType::Integer, &[]), column("got", RawType::Float64, &["1", "0"]), any];
        assert_eq!(guess(&columns, &Told::default()).treatment, None);
        let amount = ColumnProfile { values: None, ..column("tinc", RawType::Float64, &["0", "1.5"]) };
        let named = Told { treatment: Some("tinc".into()), ..Told::default() };
        let dose = guess(&[amount, column("got", RawType::Integer, &["0", "1"])], &named);
        assert!(dose.dose && dose.arms.is_empty() && dose.control.is_none());
        let told = Told { treatment: Some("any".into()), control: None, outcomes: vec!["got".into()] };
        let guess = guess(&columns, &told);
        assert_eq!((guess.control.as_deref(), guess.cluster.as_deref()), (Some("0"), Some("villnum")));
        assert_eq!(guess.incomplete, ["any"]);
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(column("exposedUser_2", RawType::Text, &[]).words(), ["exposed", "user", "2"]);
        assert_eq!(column("ID", RawType::Text, &[]).words(), ["id"]);
    }
}
