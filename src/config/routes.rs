//! `[[routes]]`: which pages are rendered.

use super::raw::Raw;
use super::rules::rules;
use super::value::{Problem, UrlPattern, Value, choice};

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
        let rules = rules::<Via>(raw, "routes")?;
        Ok(Self(
            rules
                .into_iter()
                .map(|(pattern, via)| RouteRule { pattern, via })
                .collect(),
        ))
    }
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
