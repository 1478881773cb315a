//! Who may call: the Host that was asked for, the token that was shown, the site that a browser speaks for.

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use http::{HeaderName, Request, Uri};
use url::Url;

use super::problem::{Name, Problem};
use crate::config::Token;
use crate::message::{Authority, Host};

/// The names and the secret of an admin port.
#[derive(Debug)]
pub(super) struct Guard {
    /// The addresses it listens on.
    pub(super) bound: Vec<SocketAddr>,
    /// `admin.allowed_hosts`.
    pub(super) allowed_hosts: Vec<Host>,
    /// `admin.token`.
    pub(super) token: Option<Token>,
}

impl Guard {
    /// Lets a request in or says why not, before anything else is looked at.
    ///
    /// The paths of probes need no token: they tell nothing but whether burdock is well, and an orchestrator has none.
    ///
    /// # Errors
    /// `forbidden`, `unauthorized`.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        self.check_host(request)?;
        match &self.token {
            Some(token) if !PROBES.contains(&request.uri().path()) => {
                check_token(token, request.headers())
            }
            _ => Ok(()),
        }
    }

    /// A page of another site can have its own name resolve to this machine (DNS rebinding); then its requests name that.
    fn check_host<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let target = request
            .uri()
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let fields = request
            .headers()
            .get_all(HOST)
            .iter()
            .map(|value| value.as_bytes());
        let mut hosts = target.into_iter().chain(fields).peekable();
        if hosts.peek().is_none() {
            return Err(forbidden("the request has no Host"));
        }
        // Where both the target and the field name one, each must be ours.
        for host in hosts {
            let known = parse_host(host).is_some_and(|(host, _)| self.answers_to(&host));
            if !known {
                let host = String::from_utf8_lossy(host);
                return Err(forbidden(format!(
                    "`{host}` is no name of this port; `admin.allowed_hosts` can make it one"
                )));
            }
        }
        Ok(())
    }

    fn answers_to(&self, host: &Host) -> bool {
        if self.allowed_hosts.contains(host) {
            return true;
        }
        match host.ip() {
            None => *host == Host::Name("localhost".into()),
            Some(ip) => {
                let ip = ip.to_canonical();
                // An address cannot be rebound; on a wildcard any of the machine's own may have been dialled, and which
                // those are changes.
                ip.is_loopback()
                    || self
                        .bound
                        .iter()
                        .any(|bound| bound.ip().is_unspecified() || bound.ip().to_canonical() == ip)
            }
        }
    }
}

/// Refuses a change without a body that a page of another site makes: browsers send those without asking first.
///
/// What carries JSON needs no such check, as a browser asks first and is given no permission.
///
/// # Errors
/// `forbidden`.
pub(super) fn check_site(target: &Uri, fields: &HeaderMap) -> Result<(), Problem> {
    if let Some(site) = fields.get(SEC_FETCH_SITE)
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Err(forbidden("Sec-Fetch-Site names another site"));
    }
    let host = match target.authority() {
        Some(authority) => parse_host(authority.as_str().as_bytes()),
        None => fields
            .get(HOST)
            .and_then(|host| parse_host(host.as_bytes())),
    };
    for origin in fields.get_all(ORIGIN) {
        if parse_origin(origin.as_bytes()) != host || host.is_none() {
            return Err(forbidden("Origin names another site"));
        }
    }
    Ok(())
}

fn check_token(token: &Token, fields: &HeaderMap) -> Result<(), Problem> {
    match bearer(fields).is_some_and(|shown| token.matches(shown)) {
        true => Ok(()),
        false => Err(Problem::new(
            Name::Unauthorized,
            "this port needs its token: `Authorization: Bearer TOKEN`, as `admin.token` has it",
        )),
    }
}

/// The token of `Authorization: Bearer` (RFC 6750); none where there are several fields.
fn bearer(fields: &HeaderMap) -> Option<&[u8]> {
    let mut lines = fields.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?.as_bytes(), lines.next()) else {
        return None;
    };
    let (scheme, token) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
    scheme
        .eq_ignore_ascii_case(b"bearer")
        .then(|| token.trim_ascii())
}

/// Host and, where one is given, port.
fn parse_host(text: &[u8]) -> Option<(Host, Option<u16>)> {
    let text = std::str::from_utf8(text).ok()?;
    // Of two default ports one is not the port given, so an authority read with both tells whether one was.
    let with = |default| Authority::parse(text, Some(default)).ok();
    let (one, other) = (with(80)?, with(443)?);
    let port = (one.port == other.port)
        .then_some(one.port)
        .filter(|port| !matches!(port, 80 | 443));
    Some((one.host, port))
}

