//! The wire to one browser: commands and their answers, and a stream of events for each attached page.
//!
//! `chromiumoxide::Connection` and its commands, without its `Handler`. That one initialises each page by ten round trips, one after
//! the other, has no word for a crash, keeps what it learns of a page's requests, and panics where a target is gone before its
//! answer. Answers and events are read loosely: a browser newer than the crate's protocol may name what that does not know.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::target::SessionId;
use chromiumoxide::error::CdpError;
use chromiumoxide::types::{CallId, EventMessage, Message, Response};
use chromiumoxide::{Command, Connection, Method};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::surrogates;
use super::watch::{Act, Over, Told};

/// A wire; clones share it. It ends with the browser, or with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Link {
    orders: mpsc::UnboundedSender<Order>,
    closed: CancellationToken,
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The browser is gone, or the page that was asked.
    #[error("the browser or page is gone")]
    Gone,
    /// It did not answer in time.
    #[error("`{0}` was not answered in time")]
    Late(String),
    /// It refused.
    #[error("`{method}`: {message}")]
    Refused {
        /// What was asked.
        method: String,
        /// Its words.
        message: String,
    },
}

/// What a browser told without being asked.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    /// Such as `Page.frameNavigated`.
    pub(super) method: String,
    /// The page's; none: of the browser as a whole.
    #[serde(rename = "sessionId")]
    pub(super) session: Option<String>,
    /// What it says.
    #[serde(default)]
    pub(super) params: Value,
}

/// A page that the browser attached us to; it is paused until it is told to run.
#[derive(Debug)]
pub(super) struct Arrival {
    /// How commands name it.
    pub(super) session: SessionId,
    /// Its target.
    pub(super) target: String,
    /// The context that it is in.
    pub(super) context: String,
    /// It was opened by a page that waits for it.
    pub(super) holds_opener: bool,
    /// What its events tell, from the first on.
    pub(super) told: Arc<Told>,
}

/// Takes new pages. Must not wait.
pub(super) trait Arrivals: Send + Sync {
    /// A page is there.
    fn arrived(&self, arrival: Arrival, link: &Link);
}

#[derive(Debug)]
enum Order {
    Call {
        method: String,
        session: Option<SessionId>,
        params: Value,
        answer: oneshot::Sender<Result<Value, CallError>>,
    },
}

impl Link {
    /// Connects to the debugger at `url` (`ws://`), and tells `arrivals` of each page that appears there.
    pub(super) async fn connect(
        url: &str,
        limit: Duration,
        arrivals: Arc<dyn Arrivals>,
    ) -> Result<Self, String> {
        let connection = timeout(limit, Connection::<Event>::connect(url))
            .await
            .map_err(|_| format!("{url} did not answer within {limit:?}"))?
            .map_err(|error| format!("{url}: {error}"))?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let link = Self {
            orders,
            closed: CancellationToken::new(),
        };
        let driver = Driver {
            connection,
            pending: HashMap::new(),
            pages: HashMap::new(),
            arrivals,
            // A weak sender: the wire ends when all who call are gone.
            orders: link.orders.downgrade(),
            closed: link.closed.clone(),
        };
        tokio::spawn(driver.run(inbox));
        Ok(link)
    }

    /// Sends a command at once, in the order of the calls; the future is its answer.
    pub(super) fn call<C: Command>(
        &self,
        session: Option<&SessionId>,
        command: &C,
        limit: Duration,
    ) -> impl Future<Output = Result<Value, CallError>> + Send + use<C> {
        let method = command.identifier().into_owned();
        let (answer, answered) = oneshot::channel();
        let sent = match serde_json::to_value(command) {
            Ok(params) => self
                .orders
                .send(Order::Call {
                    method: method.clone(),
                    session: session.cloned(),
                    params,
                    answer,
                })
                .map_err(|_| CallError::Gone),
            Err(error) => Err(CallError::Refused {
                method: method.clone(),
                message: error.to_string(),
            }),
        };
        async move {
            sent?;
            match timeout(limit, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(CallError::Gone),
                Err(_) => Err(CallError::Late(method)),
            }
        }
    }

    /// Sends a command whose answer nobody waits for.
    pub(super) fn post<C: Command>(&self, session: Option<&SessionId>, command: &C) {
        drop(self.call(session, command, Duration::ZERO));
    }

    /// Is cancelled when the browser is gone.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }
}

