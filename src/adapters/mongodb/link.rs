//! The link to the server: one task makes it, watches it, and makes it anew; calls go through it while it stands and fail at
//! once while it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, HostInfo, IndexOptions, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, IndexModel};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::fault::Place;
use super::{NAME, ledger};
use crate::adapters::{DEADLINE, Freshness, StoreError};

/// What calls need of the server while the link stands.
#[derive(Debug)]
pub(super) struct Store {
    /// A document a session.
    pub(super) sessions: Collection<Document>,
    /// How many there are, see [`ledger`].
    pub(super) ledger: Collection<Document>,
    /// Where [`super::changes`] says that changes of this link are being told: the number of its stream, from 1; 0 where
    /// they are not.
    pub(super) told: AtomicU64,
}

/// The state of the link.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Not tried yet.
    Starting,
    /// It stands.
    Up(Arc<Store>),
    /// It does not: why, and what to do.
    Down(Arc<str>),
}

/// The link. Its [keeper](Link::keep) has to run.
#[derive(Debug)]
pub(super) struct Link {
    uri: ConnectionString,
    place: Place,
    state: watch::Sender<State>,
    /// Why the driver's own look at the server failed last.
    heartbeat: Arc<Mutex<Option<mongodb::error::Error>>>,
    /// When a call was last answered.
    answered: Mutex<Instant>,
}

impl Link {
    pub(super) fn new(uri: ConnectionString, database: String) -> Self {
        let hosts = match &uri.host_info {
            HostInfo::HostIdentifiers(hosts) => {
                let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                hosts.join(",")
            }
            HostInfo::DnsRecord(name) => name.clone(),
            _ => String::from("its address"),
        };
        Self {
            uri,
            place: Place { hosts, database },
            state: watch::Sender::new(State::Starting),
            heartbeat: Arc::default(),
            answered: Mutex::new(Instant::now()),
        }
    }

    /// The state, and word of its changes.
    pub(super) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// How far copies can be trusted.
    pub(super) fn freshness(&self) -> Freshness {
        match &*self.state.borrow() {
            State::Up(store) => match store.told.load(Ordering::Acquire) {
                0 => Freshness::Polled(UNTOLD),
                interruptions => Freshness::Linked(interruptions),
            },
            State::Starting | State::Down(_) => Freshness::Unlinked,
        }
    }

    /// Does something with the server within the [deadline](DEADLINE); at once an error where the link is down.
    pub(super) async fn call<T>(
        &self,
        act: impl AsyncFnOnce(&Store) -> Result<T, mongodb::error::Error>,
    ) -> Result<T, StoreError> {
        let acted = timeout_at(Instant::now() + DEADLINE, async {
            let store = self.standing().await?;
            let acted = act(&store).await;
            acted.map_err(|error| self.explain(&error))
        });
        let acted = acted
            .await
            .unwrap_or_else(|_| Err(fault(self.place.silent())))?;
        *self.answered.lock() = Instant::now();
        Ok(acted)
    }

    /// An error in words.
    pub(super) fn explain(&self, error: &mongodb::error::Error) -> StoreError {
        fault(self.place.explain(error, self.heartbeat.lock().as_ref()))
    }

    /// Why there is no answer: what the driver has found out by its own look at the server, or only that there is none.
    fn silence(&self) -> String {
        match &*self.heartbeat.lock() {
            Some(error) => self.place.explain(error, None),
            None => self.place.silent(),
        }
    }

    /// Makes the link, watches it, and makes it anew for as long as it is polled.
    pub(super) async fn keep(&self) {
        loop {
            match timeout(CONNECTING, self.connect()).await {
                Ok(Ok(store)) => {
                    tracing::info!(adapter = NAME, hosts = %self.place.hosts, "store connected");
                    let store = Arc::new(store);
                    self.state.send_replace(State::Up(Arc::clone(&store)));
                    self.down(self.watch_over(&store).await);
                }
                Ok(Err(reason)) => self.down(reason),
                Err(_) => self.down(self.silence()),
            }
            sleep(PROBE_EVERY).await;
        }
    }

    async fn standing(&self) -> Result<Arc<Store>, StoreError> {
        let mut watch = self.state.subscribe();
        let state = watch
            .wait_for(|state| !matches!(state, State::Starting))
            .await
            .expect("the sender lives as long as the link")
            .clone();
        match state {
            State::Up(store) => Ok(store),
            State::Down(reason) => Err(StoreError {
                adapter: NAME,
                reason,
            }),
            State::Starting => unreachable!("waited for"),
        }
    }

    fn down(&self, reason: String) {
        let known = match &*self.state.borrow() {
            State::Down(known) => **known == *reason,
            State::Starting | State::Up(_) => false,
        };
        if !known {
            tracing::warn!(adapter = NAME, reason, "store unavailable");
            self.state.send_replace(State::Down(reason.into()));
        }
    }

