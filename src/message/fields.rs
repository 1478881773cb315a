//! Which fields of a message travel on (RFC 9110, section 7.6.1), decided in one pass that keeps their order.
//!
//! `HeaderMap::remove` moves the last field into the gap, so a map is rebuilt rather than cut.

use http::header::{
    self, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};

/// Names the session of a request; answered in every response of a session.
pub const X_SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// Carries the proxy token for clients that cannot send proxy credentials.
pub const X_PROXY_TOKEN: HeaderName = HeaderName::from_static("x-proxy-token");
/// Chooses the route of a request: `http`, `browser` or `auto`.
pub const X_BURDOCK_RENDER: HeaderName = HeaderName::from_static("x-burdock-render");
/// What a rendered page is waited for.
pub const X_BURDOCK_WAIT: HeaderName = HeaderName::from_static("x-burdock-wait");
/// Says in a response that the page was taken before what was waited for.
pub const X_BURDOCK_PARTIAL: HeaderName = HeaderName::from_static("x-burdock-partial");
/// Says in a response which route was taken.
pub const X_BURDOCK_ROUTE: HeaderName = HeaderName::from_static("x-burdock-route");
/// Says in a response that the session leaves by another upstream proxy than before.
pub const X_BURDOCK_EGRESS: HeaderName = HeaderName::from_static("x-burdock-egress");
/// Errors made by a proxy (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What the origin shall see in place of, or besides, what the client sent.
#[derive(Debug, Default)]
pub struct Rewrite<'a> {
    /// The Host field's value; it stands where the client's stood, first if there was none.
    pub host: Option<HeaderValue>,
    /// The whole Cookie field; `None` sends none.
    pub cookie: Option<HeaderValue>,
    /// Replaces User-Agent where set.
    pub user_agent: Option<HeaderValue>,
    /// Added where the client sent none of that name.
    pub defaults: &'a [(HeaderName, HeaderValue)],
    /// Whether `Connection: upgrade` and `Upgrade` travel on, as the origin shall decide on them.
    pub upgrade: bool,
}

/// The fields of a request as the origin shall see them.
///
/// Left out are hop-by-hop fields, whatever `Connection` names, and burdock's own control fields.
pub fn request_fields(client: HeaderMap, rewrite: Rewrite<'_>) -> HeaderMap {
    let named = Named::of(&client);
    let Rewrite {
        mut host,
        mut cookie,
        mut user_agent,
        defaults,
        upgrade,
    } = rewrite;
    let mut out = HeaderMap::with_capacity(client.len() + 2 + defaults.len());
    if let Some(host) = host.take_if(|_| !has(&client, &HOST)) {
        out.append(HOST, host);
    }
    for_each_field(client, |name, value| {
        if name == HOST {
            if let Some(host) = host.take() {
                out.append(name, host);
            }
        } else if name == COOKIE {
            if let Some(cookie) = cookie.take() {
                out.append(name, cookie);
            }
        } else if name == USER_AGENT && user_agent.is_some() {
            if let Some(agent) = user_agent.take() {
                out.append(name, agent);
            }
        } else if name == CONNECTION {
            if upgrade && !out.contains_key(CONNECTION) {
                out.append(name, HeaderValue::from_static("Upgrade"));
            }
        } else if name == UPGRADE {
            if upgrade {
                out.append(name, value);
            }
        } else if name == TE {
            // Trailers are offered anew on each hop; burdock does carry them.
            if lists(value.as_bytes(), "trailers") {
                out.insert(name, HeaderValue::from_static("trailers"));
            }
        } else if !is_hop_by_hop(&name) && !is_control(&name) && !named.contains(&name) {
            out.append(name, value);
        }
    });
    if let Some(agent) = user_agent {
        out.append(USER_AGENT, agent);
    }
    for (name, value) in defaults {
        if !out.contains_key(name) {
            out.append(name.clone(), value.clone());
        }
    }
    if let Some(cookie) = cookie {
        out.append(COOKIE, cookie);
    }
    out
}

