//! The page of configuration keys, from their JSON Schema.

use serde_json::Value;

/// Keys without which nothing runs; the schema cannot say so, because every section has a default.
const NEEDED: [&str; 2] = ["data.path", "roles.outcome"];

/// The page in Markdown.
pub fn page(schema: &Value) -> String {
    let mut page = String::from(
        "# Configuration\n\nMade by `impactiq reference config`; do not edit. The JSON Schema is in config.schema.json. \
         Unknown keys are errors. Every key can be set on the command line: `--set learner.n_trees=200`.\n",
    );
    for (name, section) in object(schema.get("properties")) {
        page.push_str(&format!("\n## `{name}`\n\n{}\n", text(section, "description")));
        let resolved = resolve(schema, section);
        let rows: Vec<String> = object(resolved.get("properties"))
            .map(|(key, value)| {
                let required = NEEDED.contains(&format!("{name}.{key}").as_str());
                format!(
                    "| `{name}.{key}` | {} | {} | {} |\n",
                    kind(schema, value),
                    default(value, required),
                    text(value, "description").replace('\n', " ").replace('|', "\\|")
                )
            })
            .collect();
        if !rows.is_empty() {
            page.push_str("\n| key | values | default | meaning |\n|---|---|---|---|\n");
            page.push_str(&rows.concat());
        }
    }
    page
}

fn object(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Follows `$ref` and a lonely `allOf`/`anyOf` member to the definition.
fn resolve<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    let target = value.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    match target.and_then(|pointer| schema.pointer(pointer)) {
        Some(found) => resolve(schema, found),
        None => value,
    }
}

/// What may stand there, in words.
fn kind(schema: &Value, value: &Value) -> String {
    let value = resolve(schema, value);
    if let Some(options) = value.get("enum").and_then(Value::as_array) {
        return quoted(options.iter());
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(options) = value.get(key).and_then(Value::as_array) {
            if options.iter().all(|option| option.get("const").is_some()) {
                return quoted(options.iter().filter_map(|option| option.get("const")));
            }
            let kinds: Vec<String> = options
                .iter()
                .filter(|option| option.get("type").and_then(Value::as_str) != Some("null"))
                .map(|option| kind(schema, option))
                .collect();
            return kinds.join(" or ");
        }
    }
    match value.get("type") {
        Some(Value::String(name)) => match (name.as_str(), value.get("items")) {
            ("array", Some(items)) => format!("list of {}", kind(schema, items)),
            ("object", _) => "table".into(),
            (name, _) => word(name).into(),
        },
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.map(word).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".into(),
    }
}

fn word(name: &str) -> &str {
    match name {
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "whole number",
        name => name,
    }
}

fn quoted<'a>(values: impl Iterator<Item = &'a Value>) -> String {
    values.map(|v| v.as_str().map_or_else(|| v.to_string(), |s| format!("`{s}`"))).collect::<Vec<_>>().join(", ")
}

fn default(value: &Value, required: bool) -> String {
    match value.get("default") {
        _ if required => "needed".into(),
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.is_empty() => String::new(),
        Some(Value::Array(list)) if list.is_empty() => String::new(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use impactiq_causal::Config;

    use super::*;

    #[test]
    fn every_section_and_key_is_on_the_page() {
        let page = page(&Config::json_schema());
        for part in
            ["## `data`", "| `data.where` |", "| `roles.outcome` |", "needed", "`split.holdout`", "`randomised`"]
        {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn needed_keys_are_those_that_are_asked_for() {
        let values = ["data: {path: a.csv}", "roles: {treatment: t, control: 0, outcome: y}"];
        assert!(Config::from_yaml(&values.join("\n"), "c", &[]).unwrap().check_settings().is_ok());
        let without = ["{}"];
        let last = "data: {path: a}\nroles: {treatment: t, control: 0}";
        for (text, key) in without.into_iter().chain([last]).zip(NEEDED) {
            let error = Config::from_yaml(text, "c", &[]).unwrap().check_settings().unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
