//! What is known of a page from its events. Pure: events and the time come in, what to do comes out.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::link::Event;
use super::options::WaitUntil;
use super::sync::storage::Overlay;
use crate::session::jar::PartitionKey;
use crate::session::origin::Origin;
use crate::session::storage::Area;

/// The state of a page.
#[derive(Debug)]
pub(super) struct Watch {
    /// The main frame, which is named as its target is.
    main: String,
    frames: HashMap<String, Frame>,
    /// The document in the main frame, once one was committed.
    pub(super) document: Option<Current>,
    parsed: bool,
    loaded: bool,
    navigating: Option<Instant>,
    flights: HashMap<String, Flight>,
    /// When the last request ended that counts, or the document was parsed.
    quiet_since: Instant,
    /// Status and fields of main documents by their loader, the last two.
    heads: Vec<(String, StatusCode, HeaderMap)>,
    /// What happened to first-party storage.
    pub(super) overlays: HashMap<(Origin, Area), Overlay>,
    /// The origins of the main documents that were there, but for sandboxed ones.
    committed: BTreeSet<Origin>,
    /// Who its workers are to seem, as parameters of `Emulation.setUserAgentOverride`.
    pub(super) identity: Option<Value>,
    /// Why it is no more.
    pub(super) over: Option<Over>,
}

/// A page's state, and word of its changes.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) watch: Mutex<Watch>,
    /// Something happened.
    pub(super) changed: Notify,
}

impl Told {
    pub(super) fn new(target: &str) -> Self {
        Self {
            watch: Mutex::new(Watch::new(target, Instant::now())),
            changed: Notify::new(),
        }
    }

    /// Takes note of an event.
    pub(super) fn hear(&self, event: &Event) -> Option<Act> {
        let act = self.watch.lock().on(event, Instant::now());
        self.changed.notify_waiters();
        act
    }

    /// The page is no more.
    pub(super) fn end(&self, why: Over) {
        self.watch.lock().end(why);
        self.changed.notify_waiters();
    }
}

/// The document of the main frame.
#[derive(Clone, Debug)]
pub(super) struct Current {
    /// Which navigation brought it.
    pub(super) loader: String,
    /// Where it is, without its fragment.
    pub(super) url: String,
    /// Chromium's own page about an error.
    pub(super) is_error: bool,
}

/// Why a page is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Its renderer crashed, or the browser did.
    Crashed,
    /// It closed itself.
    Closed,
}

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A dialog is open, which stops the page.
    Answer {
        /// Only leaving a page is agreed to.
        accept: bool,
    },
    /// A request of a type that is not loaded.
    Refuse(String),
    /// A worker that waits to be told who it seems to be, by the parameters of `Emulation.setUserAgentOverride`.
    Dress {
        /// How commands name it.
        worker: String,
        /// None: it is let run as it is.
        identity: Option<Value>,
    },
}

impl Act {
    /// What is to be told to the page, or to its worker.
    pub(super) fn commands(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Answer { accept } => {
                vec![("Page.handleJavaScriptDialog", json!({ "accept": accept }))]
            }
            Self::Refuse(request) => vec![(
                "Fetch.failRequest",
                json!({ "requestId": request, "errorReason": "BlockedByClient" }),
            )],
            Self::Dress { identity, .. } => identity
                .iter()
                .map(|identity| ("Emulation.setUserAgentOverride", identity.clone()))
                .chain([("Runtime.runIfWaitingForDebugger", json!({}))])
                .collect(),
        }
    }

    /// The worker that is meant, where it is not the page itself.
    pub(super) fn worker(&self) -> Option<&str> {
        match self {
            Self::Dress { worker, .. } => Some(worker),
            Self::Answer { .. } | Self::Refuse(_) => None,
        }
    }
}

/// Whether what is waited for is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It is.
    Now,
    /// At this time, if nothing happens until then.
    At(Instant),
    /// Something has to happen first.
    Later,
}

#[derive(Debug, Default)]
struct Frame {
    parent: Option<String>,
    origin: Option<Origin>,
}

#[derive(Debug)]
struct Flight {
    since: Instant,
    /// It brings a document into the main frame.
    is_navigation: bool,
}

impl Watch {
    pub(super) fn new(target: &str, now: Instant) -> Self {
        Self {
            main: target.to_owned(),
            frames: HashMap::new(),
            document: None,
            parsed: false,
            loaded: false,
            navigating: None,
            flights: HashMap::new(),
            quiet_since: now,
            heads: Vec::new(),
            overlays: HashMap::new(),
            committed: BTreeSet::new(),
            identity: None,
            over: None,
        }
    }

