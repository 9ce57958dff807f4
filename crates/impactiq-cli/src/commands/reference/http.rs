//! The page of the HTTP API, from the description that the server itself gives at /openapi.json.

use std::fmt::Write;

use serde_json::Value;

/// The page in Markdown.
pub fn page(description: &Value) -> String {
    let mut page = String::from(
        "# HTTP API\n\nMade by `impactiq reference http`; do not edit. The same is at `/docs` of a running server, and \
         as OpenAPI at `/openapi.json`.\n",
    );
    let methods = ["get", "post"];
    let paths = description["paths"].as_object().into_iter().flatten();
    let operations: Vec<(&str, &str, &Value)> = paths
        .flat_map(|(path, item)| {
            methods.iter().filter_map(move |method| Some((*method, path.as_str(), item.get(*method)?)))
        })
        .collect();
    let mut tags: Vec<&str> = Vec::new();
    for tag in operations.iter().filter_map(|(.., operation)| operation["tags"][0].as_str()) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    for tag in tags {
        let _ = writeln!(page, "\n## {}{}", tag[..1].to_uppercase(), &tag[1..]);
        for (method, path, operation) in operations.iter().filter(|(.., operation)| operation["tags"][0] == tag) {
            operation_section(&mut page, method, path, operation);
        }
    }
    page.push_str("\n## Shapes\n");
    for (name, schema) in description["components"]["schemas"].as_object().into_iter().flatten() {
        shape(&mut page, name, schema);
    }
    page
}

fn operation_section(page: &mut String, method: &str, path: &str, operation: &Value) {
    let text = |key: &str| operation[key].as_str().unwrap_or_default().trim().replace('\n', " ");
    // Writing to a text cannot fail, here and below.
    let _ = writeln!(page, "\n### `{} {path}`\n\n{}", method.to_uppercase(), text("summary"));
    if !text("description").is_empty() {
        let _ = writeln!(page, "\n{}", text("description"));
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if !parameters.is_empty() {
        page.push_str("\n| parameter | in | meaning |\n|---|---|---|\n");
    }
    for parameter in parameters {
        let word = |key: &str| parameter[key].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {} | {} |", word("name"), word("in"), cell(word("description")));
    }
    if let Some(bodies) = operation["requestBody"]["content"].as_object() {
        let all: Vec<String> =
            bodies.iter().map(|(kind, body)| format!("`{kind}` {}", type_of(&body["schema"]))).collect();
        let _ = writeln!(page, "\nBody: {}", all.join(", "));
    }
    page.push_str("\n| status | meaning | body |\n|---:|---|---|\n");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let bodies = response["content"].as_object().into_iter().flatten();
        let bodies: Vec<String> = bodies.map(|(_, body)| type_of(&body["schema"])).collect();
        let _ = writeln!(
            page,
            "| {status} | {} | {} |",
            cell(response["description"].as_str().unwrap_or_default()),
            bodies.join(", ")
        );
    }
}

fn shape(page: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(page, "\n### {name}\n\n{}", schema["description"].as_str().unwrap_or_default().replace('\n', " "));
    let parts: Vec<&Value> = match schema["allOf"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => vec![schema],
    };
    page.push_str("\n| key | type | meaning |\n|---|---|---|\n");
    for part in parts {
        if part.get("$ref").is_some() {
            let _ = writeln!(page, "| … | {} | |", type_of(part));
        }
        let required: Vec<&str> = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, property) in part["properties"].as_object().into_iter().flatten() {
            let optional = if required.contains(&key.as_str()) { "" } else { ", may be left out" };
            let meaning = cell(property["description"].as_str().unwrap_or_default());
            let _ = writeln!(page, "| `{key}` | {}{optional} | {meaning} |", type_of(property));
        }
    }
}

/// A type in words.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema[several].as_array() {
            return all.iter().map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", type_of(&schema["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let word = |kind: &Value| match kind.as_str() {
                Some("array") => format!("list of {}", type_of(&schema["items"])),
                other => other.unwrap_or_default().to_owned(),
            };
            kinds.iter().map(word).collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".into(),
    }
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
