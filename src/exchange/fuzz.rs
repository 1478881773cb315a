//! What fuzzers feed this floor: how a request names its session, and whom it is for.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};

use super::connection::{Connection, Door, Tunnel};
use super::identify::Carriers;
use crate::config::{self, Auth};
use crate::fault::Kind;
use crate::message::fields::{X_PROXY_TOKEN, X_SESSION_ID};
use crate::message::{Authority, Host, Scheme};
use crate::session::id::SessionId;
use crate::upstream::RequestBody;

/// A field a line. The line's first byte says which, and for credentials whether base64 is still to be done.
pub(crate) fn carriers(data: &[u8]) {
    let mut fields = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((kind, value)) = line.split_first() else {
            continue;
        };
        if let Some((name, value)) = carrier(*kind, value) {
            fields.append(name, value);
        }
    }
    let open = carriers_with(true, &Auth::default());
    assert!(open.authorize(&fields).is_ok(), "no token is asked for");
    let own: Vec<&[u8]> = fields
        .get_all(X_SESSION_ID)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    match open.named(&fields) {
        Ok(Some(named)) => {
            let id = named.id.as_bytes();
            assert_eq!(SessionId::try_from(id).as_ref(), Ok(&named.id));
            if !own.is_empty() {
                assert!(own.iter().all(|value| *value == id), "the field goes first");
            }
            if let Some(ttl) = named.ttl {
                assert!(own.is_empty() && !ttl.is_zero() && ttl <= MAX_TTL);
            }
        }
        Ok(None) => assert!(own.is_empty()),
        Err(fault) => assert_eq!(fault.kind(), Kind::BadRequest),
    }
    // Without trust in the field it is as if it were not there.
    let mut credentials = fields.clone();
    credentials.remove(X_SESSION_ID);
    let untrusting = carriers_with(false, &Auth::default());
    assert_eq!(
        untrusting.named(&fields).ok(),
        untrusting.named(&credentials).ok()
    );

    let closed = carriers_with(true, locked());
    let shown = fields
        .get_all(X_PROXY_TOKEN)
        .iter()
        .any(|token| token.as_bytes() == TOKEN);
    let admitted = closed.authorize(&fields).is_ok();
    assert!(admitted || !shown, "the token in its own field is enough");
    assert!(!admitted || shown || has_password(&fields), "nothing shown");
}

const MAX_TTL: Duration = Duration::from_hours(24);
const TOKEN: &[u8] = b"token";

fn carriers_with(trust_header: bool, auth: &Auth) -> Carriers {
    Carriers {
        trust_header,
        auth: auth.clone(),
        max_ttl: MAX_TTL,
    }
}

/// The configuration's section with [`TOKEN`] in it.
fn locked() -> &'static Auth {
    static LOCKED: OnceLock<Auth> = OnceLock::new();
    LOCKED.get_or_init(|| {
        let sources = config::Sources {
            environment: vec![("BURDOCK_PROXY__AUTH__TOKENS".into(), "token".into())],
            ..config::Sources::default()
        };
        config::load(&sources)
            .expect("a valid configuration")
            .proxy
            .auth
    })
}

fn carrier(kind: u8, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = match kind % 4 {
        0 => (X_SESSION_ID, HeaderValue::from_bytes(value)),
        1 => (X_PROXY_TOKEN, HeaderValue::from_bytes(value)),
        2 => (PROXY_AUTHORIZATION, HeaderValue::from_bytes(value)),
        _ => {
            let basic = format!("Basic {}", STANDARD.encode(value));
            (PROXY_AUTHORIZATION, HeaderValue::try_from(basic))
        }
    };
    Some((name, value.ok()?))
}

/// Whether the first credentials, read in the most generous way, hold the token.
fn has_password(fields: &HeaderMap) -> bool {
    let Some(value) = fields.get(PROXY_AUTHORIZATION) else {
        return false;
    };
    let token = value.as_bytes().trim_ascii();
    let coded = token
        .rsplit(|byte| *byte == b' ')
        .next()
        .unwrap_or_default();
    STANDARD
        .decode(coded)
        .is_ok_and(|pair| pair.ends_with(b":token"))
}

/// A request target, and in a second line the Host field: on the proxy port, and in a tunnel.
pub(crate) fn destination(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let host = lines.next();
    if let Ok(text) = std::str::from_utf8(target) {
        authority(text);
    }
    if let Some(Ok(text)) = host.map(std::str::from_utf8) {
        authority(text);
    }
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let mut request = Request::new(RequestBody::default());
    *request.uri_mut() = uri;
    if let Some(host) = host {
        let Ok(host) = HeaderValue::from_bytes(host) else {
            return;
        };
        request.headers_mut().append(HOST, host);
    }
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let proxy = Connection::new(client, Door::Proxy);
    // Twice: the second time the authority is recalled instead of parsed.
    for _ in 0..2 {
        match proxy.destination(&request) {
            Ok(found) => {
                let text = found.host.to_str().expect("a host of visible ASCII");
                let default = found.origin.scheme.default_port();
                let again = Authority::parse(text, Some(default)).expect("it was parsed before");
                assert_eq!(again, found.origin.authority);
                assert!(found.path().starts_with('/') || found.path() == "*");
            }
            Err(fault) => assert_eq!(fault.kind(), Kind::BadRequest),
        }
    }
    let leads_to = Authority::parse("shop.example:443", None).expect("valid");
    let mut tunnel = Tunnel::new(leads_to.clone(), None, None);
    tunnel.scheme = Scheme::Https;
    let tunnel = Connection::new(client, Door::Tunnel(tunnel));
    match tunnel.destination(&request) {
        Ok(found) => {
            assert_eq!(found.origin.authority, leads_to);
            let text = found.host.to_str().expect("a host of visible ASCII");
            let host = Authority::parse(text, Some(443)).expect("it was compared");
            assert_eq!(host, leads_to, "what the origin is told is the tunnel's");
        }
        Err(fault) => assert!(matches!(fault.kind(), Kind::BadRequest | Kind::Misdirected)),
    }
}

/// Canonical once is canonical for ever, and no address passes for a name.
fn authority(text: &str) {
    let Ok(authority) = Authority::parse(text, Some(80)) else {
        return;
    };
    assert!(authority.port != 0 && !text.contains('@'));
    assert!(authority.is_named_by(text, 80), "{text:?}");
    let printed = authority.to_string();
    assert_eq!(Authority::parse(&printed, None).as_ref(), Ok(&authority));
    for scheme in [Scheme::Http, Scheme::Https] {
        let written = authority.for_scheme(scheme);
        assert!(authority.is_named_by(&written, scheme.default_port()));
    }
    if let Host::Name(name) = &authority.host {
        assert!((1..=253).contains(&name.len()) && name.is_ascii());
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert!(name.parse::<IpAddr>().is_err(), "{name} is an address");
        assert!(
            matches!(url::Host::parse(name), Ok(url::Host::Domain(_))),
            "{name} is something else to others"
        );
    }
}