/// The fields of a response as the client shall see them; `upgraded` for a 101, whose `Upgrade` is the answer itself.
pub fn response_fields(origin: HeaderMap, upgraded: bool) -> HeaderMap {
    // One look at each name: a look-up for each that stops here would hash them all.
    if !origin.keys().any(stops_in_response) {
        return origin;
    }
    let named = Named::of(&origin);
    // RFC 9112, section 6.3: Transfer-Encoding overrides Content-Length, and the length must not be forwarded.
    let chunked = has(&origin, &TRANSFER_ENCODING);
    let mut out = HeaderMap::with_capacity(origin.len() + 2);
    for_each_field(origin, |name, value| {
        if upgraded && (name == UPGRADE || name == CONNECTION) {
            if name == UPGRADE {
                out.append(name, value);
            } else if !out.contains_key(CONNECTION) {
                out.append(name, HeaderValue::from_static("Upgrade"));
            }
        } else {
            let overridden = chunked && name == CONTENT_LENGTH;
            if !(overridden || stops_in_response(&name) || named.contains(&name)) {
                out.append(name, value);
            }
        }
    });
    out
}

/// The client's Cookie lines as one (RFC 9113, section 8.2.3: crumbs are joined with `; `); `None` if there are none.
pub fn joined_cookie(fields: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = values(fields, &COOKIE);
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first.clone());
    };
    let mut joined = first.as_bytes().to_vec();
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    let mut value = HeaderValue::from_bytes(&joined)
        .expect("field values joined by visible characters are a field value");
    value.set_sensitive(first.is_sensitive());
    Some(value)
}

/// The same fields, in their order, without those of a name.
pub fn without(fields: HeaderMap, left_out: &HeaderName) -> HeaderMap {
    if !fields.contains_key(left_out) {
        return fields;
    }
    let mut out = HeaderMap::with_capacity(fields.len());
    for_each_field(fields, |name, value| {
        if name != left_out {
            out.append(name, value);
        }
    });
    out
}

/// The protocol that a request asks to upgrade to, where it asks for one that burdock passes on.
///
/// `h2c` is not passed on: it was removed from HTTP (RFC 9113, section 3.1) and would hide the
/// requests behind it from their session.
pub fn upgrade_of(fields: &HeaderMap) -> Option<&HeaderValue> {
    let protocol = value(fields, &UPGRADE)?;
    let asks = values(fields, &CONNECTION).any(|options| lists(options.as_bytes(), "upgrade"));
    (asks && !lists(protocol.as_bytes(), "h2c")).then_some(protocol)
}

