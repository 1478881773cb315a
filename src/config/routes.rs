//! `[[routes]]`: which pages are rendered.

use super::raw::Raw;
use super::value::{Problem, Text, UrlPattern, Value, choice};

/// The rules of `[[routes]]`, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes(pub Vec<RouteRule>);

/// What a page of such a URL goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRule {
    /// Which URLs.
    pub pattern: UrlPattern,
    /// How.
    pub via: Via,
}

choice! {
    /// A route, or the decision for one.
    pub enum Via {
        /// Fetched as it is.
        Http = "http",
        /// Rendered.
        Browser = "browser",
        /// Rendered where the page needs it.
        Auto = "auto",
    }
}

impl Value for Routes {
    fn kind() -> String {
        "list of tables: match (URL pattern), via (http | browser | auto); the first that matches holds".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        let parsed;
        let items = match raw {
            Raw::Array(items) => items,
            Raw::Text(text) if text.trim().is_empty() => return Ok(Self::default()),
            Raw::Text(text) => match Raw::parse(text) {
                Ok(Raw::Array(items)) => {
                    parsed = items.into_iter().map(|(_, item)| (None, item)).collect();
                    &parsed
                }
                Ok(_) | Err(_) => {
                    let wanted = r#"must be a TOML array such as [{ match = "*.example.com", via = "browser" }]"#;
                    return Err(vec![Problem::new(wanted)]);
                }
            },
            other => {
                return Err(vec![Problem::new(format!(
                    "must be an array of tables (`[[routes]]`), not {}",
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
            true => Ok(Self(rules)),
            false => Err(problems),
        }
    }
}

fn rule(raw: &Raw) -> Result<RouteRule, String> {
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
            "via" => via = Some(Via::parse(text).map_err(|what| format!("via {what}"))?),
            other => return Err(format!("has `{other}`; only match and via are known")),
        }
    }
    Ok(RouteRule {
        pattern: pattern.ok_or("needs match, a URL pattern")?,
        via: via.ok_or("needs via: http, browser or auto")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match Routes::decode(&Raw::parse(text).expect("TOML")) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.what).collect(),
        }
    }

    #[test]
    fn rules_keep_their_order_and_every_wrong_one_is_told() {
        let text = r#"[{ match = "a.example", via = "browser" }, { match = "*", via = "auto" }]"#;
        for raw in [Raw::parse(text).unwrap(), Raw::Text(text.to_owned())] {
            let Ok(Routes(rules)) = Routes::decode(&raw) else {
                panic!("valid")
            };
            let read: Vec<_> = rules
                .iter()
                .map(|rule| (rule.pattern.to_string(), rule.via))
                .collect();
            assert_eq!(
                read,
                [
                    ("a.example".to_owned(), Via::Browser),
                    ("*".to_owned(), Via::Auto)
                ]
            );
        }
        let wrong = problems(
            r#"["x", { via = "http" }, { match = "a b", via = "http" }, { match = "a", via = "x" }, { match = "a", how = "x" }, { match = 1 }]"#,
        );
        assert_eq!(wrong.len(), 6, "{wrong:?}");
        assert_eq!(problems("[]"), [""; 0]);
        assert!(Routes::decode(&Raw::Text("x".into())).is_err());
        assert_eq!(
            Routes::decode(&Raw::Text(" ".into())).ok(),
            Some(Routes::default())
        );
    }
}
