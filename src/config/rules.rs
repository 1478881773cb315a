//! Arrays of tables that say by URL what is done: `[[routes]]`, `[[upstream.rules]]`.

use super::raw::Raw;
use super::value::{Problem, Text, UrlPattern};

/// The pattern and the decision of each table of the array called `name`, in their order.
///
/// # Errors
/// What is wrong with each rule that is wrong.
pub(super) fn rules<V: Text>(raw: &Raw, name: &str) -> Result<Vec<(UrlPattern, V)>, Vec<Problem>> {
    let parsed;
    let items = match raw {
        Raw::Array(items) => items,
        Raw::Text(text) if text.trim().is_empty() => return Ok(Vec::new()),
        Raw::Text(text) => match Raw::parse(text) {
            Ok(Raw::Array(items)) => {
                parsed = items.into_iter().map(|(_, item)| (None, item)).collect();
                &parsed
            }
            Ok(_) | Err(_) => {
                let wanted = format!(
                    "must be a TOML array such as [{{ match = \"*.example.com\", via = \"...\" }}], via being {}",
                    V::kind()
                );
                return Err(vec![Problem::new(wanted)]);
            }
        },
        other => {
            return Err(vec![Problem::new(format!(
                "must be an array of tables (`[[{name}]]`), not {}",
                other.type_name()
            ))]);
        }
    };
    let mut rules = Vec::with_capacity(items.len());
    let mut problems = Vec::new();
    for (line, item) in items {
        match rule(item) {
            Ok(rule) => rules.push(rule),
            Err(what) => problems.push(Problem { line: *line, what }),
        }
    }
    match problems.is_empty() {
        true => Ok(rules),
        false => Err(problems),
    }
}

fn rule<V: Text>(raw: &Raw) -> Result<(UrlPattern, V), String> {
    let Raw::Table(members) = raw else {
        return Err(format!("must be a table, not {}", raw.type_name()));
    };
    let (mut pattern, mut via) = (None, None);
    for (name, value) in members {
        let text = match value {
            Raw::String(text) => text,
            other => {
                return Err(format!(
                    "{name} must be a string, not {}",
                    other.type_name()
                ));
            }
        };
        match name.as_str() {
            "match" => pattern = Some(UrlPattern::parse(text)?),
            "via" => via = Some(V::parse(text).map_err(|what| format!("via {what}"))?),
            other => return Err(format!("has `{other}`; only match and via are known")),
        }
    }
    Ok((
        pattern.ok_or("needs match, a URL pattern")?,
        via.ok_or_else(|| format!("needs via: {}", V::kind()))?,
    ))
}