    /// Takes note of an event.
    pub(super) fn on(&mut self, event: &Event, now: Instant) -> Option<Act> {
        let text = |pointer: &str| event.params.pointer(pointer).and_then(Value::as_str);
        let is_main = |pointer: &str| text(pointer) == Some(&self.main);
        match event.method.as_str() {
            "Page.frameNavigated" => self.on_committed(&event.params, now),
            "Page.frameAttached" => {
                let frame = Frame {
                    parent: text("/parentFrameId").map(str::to_owned),
                    origin: None,
                };
                self.frames.insert(text("/frameId")?.to_owned(), frame);
            }
            "Page.frameDetached" => {
                self.frames.remove(text("/frameId")?);
            }
            "Page.domContentEventFired" if self.document.is_some() => {
                self.parsed = true;
                self.quiet_since = now;
            }
            "Page.loadEventFired" if self.document.is_some() => self.loaded = true,
            "Page.frameRequestedNavigation"
                if is_main("/frameId") && text("/disposition") == Some("currentTab") =>
            {
                self.navigating = Some(now);
            }
            "Page.frameScheduledNavigation" if is_main("/frameId") => {
                let delay = event.params.get("delay").and_then(Value::as_f64);
                if delay.unwrap_or_default() < SOON.as_secs_f64() {
                    self.navigating = Some(now);
                }
            }
            "Page.frameStoppedLoading" | "Page.navigatedWithinDocument" if is_main("/frameId") => {
                self.navigating = None;
            }
            "Network.requestWillBeSent" => self.on_request(&event.params, now),
            "Network.responseReceived" => self.on_response(&event.params),
            "Network.loadingFinished" | "Network.loadingFailed" => {
                self.on_end(text("/requestId")?, now);
            }
            "DOMStorage.domStorageItemAdded" | "DOMStorage.domStorageItemUpdated" => {
                let (key, value) = (text("/key")?, text("/newValue")?);
                self.overlay(&event.params)?.set(key, value);
            }
            "DOMStorage.domStorageItemRemoved" => {
                let key = text("/key")?;
                self.overlay(&event.params)?.remove(key);
            }
            "DOMStorage.domStorageItemsCleared" => self.overlay(&event.params)?.clear(),
            "Page.javascriptDialogOpening" => {
                let accept = text("/type") == Some("beforeunload");
                return Some(Act::Answer { accept });
            }
            "Fetch.requestPaused" => return Some(Act::Refuse(text("/requestId")?.to_owned())),
            "Target.attachedToTarget" => {
                return Some(Act::Dress {
                    worker: text("/sessionId")?.to_owned(),
                    identity: self.identity.clone(),
                });
            }
            "Inspector.targetCrashed" => self.end(Over::Crashed),
            "Inspector.detached" => self.end(Over::Closed),
            _ => {}
        }
        None
    }

    /// It is no more; the first reason counts.
    pub(super) fn end(&mut self, why: Over) {
        self.over.get_or_insert(why);
    }

    /// Whether it has come so far.
    pub(super) fn ready(&self, until: WaitUntil, now: Instant) -> Ready {
        let reached = match until {
            WaitUntil::DomContentLoaded | WaitUntil::NetworkIdle => self.parsed,
            WaitUntil::Load => self.loaded,
        };
        if self.document.is_none() || !reached {
            return Ready::Later;
        }
        // Of what a script begins at once the answer is the page that it leads to.
        if until != WaitUntil::NetworkIdle
            && self.flights.values().any(|flight| flight.is_navigation)
        {
            return Ready::Later;
        }
        let mut at = self.navigating.map(|since| since + SOON);
        if until == WaitUntil::NetworkIdle {
            let last = self
                .flights
                .values()
                .map(|flight| flight.since + LONG)
                .max();
            let quiet = last.map_or(self.quiet_since, |last| last.max(self.quiet_since)) + QUIET;
            at = at.max(Some(quiet));
        }
        match at.filter(|at| *at > now) {
            Some(at) => Ready::At(at),
            None => Ready::Now,
        }
    }

    /// Whether anything is still being loaded.
    pub(super) fn is_loading(&self) -> bool {
        !self.loaded || !self.flights.is_empty()
    }