    /// A client of its own for every attempt, so that certificates and addresses are read anew, and no connection is
    /// left that a stopped server holds.
    async fn connect(&self) -> Result<Store, String> {
        let in_words = |error| self.explain(&error).reason.to_string();
        let options = self.options().await.map_err(in_words)?;
        let client = Client::with_options(options).map_err(in_words)?;
        let hello = match self.probe(&client).await {
            Ok(hello) => hello.map_err(in_words)?,
            Err(_) => return Err(self.silence()),
        };
        // The version of the wire protocol that came with 4.4; shards and replicas alike say it.
        if hello.get_i32("maxWireVersion").unwrap_or(0) < 9 {
            return Err(self.place.too_old());
        }
        let database = client.database(&self.place.database);
        let store = Store {
            sessions: database.collection("sessions"),
            ledger: database.collection("ledger"),
            told: AtomicU64::new(0),
        };
        store.prepare().await.map_err(in_words)?;
        Ok(store)
    }

    async fn options(&self) -> Result<ClientOptions, mongodb::error::Error> {
        let mut options = ClientOptions::parse(self.uri.clone()).await?;
        options.app_name.get_or_insert_with(|| "burdock".to_owned());
        options.connect_timeout.get_or_insert(PROBE_WITHIN);
        options.max_pool_size.get_or_insert(POOL);
        options.server_selection_timeout = Some(PROBE_WITHIN);
        // A copy is to be as good as what was written last.
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        // Each command has what it needs by default; a change stream takes no other.
        options.read_concern = None;
        let heartbeat = Arc::clone(&self.heartbeat);
        options.sdam_event_handler = Some(EventHandler::callback(move |event| match event {
            SdamEvent::ServerHeartbeatFailed(event) => *heartbeat.lock() = Some(event.failure),
            SdamEvent::ServerHeartbeatSucceeded(_) => *heartbeat.lock() = None,
            _ => {}
        }));
        Ok(options)
    }

    async fn probe(
        &self,
        client: &Client,
    ) -> Result<Result<Document, mongodb::error::Error>, Elapsed> {
        let admin = client.database("admin");
        timeout(PROBE_WITHIN, admin.run_command(doc! { "hello": 1 })).await
    }

    /// Probes the link until it is down; why it is.
    async fn watch_over(&self, store: &Store) -> String {
        let mut prepared = Instant::now();
        loop {
            sleep(PROBE_EVERY).await;
            match self.probe(store.sessions.client()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return self.explain(&error).reason.to_string(),
                // A probe may stand in line with many calls that are answered.
                Err(_) if self.answered.lock().elapsed() < PROBE_WITHIN => {}
                Err(_) => return self.silence(),
            }
            if prepared.elapsed() > PREPARE_EVERY {
                match timeout(CONNECTING, store.prepare()).await {
                    Ok(Ok(())) => prepared = Instant::now(),
                    Ok(Err(error)) => return self.explain(&error).reason.to_string(),
                    Err(_) => return self.silence(),
                }
            }
        }
    }
}

impl Store {
    /// Makes indexes and ledger, where they are missing: in a database that was dropped while burdock ran as well.
    async fn prepare(&self) -> Result<(), mongodb::error::Error> {
        let at_its_date = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let index = |keys, options| IndexModel::builder().keys(keys).options(options).build();
        self.sessions
            .create_indexes([
                index(doc! { "expiresAt": 1 }, Some(at_its_date)),
                index(doc! { "expires": 1 }, None),
                index(doc! { "labels": 1, "_id": 1 }, None),
            ])
            .write_concern(durable())
            .await?;
        ledger::open(&self.ledger).await
    }
}

/// What was acknowledged survives a crash of the server and the loss of a minority of its replicas.
pub(super) fn durable() -> WriteConcern {
    let mut concern = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .build();
    concern.w_timeout = Some(MAJORITY_WITHIN);
    concern
}

/// The server has it.
pub(super) fn lasting() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).build()
}

/// An error of this adapter.
pub(super) fn fault(reason: String) -> StoreError {
    StoreError {
        adapter: NAME,
        reason: reason.into(),
    }
}

/// Where nobody tells of changes, a copy is as good as new for this long.
const UNTOLD: Duration = Duration::from_secs(1);

/// How often the link is looked at, up or down.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How long an answer to that may take.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// How long the majority may take to acknowledge a change: less than the deadline, to have its own error.
const MAJORITY_WITHIN: Duration = Duration::from_millis(1200);

/// How long connecting and making indexes may take.
const CONNECTING: Duration = Duration::from_secs(10);

/// How often indexes are made sure of.
const PREPARE_EVERY: Duration = Duration::from_secs(60);

/// Connections to a server, unless the URI says `maxPoolSize`.
const POOL: u32 = 32;
