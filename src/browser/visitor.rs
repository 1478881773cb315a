//! Whose requests those of a context are, and what its listener knows of them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use url::Url;

use super::context::Context;
use super::document::Document;
use crate::registry::LiveSession;
use crate::upstream::Pool;

/// Opens the listeners of contexts. `app` hands one in: doors stand above the browser.
pub trait Doors: fmt::Debug + Send + Sync {
    /// A listener on a free port of `address` that serves HTTP, CONNECT included, to whom only `clients` belong: the browser's
    /// own connections. It ends with the guard.
    ///
    /// # Errors
    /// What binding it says.
    fn open(
        &self,
        address: IpAddr,
        clients: Clients,
        visitor: Arc<Visitor>,
    ) -> io::Result<OpenDoor>;

    /// Keeps `address` out of reach of all requests (508 `loop-detected`) while the guard lasts: a browser's debugging port.
    fn shut(&self, address: SocketAddr) -> Box<dyn Send + Sync + fmt::Debug>;
}

/// Who may connect to a context's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Processes of this machine that run as the same user as burdock: whoever is that could read the sessions anyway.
    SameUser,
    /// This address alone: a remote browser's.
    From(IpAddr),
}

/// A context's listener.
#[derive(Debug)]
pub struct OpenDoor {
    /// Where it listens.
    pub address: SocketAddr,
    /// Closes it, and the connections it has.
    pub close: DropGuard,
}

/// Fields that are set in every request of a context; one without a value is removed.
pub type IdentityFields = Arc<[(HeaderName, Option<HeaderValue>)]>;

/// One visitor of origins, as its browser context's listener sees it.
#[derive(Debug)]
pub struct Visitor {
    /// None: a context for one request without a session.
    session: Option<Weak<LiveSession>>,
    /// The connections of a visitor without a session.
    own: Arc<Pool>,
    /// What is set in every request of the context: user agent and client hints, also where the browser would send others (a service
    /// worker's fetches ignore the override); a field without a value is removed.
    identity: Mutex<IdentityFields>,
    /// Documents that are there already, by the URL they are of.
    offers: Mutex<HashMap<String, Vec<Arc<Document>>>>,
    /// The context that it is in.
    context: OnceLock<Weak<Context>>,
    /// The requests of pages at once.
    pub slots: Arc<Semaphore>,
}

impl Visitor {
    /// A visitor that is `session`, or nobody with connections of `own`.
    pub fn new(session: Option<&Arc<LiveSession>>, own: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self {
            session: session.map(Arc::downgrade),
            own,
            identity: Mutex::new(Arc::from([])),
            offers: Mutex::new(HashMap::new()),
            context: OnceLock::new(),
            slots: Arc::new(Semaphore::new(SLOTS)),
        })
    }

    /// Its session; `Err` where that is over or unloaded, so that nothing more may be sent for it.
    pub fn session(&self) -> Result<Option<Arc<LiveSession>>, Over> {
        match &self.session {
            None => Ok(None),
            Some(session) => match session.upgrade().filter(|session| !session.is_gone()) {
                Some(session) => Ok(Some(session)),
                None => Err(Over),
            },
        }
    }

    /// The connections for its requests, if it has no session.
    pub fn own_pool(&self) -> &Arc<Pool> {
        &self.own
    }

    /// What is set in every request of the context.
    pub fn identity(&self) -> IdentityFields {
        Arc::clone(&self.identity.lock())
    }

    /// Changes that.
    pub fn set_identity(&self, identity: IdentityFields) {
        *self.identity.lock() = identity;
    }

    /// Has the next navigation to `url` (without fragment) answered by this document, while the offer lasts.
    pub fn offer(self: &Arc<Self>, url: String, document: Arc<Document>) -> Offer {
        self.offers
            .lock()
            .entry(url.clone())
            .or_default()
            .push(Arc::clone(&document));
        Offer {
            visitor: Arc::clone(self),
            url,
            document,
        }
    }

    /// The document on offer for `url`; each is taken once.
    pub fn take(&self, url: &str) -> Option<Arc<Document>> {
        let mut offers = self.offers.lock();
        let documents = offers.get_mut(url)?;
        let document = (!documents.is_empty()).then(|| documents.remove(0));
        if documents.is_empty() {
            offers.remove(url);
        }
        document
    }

    /// To be awaited before a document of `url` is answered to the browser, frames' documents included: what pages of the context
    /// must not be seeded with a second time is taken out of their seeds first. Takes at most 2 s.
    pub async fn before_document(&self, url: &Url) {
        let Some(context) = self.context.get().and_then(Weak::upgrade) else {
            return;
        };
        if timeout(BEFORE_DOCUMENT, context.before_document(url))
            .await
            .is_err()
        {
            tracing::debug!("a document is answered though a page may put its storage there twice");
        }
    }

    /// Lets documents wait for the pages of `context`, once.
    pub(super) fn belong_to(&self, context: &Arc<Context>) {
        // It is the first, or the one that it belongs to already.
        self.context.get_or_init(|| Arc::downgrade(context));
    }

    /// Whether a document of `https://host:port` or `http://host:port` (the origin as the URL standard serializes it) is on offer: its
    /// tunnel needs no connection.
    pub fn has_offer_at(&self, origin: &str) -> bool {
        self.offers.lock().keys().any(|url| {
            url.strip_prefix(origin)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

/// The session of a context is over or unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session of this browser context is over")]
pub struct Over;

/// A document on offer; dropped, it is withdrawn if it was not taken.
#[derive(Debug)]
pub struct Offer {
    visitor: Arc<Visitor>,
    url: String,
    document: Arc<Document>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut offers = self.visitor.offers.lock();
        if let Some(documents) = offers.get_mut(&self.url) {
            documents.retain(|document| !Arc::ptr_eq(document, &self.document));
            if documents.is_empty() {
                offers.remove(&self.url);
            }
        }
    }
}

/// The budget of a context: so many requests of its pages are under way at once, further ones wait. They take nothing from the session's
/// rate, which counts what its clients ask for.
const SLOTS: usize = 32;

const BEFORE_DOCUMENT: Duration = Duration::from_secs(2);
