//! Step one: which session a request names, and whether it may use the proxy (INTERFACE.md, section 3).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::PROXY_AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::connection::{Connection, Door};
use crate::config::Auth;
use crate::fault::{Fault, Kind};
use crate::message::fields::{X_PROXY_TOKEN, X_SESSION_ID, value, values};
use crate::session::id::SessionId;

/// How requests name sessions and prove themselves.
#[derive(Debug)]
pub struct Carriers {
    /// `proxy.trust_session_header`; off, only proxy credentials name a session.
    pub trust_header: bool,
    /// The tokens, if any are needed.
    pub auth: Auth,
    /// The longest ttl that a user name may ask for.
    pub max_ttl: Duration,
}

/// A session that a request names, and how long it is to live if the request makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The session's id.
    pub id: SessionId,
    /// From the user name's `ttl`, `sesstime` or `lifetime`.
    pub ttl: Option<Duration>,
}

impl Named {
    /// A session named by its id alone.
    pub fn by_id(id: SessionId) -> Self {
        Self { id, ttl: None }
    }
}

/// The session that a request names: by its own field, else by its tunnel's CONNECT, else by its credentials.
pub(super) fn identify(
    fields: &HeaderMap,
    from: &Connection,
    carriers: &Carriers,
) -> Result<Option<Named>, Fault> {
    match &from.door {
        Door::Scrape(named) => Ok(named.clone()),
        Door::Proxy => {
            carriers.authorize(fields)?;
            match by_field_again(fields, from, carriers)? {
                Some(named) => Ok(Some(named)),
                None => carriers.by_credentials(fields),
            }
        }
        Door::Tunnel(tunnel) => {
            let own = by_field_again(fields, from, carriers)?;
            Ok(own.or_else(|| tunnel.named.clone()))
        }
    }
}

/// What the request's own field names; most often the same as the connection's last one did.
fn by_field_again(
    fields: &HeaderMap,
    from: &Connection,
    carriers: &Carriers,
) -> Result<Option<Named>, Fault> {
    let Some(field) = carriers.field(fields)? else {
        return Ok(None);
    };
    let mut last = from.last_named.lock();
    if let Some((known, named)) = &*last
        && known == field
    {
        return Ok(Some(named.clone()));
    }
    let named = Named::by_id(parse_id(field.as_bytes())?);
    *last = Some((field.clone(), named.clone()));
    Ok(Some(named))
}

impl Carriers {
    /// The session that the fields of one message name, its own field before its credentials.
    ///
    /// # Errors
    /// `bad-request` for an invalid id, for two different ones, and for credentials that cannot be read.
    pub fn named(&self, fields: &HeaderMap) -> Result<Option<Named>, Fault> {
        match self.field(fields)? {
            Some(field) => parse_id(field.as_bytes()).map(|id| Some(Named::by_id(id))),
            None => self.by_credentials(fields),
        }
    }

    fn by_credentials(&self, fields: &HeaderMap) -> Result<Option<Named>, Fault> {
        match Credentials::of(fields)? {
            Some(credentials) => self.by_user_name(&credentials.user),
            None => Ok(None),
        }
    }

    /// Whether the message may use the proxy: where tokens are configured it must show one of them.
    ///
    /// # Errors
    /// `proxy-auth-required`.
    pub fn authorize(&self, fields: &HeaderMap) -> Result<(), Fault> {
        if !self.auth.is_required() {
            return Ok(());
        }
        let by_field = || {
            fields
                .get_all(X_PROXY_TOKEN)
                .iter()
                .any(|token| self.auth.accepts(token.as_bytes()))
        };
        // Credentials that cannot be read prove nothing, which is all that matters here.
        let by_password = || {
            Credentials::of(fields)
                .ok()
                .flatten()
                .is_some_and(|credentials| self.auth.accepts(&credentials.password))
        };
        if by_field() || by_password() {
            return Ok(());
        }
        Err(Fault::new(
            Kind::ProxyAuthRequired,
            "this proxy needs its token, as the password of the proxy credentials or in X-Proxy-Token",
        ))
    }

    /// The value of X-Session-ID, where it counts.
    fn field<'a>(&self, fields: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, Fault> {
        if !self.trust_header {
            return Ok(None);
        }
        let name = X_SESSION_ID;
        let mut values = values(fields, &name);
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.any(|other| other != first) {
            return Err(Fault::new(
                Kind::BadRequest,
                "X-Session-ID is there twice, with different values",
            ));
        }
        Ok(Some(first))
    }

    /// An id, or key-value tokens as commercial proxies use them: `user-x-session-a-ttl-600`.
    fn by_user_name(&self, user: &[u8]) -> Result<Option<Named>, Fault> {
        const PREFIXES: [&[u8]; 4] = [b"session-", b"sessid-", b"user-", b"customer-"];
        if user.is_empty() {
            return Ok(None);
        }
        if !PREFIXES.iter().any(|prefix| user.starts_with(prefix)) {
            return parse_id(user).map(|id| Some(Named::by_id(id)));
        }
        let mut id = None;
        let mut ttl = None;
        let mut tokens = user.split(|byte| *byte == b'-');
        while let Some(key) = tokens.next() {
            let unit = match key {
                b"session" | b"sessid" => {
                    let value = tokens.next().unwrap_or_default();
                    if id.is_none() {
                        id = Some(parse_id(value)?);
                    }
                    continue;
                }
                b"user" | b"customer" => {
                    tokens.next();
                    continue;
                }
                b"ttl" => 1,
                b"sesstime" | b"lifetime" => 60,
                _ => continue,
            };
            let value = tokens.next().unwrap_or_default();
            ttl = Some(self.parse_ttl(key, value, unit)?);
        }
        Ok(id.map(|id| Named { id, ttl }))
    }

    fn parse_ttl(&self, key: &[u8], value: &[u8], unit: u64) -> Result<Duration, Fault> {
        let number = std::str::from_utf8(value)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            // More digits than fit mean a time beyond any bound.
            .map(|text| text.parse::<u64>().unwrap_or(u64::MAX))
            .filter(|number| *number > 0);
        match number {
            Some(number) => Ok(Duration::from_secs(number.saturating_mul(unit)).min(self.max_ttl)),
            None => Err(Fault::new(
                Kind::BadRequest,
                format!(
                    "`{}` in the proxy user name needs a whole number above 0",
                    String::from_utf8_lossy(key)
                ),
            )),
        }
    }
}

