//! An upstream proxy, and the way of one owner through it.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use super::health::{Health, Report};
use crate::message::{Authority, Host};
use crate::session::settings::{ProxyScheme, ProxyUrl};

/// An upstream proxy and how it is.
#[derive(Debug)]
pub struct Proxy {
    url: ProxyUrl,
    name: Box<str>,
    authority: Authority,
    pub(super) health: Health,
}

impl Proxy {
    pub(super) fn new(url: ProxyUrl) -> Arc<Self> {
        let host = Host::parse(url.host()).unwrap_or_else(|_| Host::Name(url.host().into()));
        Arc::new(Self {
            name: url.to_string().into(),
            authority: Authority {
                host,
                port: url.port(),
            },
            url,
            health: Health::default(),
        })
    }

    /// Its URL without the password: what it is known by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is.
    pub fn health(&self) -> Report {
        self.health.report()
    }

    /// A connection was made through it.
    pub(in crate::upstream) fn carried(&self) {
        self.health.carried();
    }

    /// It was reached, and nothing more is known.
    pub(in crate::upstream) fn was_reached(&self) {
        self.health.reached();
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn scheme(&self) -> ProxyScheme {
        self.url.scheme()
    }
}

/// The way of one owner through a proxy: the proxy, and the credentials with the owner's name in them.
pub struct Exit {
    proxy: Arc<Proxy>,
    /// The session's id, or what stands for it where there is none.
    owner: Box<str>,
    /// It is the session's own, and of no pool.
    own: bool,
    credentials: Option<(Vec<u8>, Vec<u8>)>,
    authorization: Option<HeaderValue>,
}

impl Exit {
    pub(super) fn new(proxy: Arc<Proxy>, owner: &str, own: bool) -> Arc<Self> {
        let credentials = proxy.url.credentials(owner);
        let authorization = credentials.as_ref().and_then(|(user, password)| {
            let pair = [user.as_slice(), b":", password].concat();
            let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
            let mut value = HeaderValue::try_from(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Arc::new(Self {
            proxy,
            owner: owner.into(),
            own,
            credentials,
            authorization,
        })
    }

    /// The proxy.
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// Whether it is the session's own proxy rather than one of the pool.
    pub fn is_own(&self) -> bool {
        self.own
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// User and password. A secret.
    pub(super) fn credentials(&self) -> Option<&(Vec<u8>, Vec<u8>)> {
        self.credentials.as_ref()
    }

    /// The value of Proxy-Authorization. A secret.
    pub(in crate::upstream) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whether requests are given to the proxy as such, rather than bytes of a tunnel: what HTTP proxies are asked for where
    /// nothing is encrypted, since many refuse CONNECT to port 80.
    pub fn forwards(&self) -> bool {
        matches!(self.proxy.scheme(), ProxyScheme::Http | ProxyScheme::Https)
    }
}

impl PartialEq for Exit {
    /// Whether connections by one may be used where the other is wanted.
    fn eq(&self, other: &Self) -> bool {
        self.own == other.own
            && self.proxy.url == other.proxy.url
            && self.credentials == other.credentials
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exit").field(&self.proxy.name).finish()
    }
}
