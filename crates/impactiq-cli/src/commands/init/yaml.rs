//! The commented configuration that `init` writes.

use std::fmt::Write;

use super::guess::Guess;

/// The configuration as YAML.
pub fn write(data: &str, guess: &Guess, n_rows: u64, columns: &[String]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = body(&mut text, data, guess, n_rows, columns);
    text
}

fn body(out: &mut String, data: &str, guess: &Guess, n_rows: u64, columns: &[String]) -> std::fmt::Result {
    writeln!(out, "# Written by `impactiq init` after a look at {n_rows} rows. The roles are guesses: read them.")?;
    writeln!(out, "# Then: impactiq check -c THIS_FILE, impactiq train -c THIS_FILE -o MODEL\n")?;
    writeln!(out, "data:")?;
    writeln!(out, "  path: {}", scalar(data))?;
    if guess.incomplete.is_empty() {
        writeln!(out, "  # where: \"column > 0\"       # a SQL filter, if some rows should be left out")?;
    } else {
        let filter: Vec<String> = guess.incomplete.iter().map(|name| format!("{} IS NOT NULL", sql(name))).collect();
        writeln!(out, "  where: {}   # rows without treatment or outcome say nothing", scalar(&filter.join(" AND ")))?;
    }
    writeln!(out, "\nroles:")?;
    if let Some((treatment, why)) = &guess.treatment {
        let role = if guess.dose { "dose" } else { "treatment" };
        writeln!(out, "  {role}: {}   # guessed by: {why}", scalar(treatment))?;
        for (value, n) in &guess.arms {
            writeln!(out, "  #   {}: {n} rows", one_line(value))?;
        }
    }
    if let Some(control) = &guess.control {
        writeln!(out, "  control: {}   # the arm that others are compared with", scalar(control))?;
    }
    let outcomes: Vec<String> = guess.outcomes.iter().map(|(name, _)| scalar(name)).collect();
    match outcomes.as_slice() {
        [one] => writeln!(out, "  outcome: {one}")?,
        many => writeln!(out, "  outcome: [{}]", many.join(", "))?,
    }
    writeln!(out, "  # features: [\"*\"]           # default: every column without another role")?;
    list(out, "id", &guess.ids, "passed through to scores, never a feature")?;
    list(out, "post_treatment", &guess.post_treatment, "known only after treatment: never a feature")?;
    let optional = |out: &mut String, key: &str, found: Option<&String>, what: &str| match found {
        Some(name) => writeln!(out, "  # {key}: {}   # {what}? It would then not be a feature", scalar(name)),
        None => writeln!(out, "  # {key}: COLUMN   # {what}"),
    };
    optional(out, "cluster", guess.cluster.as_ref(), "what was treated together (household, store, village)")?;
    optional(out, "weight", guess.weight.as_ref(), "a weight per row")?;
    writeln!(out, "\nassignment:")?;
    writeln!(out, "  kind: randomised            # or observational, with the caveats that brings")?;
    if !guess.dose {
        assignment(out, guess)?;
    }
    writeln!(
        out,
        "\nsplit: {{ holdout: 0.3, seed: 7 }}     # rows kept for `evaluate`; all randomness comes from the seed"
    )?;
    writeln!(out, "nuisance: {{ kind: boosted, folds: 5 }}")?;
    writeln!(out, "learner: {{ kind: {} }}", if guess.dose { "causal_forest" } else { "t" })?;
    writeln!(out, "\n# features:                   # derived, SQL over the row")?;
    let example = columns.iter().find(|name| is_plain(name)).map_or("column", String::as_str);
    writeln!(out, "#   {example}_squared: \"{example} * {example}\"")
}

fn assignment(out: &mut String, guess: &Guess) -> std::fmt::Result {
    let total: u64 = guess.arms.iter().map(|(_, n)| n).sum();
    let share = |n: u64| n as f64 / total.max(1) as f64;
    let treated: Vec<&(String, u64)> =
        guess.arms.iter().filter(|(value, _)| Some(value) != guess.control.as_ref()).collect();
    let shown = match treated.as_slice() {
        [(_, n)] => format!("{:.2}", share(*n)),
        many => {
            let arms: Vec<String> =
                many.iter().map(|(value, n)| format!("{}: {:.2}", scalar(value), share(*n))).collect();
            format!("{{ {} }}", arms.join(", "))
        }
    };
    writeln!(out, "  # probability: {shown}   # declare it if the design fixed it (these are the shares seen)")
}

fn list(out: &mut String, key: &str, columns: &[(String, String)], what: &str) -> std::fmt::Result {
    if columns.is_empty() {
        return writeln!(out, "  # {key}: [COLUMN]   # {what}");
    }
    let names: Vec<String> = columns.iter().map(|(name, _)| scalar(name)).collect();
    writeln!(out, "  {key}: [{}]   # {what}", names.join(", "))
}

fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A YAML scalar: plain where that is safe, quoted otherwise.
pub fn scalar(text: &str) -> String {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    let safe = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !text.starts_with(['-', '.'])
        && !words.contains(&text.to_lowercase().as_str());
    if safe {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A column in SQL; unusual names and keywords stand in double quotes.
fn sql(name: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "any",
        "all",
        "and",
        "or",
        "not",
        "case",
        "group",
        "order",
        "select",
        "where",
        "from",
        "in",
        "is",
        "null",
        "as",
        "by",
        "end",
        "then",
        "when",
        "else",
        "between",
        "like",
        "cast",
        "date",
        "time",
        "timestamp",
        "interval",
        "user",
        "limit",
        "values",
        "exists",
        "distinct",
        "union",
        "true",
        "false",
        "table",
        "left",
        "right",
        "join",
        "on",
    ];
    if is_plain(name) && !KEYWORDS.contains(&name.to_lowercase().as_str()) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use impactiq_causal::Config;

    use super::*;

    #[test]
    fn what_is_written_reads_back_with_the_same_roles() {
        let pair = |name: &str| (name.to_owned(), "its name".to_owned());
        let guess = Guess {
            treatment: Some(pair("a \"strange\" name")),
            arms: vec![("No E-Mail".into(), 10), ("yes".into(), 30)],
            control: Some("No E-Mail".into()),
            outcomes: vec![pair("visit"), pair("amount: $")],
            ids: vec![pair("id")],
            post_treatment: vec![pair("exposure")],
            incomplete: vec!["any".into(), "visit".into()],
            ..Guess::default()
        };
        let text = write("data/some file.csv", &guess, 40, &["x".to_owned()]);
        let config = Config::from_yaml(&text, "c.yaml", &[]).unwrap();
        assert_eq!(config.roles.treatment, "a \"strange\" name");
        assert_eq!(config.roles.control.unwrap().0, "No E-Mail");
        assert_eq!(config.roles.outcome.0, ["visit", "amount: $"]);
        assert_eq!(config.roles.post_treatment.0, ["exposure"]);
        assert_eq!(config.data.path.0, ["data/some file.csv"]);
        assert_eq!(config.data.filter.unwrap(), "\"any\" IS NOT NULL AND visit IS NOT NULL");
    }

    #[test]
    fn scalars_that_yaml_would_take_for_something_else_are_quoted() {
        for (text, written) in
            [("a", "a"), ("no", "\"no\""), ("", "\"\""), ("a: b", "\"a: b\""), ("x\"y", "\"x\\\"y\"")]
        {
            assert_eq!(scalar(text), written);
        }
    }
}
