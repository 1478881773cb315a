//! The way to the servers: kept open by a task, looked at twice a second, and known to be gone when it is.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{RedisError, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::dial::Dialer;
use super::keys::{Keys, slot};
use super::node::{Manner, Node, Trial};
use super::script::{Call, Repeat};
use super::survey::Layout;
use super::trouble::{Refusal, Trouble};
use super::url::{Address, Servers};

/// The way to the servers. Its task begins with the first call and ends when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    inner: Arc<Inner>,
    keeper: OnceLock<AbortOnDropHandle<()>>,
}

/// What the calls and the task share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) dialer: Arc<Dialer>,
    keys: Keys,
    process: String,
    pub(super) map: watch::Sender<Map>,
    /// Something looks wrong: look at once.
    pub(super) nudge: Notify,
}

/// What is known of the servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// None: nobody has looked yet.
    pub(super) layout: Option<Result<Arc<Layout>, Trouble>>,
    pub(super) nodes: BTreeMap<Address, Standing>,
}

/// How a server stands.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// Connected, and as it should be.
    Up(Arc<Node>),
    /// Known to be of no use, and why.
    Down(Trouble),
}

/// A nudge waits so long, that a storm of them does not make a storm of probes.
pub(super) const CALM: Duration = Duration::from_millis(20);

impl Link {
    pub(super) fn new(dialer: Arc<Dialer>, keys: Keys, process: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                dialer,
                keys,
                process,
                map: watch::Sender::default(),
                nudge: Notify::new(),
            }),
            keeper: OnceLock::new(),
        }
    }

    /// Has the task run.
    pub(super) fn open(&self) {
        self.keeper.get_or_init(|| {
            let inner = Arc::clone(&self.inner);
            AbortOnDropHandle::new(tokio::spawn(async move { inner.keep().await }))
        });
    }

    /// What is known of the servers, as it changes.
    pub(super) fn map(&self) -> watch::Receiver<Map> {
        self.inner.map.subscribe()
    }

    /// Has a script done by the server of its keys.
    ///
    /// # Errors
    /// What is wrong, at the call's deadline at the latest, and at once where it is known already. Nothing is done for the call
    /// after its deadline; before it, a call that failed may have been done.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, Trouble> {
        self.open();
        let mut address = None;
        match timeout_at(call.deadline, self.inner.call(call, &mut address)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.inner.nudge.notify_one();
                Err(address.map_or_else(
                    || Trouble::new("no Redis has been reached in time"),
                    |address| Trouble::silent(&address),
                ))
            }
        }
    }

    /// Whether every server can be reached and does its work.
    pub(super) async fn health(&self, deadline: Instant) -> Result<(), Trouble> {
        self.open();
        let mut map = self.map();
        let looked = timeout_at(deadline, map.wait_for(|map| map.layout.is_some()));
        let layout = match looked.await {
            Ok(Ok(map)) => map.layout.clone(),
            _ => None,
        };
        let layout = match layout {
            Some(Ok(layout)) => layout,
            Some(Err(trouble)) => return Err(trouble),
            None => return Err(Trouble::new("no Redis has been reached in time")),
        };
        if !layout.is_whole() {
            return Err(Trouble::new(
                "a part of the cluster's slots has no master: see CLUSTER INFO",
            ));
        }
        let trials = layout.servers().into_iter();
        let trials = trials.map(|(address, first)| self.try_out(address, first, deadline));
        let tried: Result<Vec<()>, Trouble> = join_all(trials).await.into_iter().collect();
        if tried.is_err() {
            self.inner.nudge.notify_one();
        }
        tried.map(|_| ())
    }

    /// Whether a server does its work. That a connection has ended says little: it is waited for what connecting anew tells.
    async fn try_out(
        &self,
        address: &Address,
        first: u16,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        let mut map = self.map();
        loop {
            let standing = map.borrow_and_update().nodes.get(address).cloned();
            let trouble = match standing {
                Some(Standing::Down(trouble)) if trouble.is_drop() => trouble,
                Some(Standing::Down(trouble)) => return Err(trouble),
                None => Trouble::silent(address),
                Some(Standing::Up(node)) => match node.try_out(&self.inner.trial(first)).await {
                    Err(trouble) if trouble.is_drop() => {
                        node.wire().close();
                        trouble
                    }
                    tried => return tried,
                },
            };
            if !matches!(timeout_at(deadline, map.changed()).await, Ok(Ok(()))) {
                return Err(trouble);
            }
        }
    }
}

impl Map {
    /// The servers that hold the sessions, in order, as far as is known.
    pub(super) fn owners(&self) -> Option<Vec<Address>> {
        let layout = self.layout.as_ref()?.as_ref().ok()?;
        let owners = layout.servers().into_iter();
        let mut owners: Vec<_> = owners.map(|(address, _)| address.clone()).collect();
        owners.sort_unstable();
        Some(owners)
    }

