//! One browser: a process of ours or a remote one, the wire to it, and what of it is in use.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::browser::GetVersionParams;
use chromiumoxide::cdp::browser_protocol::target::{
    CloseTargetParams, CreateTargetParams, FilterEntry, SetAutoAttachParams, TargetFilter,
};
use chromiumoxide::cdp::js_protocol::runtime::RunIfWaitingForDebuggerParams;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use url::Url;

use super::identity::Own;
use super::link::{Arrival, Arrivals, CallError, Link};
use super::options::Options;
use super::process::Process;
use super::visitor::{Clients, Doors};

/// A browser that runs. It ends when it is [told to](Self::end), and with its last owner.
#[derive(Debug)]
pub(super) struct Chromium {
    pub(super) link: Link,
    /// None: a remote one.
    process: Option<Process>,
    /// Where a remote one is.
    pub(super) endpoint: Option<String>,
    /// As it calls itself, such as `HeadlessChrome/156.0.7500.1`.
    pub(super) product: String,
    agent: String,
    /// Where listeners of its contexts are to be, and who may connect to them.
    pub(super) reach: (IpAddr, Clients),
    /// Keeps its debugger out of the reach of pages.
    _shut: Box<dyn Send + Sync + std::fmt::Debug>,
    nursery: Arc<Nursery>,
    pub(super) contexts: AtomicUsize,
    pub(super) pages: AtomicUsize,
    pub(super) rendered: AtomicU64,
    /// Takes no further contexts and ends with its last page.
    draining: AtomicBool,
    started: Instant,
}

impl Chromium {
    /// Starts a browser of our own.
    pub(super) async fn start(
        program: &Path,
        options: &Options,
        doors: &dyn Doors,
    ) -> Result<Arc<Self>, String> {
        let process = Process::start(program, options).await?;
        let url = format!("ws://{}{}", process.debugger, process.path);
        let reach = (IpAddr::V4(Ipv4Addr::LOCALHOST), Clients::SameUser);
        let shut = doors.shut(process.debugger);
        let pid = process.pid;
        let browser = Self::open(&url, Some(process), None, reach, shut).await?;
        tracing::info!(pid, product = browser.product, "a browser has started");
        Ok(browser)
    }

    /// Connects to a remote one.
    pub(super) async fn connect(endpoint: &str, doors: &dyn Doors) -> Result<Arc<Self>, String> {
        let (here, there) = probe(endpoint)
            .await
            .map_err(|error| format!("`{endpoint}`: {error}"))?;
        let clients = match there.ip().is_loopback() {
            true => Clients::SameUser,
            false => Clients::From(there.ip()),
        };
        let shut = doors.shut(there);
        let endpoint = Some(endpoint.to_owned());
        let url = endpoint.clone().unwrap_or_default();
        let browser = Self::open(&url, None, endpoint, (here, clients), shut).await?;
        tracing::info!(
            url,
            product = browser.product,
            "a remote browser is connected"
        );
        Ok(browser)
    }

    async fn open(
        url: &str,
        process: Option<Process>,
        endpoint: Option<String>,
        reach: (IpAddr, Clients),
        shut: Box<dyn Send + Sync + std::fmt::Debug>,
    ) -> Result<Arc<Self>, String> {
        let nursery = Arc::new(Nursery::default());
        let arrivals: Arc<dyn Arrivals> = Arc::<Nursery>::clone(&nursery);
        let link = Link::connect(url, OPEN_LIMIT, arrivals).await?;
        let pages = FilterEntry {
            exclude: None,
            r#type: Some("page".to_owned()),
        };
        // Paused, so that a popup is closed before it has sent anything.
        let attach = SetAutoAttachParams {
            auto_attach: true,
            wait_for_debugger_on_start: true,
            flatten: Some(true),
            filter: Some(TargetFilter::new(vec![pages])),
        };
        let attached = link.call(None, &attach, OPEN_LIMIT);
        let version = link.call(None, &GetVersionParams {}, OPEN_LIMIT);
        let (attached, version) = tokio::join!(attached, version);
        attached.map_err(|error| error.to_string())?;
        let version = version.map_err(|error| error.to_string())?;
        let said = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
        Ok(Arc::new(Self {
            link,
            process,
            endpoint,
            product: said("product"),
            agent: said("userAgent"),
            reach,
            _shut: shut,
            nursery,
            contexts: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            rendered: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            started: Instant::now(),
        }))
    }