    /// Status and fields of the present document, if another navigation than `first` brought it.
    pub(super) fn later(&self, first: Option<&str>) -> Option<(StatusCode, HeaderMap)> {
        let current = self.document.as_ref()?;
        if Some(current.loader.as_str()) == first {
            return None;
        }
        self.heads
            .iter()
            .find(|(loader, ..)| *loader == current.loader)
            .map(|(_, status, fields)| (*status, fields.clone()))
    }

    /// First parties other than the main frame that have a document at this moment.
    pub(super) fn first_party_frames(&self) -> BTreeSet<Origin> {
        let main = self
            .frames
            .get(&self.main)
            .and_then(|main| main.origin.as_ref());
        self.frames
            .iter()
            .filter(|(id, _)| self.is_first_party(id))
            .filter_map(|(_, frame)| frame.origin.clone())
            .filter(|origin| Some(origin) != main)
            .collect()
    }

    fn on_committed(&mut self, params: &Value, now: Instant) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let Some(id) = text("/frame/id") else { return };
        let frame = Frame {
            parent: text("/frame/parentId").map(str::to_owned),
            origin: text("/frame/securityOrigin").and_then(|origin| origin.parse().ok()),
        };
        if frame.parent.is_none() {
            self.main = id.to_owned();
            self.frames.clear();
            let sandboxed = text("/frame/loaderId").is_some_and(|loader| self.is_sandboxed(loader));
            self.committed
                .extend(frame.origin.clone().filter(|_| !sandboxed));
        }
        self.frames.insert(id.to_owned(), frame);
        let (Some(loader), Some(url)) = (text("/frame/loaderId"), text("/frame/url")) else {
            return;
        };
        if id != self.main || url == "about:blank" && self.document.is_none() {
            return;
        }
        self.document = Some(Current {
            loader: loader.to_owned(),
            url: url.to_owned(),
            is_error: text("/frame/unreachableUrl").is_some() || url.starts_with("chrome-error:"),
        });
        self.parsed = false;
        self.loaded = false;
        self.navigating = None;
        self.quiet_since = now;
        // What the document before it asked for ends without a word at times. Its own request is named as its loader is.
        self.flights.retain(|request, _| request == loader);
        for flight in self.flights.values_mut() {
            flight.is_navigation = false;
        }
    }

    fn on_request(&mut self, params: &Value, now: Instant) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let Some(request) = text("/requestId") else {
            return;
        };
        let kind = text("/type").unwrap_or_default();
        if UNCOUNTED.contains(&kind) {
            return;
        }
        let flight = Flight {
            since: now,
            is_navigation: kind == "Document" && text("/frameId") == Some(&self.main),
        };
        self.flights.insert(request.to_owned(), flight);
    }

    fn on_response(&mut self, params: &Value) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let Some(request) = text("/requestId") else {
            return;
        };
        if text("/type") == Some("EventSource") || text("/response/mimeType") == Some(EVENTS) {
            self.flights.remove(request);
        }
        if text("/type") != Some("Document") || text("/frameId") != Some(&self.main) {
            return;
        }
        let status = params.pointer("/response/status").and_then(Value::as_u64);
        let status =
            status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
        let (Some(loader), Some(status)) = (text("/loaderId"), status) else {
            return;
        };
        let fields = params.pointer("/response/headers").map(fields);
        self.heads
            .push((loader.to_owned(), status, fields.unwrap_or_default()));
        if self.heads.len() > 2 {
            self.heads.remove(0);
        }
    }

    fn on_end(&mut self, request: &str, now: Instant) {
        if let Some(flight) = self.flights.remove(request)
            && now.duration_since(flight.since) < LONG
        {
            self.quiet_since = now;
        }
    }

    /// First parties whose storage was there for scripts.
    ///
    /// Of a frame that is no main frame CDP names the URL's origin also where the frame is sandboxed, and so has no storage. What
    /// storage it has is known by its events, of which seeds are the first.
    pub(super) fn stored(&self) -> BTreeSet<Origin> {
        let heard = self.overlays.keys().map(|(origin, _)| origin);
        self.committed.iter().chain(heard).cloned().collect()
    }

    fn is_sandboxed(&self, loader: &str) -> bool {
        let head = self.heads.iter().find(|(of, ..)| of == loader);
        head.is_some_and(|(_, _, fields)| {
            let policies = fields.get_all("content-security-policy").iter();
            policies
                .filter_map(|policy| policy.to_str().ok())
                .flat_map(|policy| policy.split([';', ',']))
                .any(|directive| directive.split_whitespace().next() == Some("sandbox"))
        })
    }

    /// Of the area that an event is about; none where that is a third party's.
    fn overlay(&mut self, params: &Value) -> Option<&mut Overlay> {
        let id = params.get("storageId")?;
        let is_local = id.get("isLocalStorage").and_then(Value::as_bool)?;
        let key = id.get("storageKey").and_then(Value::as_str);
        let origin = match key {
            // What follows a caret tells a partition.
            Some(key) if key.contains('^') => return None,
            Some(key) => key.parse().ok()?,
            None => id.get("securityOrigin")?.as_str()?.parse().ok()?,
        };
        let area = match is_local {
            true => Area::LocalStorage,
            false => Area::SessionStorage,
        };
        Some(self.overlays.entry((origin, area)).or_default())
    }

    /// Whether all above the frame are of its site: its storage is the origin's own.
    fn is_first_party(&self, id: &str) -> bool {
        let site = |origin: &Origin| PartitionKey::new(origin.as_str(), false);
        let Some(own) = self.frames.get(id) else {
            return false;
        };
        let Some(wanted) = own.origin.as_ref().and_then(site) else {
            return false;
        };
        let mut above = own.parent.as_deref();
        for _ in 0..MAX_DEPTH {
            let Some(id) = above else { return true };
            let Some(frame) = self.frames.get(id) else {
                return false;
            };
            if frame.origin.as_ref().and_then(site).as_ref() != Some(&wanted) {
                return false;
            }
            above = frame.parent.as_deref();
        }
        false
    }
}

