//! The floor with a real browser, a listener that answers by itself, and a session in memory.

mod faults;
mod pages;
mod state;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::*;
use crate::adapters::Memory;
use crate::registry::{Defaults, LiveSession, OnUnknown, Registry, Upkeep, Visit};
use crate::session::limiter::Policy;
use crate::session::origin::Origin;
use crate::session::settings::{OnLimit, Settings};
use crate::session::storage::{Area, ItemKey, StorageDelta};
use crate::upstream::{Terms, tls::UpstreamTls};

/// What the application answers; none: 404.
type Answers = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// Fields and body of an answer of 200.
type Answer = (Vec<(&'static str, String)>, String);

/// Listeners that answer by themselves what is not on offer.
struct App {
    answers: Box<Answers>,
    /// Method, URL and Cookie of each request.
    seen: Mutex<Vec<(String, String)>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

#[derive(Debug)]
struct Listeners(Arc<App>);

impl Doors for Listeners {
    fn open(&self, address: IpAddr, _: Clients, visitor: Arc<Visitor>) -> io::Result<OpenDoor> {
        let listener = std::net::TcpListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let app = Arc::clone(&self.0);
        let router = Router::new().fallback(move |request: Request| {
            let (app, visitor) = (Arc::clone(&app), Arc::clone(&visitor));
            async move { answer(&app, &visitor, request).await }
        });
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            let serve = axum::serve(listener, router);
            ended.run_until_cancelled(serve.into_future()).await
        });
        Ok(OpenDoor {
            address,
            close: end.drop_guard(),
        })
    }

    fn shut(&self, _: SocketAddr) -> Box<dyn Send + Sync + std::fmt::Debug> {
        Box::new(())
    }
}

async fn answer(app: &App, visitor: &Visitor, request: Request) -> Response {
    let url: Url = request.uri().to_string().parse().expect("an absolute URL");
    let cookie = request.headers().get(header::COOKIE);
    let cookie = cookie.map_or("", |cookie| cookie.to_str().expect("a cookie"));
    app.seen.lock().push((url.to_string(), cookie.to_owned()));
    if request
        .headers()
        .contains_key(header::UPGRADE_INSECURE_REQUESTS)
    {
        visitor.before_document(&url).await;
        if let Some(document) = visitor.take(url.as_str()) {
            let mut response = Response::new(axum::body::Body::from(document.body.clone()));
            *response.status_mut() = document.status;
            *response.headers_mut() = document.fields.clone();
            return response;
        }
    }
    if url.path() == "/hang" {
        std::future::pending::<()>().await;
    }
    let Some((fields, body)) = (app.answers)(&request) else {
        let mut response = Response::new("not found".into());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    for (name, value) in fields {
        let name = http::HeaderName::from_static(name);
        response.headers_mut().remove(&name);
        response
            .headers_mut()
            .insert(name, value.parse().expect("a field value"));
    }
    response
}

/// Browsers over an application, and a registry of sessions.
struct House {
    app: Arc<App>,
    browsers: Arc<Browsers>,
    registry: Arc<Registry>,
    _upkeep: Upkeep,
}

impl House {
    fn new(answers: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self::with(answers, |_| ())
    }

    fn with(
        answers: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let terms = Arc::new(Terms {
            max_idle_per_host: 4,
            idle_timeout: Duration::from_secs(10),
            tls: Arc::new(UpstreamTls::new(&[], Vec::new()).expect("the platform's roots")),
            tasks: TaskTracker::new(),
            egress: Arc::default(),
        });
        let defaults = Defaults {
            apply_user_agent: true,
            policy: Policy {
                rate: None,
                per_host: false,
                concurrency: None,
                on_limit: OnLimit::Wait,
                max_wait: Duration::from_secs(1),
                honor_retry_after: false,
            },
        };
        let (registry, upkeep) = Registry::new(
            vec![Arc::new(Memory::default())],
            "memory",
            crate::registry::Options {
                settings: Settings::default(),
                defaults,
                max_active: 1000,
                on_unknown: OnUnknown::Create,
                pool: Arc::clone(&terms),
            },
        )
        .expect("a registry");
        let mut options = Options {
            enabled: true,
            executable: None,
            endpoints: Vec::new(),
            max_browsers: 1,
            max_contexts: 10,
            max_pages: 4,
            context_idle_timeout: Duration::from_secs(60),
            navigation_timeout: Duration::from_secs(30),
            wait_until: WaitUntil::Load,
            blocked: Vec::new(),
            sandbox: Sandbox::Auto,
            thumbnails: false,
            warm: 0,
            recycle_pages: 1000,
            recycle_after: Duration::from_secs(3600),
            spki: String::new(),
        };
        change(&mut options);
        let app = Arc::new(App {
            answers: Box::new(answers),
            seen: Mutex::default(),
        });
        Self {
            browsers: Browsers::new(options, Arc::new(Listeners(Arc::clone(&app))), terms),
            app,
            registry,
            _upkeep: upkeep,
        }
    }

    async fn session(&self, id: &str) -> Visit {
        let id = id.parse().expect("an id");
        self.registry.visit(&id, None).await.expect("a session")
    }

    /// Renders `html` as the document of `url`.
    async fn render(
        &self,
        session: Option<&Arc<LiveSession>>,
        url: &str,
        html: &str,
    ) -> Result<Rendered, BrowserError> {
        self.render_as(session, ask(url, html)).await
    }

    async fn render_as(
        &self,
        session: Option<&Arc<LiveSession>>,
        ask: Ask,
    ) -> Result<Rendered, BrowserError> {
        let slot = self.browsers.reserve(session, None, ask.deadline).await?;
        slot.render(ask).await
    }

    /// Ends it, and sees that nothing is left.
    async fn close(self) {
        let pids: Vec<u32> = self
            .browsers
            .status()
            .browsers
            .iter()
            .filter_map(|browser| browser.pid)
            .collect();
        self.browsers.close().await;
        let counters = self.browsers.status().counters;
        assert_eq!(counters.admitted, counters.answered + counters.failed);
        for pid in pids {
            assert!(!is_alive(pid), "{pid} is left");
        }
    }
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn ask(url: &str, html: &str) -> Ask {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    Ask {
        url: url.parse().expect("a URL"),
        document: Arc::new(Document {
            status: StatusCode::OK,
            fields,
            body: Bytes::copy_from_slice(html.as_bytes()),
        }),
        wait: None,
        shot: None,
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

/// Waits until `condition` holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

fn set_item(session: &LiveSession, origin: &str, area: Area, name: &str, value: &str) {
    session.change_state(|_, _| {
        let mut delta = StorageDelta::default();
        delta.set(key(origin, area, name), value);
        (crate::session::CookieDelta::default(), delta)
    });
}

fn item(session: &LiveSession, origin: &str, area: Area, name: &str) -> Option<String> {
    let state = session.state();
    state
        .storage
        .item(&key(origin, area, name))
        .map(str::to_owned)
}

fn key(origin: &str, area: Area, name: &str) -> ItemKey {
    let origin: Origin = origin.parse().expect("an origin");
    ItemKey {
        origin,
        area,
        name: name.into(),
    }
}

const HTML: &str = "text/html; charset=utf-8";
