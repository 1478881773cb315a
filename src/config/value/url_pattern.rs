//! Patterns of URLs: `https://app.example.com/**`.

use std::fmt;

use crate::message::{Authority, Scheme};

use super::super::mistake::shown;
use super::{HostGlob, Text};

/// A pattern of URLs: a host pattern, a port and a scheme where it names them, and a pattern of paths.
///
/// `*` in the path stands for any characters but `/`, `**` for any at all; without a path every path is meant. The query is compared only
/// where the pattern has one.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlPattern {
    text: Box<str>,
    scheme: Option<Scheme>,
    host: HostGlob,
    port: Option<u16>,
    /// Empty: every path.
    path: Box<str>,
}

impl UrlPattern {
    /// Whether it says something of the path.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// Whether a URL of these parts is meant; `path` may have a query.
    #[must_use]
    pub fn matches(&self, scheme: Scheme, authority: &Authority, path: &str) -> bool {
        let port = match (self.port, self.scheme) {
            (Some(port), _) => port,
            // Without a port in the pattern any scheme's own is meant.
            (None, _) => scheme.default_port(),
        };
        let path = match self.path.contains('?') {
            true => path,
            false => path.split('?').next().unwrap_or_default(),
        };
        self.scheme.is_none_or(|wanted| wanted == scheme)
            && authority.port == port
            && self.host.matches(&authority.host)
            && (self.path.is_empty() || matches(self.path.as_bytes(), path.as_bytes()))
    }
}

/// Whether `text` is what `pattern` says. On a mismatch the last star takes a character more, or, where it may not, the last double star does.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        if pattern[at..].starts_with(b"**") {
            at += 2;
            double = Some((at, seen));
            star = None;
            continue;
        }
        if pattern[at..].starts_with(b"*") {
            at += 1;
            star = Some((at, seen));
            continue;
        }
        match (pattern.get(at), text.get(seen)) {
            (None, None) => return true,
            (Some(wanted), Some(byte)) if wanted == byte => {
                at += 1;
                seen += 1;
                continue;
            }
            _ => {}
        }
        let more =
            |(after, taken): (usize, usize)| (taken < text.len()).then_some((after, taken + 1));
        let within = star.filter(|(_, taken)| text.get(*taken).is_some_and(|byte| *byte != b'/'));
        if let Some(next) = within.and_then(more) {
            star = Some(next);
            (at, seen) = next;
        } else if let Some(next) = double.and_then(more) {
            double = Some(next);
            star = None;
            (at, seen) = next;
        } else {
            return false;
        }
    }
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Text for UrlPattern {
    fn kind() -> String {
        "URL pattern".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!(
                "`{}` is not a URL pattern such as https://app.example.com/** or *.example.com",
                shown(text)
            )
        })
    }
}

fn parse(text: &str) -> Option<UrlPattern> {
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(("*", rest)) => (None, rest),
        Some(_) => return None,
        None => (None, text),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if path.contains(['#', ' ']) || !path.is_ascii() {
        return None;
    }
    // The last colon outside brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
    };
    Some(UrlPattern {
        text: text.into(),
        scheme,
        host: HostGlob::parse(host).ok()?,
        port,
        path: path.into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has(pattern: &str, url: &str) -> bool {
        let (scheme, rest) = url.split_once("://").expect(url);
        let scheme = match scheme {
            "http" => Scheme::Http,
            _ => Scheme::Https,
        };
        let (authority, _) = rest.split_once('/').expect(url);
        let path = &rest[authority.len()..];
        let authority = Authority::parse(authority, Some(scheme.default_port())).expect(url);
        parse(pattern)
            .expect(pattern)
            .matches(scheme, &authority, path)
    }

    #[test]
    fn a_pattern_has_the_urls_it_means() {
        for (pattern, url, wanted) in [
            (
                "https://app.example.com/**",
                "https://app.example.com/",
                true,
            ),
            (
                "https://app.example.com/**",
                "https://app.example.com/a/b?c",
                true,
            ),
            (
                "https://app.example.com/**",
                "http://app.example.com/",
                false,
            ),
            (
                "https://app.example.com/**",
                "https://app.example.com:8443/",
                false,
            ),
            ("https://app.example.com/**", "https://example.com/", false),
            ("*.example.com", "http://a.example.com/x", true),
            ("*", "http://a.example/x", true),
            ("*://a.example:8080/*", "https://a.example:8080/x", true),
            ("*://a.example:8080/*", "https://a.example:8080/x/y", false),
            ("a.example/*/edit", "https://a.example/7/edit", true),
            ("a.example/*/edit", "https://a.example/7/8/edit", false),
            ("a.example/**/edit", "https://a.example/7/8/edit", true),
            (
                "a.example/**/x/*.html",
                "https://a.example/x/x/a.html",
                true,
            ),
            ("a.example/p", "https://a.example/p?q=1", true),
            ("a.example/p?q=*", "https://a.example/p?q=1", true),
            ("a.example/p?q=*", "https://a.example/p", false),
            ("[::1]:80/**", "http://[::1]/a", true),
            ("[::1]", "http://[::1]/a", true),
        ] {
            assert_eq!(has(pattern, url), wanted, "{pattern} {url}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "ftp://a.example/",
            "https://",
            "a.example:x/",
            "a.example:0",
            "a b/",
            "a.example/#x",
            "/path",
        ] {
            assert!(UrlPattern::parse(text).is_err(), "{text}");
        }
    }

    /// The obvious way, exponential and right.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            ([b'*', b'*', rest @ ..], text) => {
                model(rest, text) || (!text.is_empty() && model(pattern, &text[1..]))
            }
            ([b'*', rest @ ..], text) => {
                model(rest, text)
                    || (text.first().is_some_and(|byte| *byte != b'/')
                        && model(pattern, &text[1..]))
            }
            ([byte, rest @ ..], [first, text @ ..]) => byte == first && model(rest, text),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn a_path_matches_as_in_the_model(pattern in "[ab/*]{0,8}", text in "[ab/]{0,8}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[a*./:\\[\\]]*") {
            if let Some(pattern) = parse(&text) {
                prop_assert_eq!(parse(&pattern.to_string()), Some(pattern));
            }
        }
    }
}
