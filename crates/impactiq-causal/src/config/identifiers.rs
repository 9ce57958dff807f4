//! Names in the text of an SQL expression: enough to tell whether it can read a column.
//!
//! The expression is parsed and checked one floor down, where no roles are known; here a
//! look at its words suffices, since names keep their case and can't be made up at run time.
//! What must not live here: anything that judges or runs SQL.

/// Whether an expression names a column: bare, quoted, or with dots in its name. Text in single
/// quotes, comments and functions of the same name don't count.
pub(super) fn reads(sql: &str, column: &str) -> bool {
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        rest = if rest.starts_with("--") {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else if rest.starts_with("/*") {
            rest.split_once("*/").map_or("", |(_, after)| after)
        } else if first == '\'' {
            quoted(&rest[1..], '\'').1
        } else if first == '"' || first == '`' {
            let (name, after) = quoted(&rest[1..], first);
            if name == column {
                return true;
            }
            after
        } else if is_word(first) {
            let end = rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word == column && !after.trim_start().starts_with('(') {
                return true;
            }
            after
        } else {
            &rest[first.len_utf8()..]
        };
    }
    false
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@' | '#')
}

/// The text up to the closing quote, doubled quotes undone, and what follows.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if c != quote {
            name.push(c);
        } else if characters.next_if(|&(_, next)| next == quote).is_some() {
            name.push(quote);
        } else {
            return (name, &text[at + c.len_utf8()..]);
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_written() {
        for sql in ["visit", "f0+visit", "CASE WHEN visit>0 THEN 1 END", "\"visit\" * 2", "-visit", "abs(visit)"] {
            assert!(reads(sql, "visit"), "{sql}");
        }
        assert!(
            reads("\"a \"\"b\"\"\"", "a \"b\"") && reads("web.visit / 2", "web.visit") && reads("größe + 1", "größe")
        );
    }

    #[test]
    fn text_functions_and_longer_names_are_not_the_column() {
        for sql in [
            "visits",
            "Visit",
            "n_visit",
            "g = 'visit'",
            "visit (f0)",
            "f0 -- visit",
            "f0 /* visit */",
            "'it''s' || visits",
        ] {
            assert!(!reads(sql, "visit"), "{sql}");
        }
    }
}
