//! The facts about a client's connection, and whom a request on it is for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use http::header::{AUTHORIZATION, HOST};
use http::uri::{self, PathAndQuery};
use http::{HeaderValue, Method, Request, Version};
use parking_lot::Mutex;
use url::Url;

use super::identify::Named;
use super::interim::Interim;
use crate::browser::Visitor;
use crate::fault::{Fault, Kind};
use crate::message::{Authority, Scheme, fields};
use crate::registry::LiveSession;
use crate::upstream::{Origin, Pool, RequestBody, Spare, Terms};

/// A client's connection, or a tunnel within one.
#[derive(Debug)]
pub struct Connection {
    /// The client's address.
    pub client: SocketAddr,
    /// How requests on it say whom they are for.
    pub door: Door,
    /// Where interim responses go, on a connection that can carry them.
    pub interim: Option<Arc<Interim>>,
    /// Whose browser context it belongs to; a client's has none.
    pub visitor: Option<Arc<Visitor>>,
    /// Connections to origins for requests without a session; made when the first of them comes.
    pool: OnceLock<Arc<Pool>>,
    /// Whether requests of a session go over connections that only this client connection uses.
    pinned: AtomicBool,
    /// Those connections, and the session of the last such request.
    pinned_pool: Mutex<Option<(Weak<LiveSession>, Arc<Pool>)>>,
    /// Whom the last request in absolute form was for, as it was written: most clients go on with the same.
    last: Mutex<Option<(uri::Authority, Origin)>>,
    /// The session that the last X-Session-ID named, likewise.
    pub(super) last_named: Mutex<Option<(HeaderValue, Named)>>,
}

/// How a request says whom it is for.
#[derive(Debug)]
pub enum Door {
    /// The proxy port: in absolute form, each request anew.
    Proxy,
    /// A tunnel: the CONNECT said it for all requests.
    Tunnel(Tunnel),
    /// The admin API's `scrape`, which names the session itself.
    Scrape(Option<Named>),
}

/// What a CONNECT said and did.
#[derive(Debug)]
pub struct Tunnel {
    /// Where the tunnel leads.
    pub authority: Authority,
    /// `https` once TLS was intercepted in it.
    pub scheme: Scheme,
    /// The session that the CONNECT named.
    pub named: Option<Named>,
    /// The connection that the CONNECT made, until the first request takes it.
    pub spare: Mutex<Option<Spare>>,
}

/// Whom a request is for.
#[derive(Debug)]
pub struct Destination {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The Host field for the origin, as the client wrote it.
    pub host: HeaderValue,
    /// Path and query.
    target: PathAndQuery,
}

impl Destination {
    /// The path, without the query; cookies are matched by it.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The path with the query.
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// The whole URL in the form of the URL standard; `None` where that takes it for none.
    pub fn url(&self) -> Option<Url> {
        let Origin { scheme, authority } = &self.origin;
        Url::parse(&format!("{scheme}://{authority}{}", self.target)).ok()
    }
}

impl Connection {
    /// A connection through `door`.
    pub fn new(client: SocketAddr, door: Door) -> Self {
        Self {
            client,
            door,
            interim: None,
            visitor: None,
            pool: OnceLock::new(),
            pinned: AtomicBool::new(false),
            pinned_pool: Mutex::new(None),
            last: Mutex::new(None),
            last_named: Mutex::new(None),
        }
    }

    /// The same connection as one of a browser context.
    #[must_use]
    pub fn of(self, visitor: Option<Arc<Visitor>>) -> Self {
        Self { visitor, ..self }
    }

    /// Connections to origins that belong to this client connection alone.
    pub(super) fn pool(&self, terms: &Arc<Terms>) -> &Arc<Pool> {
        self.pool
            .get_or_init(|| Pool::leaving(terms, terms.egress.exit_of_client(self.client)))
    }

