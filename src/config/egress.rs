//! Upstream proxies and `[[upstream.rules]]`: which origins are reached by them.

use super::raw::Raw;
use super::rules::rules;
use super::value::{Problem, Text, UrlPattern, Value, choice};
use crate::message::{Authority, Scheme};
use crate::session::settings::{ProxyScheme, ProxyUrl};

/// The rules of `[[upstream.rules]]`, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EgressRules(pub Vec<EgressRule>);

/// How an origin is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct EgressRule {
    /// Which origins; without a path, since a connection has none.
    pub pattern: UrlPattern,
    /// How.
    pub via: EgressVia,
}

choice! {
    /// How origins are reached.
    pub enum EgressVia {
        /// From this process's own address.
        Direct = "direct",
        /// By the upstream proxy of the session.
        Proxies = "proxies",
    }
}

impl EgressRules {
    /// How this origin is reached: as the first rule says that is for it, else by the proxies.
    #[must_use]
    pub fn via(&self, scheme: Scheme, authority: &Authority) -> EgressVia {
        self.0
            .iter()
            .find(|rule| rule.pattern.matches(scheme, authority, "/"))
            .map_or(EgressVia::Proxies, |rule| rule.via)
    }
}

impl Value for EgressRules {
    fn kind() -> String {
        "list of tables: match (URL pattern without path), via (direct | proxies); the first that matches holds".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        let rules = rules::<EgressVia>(raw, "upstream.rules")?;
        if let Some((pattern, _)) = rules.iter().find(|(pattern, _)| pattern.has_path()) {
            return Err(vec![Problem::new(format!(
                "match must not have a path, as `{pattern}` has: the way is chosen for a connection, not for a request"
            ))]);
        }
        Ok(Self(
            rules
                .into_iter()
                .map(|(pattern, via)| EgressRule { pattern, via })
                .collect(),
        ))
    }
}

impl Text for ProxyUrl {
    fn kind() -> String {
        "URL of a proxy".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The text may hold a password: it is not repeated.
        text.parse().map_err(|error| format!("{error}"))
    }
}

/// A proxy is known by its URL without the password, and SOCKS has bounds of its own (RFC 1929).
pub(super) fn proxies(proxies: &[ProxyUrl]) -> Result<(), String> {
    for (at, proxy) in proxies.iter().enumerate() {
        let shown = proxy.to_string();
        if proxies[..at].iter().any(|other| other.to_string() == shown) {
            return Err(format!("lists {shown} twice"));
        }
        let socks = matches!(proxy.scheme(), ProxyScheme::Socks5 | ProxyScheme::Socks5h);
        let fits = |part: &[u8]| (1..=255).contains(&part.len()) && str::from_utf8(part).is_ok();
        if socks
            && let Some((user, password)) = proxy.credentials("a")
            && !(fits(&user) && fits(&password))
        {
            return Err(format!(
                "has {shown}: SOCKS needs a user name and a password of 1 to 255 bytes each, or neither"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources, load};

    fn load_with(name: &str, value: &str) -> Result<Config, String> {
        let sources = Sources {
            environment: vec![(name.into(), value.into())],
            ..Sources::default()
        };
        load(&sources).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn proxies_are_read_and_their_mistakes_keep_the_password_to_themselves() {
        let config = load_with(
            "BURDOCK_UPSTREAM__PROXIES",
            "http://a:s3cret@p.example:1,socks5h://[::1]:2",
        )
        .unwrap();
        let shown: Vec<_> = config
            .upstream
            .proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["http://a@p.example:1", "socks5h://[::1]:2"]);
        for (wrong, what) in [
            (
                "http://a:s3cret@p:1,http://a:s3cret-too@p:1",
                "http://a@p:1 twice",
            ),
            ("ftp://a:s3cret@p:1", "must begin with"),
            ("socks5://s3cret-user@p:1", "SOCKS needs"),
            ("socks5://a:@p:1", "SOCKS needs"),
        ] {
            let problem = load_with("BURDOCK_UPSTREAM__PROXIES", wrong).unwrap_err();
            assert!(problem.contains(what), "{problem}");
            assert!(!problem.contains("a:s3cret"), "{problem}");
        }
    }

    #[test]
    fn the_first_rule_for_an_origin_decides() {
        let rules = r#"[{ match = "http://*.example", via = "direct" }, { match = "b.example", via = "proxies" }, { match = "127.0.0.1:9", via = "direct" }]"#;
        let rules = load_with("BURDOCK_UPSTREAM__RULES", rules)
            .unwrap()
            .upstream
            .rules;
        for (scheme, authority, wanted) in [
            (Scheme::Http, "a.example:80", EgressVia::Direct),
            (Scheme::Https, "a.example:443", EgressVia::Proxies),
            (Scheme::Http, "b.example:80", EgressVia::Direct),
            (Scheme::Https, "127.0.0.1:9", EgressVia::Direct),
            (Scheme::Https, "127.0.0.1:443", EgressVia::Proxies),
        ] {
            let authority = Authority::parse(authority, None).unwrap();
            assert_eq!(rules.via(scheme, &authority), wanted, "{authority}");
        }
        for wrong in [
            r#"[{ match = "a.example/x", via = "direct" }]"#,
            r#"[{ match = "a.example", via = "http" }]"#,
            r#"[{ match = "a.example" }]"#,
        ] {
            assert!(
                load_with("BURDOCK_UPSTREAM__RULES", wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
