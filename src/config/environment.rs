//! The layer of the environment: `BURDOCK_PROXY__AUTH__TOKENS` sets `proxy.auth.tokens`.

use std::ffi::OsString;

use super::given::Given;
use super::mistake::{Place, shown};
use super::raw::Raw;
use super::schema::{Known, Schema};

/// Adds what those of the `variables` say that are named after a key.
pub(super) fn add(variables: &[(OsString, OsString)], schema: &Schema, given: &mut Given) {
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
            continue;
        };
        let key = rest.to_ascii_lowercase().replace("__", ".");
        let place = Place::Variable(shown(&name));
        match schema.judge(&key) {
            _ if variable_of(&key) != name => {
                given.blame(
                    &key,
                    place,
                    format!("must be spelt `{}`", shown(&variable_of(&key))),
                );
            }
            Known::Option => match value.to_str() {
                Some(text) => given.add(&key, place, Raw::from_variable(text)),
                None => given.blame(&key, place, "is not UTF-8"),
            },
            Known::Section => given.blame(&key, place, "names a section, not a key"),
            Known::Later => given.blame(&key, place, Known::NOT_YET),
            Known::Nothing { near } => {
                given.blame(
                    &key,
                    place,
                    Known::nothing(near.map(|key| variable_of(&key))),
                );
            }
        }
    }
}

/// The environment variable that sets the dotted `key`.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

const PREFIX: &str = "BURDOCK_";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::config::load::given_by;

    /// The configuration of an environment, or its mistakes.
    fn environment(variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        given_by(|schema, given| add(&variables, schema, given))
    }

    #[test]
    fn the_environment_sets_any_option() {
        let config = environment(&[
            ("BURDOCK_PROXY__LISTEN", "[::1]:1, 127.0.0.1:2"),
            ("BURDOCK_PROXY__AUTH__TOKENS", r#"["a,b", "c"]"#),
            ("BURDOCK_SESSIONS__RATE_LIMIT__REQUESTS_PER_SECOND", "0.5"),
            ("BURDOCK_OBSERVABILITY__ACCESS_LOG", "false"),
            ("BURDOCK_CONFIG", "elsewhere"),
            ("PROXY__LISTEN", "nonsense"),
        ])
        .expect("valid");
        let listen: Vec<String> = config
            .proxy
            .listen
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(listen, ["[::1]:1", "127.0.0.1:2"]);
        assert!(config.proxy.auth.accepts(b"a,b") && config.proxy.auth.accepts(b"c"));
        assert_eq!(config.sessions.rate_limit.requests_per_second, Some(0.5));
        assert!(!config.observability.access_log);
    }

    #[test]
    fn a_variable_that_sets_nothing_is_told_by_its_name() {
        let mistakes = environment(&[
            ("BURDOCK_OBSERVABILITY__CAPTURE", "true"),
            ("BURDOCK_CA__DIR_", "x"),
            ("BURDOCK_PROXY__AUTH__TOKENS", "a b"),
            ("BURDOCK_SESSIONS__RATE_LIMIT", "1"),
            ("BURDOCK_X__Y", "1"),
            ("BURDOCK_ca__dir", "x"),
        ])
        .expect_err("nothing is set");
        assert_eq!(
            mistakes,
            [
                "BURDOCK_CA__DIR_: unknown key; did you mean `BURDOCK_CA__DIR`?",
                "BURDOCK_OBSERVABILITY__CAPTURE: is not supported by this version",
                "BURDOCK_PROXY__AUTH__TOKENS: holds a token that is empty or has other than printable ASCII without spaces",
                "BURDOCK_SESSIONS__RATE_LIMIT: names a section, not a key",
                "BURDOCK_X__Y: unknown key",
                "BURDOCK_ca__dir: must be spelt `BURDOCK_CA__DIR`",
            ]
        );
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "\\PC*|[\\[\"',\\]]{0,6}") {
            for name in ["BURDOCK_PROXY__LISTEN", "BURDOCK_SESSIONS__MAX_TTL", "BURDOCK_UPSTREAM__MAX_IDLE_PER_HOST"] {
                let _ = environment(&[(name, &value)]);
            }
        }
    }
}