/// The task that has the wire.
struct Driver {
    connection: Connection<Event>,
    /// Calls without an answer, with the page that was asked: none comes from a page that crashed.
    pending: HashMap<CallId, Pending>,
    pages: HashMap<String, Arc<Told>>,
    arrivals: Arc<dyn Arrivals>,
    orders: mpsc::WeakUnboundedSender<Order>,
    closed: CancellationToken,
}

struct Pending {
    method: String,
    session: Option<String>,
    answer: oneshot::Sender<Result<Value, CallError>>,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.send(order),
                    None => return,
                },
                message = self.connection.next() => match message {
                    Some(Ok(message)) => self.receive(message),
                    Some(Err(CdpError::InvalidMessage(text, error))) => {
                        match surrogates::repair(&text).and_then(|text| serde_json::from_str(&text).ok()) {
                            Some(message) => self.receive(message),
                            None => tracing::debug!(%error, "a message of the browser cannot be read"),
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "the wire to a browser broke");
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    fn send(&mut self, order: Order) {
        let Order::Call {
            method,
            session,
            params,
            answer,
        } = order;
        let page = session.as_ref().map(|session| session.inner().clone());
        match self
            .connection
            .submit_command(method.clone().into(), session, params)
        {
            Ok(id) => {
                let pending = Pending {
                    method,
                    session: page,
                    answer,
                };
                self.pending.insert(id, pending);
            }
            Err(error) => {
                let message = error.to_string();
                // The caller may have gone.
                answer
                    .send(Err(CallError::Refused { method, message }))
                    .ok();
            }
        }
    }

    fn receive(&mut self, message: Message<Event>) {
        match message {
            Message::Response(Response { id, result, error }) => {
                if let Some(Pending { method, answer, .. }) = self.pending.remove(&id) {
                    let said = match error {
                        Some(error) => Err(CallError::Refused {
                            method,
                            message: error.message,
                        }),
                        None => Ok(result.unwrap_or(Value::Null)),
                    };
                    // The caller may have gone.
                    answer.send(said).ok();
                }
            }
            Message::Event(event) => self.tell(event),
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(session) = &event.session {
            // Here and now: whoever gets the answer to a command knows what was told before it.
            if let Some(page) = self.pages.get(session)
                && let Some(act) = page.hear(&event)
            {
                self.act(&act, session.clone());
            }
            return;
        }
        let text = |pointer| event.params.pointer(pointer).and_then(Value::as_str);
        match event.method.as_str() {
            "Target.attachedToTarget" => {
                let (Some(session), Some(target)) =
                    (text("/sessionId"), text("/targetInfo/targetId"))
                else {
                    return;
                };
                let told = Arc::new(Told::new(target));
                self.pages.insert(session.to_owned(), Arc::clone(&told));
                let arrival = Arrival {
                    session: SessionId::from(session.to_owned()),
                    target: target.to_owned(),
                    context: text("/targetInfo/browserContextId")
                        .unwrap_or_default()
                        .to_owned(),
                    holds_opener: event
                        .params
                        .pointer("/targetInfo/canAccessOpener")
                        .and_then(Value::as_bool)
                        .unwrap_or_default(),
                    told,
                };
                if let Some(orders) = self.orders.upgrade() {
                    let link = Link {
                        orders,
                        closed: self.closed.clone(),
                    };
                    self.arrivals.arrived(arrival, &link);
                }
            }
            "Target.detachedFromTarget" => {
                if let Some(session) = text("/sessionId") {
                    if let Some(page) = self.pages.remove(session) {
                        page.end(Over::Closed);
                    }
                    self.pending
                        .retain(|_, pending| pending.session.as_deref() != Some(session));
                }
            }
            _ => {}
        }
    }
}

impl Driver {
    fn act(&mut self, act: &Act, session: String) {
        let session = SessionId::from(act.worker().map_or(session, str::to_owned));
        for (method, params) in act.commands() {
            if let Err(error) =
                self.connection
                    .submit_command(method.into(), Some(session.clone()), params)
            {
                tracing::debug!(%error, "a page could not be answered");
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.closed.cancel();
        for page in self.pages.values() {
            page.end(Over::Crashed);
        }
    }
}

impl Method for Event {
    fn identifier(&self) -> chromiumoxide::types::MethodId {
        self.method.clone().into()
    }
}

impl EventMessage for Event {
    fn session_id(&self) -> Option<&str> {
        self.session.as_deref()
    }
}