    /// What it says of itself.
    pub(super) fn own(&self) -> Own<'_> {
        Own {
            agent: &self.agent,
            version: self.product.split('/').nth(1).unwrap_or_default(),
        }
    }

    /// Of its process, if it is one of ours.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Whether it is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.link.closed().is_cancelled()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Lets it take no further contexts; whether it took them until now.
    pub(super) fn drain(&self) -> bool {
        !self.draining.swap(true, Ordering::SeqCst)
    }

    /// Whether it has done or lived enough.
    pub(super) fn is_old(&self, options: &Options) -> bool {
        self.process.is_some()
            && (self.rendered.load(Ordering::Relaxed) >= options.recycle_pages
                || self.started.elapsed() >= options.recycle_after)
    }

    /// Ends it, if it is a process of ours; does not wait.
    pub(super) fn end(&self) {
        if let Some(process) = &self.process {
            process.end();
        }
    }

    /// Waits until nothing is left of it.
    pub(super) async fn ended(&self) {
        if let Some(process) = &self.process {
            process.ended().cancelled().await;
        }
    }

    /// Takes a place of a page in it.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.pages.fetch_add(1, Ordering::SeqCst);
        Lease(Arc::clone(self))
    }

    /// A new empty page of `context`, still paused.
    pub(super) async fn new_page(&self, context: &str) -> Result<Arrival, CallError> {
        let birth = self.nursery.expect(context, &self.link);
        let mut params = CreateTargetParams::new("about:blank");
        params.browser_context_id = Some(context.to_owned().into());
        let created = self.link.call(None, &params, PAGE_LIMIT).await?;
        let target = created["targetId"].as_str().unwrap_or_default();
        birth.take(target).ok_or(CallError::Gone)
    }
}

/// A place of a page in a browser, from before the page is there until it is closed.
#[derive(Debug)]
pub(super) struct Lease(pub(super) Arc<Chromium>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.pages.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.end();
    }
}

/// By which address of ours an endpoint is reached, and where it is.
async fn probe(endpoint: &str) -> std::io::Result<(IpAddr, SocketAddr)> {
    let invalid = || std::io::Error::other("no ws:// URL with a host");
    let url = Url::parse(endpoint).map_err(|_| invalid())?;
    let host = url.host_str().ok_or_else(invalid)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = timeout(OPEN_LIMIT, TcpStream::connect((host, port))).await??;
    Ok((stream.local_addr()?.ip(), stream.peer_addr()?))
}

/// Where new pages are until the call that made them is answered. Whatever nobody made is a popup, and closed.
#[derive(Debug, Default)]
struct Nursery(Mutex<Cots>);

#[derive(Debug, Default)]
struct Cots {
    /// How many pages of a context are being made.
    expected: HashMap<String, usize>,
    arrived: Vec<Arrival>,
}

impl Nursery {
    fn expect(self: &Arc<Self>, context: &str, link: &Link) -> Birth {
        let mut cots = self.0.lock();
        *cots.expected.entry(context.to_owned()).or_default() += 1;
        Birth {
            nursery: Arc::clone(self),
            context: context.to_owned(),
            link: link.clone(),
        }
    }
}

impl Arrivals for Nursery {
    fn arrived(&self, arrival: Arrival, link: &Link) {
        let mut cots = self.0.lock();
        if cots.expected.contains_key(&arrival.context) {
            cots.arrived.push(arrival);
        } else {
            close(&arrival, link);
        }
    }
}

/// A page is being made.
struct Birth {
    nursery: Arc<Nursery>,
    context: String,
    link: Link,
}

impl Birth {
    fn take(&self, target: &str) -> Option<Arrival> {
        let mut cots = self.nursery.0.lock();
        let at = cots
            .arrived
            .iter()
            .position(|arrival| arrival.target == target)?;
        Some(cots.arrived.swap_remove(at))
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        let mut cots = self.nursery.0.lock();
        if let Some(expected) = cots.expected.get_mut(&self.context) {
            *expected -= 1;
            if *expected > 0 {
                return;
            }
        }
        cots.expected.remove(&self.context);
        // Popups, and what was made for a caller that went away.
        let (left, others) = std::mem::take(&mut cots.arrived)
            .into_iter()
            .partition(|arrival| arrival.context == self.context);
        cots.arrived = others;
        let left: Vec<Arrival> = left;
        for arrival in &left {
            close(arrival, &self.link);
        }
    }
}

fn close(arrival: &Arrival, link: &Link) {
    link.post(None, &CloseTargetParams::new(arrival.target.clone()));
    if arrival.holds_opener {
        // They share a thread, which stays paused otherwise. One that does not must not run: it would send its request first.
        link.post(Some(&arrival.session), &RunIfWaitingForDebuggerParams {});
    }
}

const OPEN_LIMIT: Duration = Duration::from_secs(10);
const PAGE_LIMIT: Duration = Duration::from_secs(10);