    /// Connections that belong to this client connection and this session alone; they leave as the session does.
    pub(super) fn pinned_pool(&self, terms: &Arc<Terms>, session: &Arc<LiveSession>) -> Arc<Pool> {
        let exit = session.pool().exit();
        let mut pinned = self.pinned_pool.lock();
        match &*pinned {
            Some((owner, pool)) if std::ptr::eq(owner.as_ptr(), Arc::as_ptr(session)) => {
                pool.leave_by(exit);
                Arc::clone(pool)
            }
            _ => {
                let pool = Pool::leaving(terms, exit);
                *pinned = Some((Arc::downgrade(session), Arc::clone(&pool)));
                pool
            }
        }
    }

    /// Whether the request must go over a connection that only this client connection uses.
    ///
    /// NTLM and Negotiate authenticate a connection, not a request (RFC 4559, section 6): whoever else sent a request over it
    /// would be taken for this client. From the first such request on everything of this client connection goes that way.
    pub(super) fn pins(&self, request: &Request<RequestBody>) -> bool {
        if self.pinned.load(Ordering::Relaxed) {
            return true;
        }
        let pins = fields::value(request.headers(), &AUTHORIZATION).is_some_and(|value| {
            let scheme = value
                .as_bytes()
                .split(|byte| *byte == b' ')
                .next()
                .unwrap_or_default();
            scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
        });
        if pins {
            self.pinned.store(true, Ordering::Relaxed);
        }
        pins
    }

    /// The connection that a CONNECT made to this origin, if it is not in use yet.
    pub(super) fn take_spare(&self, origin: &Origin) -> Option<Spare> {
        match &self.door {
            Door::Tunnel(tunnel) if tunnel.authority == origin.authority => {
                tunnel.spare.lock().take()
            }
            Door::Tunnel(_) | Door::Proxy | Door::Scrape(_) => None,
        }
    }

    /// Whom a request on this connection is for.
    ///
    /// # Errors
    /// `bad-request` where it does not say, or says two things; `misdirected` where it is not for the tunnel's host.
    pub(super) fn destination(&self, request: &Request<RequestBody>) -> Result<Destination, Fault> {
        if request.method() == Method::CONNECT {
            return Err(bad_request(
                "CONNECT belongs on the proxy port, not inside a tunnel",
            ));
        }
        must_be_chunked_alone(request)?;
        match &self.door {
            Door::Proxy | Door::Scrape(_) => self.absolute(request),
            Door::Tunnel(tunnel) => tunnel.destination(request),
        }
    }
}

fn bad_request(detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Kind::BadRequest, detail)
}

impl Connection {
    /// The target in absolute form (RFC 9112, section 3.2.2); it goes before the Host field.
    fn absolute(&self, request: &Request<RequestBody>) -> Result<Destination, Fault> {
        let uri = request.uri();
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(bad_request(
                "this is a proxy: the request target must be in absolute form, as in `GET http://host/path`",
            ));
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                return Err(bad_request(format!(
                    "scheme `{other}` is not supported: use http or https"
                )));
            }
        };
        let field = one_host(request)?;
        let written = authority.as_str();
        let host = match field.filter(|field| field.as_bytes() == written.as_bytes()) {
            // As valid as the target itself, which is parsed below.
            Some(field) => field.clone(),
            None => {
                if matches!(self.door, Door::Proxy) {
                    must_be_valid(field, request.version())?;
                }
                HeaderValue::from_str(written)
                    .map_err(|_| bad_request("the authority of the request target is malformed"))?
            }
        };
        Ok(Destination {
            host,
            origin: self.origin(scheme, authority)?,
            target: target(request),
        })
    }

    fn origin(&self, scheme: Scheme, written: &uri::Authority) -> Result<Origin, Fault> {
        let mut last = self.last.lock();
        if let Some((known, origin)) = &*last
            && origin.scheme == scheme
            && known.as_str() == written.as_str()
        {
            return Ok(origin.clone());
        }
        let origin = Origin {
            scheme,
            authority: parse(written.as_str(), scheme.default_port())?,
        };
        *last = Some((written.clone(), origin.clone()));
        Ok(origin)
    }
}