/// The values of a field, in order.
///
/// A message has some ten fields: looking at each name costs less than hashing the one that is sought, most of all where it is
/// not there.
pub fn values<'a>(
    fields: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a HeaderValue> {
    fields
        .iter()
        .filter(move |(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// The first value of a field; see [`values`].
pub fn value<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    values(fields, name).next()
}

/// Whether a field is there; see [`values`].
pub fn has(fields: &HeaderMap, name: &HeaderName) -> bool {
    fields.keys().any(|known| known == name)
}

/// Whether Transfer-Encoding is `chunked` and nothing else; `None` where there is none.
pub fn is_chunked_alone(fields: &HeaderMap) -> Option<bool> {
    let mut codings = values(fields, &TRANSFER_ENCODING);
    let first = codings.next()?;
    Some(
        first
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
            && codings.next().is_none(),
    )
}

/// Whether a comma-separated list holds a token, in any case.
pub fn lists(list: &[u8], token: &str) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Fields that speak to burdock alone and never travel on.
pub fn is_control(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-")
        && (name == X_SESSION_ID || name == X_PROXY_TOKEN || text.starts_with("x-burdock-"))
        || name == header::PROXY_AUTHORIZATION
}

fn stops_in_response(name: &HeaderName) -> bool {
    name == UPGRADE || name == TE || is_hop_by_hop(name)
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "http2-settings"
    )
}

/// The fields that `Connection` names, beyond the usual tokens.
struct Named(Vec<Box<[u8]>>);

impl Named {
    fn of(fields: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in values(fields, &CONNECTION) {
            for token in value.as_bytes().split(|byte| *byte == b',') {
                let token = token.trim_ascii();
                let usual = [&b"keep-alive"[..], b"close", b"upgrade", b"te", b""]
                    .iter()
                    .any(|usual| token.eq_ignore_ascii_case(usual));
                if !usual {
                    names.push(token.to_ascii_lowercase().into());
                }
            }
        }
        Self(names)
    }

    /// Host and the body's framing are never optional, whatever a client names.
    fn contains(&self, name: &HeaderName) -> bool {
        !self.0.is_empty()
            && name != HOST
            && name != CONTENT_LENGTH
            && self
                .0
                .iter()
                .any(|named| **named == *name.as_str().as_bytes())
    }
}

/// Calls `each` for every field in order; `into_iter` names a repeated field only once.
fn for_each_field(fields: HeaderMap, mut each: impl FnMut(HeaderName, HeaderValue)) {
    let mut fields = fields.into_iter().peekable();
    let mut repeated = None;
    while let Some((name, value)) = fields.next() {
        let name = name
            .or_else(|| repeated.take())
            .expect("the first item of a HeaderMap's iterator has its name");
        if matches!(fields.peek(), Some((None, _))) {
            repeated = Some(name.clone());
        }
        each(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    fn lines(fields: &HeaderMap) -> Vec<String> {
        fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ascii")))
            .collect()
    }

    #[test]
    fn request_fields_keep_their_order_and_lose_what_stops_here() {
        let client = map(&[
            ("proxy-connection", "keep-alive"),
            ("accept", "*/*"),
            ("host", "client.example"),
            ("x-session-id", "a"),
            ("cookie", "a=1"),
            ("x-one", "1"),
            ("connection", "close, X-Private"),
            ("x-private", "gone"),
            ("user-agent", "client"),
            ("proxy-authorization", "Basic YTo="),
            ("x-burdock-render", "http"),
            ("te", "gzip, trailers"),
            ("x-one", "2"),
            ("transfer-encoding", "chunked"),
            ("http2-settings", "AAA"),
        ]);
        let defaults = [
            (
                HeaderName::from_static("accept"),
                HeaderValue::from_static("no"),
            ),
            (
                HeaderName::from_static("dnt"),
                HeaderValue::from_static("1"),
            ),
        ];
        let out = request_fields(
            client,
            Rewrite {
                host: Some(HeaderValue::from_static("shop.example")),
                cookie: Some(HeaderValue::from_static("sid=1; a=1")),
                user_agent: Some(HeaderValue::from_static("session")),
                defaults: &defaults,
                upgrade: false,
            },
        );
        assert_eq!(
            lines(&out),
            [
                "accept: */*",
                "host: shop.example",
                "cookie: sid=1; a=1",
                "x-one: 1",
                "x-one: 2",
                "user-agent: session",
                "te: trailers",
                "dnt: 1",
            ]
        );
    }

    #[test]
    fn a_missing_host_comes_first_and_a_missing_cookie_last() {
        let out = request_fields(
            map(&[("accept", "*/*")]),
            Rewrite {
                host: Some(HeaderValue::from_static("h")),
                cookie: Some(HeaderValue::from_static("c=1")),
                ..Rewrite::default()
            },
        );
        assert_eq!(lines(&out), ["host: h", "accept: */*", "cookie: c=1"]);
    }

    #[test]
    fn connection_cannot_take_away_host_or_framing() {
        let out = request_fields(
            map(&[
                ("connection", "host, content-length"),
                ("host", "h"),
                ("content-length", "3"),
            ]),
            Rewrite {
                host: Some(HeaderValue::from_static("h")),
                ..Rewrite::default()
            },
        );
        assert_eq!(lines(&out), ["host: h", "content-length: 3"]);
    }

    #[test]
    fn an_upgrade_travels_on_when_asked_to() {
        let client = map(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        assert_eq!(
            upgrade_of(&client).map(HeaderValue::as_bytes),
            Some(&b"websocket"[..])
        );
        let rewrite = Rewrite {
            upgrade: true,
            ..Rewrite::default()
        };
        assert_eq!(
            lines(&request_fields(client, rewrite)),
            ["connection: Upgrade", "upgrade: websocket"]
        );
        assert!(upgrade_of(&map(&[("connection", "upgrade"), ("upgrade", "h2c")])).is_none());
        assert!(upgrade_of(&map(&[("upgrade", "websocket")])).is_none());
    }

    #[test]
    fn response_fields_lose_hop_by_hop_and_a_length_that_chunking_overrides() {
        let origin = map(&[
            ("date", "now"),
            ("connection", "keep-alive, x-hop"),
            ("set-cookie", "a=1"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("upgrade", "h2"),
            ("set-cookie", "b=2"),
            ("keep-alive", "timeout=5"),
        ]);
        assert_eq!(
            lines(&response_fields(origin, false)),
            ["date: now", "set-cookie: a=1", "set-cookie: b=2"]
        );
    }

    #[test]
    fn cookie_crumbs_are_joined() {
        assert_eq!(joined_cookie(&map(&[])), None);
        assert_eq!(
            joined_cookie(&map(&[("cookie", "a=1"), ("cookie", "b=2")])),
            Some(HeaderValue::from_static("a=1; b=2"))
        );
    }
}