/// The host of a serialized origin and its port, where that is not the scheme's own.
fn parse_origin(text: &[u8]) -> Option<(Host, Option<u16>)> {
    let url = Url::parse(std::str::from_utf8(text).ok()?).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    Some((
        Host::parse(url.host_str()?).ok()?,
        url.port().filter(|port| !matches!(port, 80 | 443)),
    ))
}

fn forbidden(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Name::Forbidden, detail)
}

const PROBES: [&str; 2] = ["/healthz", "/readyz"];
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn guard(bound: &[&str]) -> Guard {
        Guard {
            bound: bound
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
            allowed_hosts: vec![Host::parse("burdock.internal").unwrap()],
            token: None,
        }
    }

    fn lets_in(guard: &Guard, target: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        guard.admit(&request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn only_its_own_names_are_answered() {
        let loopback = guard(&["127.0.0.1:3001", "[::1]:3001"]);
        for (host, wanted) in [
            ("localhost", true),
            ("LocalHost.:3001", true),
            ("localhost:9", true),
            ("127.0.0.1:3001", true),
            ("127.9.9.9", true),
            ("0x7f.1", true),
            ("[::1]:3001", true),
            ("[::ffff:127.0.0.1]", true),
            ("burdock.internal", true),
            ("BURDOCK.internal.:80", true),
            ("a.localhost", false),
            ("burdock.internal.evil.example", false),
            ("x.burdock.internal", false),
            ("127.0.0.1.evil.example", false),
            ("192.0.2.1", false),
            ("user@localhost", false),
            ("localhost:", true),
            ("localhost:x", false),
            ("localhost, evil.example", false),
            ("", false),
        ] {
            assert_eq!(lets_in(&loopback, "/", &[host]), wanted, "{host}");
        }
    }

    #[test]
    fn on_a_wildcard_every_address_is_answered_but_no_further_name() {
        let wildcard = guard(&["0.0.0.0:3001"]);
        assert!(lets_in(&wildcard, "/", &["192.0.2.1:3001"]));
        assert!(!lets_in(&wildcard, "/", &["evil.example"]));
        let one = guard(&["192.0.2.1:3001"]);
        assert!(lets_in(&one, "/", &["192.0.2.1"]));
        assert!(!lets_in(&one, "/", &["192.0.2.2"]));
    }

    #[test]
    fn every_host_that_a_request_names_must_be_ours_and_one_there_must_be() {
        let guard = guard(&["127.0.0.1:3001"]);
        assert!(!lets_in(&guard, "/", &[]), "HTTP/1.0");
        assert!(lets_in(&guard, "http://localhost:3001/", &[]), "HTTP/2");
        assert!(lets_in(&guard, "http://localhost:3001/", &["localhost"]));
        assert!(!lets_in(
            &guard,
            "http://localhost:3001/",
            &["evil.example"]
        ));
        assert!(!lets_in(&guard, "http://evil.example/", &["localhost"]));
        assert!(!lets_in(&guard, "/", &["localhost", "evil.example"]));
    }

    fn same_site(lines: &[(&'static str, &'static str)]) -> bool {
        let fields = lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        check_site(&Uri::from_static("/"), &fields).is_ok()
    }

    #[test]
    fn a_change_without_a_body_comes_from_no_other_site() {
        let host = ("host", "localhost:3001");
        assert!(same_site(&[host]), "no browser");
        for (origin, wanted) in [
            ("http://localhost:3001", true),
            ("HTTP://LOCALHOST:3001", true),
            ("http://localhost:8000", false),
            ("http://localhost", false),
            ("http://127.0.0.1:3001", false),
            ("https://evil.example", false),
            ("chrome-extension://abc", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(same_site(&[host, ("origin", origin)]), wanted, "{origin}");
        }
        let behind_tls = ("host", "burdock.internal");
        assert!(same_site(&[
            behind_tls,
            ("origin", "https://burdock.internal")
        ]));
        assert!(!same_site(&[("origin", "null")]), "not even without Host");
        let fields =
            HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("http://localhost:3001"))]);
        assert!(
            check_site(&Uri::from_static("http://localhost:3001/x"), &fields).is_ok(),
            "HTTP/2"
        );
        for (site, wanted) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
        ] {
            assert_eq!(
                same_site(&[host, ("sec-fetch-site", site)]),
                wanted,
                "{site}"
            );
        }
    }

    #[test]
    fn a_bearer_token_is_read_in_any_case_of_the_scheme() {
        for (line, wanted) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
        ] {
            let fields = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(line))]);
            assert_eq!(bearer(&fields), wanted.map(str::as_bytes), "{line}");
        }
        let mut twice = HeaderMap::new();
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert_eq!(bearer(&twice), None);
    }

    proptest! {
        #[test]
        fn no_octets_bring_it_down(host in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = parse_host(&host);
            let _ = parse_origin(&host);
        }
    }
}