impl Tunnel {
    /// A tunnel to `authority`; TLS is not known to be spoken in it yet.
    pub fn new(authority: Authority, named: Option<Named>, spare: Option<Spare>) -> Self {
        Self {
            authority,
            scheme: Scheme::Http,
            named,
            spare: Mutex::new(spare),
        }
    }

    fn destination(&self, request: &Request<RequestBody>) -> Result<Destination, Fault> {
        let field = one_host(request)?;
        let named = match (request.uri().authority(), field) {
            (Some(target), Some(field)) => {
                // RFC 9113, section 8.3.1: `:authority` and Host must agree where both are there.
                self.must_be_named_by(field.to_str().unwrap_or_default())?;
                target.as_str()
            }
            (Some(target), None) => target.as_str(),
            (None, Some(field)) => field
                .to_str()
                .map_err(|_| bad_request("the Host field is malformed"))?,
            (None, None) if request.version() < Version::HTTP_11 => {
                return Ok(
                    self.with_host(self.authority.for_scheme(self.scheme).as_bytes(), request)
                );
            }
            (None, None) => return Err(bad_request("the Host field is missing")),
        };
        self.must_be_named_by(named)?;
        Ok(
            match field.filter(|_| request.uri().authority().is_none()) {
                Some(field) => self.towards(field.clone(), request),
                None => self.with_host(named.as_bytes(), request),
            },
        )
    }

    fn must_be_named_by(&self, host: &str) -> Result<(), Fault> {
        // A client that leaves the tunnel's port out cannot mean another host by that.
        if self.authority.is_named_by(host, self.authority.port) {
            return Ok(());
        }
        parse(host, self.authority.port)?;
        Err(Fault::new(
            Kind::Misdirected,
            format!(
                "the request is for `{host}`, the tunnel leads to `{}`",
                self.authority
            ),
        ))
    }

    fn with_host(&self, host: &[u8], request: &Request<RequestBody>) -> Destination {
        let host =
            HeaderValue::from_bytes(host).expect("a host that was compared is visible ASCII");
        self.towards(host, request)
    }

    fn towards(&self, host: HeaderValue, request: &Request<RequestBody>) -> Destination {
        Destination {
            origin: Origin {
                scheme: self.scheme,
                authority: self.authority.clone(),
            },
            host,
            target: target(request),
        }
    }
}

fn target(request: &Request<RequestBody>) -> PathAndQuery {
    request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"))
}

/// The target goes before the Host field, yet a request without one, or with an invalid one, is refused (RFC 9112, section 3.2).
fn must_be_valid(field: Option<&HeaderValue>, version: Version) -> Result<(), Fault> {
    match field {
        Some(field) => {
            let text = field
                .to_str()
                .map_err(|_| bad_request("the Host field is malformed"))?;
            parse(text, 80).map(drop)
        }
        None if version == Version::HTTP_11 => Err(bad_request("the Host field is missing")),
        None => Ok(()),
    }
}

/// A body in another coding than chunked alone could not be told from what it codes once it was decoded (RFC 9112, section 6.1).
fn must_be_chunked_alone(request: &Request<RequestBody>) -> Result<(), Fault> {
    match fields::is_chunked_alone(request.headers()) {
        Some(false) => Err(bad_request(
            "Transfer-Encoding must be `chunked` and nothing else",
        )),
        Some(true) | None => Ok(()),
    }
}

/// The Host field, of which there may be one only (RFC 9112, section 3.2).
fn one_host(request: &Request<RequestBody>) -> Result<Option<&HeaderValue>, Fault> {
    let mut fields = fields::values(request.headers(), &HOST);
    let first = fields.next();
    match fields.next() {
        None => Ok(first),
        Some(_) => Err(bad_request("the Host field is there more than once")),
    }
}

fn parse(authority: &str, default_port: u16) -> Result<Authority, Fault> {
    Authority::parse(authority, Some(default_port)).map_err(|error| bad_request(error.to_string()))
}
