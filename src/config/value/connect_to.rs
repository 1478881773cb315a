//! Rules that dial another address than a request's own, as curl's `--connect-to`.

use std::fmt;

use crate::message::{Authority, Host};

use super::super::mistake::shown;
use super::Text;

/// `HOST:PORT:ADDR:PORT`: who asks for HOST:PORT is connected to ADDR:PORT.
///
/// Nothing else changes: the name for TLS, the Host field and the cookies stay those of HOST. An empty
/// HOST or PORT is any, an empty ADDR or second PORT keeps that of the request, an IPv6 address stands
/// in brackets, and ADDR may be a name.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectTo {
    host: Option<Host>,
    port: Option<u16>,
    to_host: Option<Host>,
    to_port: Option<u16>,
}

impl ConnectTo {
    /// Where to connect for `authority` by the first rule that is for it; `None`: to itself.
    pub fn target(rules: &[Self], authority: &Authority) -> Option<Authority> {
        // As in curl, a rule that changes nothing hides none after it.
        rules
            .iter()
            .filter(|rule| rule.to_host.is_some() || rule.to_port.is_some())
            .find(|rule| rule.is_for(authority))
            .map(|rule| Authority {
                host: rule
                    .to_host
                    .clone()
                    .unwrap_or_else(|| authority.host.clone()),
                port: rule.to_port.unwrap_or(authority.port),
            })
    }

    fn is_for(&self, authority: &Authority) -> bool {
        self.host
            .as_ref()
            .is_none_or(|host| *host == authority.host)
            && self.port.is_none_or(|port| port == authority.port)
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |host: &Option<Host>| host.as_ref().map(Host::to_string).unwrap_or_default();
        let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        let (from, from_port) = (host(&self.host), port(self.port));
        let (to, to_port) = (host(&self.to_host), port(self.to_port));
        write!(f, "{from}:{from_port}:{to}:{to_port}")
    }
}

impl fmt::Debug for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Text for ConnectTo {
    fn kind() -> String {
        "HOST:PORT:ADDR:PORT".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!(
                "`{}` is not HOST:PORT:ADDR:PORT, each of which may be empty, IPv6 in brackets",
                shown(text)
            )
        })
    }
}

fn parse(text: &str) -> Option<ConnectTo> {
    let (host, rest) = take_host(text)?;
    let (port, rest) = rest.strip_prefix(':')?.split_once(':')?;
    let (to_host, rest) = take_host(rest)?;
    // curl lets the second port go with its colon.
    let to_port = match rest {
        "" => "",
        rest => rest.strip_prefix(':')?,
    };
    Some(ConnectTo {
        host,
        port: parse_port(port)?,
        to_host,
        to_port: parse_port(to_port)?,
    })
}

/// The host before the next colon outside brackets, and what follows.
fn take_host(text: &str) -> Option<(Option<Host>, &str)> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    let host = match host {
        "" => None,
        host => Some(<Host as Text>::parse(host).ok()?),
    };
    Some((host, rest))
}

/// A port from 1 to 65535, or nothing for any.
fn parse_port(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port != 0)?;
    Some(Some(port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(rules: &[&str], authority: &str) -> String {
        let rules: Vec<ConnectTo> = rules.iter().map(|rule| parse(rule).expect(rule)).collect();
        let authority = Authority::parse(authority, None).expect(authority);
        ConnectTo::target(&rules, &authority)
            .unwrap_or(authority)
            .to_string()
    }

    #[test]
    fn a_rule_says_where_to_connect() {
        for (rule, authority, wanted) in [
            (
                "a.example:443:127.0.0.1:8443",
                "a.example:443",
                "127.0.0.1:8443",
            ),
            (
                "A.Example:443:127.0.0.1:8443",
                "a.example:443",
                "127.0.0.1:8443",
            ),
            (
                "a.example:443:127.0.0.1:8443",
                "a.example:80",
                "a.example:80",
            ),
            (
                "a.example:443:127.0.0.1:8443",
                "b.example:443",
                "b.example:443",
            ),
            ("::127.0.0.1:8443", "any.example:1", "127.0.0.1:8443"),
            ("a.example::[::1]:8443", "a.example:80", "[::1]:8443"),
            (":80:b.example:", "a.example:80", "b.example:80"),
            (":80:b.example", "a.example:80", "b.example:80"),
            (":80::81", "a.example:80", "a.example:81"),
            (":::", "a.example:80", "a.example:80"),
            ("[::1]:80:127.0.0.1:", "[::1]:80", "127.0.0.1:80"),
            ("127.0.0.1:80:a.example:81", "127.0.0.1:80", "a.example:81"),
        ] {
            assert_eq!(target(&[rule], authority), wanted, "{rule} for {authority}");
        }
    }

    #[test]
    fn the_first_rule_that_is_for_it_and_changes_something_holds() {
        let rules = [":::", "a:::1", "a::b:2", "::c:3"];
        assert_eq!(target(&rules, "a:80"), "a:1");
        assert_eq!(target(&rules, "x:80"), "c:3");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "a",
            "a:1",
            ":",
            "a:1:b:2:3",
            "a:x:b:2",
            "a:0:b:2",
            "a:65536:b:2",
            "a:+1:b:2",
            "::1:80:b:2",
            "[::1:80:b:2",
            "[::1]x:80:b:2",
            "a b:80:c:2",
            "*:80:c:2",
            "a:1:u@b:2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(text in "\\PC*|([a-c]{0,2}|\\[::[1-9]\\]):[1-9]{0,3}:([a-c]{0,2}|\\[::[1-9]\\]):[1-9]{0,3}") {
            if let Some(rule) = parse(&text) {
                prop_assert_eq!(parse(&rule.to_string()), Some(rule));
            }
        }
    }
}