/// Fields as CDP has them: an object, equal names joined by line feeds.
fn fields(shown: &Value) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in shown.as_object().into_iter().flatten() {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        for value in value.as_str().unwrap_or_default().split('\n') {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                fields.append(name.clone(), value);
            }
        }
    }
    fields
}

/// The network is idle after so long without a request.
const QUIET: Duration = Duration::from_millis(500);
/// A request that is open for so long does not count any more.
const LONG: Duration = Duration::from_secs(5);
/// A navigation that a script began sends its request within that time, or never.
const SOON: Duration = Duration::from_secs(1);
const UNCOUNTED: &[&str] = &["WebSocket", "EventSource", "Ping", "CSPViolationReport"];
const EVENTS: &str = "text/event-stream";
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    struct Page {
        watch: Watch,
        start: Instant,
    }

    impl Page {
        fn new() -> Self {
            let start = Instant::now();
            Self {
                watch: Watch::new("main", start),
                start,
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn on(&mut self, millis: u64, method: &str, params: Value) -> Option<Act> {
            let event = Event {
                method: method.to_owned(),
                session: None,
                params,
            };
            let at = self.at(millis);
            self.watch.on(&event, at)
        }

        fn commit(
            &mut self,
            millis: u64,
            id: &str,
            parent: Option<&str>,
            loader: &str,
            origin: &str,
        ) {
            let mut frame = json!({"id": id, "loaderId": loader, "url": format!("{origin}/"), "securityOrigin": origin});
            if let Some(parent) = parent {
                frame["parentId"] = json!(parent);
            }
            self.on(millis, "Page.frameNavigated", json!({ "frame": frame }));
        }

        fn request(&mut self, millis: u64, id: &str, kind: &str) {
            let params = json!({"requestId": id, "type": kind, "frameId": "main", "loaderId": id});
            self.on(millis, "Network.requestWillBeSent", params);
        }

        fn finish(&mut self, millis: u64, id: &str) {
            self.on(millis, "Network.loadingFinished", json!({"requestId": id}));
        }

        fn item(&mut self, storage_key: &str) {
            let id = json!({"storageKey": storage_key, "isLocalStorage": true});
            let params = json!({"storageId": id, "key": "k", "newValue": "v"});
            self.on(50, "DOMStorage.domStorageItemAdded", params);
        }

        fn opened() -> Self {
            let mut told = Self::new();
            told.request(0, "L1", "Document");
            told.commit(10, "main", None, "L1", "https://a.example");
            told.finish(20, "L1");
            told.on(30, "Page.domContentEventFired", json!({}));
            told
        }
    }

    #[test]
    fn idle_is_half_a_second_without_requests() {
        let mut told = Page::opened();
        let idle = |told: &Page, millis| told.watch.ready(WaitUntil::NetworkIdle, told.at(millis));
        assert_eq!(idle(&told, 100), Ready::At(told.at(530)));
        told.request(200, "x", "Fetch");
        told.request(210, "w", "WebSocket");
        told.request(210, "p", "Ping");
        told.finish(300, "x");
        assert_eq!(idle(&told, 400), Ready::At(told.at(800)));
        assert_eq!(idle(&told, 800), Ready::Now);
    }

    #[test]
    fn what_is_open_for_long_does_not_count() {
        let mut told = Page::opened();
        told.request(100, "poll", "XHR");
        let idle = |told: &Page, millis| told.watch.ready(WaitUntil::NetworkIdle, told.at(millis));
        assert_eq!(idle(&told, 200), Ready::At(told.at(5600)));
        told.finish(5550, "poll");
        assert_eq!(idle(&told, 5600), Ready::Now);
    }

    #[test]
    fn an_event_stream_does_not_count_though_it_was_fetched() {
        let mut told = Page::opened();
        told.request(40, "s", "Fetch");
        let params = json!({"requestId": "s", "type": "Fetch", "response": {"mimeType": "text/event-stream"}});
        told.on(50, "Network.responseReceived", params);
        assert_eq!(
            told.watch.ready(WaitUntil::NetworkIdle, told.at(600)),
            Ready::Now
        );
    }

    #[test]
    fn a_navigation_by_script_is_followed() {
        let mut told = Page::opened();
        told.on(40, "Page.loadEventFired", json!({}));
        let load = |told: &Page, millis| told.watch.ready(WaitUntil::Load, told.at(millis));
        assert_eq!(load(&told, 41), Ready::Now);
        let params = json!({"frameId": "main", "disposition": "currentTab"});
        told.on(45, "Page.frameRequestedNavigation", params);
        assert_eq!(load(&told, 46), Ready::At(told.at(1045)));
        told.request(50, "L2", "Document");
        assert_eq!(load(&told, 2000), Ready::Later);
        let params = json!({"requestId": "L2", "loaderId": "L2", "type": "Document", "frameId": "main",
            "response": {"status": 404, "headers": {"X-A": "1\n2"}}});
        told.on(60, "Network.responseReceived", params);
        assert_eq!(told.watch.later(Some("L1")), None);
        told.commit(61, "main", None, "L2", "https://a.example");
        assert_eq!(load(&told, 62), Ready::Later);
        told.on(70, "Page.domContentEventFired", json!({}));
        told.on(80, "Page.loadEventFired", json!({}));
        assert_eq!(load(&told, 81), Ready::Now);
        let (status, fields) = told.watch.later(Some("L1")).unwrap();
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(fields.get_all("x-a").iter().count(), 2);
        assert!(told.watch.later(Some("L2")).is_none());
    }

    #[test]
    fn third_parties_have_no_part_in_the_sessions_storage() {
        let mut told = Page::opened();
        told.commit(40, "same", Some("main"), "L3", "https://www.a.example");
        told.commit(40, "ad", Some("main"), "L4", "https://ad.example");
        told.commit(40, "deep", Some("ad"), "L5", "https://a.example");
        told.commit(40, "sandboxed", Some("main"), "L6", "null");
        let names: Vec<String> = told
            .watch
            .first_party_frames()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["https://www.a.example"]);
        told.item("https://a.example/");
        told.item("https://ad.example/^0https://a.example");
        assert_eq!(told.watch.overlays.len(), 1);
        told.item("https://www.a.example/");
        let stored: Vec<String> = told
            .watch
            .stored()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(stored, ["https://a.example", "https://www.a.example"]);
    }

    #[test]
    fn a_sandboxed_document_has_no_storage() {
        let mut told = Page::new();
        let params = json!({"requestId": "L1", "loaderId": "L1", "type": "Document", "frameId": "main",
            "response": {"status": 200, "headers": {"Content-Security-Policy": "default-src *; sandbox allow-scripts"}}});
        told.on(0, "Network.responseReceived", params);
        told.commit(10, "main", None, "L1", "https://a.example");
        assert!(told.watch.stored().is_empty());
    }

    #[test]
    fn dialogs_are_dismissed_and_crashes_noted() {
        let mut told = Page::opened();
        for (kind, accept) in [("alert", false), ("confirm", false), ("beforeunload", true)] {
            assert_eq!(
                told.on(50, "Page.javascriptDialogOpening", json!({"type": kind})),
                Some(Act::Answer { accept })
            );
        }
        told.on(60, "Inspector.targetCrashed", json!({}));
        told.watch.end(Over::Closed);
        assert_eq!(told.watch.over, Some(Over::Crashed));
    }
}