    /// The same, where all of them are up.
    pub(super) fn listened(&self) -> Option<Vec<Address>> {
        let up = |address: &Address| matches!(self.nodes.get(address), Some(Standing::Up(_)));
        self.owners().filter(|owners| owners.iter().all(up))
    }
}

impl Inner {
    async fn call(&self, call: &Call, asked: &mut Option<Address>) -> Result<Value, Trouble> {
        let slot = slot(call.key());
        let mut redirect: Option<(Address, Manner)> = None;
        loop {
            let (node, manner) = match redirect.take() {
                Some((address, manner)) => (self.node(Goal::At(&address)).await?, manner),
                None => (self.node(Goal::Owner(slot)).await?, Manner::Owner),
            };
            *asked = Some(node.address().clone());
            let error = match node.eval(call, manner).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match Next::after(&error, node.address(), &self.dialer.url().servers) {
                Next::Redirect(address, manner) => {
                    if manner == Manner::Owner {
                        self.nudge.notify_one();
                    }
                    redirect = Some((address, manner));
                }
                Next::Wait => {
                    self.nudge.notify_one();
                    sleep(CALM).await;
                }
                Next::Distrust => node.wire().close(),
                Next::Reconnect if call.repeat == Repeat::Harmless => node.wire().close(),
                Next::Reconnect | Next::GiveUp => {
                    return Err(Trouble::answered(node.address(), &error));
                }
            }
        }
    }

    /// The node that is asked for; waits while nobody knows whether it is up.
    async fn node(&self, goal: Goal<'_>) -> Result<Arc<Node>, Trouble> {
        let mut map = self.map.subscribe();
        loop {
            {
                let map = map.borrow_and_update();
                let address = match (&goal, &map.layout) {
                    (_, Some(Err(trouble))) => return Err(trouble.clone()),
                    (Goal::At(address), _) => Some(*address),
                    (Goal::Owner(slot), Some(Ok(layout))) => {
                        let owner = layout.owner(*slot).ok_or_else(|| {
                            Trouble::new(
                                "a part of the cluster's slots has no master: see CLUSTER INFO",
                            )
                        })?;
                        Some(owner)
                    }
                    (Goal::Owner(_), None) => None,
                };
                match address.and_then(|address| map.nodes.get(address)) {
                    Some(Standing::Up(node)) if !node.wire().is_closed() => {
                        return Ok(Arc::clone(node));
                    }
                    Some(Standing::Down(trouble)) => return Err(trouble.clone()),
                    _ => {}
                }
            }
            if map.changed().await.is_err() {
                return Err(Trouble::new("the adapter is being shut down"));
            }
        }
    }

    pub(super) fn trial(&self, first_slot: u16) -> Trial {
        Trial {
            key: self.keys.of_trial(first_slot),
            channel: self.keys.changes(),
            process: self.process.clone(),
        }
    }
}

/// Which node a call is for.
enum Goal<'a> {
    /// The owner of this slot.
    Owner(u16),
    /// The one that another node named.
    At(&'a Address),
}

/// What to do after an error.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing was done: another node has it.
    Redirect(Address, Manner),
    /// Nothing was done: it may be possible in a moment.
    Wait,
    /// Nothing was done: the server is not what it was, and has to be tried out again.
    Distrust,
    /// The connection ended; the call may have been done.
    Reconnect,
    GiveUp,
}

impl Next {
    fn after(error: &RedisError, from: &Address, servers: &Servers) -> Self {
        let is_cluster = matches!(servers, Servers::Cluster(_));
        let manner = match error.kind() {
            redis::ErrorKind::Server(ServerErrorKind::Moved) => Some(Manner::Owner),
            redis::ErrorKind::Server(ServerErrorKind::Ask) => Some(Manner::Asking),
            _ => None,
        };
        if let Some(manner) = manner {
            let named = error.redirect_node();
            return match named.and_then(|(named, _)| Address::from_server(named, from)) {
                Some(address) if is_cluster => Self::Redirect(address, manner),
                _ => Self::GiveUp,
            };
        }
        match Refusal::of(error) {
            // Late by a clock that was set: the next look at the server sets ours. Late indeed, the deadline ends it.
            Refusal::ClusterDown | Refusal::Late => Self::Wait,
            _ if error.kind() == ServerErrorKind::TryAgain.into() => Self::Wait,
            Refusal::ReadOnly | Refusal::Loading => Self::Distrust,
            Refusal::Dropped => Self::Reconnect,
            _ => Self::GiveUp,
        }
    }
}
