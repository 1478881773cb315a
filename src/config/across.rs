//! What must hold between options.

use std::net::SocketAddr;

use super::Config;
use super::check::exposed;
use super::given::Given;
use super::value::duration::print;

/// Notes what is wrong between options that are right by themselves.
pub(super) fn check(config: &Config, given: &mut Given) {
    check_exposure(config, given);
    check_addresses(config, given);
    check_lives(config, given);
    check_adapters(config, given);
}

/// A store that sessions are to live in needs its address, and an address has to be of that store's kind.
fn check_adapters(config: &Config, given: &mut Given) {
    let redis = ("adapters.redis.url", &config.adapters.redis.url, "redis");
    let mongodb = (
        "adapters.mongodb.uri",
        &config.adapters.mongodb.uri,
        "mongodb",
    );
    for (key, url, store) in [redis, mongodb] {
        if !given.are_sound(&[key, "sessions.default_adapter"]) {
            continue;
        }
        match url {
            Some(url) if !url.is_of(store) => {
                given.blame_value(key, format!("is not the address of a {store} server"));
            }
            None if config.sessions.default_adapter.as_str() == store => {
                given.blame_value(
                    "sessions.default_adapter",
                    format!("is `{store}`, which needs {key}"),
                );
            }
            _ => {}
        }
    }
}

fn check_exposure(config: &Config, given: &mut Given) {
    let Config { proxy, admin, .. } = config;
    if !proxy.auth.is_required() {
        let keys = [
            "proxy.listen",
            "proxy.auth.tokens",
            "proxy.auth.tokens_file",
        ];
        blame_exposure(&proxy.listen, keys, given);
    }
    if admin.token.is_none() {
        let keys = ["admin.listen", "admin.token", "admin.token_file"];
        blame_exposure(&admin.listen, keys, given);
    }
}

/// Without its token a listener must not be reachable from other machines (INTERFACE.md, section 8).
fn blame_exposure(listeners: &[SocketAddr], keys: [&str; 3], given: &mut Given) {
    if let Some(address) = exposed(listeners)
        && given.are_sound(&keys)
    {
        let [listen, token, file] = keys;
        let problem =
            format!("{address} is not on loopback: {listen} then needs {token} or {file}");
        given.blame_value(listen, problem);
    }
}

fn check_addresses(config: &Config, given: &mut Given) {
    let (proxy, admin) = ("proxy.listen", "admin.listen");
    let is_shared =
        |address: &&SocketAddr| address.port() != 0 && config.proxy.listen.contains(address);
    if let Some(address) = config.admin.listen.iter().find(is_shared)
        && given.are_sound(&[proxy, admin])
    {
        let (key, other) = set_one(given, admin, proxy);
        given.blame_value(key, format!("has {address}, which {other} has too"));
    }
}

fn check_lives(config: &Config, given: &mut Given) {
    let (default, max) = ("sessions.default_ttl", "sessions.max_ttl");
    let (default_ttl, max_ttl) = (config.sessions.default_ttl, config.sessions.max_ttl);
    if default_ttl <= max_ttl || !given.are_sound(&[default, max]) {
        return;
    }
    let (key, _) = set_one(given, default, max);
    let problem = if key == default {
        format!("is longer than {max}, which is {}", print(max_ttl))
    } else {
        format!("is shorter than {default}, which is {}", print(default_ttl))
    };
    given.blame_value(key, problem);
}

/// The pair with the one first that was set: a default is not to blame.
fn set_one<'a>(given: &Given, first: &'a str, second: &'a str) -> (&'a str, &'a str) {
    if given.origin(first).is_some() {
        (first, second)
    } else {
        (second, first)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    /// What is said about these variables.
    fn mistakes(variables: &[(&str, &str)]) -> Vec<String> {
        let sources = Sources {
            environment: variables
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            ..Sources::default()
        };
        match load(&sources) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_listener_beyond_loopback_needs_a_token() {
        let open = ("BURDOCK_PROXY__LISTEN", "127.0.0.1:0,0.0.0.0:0");
        assert_eq!(
            mistakes(&[open]),
            [
                "BURDOCK_PROXY__LISTEN: 0.0.0.0:0 is not on loopback: proxy.listen then needs proxy.auth.tokens or proxy.auth.tokens_file"
            ]
        );
        assert_eq!(
            mistakes(&[open, ("BURDOCK_PROXY__AUTH__TOKENS", "a")]),
            [""; 0]
        );
        let open = ("BURDOCK_ADMIN__LISTEN", "[::]:0");
        assert_eq!(
            mistakes(&[open]),
            [
                "BURDOCK_ADMIN__LISTEN: [::]:0 is not on loopback: admin.listen then needs admin.token or admin.token_file"
            ]
        );
        assert_eq!(mistakes(&[open, ("BURDOCK_ADMIN__TOKEN", "a")]), [""; 0]);
        assert_eq!(mistakes(&[("BURDOCK_ADMIN__LISTEN", "")]), [""; 0]);
    }

    #[test]
    fn a_mistake_in_one_key_is_not_repeated_for_the_pair() {
        let got = mistakes(&[
            ("BURDOCK_ADMIN__LISTEN", "[::]:0"),
            ("BURDOCK_ADMIN__TOKEN", "a b"),
        ]);
        assert_eq!(got.len(), 1, "{got:?}");
        assert!(got[0].starts_with("BURDOCK_ADMIN__TOKEN: "));
    }

    #[test]
    fn an_address_serves_one_purpose() {
        assert_eq!(
            mistakes(&[("BURDOCK_ADMIN__LISTEN", "[::1]:8080")]),
            ["BURDOCK_ADMIN__LISTEN: has [::1]:8080, which proxy.listen has too"]
        );
        assert_eq!(
            mistakes(&[("BURDOCK_PROXY__LISTEN", "[::1]:1,[::1]:1")]),
            ["BURDOCK_PROXY__LISTEN: lists [::1]:1 twice"]
        );
        let free = [
            ("BURDOCK_ADMIN__LISTEN", "[::1]:0"),
            ("BURDOCK_PROXY__LISTEN", "[::1]:0,[::1]:0"),
        ];
        assert_eq!(mistakes(&free), [""; 0]);
        assert_eq!(mistakes(&[("BURDOCK_PROXY__LISTEN", "")]).len(), 1);
    }

    #[test]
    fn a_default_that_another_key_makes_wrong_is_blamed_on_that_key() {
        let got = mistakes(&[("BURDOCK_SESSIONS__MAX_TTL", "1s")]);
        assert_eq!(
            got,
            ["BURDOCK_SESSIONS__MAX_TTL: is shorter than sessions.default_ttl, which is 30m"]
        );
    }
}
