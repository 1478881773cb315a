//! CONNECT: dials before it answers, then finds out what is spoken in the tunnel.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::detect::{Detected, detect};
use super::http::{Served, serve_http1, serve_http2};
use super::intercept;
use super::linger::Client;
use super::wire::Wire;
use crate::browser::Visitor;
use crate::exchange::{Body, Connection, Door, Tunnel};
use crate::fault::{Fault, Kind};
use crate::message::fields::{X_BURDOCK_EGRESS, X_SESSION_ID};
use crate::message::{Authority, Scheme};
use crate::registry::{LiveSession, Visit};
use crate::session::id::SessionId;
use crate::session::record::Counters;
use crate::upstream::{self, Origin, Pool, Side, Spare};

/// Answers a CONNECT (RFC 9110, section 9.3.6), and serves the tunnel by a task of its own.
pub(super) async fn connect(served: &Arc<Served>, request: Request<Incoming>) -> Response<Body> {
    let mut id = None;
    match open(served, request, &mut id).await {
        Ok(response) => response,
        Err(fault) => {
            tracing::debug!(
                client = %served.connection.client,
                fault = fault.kind().row().name,
                detail = fault.detail(),
                "CONNECT was refused"
            );
            fault.response(id.as_ref()).map(Body::full)
        }
    }
}

async fn open(
    served: &Arc<Served>,
    mut request: Request<Incoming>,
    id: &mut Option<SessionId>,
) -> Result<Response<Body>, Fault> {
    let exchange = &served.house.exchange;
    let visitor = served.connection.visitor.as_ref();
    let authority = target(&request)?;
    let named = match visitor {
        // Whose a context is was settled when it was made.
        Some(_) => None,
        None => {
            exchange.carriers.authorize(request.headers())?;
            exchange.carriers.named(request.headers())?
        }
    };
    let visit = match &named {
        Some(named) => {
            *id = Some(named.id.clone());
            Some(exchange.registry.visit(&named.id, named.ttl).await?)
        }
        None => None,
    };
    let of_page = session_of_page(visitor)?;
    let session = of_page.as_ref().or(visit.as_deref());
    let from = &served.connection;
    // A browser does not pin, and a document on offer must reach it.
    let passthrough = visitor.is_none() && served.house.tls.is_passed_through(&authority.host);
    let pool = exchange.pool_for(session, from);
    let leaves = Leaves::of(pool, &authority);
    // Whoever leaves by an upstream proxy, and is to be named inside, leaves by nobody's until then.
    let is_nameless = leaves != Leaves::Directly && session.is_none() && visitor.is_none();
    let waits = !passthrough && (is_nameless || leaves == Leaves::Forwarded);
    // A session that has a connection there knows the target to be alive, and so does one that somebody just made.
    let alive = !passthrough
        && (visitor.is_some_and(|visitor| has_offer(visitor, &authority))
            || (leaves == Leaves::Directly && exchange.upstream.was_reached(&authority))
            || visit
                .as_ref()
                .is_some_and(|visit| has_idle(visit, &authority)));
    let (spare, moved) = match alive || waits {
        true => (None, None),
        false => {
            let (spare, moved) = exchange.dial(&authority, session, from).await?;
            (Some(spare), moved)
        }
    };
    let mut response = Response::new(Body::empty());
    if let Some(visit) = &visit {
        response
            .headers_mut()
            .insert(X_SESSION_ID, visit.id_field().clone());
    }
    if let Some(moved) = moved {
        response
            .headers_mut()
            .insert(X_BURDOCK_EGRESS, moved.field());
    }
    *response.status_mut() = StatusCode::OK;
    let dials_after = match leaves {
        _ if spare.is_some() => None,
        // What is said in clear goes to the proxy as requests, and no server on that port speaks first.
        Leaves::Forwarded => None,
        _ if is_nameless => Some(NAMES_ITSELF_WITHIN),
        Leaves::Directly | Leaves::Tunnelled => Some(CLIENT_SPEAKS_WITHIN),
    };
    let passage = Passage {
        served: Arc::clone(served),
        tunnel: Tunnel::new(authority, named, None),
        visit,
        spare,
        dials_after,
        passthrough,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    served.house.tasks.spawn(passage.serve(upgrade));
    Ok(response)
}

/// The target in authority form (RFC 9112, section 3.2.3): host and port, both needed.
fn target(request: &Request<Incoming>) -> Result<Authority, Fault> {
    let bad = |detail: String| {
        Fault::new(
            Kind::BadRequest,
            format!("CONNECT needs `host:port`: {detail}"),
        )
    };
    let text = request
        .uri()
        .authority()
        .ok_or_else(|| bad("there is no authority".to_owned()))?;
    Authority::parse(text.as_str(), None).map_err(|error| bad(error.to_string()))
}

/// The session of a browser context.
fn session_of_page(visitor: Option<&Arc<Visitor>>) -> Result<Option<Arc<LiveSession>>, Fault> {
    match visitor.map(|visitor| visitor.session()) {
        None => Ok(None),
        Some(Ok(session)) => Ok(session),
        Some(Err(over)) => Err(Fault::new(Kind::UnknownSession, over.to_string())),
    }
}

/// Whether a document from there is on offer, for which nobody need be connected to.
fn has_offer(visitor: &Visitor, authority: &Authority) -> bool {
    [Scheme::Https, Scheme::Http]
        .into_iter()
        .any(|scheme| visitor.has_offer_at(&format!("{scheme}://{}", authority.for_scheme(scheme))))
}

fn has_idle(visit: &Visit, authority: &Authority) -> bool {
    [Scheme::Https, Scheme::Http].into_iter().any(|scheme| {
        visit.pool().has_idle(&Origin {
            scheme,
            authority: authority.clone(),
        })
    })
}

/// A tunnel that was answered with 200 and in which nothing has been said yet.
struct Passage {
    served: Arc<Served>,
    tunnel: Tunnel,
    /// The session that the CONNECT named; it stays loaded while the tunnel lasts.
    visit: Option<Visit>,
    /// The connection that the CONNECT made.
    spare: Option<Spare>,
    /// How long the client may be silent before there is a connection by which its server could speak first.
    dials_after: Option<Duration>,
    passthrough: bool,
}

/// How connections to a tunnel's target leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Directly,
    /// Through an upstream proxy.
    Tunnelled,
    /// To an upstream proxy that is given requests where they are in clear, as they will be here, and that may well refuse a tunnel.
    Forwarded,
}