fn parse_id(bytes: &[u8]) -> Result<SessionId, Fault> {
    SessionId::try_from(bytes)
        .map_err(|error| Fault::new(Kind::BadRequest, format!("invalid session id: {error}")))
}

/// User name and password of `Proxy-Authorization: Basic` (RFC 7617).
struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Credentials {
    /// `None` where there are none, or of another scheme.
    fn of(fields: &HeaderMap) -> Result<Option<Self>, Fault> {
        let Some(value) = value(fields, &PROXY_AUTHORIZATION) else {
            return Ok(None);
        };
        let bytes = value.as_bytes().trim_ascii();
        let scheme = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Ok(None);
        }
        let unreadable = || {
            Fault::new(
                Kind::BadRequest,
                "Proxy-Authorization cannot be read: `Basic` and base64 of `user:password` are needed",
            )
        };
        let decoded = STANDARD
            .decode(bytes[scheme.len()..].trim_ascii())
            .map_err(|_| unreadable())?;
        let colon = decoded
            .iter()
            .position(|byte| *byte == b':')
            .ok_or_else(unreadable)?;
        Ok(Some(Self {
            user: decoded[..colon].to_vec(),
            password: decoded[colon + 1..].to_vec(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn carriers() -> Carriers {
        Carriers {
            trust_header: true,
            auth: Auth::default(),
            max_ttl: Duration::from_secs(86_400),
        }
    }

    fn by_user(user: &str) -> Result<Option<Named>, Fault> {
        let mut fields = HeaderMap::new();
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:x")));
        fields.insert(
            PROXY_AUTHORIZATION,
            HeaderValue::try_from(value).expect("ascii"),
        );
        carriers().named(&fields)
    }

    #[test]
    fn a_user_name_is_an_id_or_key_value_tokens() {
        type Wanted = Option<(&'static str, Option<u64>)>;
        let cases: [(&str, Wanted); 14] = [
            ("a", Some(("a", None))),
            ("shop-session-1", Some(("shop-session-1", None))),
            ("session-a", Some(("a", None))),
            ("sessid-a-b", Some(("a", None))),
            ("user-x-session-a-ttl-600", Some(("a", Some(600)))),
            ("customer-j-d-sessid-7-sesstime-10", Some(("7", Some(600)))),
            ("session-a-lifetime-2", Some(("a", Some(120)))),
            (
                "session-a-ttl-99999999999999999999999",
                Some(("a", Some(86_400))),
            ),
            ("user-session-session-a", Some(("a", None))),
            ("user-x", None),
            ("customer-x-cc-us", None),
            ("", None),
            ("users", Some(("users", None))),
            ("session-a-session-b", Some(("a", None))),
        ];
        for (user, wanted) in cases {
            let got = by_user(user).expect(user);
            let got = got
                .as_ref()
                .map(|named| (named.id.as_str(), named.ttl.map(|ttl| ttl.as_secs())));
            assert_eq!(got, wanted, "{user}");
        }
        for user in [
            "session-",
            "a b",
            "session-a-ttl-x",
            "session-a-ttl-0",
            "session-a-ttl",
            "é",
        ] {
            assert_eq!(
                by_user(user).map_err(|fault| fault.kind()),
                Err(Kind::BadRequest),
                "{user}"
            );
        }
    }

    #[test]
    fn the_field_goes_before_the_credentials_and_may_not_contradict_itself() {
        let mut fields = HeaderMap::new();
        fields.insert(PROXY_AUTHORIZATION, HeaderValue::from_static("Basic YTp4"));
        fields.append(X_SESSION_ID, HeaderValue::from_static("b"));
        fields.append(X_SESSION_ID, HeaderValue::from_static("b"));
        let named = carriers().named(&fields).expect("agreeing").expect("named");
        assert_eq!(named.id.as_str(), "b");
        fields.append(X_SESSION_ID, HeaderValue::from_static("c"));
        assert!(carriers().named(&fields).is_err());
        let deaf = Carriers {
            trust_header: false,
            ..carriers()
        };
        let named = deaf.named(&fields).expect("credentials").expect("named");
        assert_eq!(named.id.as_str(), "a");
    }

    proptest! {
        #[test]
        fn no_credentials_bring_it_down(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut fields = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                fields.insert(PROXY_AUTHORIZATION, value);
            }
            let _ = carriers().named(&fields);
            let _ = by_user(&String::from_utf8_lossy(&value));
        }
    }
}