impl Leaves {
    fn of(pool: Option<&Arc<Pool>>, authority: &Authority) -> Self {
        match pool.and_then(|pool| pool.exit_to(authority)) {
            None => Self::Directly,
            Some(exit) if exit.forwards() && authority.port == Scheme::Http.default_port() => {
                Self::Forwarded
            }
            Some(_) => Self::Tunnelled,
        }
    }
}

impl Passage {
    /// Boxed, since a tunnel serves requests and a request may open a tunnel: their types would contain each other.
    fn serve(self, upgrade: OnUpgrade) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.enter(upgrade))
    }

    async fn enter(self, upgrade: OnUpgrade) {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "the client went away before its tunnel was open");
                return;
            }
        };
        // On HTTP/1 the tunnel is the client's TCP stream itself, so hyper's wrapping can go.
        match upgraded.downcast::<TokioIo<Wire<Client>>>() {
            Ok(parts) => {
                let (stream, said) = parts.io.into_inner().into_parts(&parts.read_buf);
                self.pass(Wire::with_seen(stream, &said)).await;
            }
            Err(upgraded) => {
                self.pass(Wire::new(TokioIo::<Upgraded>::new(upgraded)))
                    .await
            }
        }
    }

    async fn pass<S>(mut self, mut wire: Wire<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let detected = match self.passthrough {
            true => Detected::Opaque,
            false => match self.listen(&mut wire).await {
                Some(detected) => detected,
                None => return,
            },
        };
        match detected {
            Detected::Tls => {
                let (served, tunnel) = self.into_served(Scheme::Https);
                intercept::intercept(served, tunnel, wire).await;
            }
            Detected::Http1 => {
                let (served, tunnel) = self.into_served(Scheme::Http);
                serve_http1(served.through(Door::Tunnel(tunnel)), wire).await;
            }
            Detected::Http2 => {
                let (served, tunnel) = self.into_served(Scheme::Http);
                serve_http2(served.through(Door::Tunnel(tunnel)), wire).await;
            }
            Detected::Opaque | Detected::NeedMore => self.relay(wire).await,
        }
    }

    /// Waits until it is clear what is spoken; `None` when the client leaves or says nothing.
    ///
    /// A server that speaks first decides it: no protocol that burdock reads begins so.
    async fn listen<S>(&mut self, wire: &mut Wire<S>) -> Option<Detected>
    where
        S: AsyncRead + Unpin,
    {
        let bounds = &self.served.house.bounds;
        let mut deadline = Instant::now() + bounds.idle_timeout;
        // Without a connection nobody would hear a server that speaks first.
        let mut unheard = self.dials_after.is_some();
        let silent = Instant::now() + self.dials_after.unwrap_or_default();
        loop {
            match detect(wire.seen()) {
                Detected::NeedMore => {}
                detected => return Some(detected),
            }
            tokio::select! {
                biased;
                looked = wire.look() => match looked {
                    Ok(0) if wire.seen().is_empty() => return None,
                    Ok(0) => return Some(Detected::Opaque),
                    Ok(_) => deadline = Instant::now() + bounds.header_read_timeout,
                    Err(error) => {
                        tracing::debug!(%error, "the client left its tunnel");
                        return None;
                    }
                },
                () = sleep_until(silent), if unheard && wire.seen().is_empty() => {
                    unheard = false;
                    match self.dial().await {
                        Ok(spare) => self.spare = Some(spare),
                        Err(fault) => {
                            tracing::debug!(%fault, "a tunnel's target is gone");
                            return None;
                        }
                    }
                }
                speaks = speaks(self.spare.as_mut()) => match speaks {
                    Ok(true) => return Some(Detected::Opaque),
                    // Closed before anything was said: the first request dials anew, and tells what is wrong.
                    Ok(false) | Err(_) => self.spare = None,
                },
                () = sleep_until(deadline) => {
                    return (!wire.seen().is_empty()).then_some(Detected::Opaque);
                }
                () = self.served.house.closing.cancelled() => return None,
            }
        }
    }

    fn into_served(self, scheme: Scheme) -> (Inside, Tunnel) {
        let mut tunnel = self.tunnel;
        tunnel.scheme = scheme;
        *tunnel.spare.get_mut() = self.spare;
        let inside = Inside {
            served: self.served,
            _visit: self.visit,
        };
        (inside, tunnel)
    }

    /// A connection to the target, as the tunnel's session leaves, or the client's connection where none was named.
    async fn dial(&self) -> Result<Spare, Fault> {
        let from = &self.served.connection;
        let of_page = session_of_page(from.visitor.as_ref())?;
        let session = of_page.as_ref().or(self.visit.as_deref());
        let exchange = &self.served.house.exchange;
        let dialled = exchange.dial(&self.tunnel.authority, session, from).await;
        dialled.map(|(spare, _)| spare)
    }

    async fn relay<S>(mut self, wire: Wire<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let origin = match self.spare.take() {
            Some(origin) => Ok(origin),
            None => self.dial().await,
        };
        let authority = &self.tunnel.authority;
        let origin = match origin {
            Ok(spare) => Side {
                stream: spare.into_stream(),
                said: Bytes::new(),
            },
            Err(fault) => {
                tracing::debug!(%fault, "a tunnel could not be relayed");
                return;
            }
        };
        let (stream, said) = wire.into_parts(&[]);
        match upstream::relay(Side { stream, said }, origin).await {
            Ok((sent, received)) => {
                if let Some(visit) = &self.visit {
                    visit.count(Counters {
                        bytes_out: sent,
                        bytes_in: received,
                        ..Counters::default()
                    });
                }
            }
            Err(error) => tracing::debug!(%authority, %error, "a relayed tunnel ended abnormally"),
        }
    }
}

/// A client that speaks first does so by then; one that waits for its server gets a connection to wait on.
const CLIENT_SPEAKS_WITHIN: Duration = Duration::from_millis(50);

/// The same where a request inside may still name the session whose upstream proxy is to be used.
const NAMES_ITSELF_WITHIN: Duration = Duration::from_millis(300);

async fn speaks(spare: Option<&mut Spare>) -> std::io::Result<bool> {
    match spare {
        Some(spare) => spare.speaks().await,
        None => std::future::pending().await,
    }
}

/// What a tunnel's requests are served with.
pub(super) struct Inside {
    served: Arc<Served>,
    _visit: Option<Visit>,
}

impl Inside {
    /// The client's connection.
    pub(super) fn outer(&self) -> &Served {
        &self.served
    }

    /// A connection of its own within the client's: other door, same place.
    pub(super) fn through(self, door: Door) -> Served {
        Served {
            connection: Connection::new(self.served.connection.client, door).of(self
                .served
                .connection
                .visitor
                .clone()),
            house: Arc::clone(&self.served.house),
            place: Arc::clone(&self.served.place),
        }
    }
}
