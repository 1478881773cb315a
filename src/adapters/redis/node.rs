//! One server that is connected, known to do what the scripts ask, and whose clock is known.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redis::{RedisResult, ServerErrorKind, Value};
use tokio::time::{Instant, timeout_at};

use super::dial::{Dialer, Login, PROBE_TIMEOUT, Wire};
use super::script::{Call, Repeat, TRIAL};
use super::trouble::Trouble;
use super::url::Address;

/// A connected server.
#[derive(Debug)]
pub(super) struct Node {
    address: Address,
    wire: Wire,
    clock: Clock,
}

/// What a server's clock shows, as far as its answers tell.
#[derive(Debug)]
struct Clock {
    base: Instant,
    /// What it showed at `base`, in microseconds since the epoch; never less than it did.
    at_base: AtomicI64,
}

/// How a call is given to a node of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// To the owner of its slot.
    Owner,
    /// To the node that is about to own it.
    Asking,
}

impl Node {
    /// Connects, logs in, and tries out on a key of its own whether the server does what the scripts ask of it. A server that
    /// is merely full passes: what it holds can be read and deleted.
    pub(super) async fn connect(
        dialer: &Dialer,
        address: &Address,
        trial: &Trial,
    ) -> Result<Self, Trouble> {
        let node = Self {
            address: address.clone(),
            wire: dialer.wire(address, Login::Yes).await?,
            clock: Clock {
                base: Instant::now(),
                at_base: AtomicI64::new(0),
            },
        };
        node.probe().await?;
        match node.try_out(trial).await {
            Err(trouble) if !trouble.is_fullness() => return Err(trouble),
            _ => {}
        }
        node.warn_of_eviction().await;
        Ok(node)
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Asks for the time: whether the server answers, and what its clock shows.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        let asked = Instant::now();
        let answer = self.wire.ask(&self.address, &redis::cmd("TIME")).await?;
        let (seconds, micros): (i64, i64) =
            redis::from_redis_value(answer).map_err(|_| Trouble::garbled("TIME"))?;
        self.clock.set(asked, seconds * 1_000_000 + micros);
        Ok(())
    }

    /// Does on a key of its own what all the scripts do.
    pub(super) async fn try_out(&self, trial: &Trial) -> Result<(), Trouble> {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        let keys = [trial.key.clone()];
        let mut call = Call::new(&TRIAL, &keys, Repeat::Harmless, deadline);
        call.arg(&trial.channel).arg(&trial.process);
        match timeout_at(deadline, self.eval(&call, Manner::Owner)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Trouble::answered(&self.address, &error)),
            Err(_) => Err(Trouble::silent(&self.address)),
        }
    }

    /// Has the server do a call. What it refuses as unknown by its hash is sent again with its source.
    pub(super) async fn eval(&self, call: &Call, manner: Manner) -> RedisResult<Value> {
        let not_after = self.clock.at(call.deadline);
        let send = async |command| match manner {
            Manner::Owner => self.wire.send(&command).await,
            Manner::Asking => self.wire.send_asking(&command).await,
        };
        match send(call.by_hash(not_after)).await {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                send(call.by_source(not_after)).await
            }
            answer => answer,
        }
    }

    /// Sessions that a server evicts are visitors logged out without a word.
    async fn warn_of_eviction(&self) {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        // A user may be forbidden to ask; then it is for whoever set up the server to know.
        let Ok(answer) = self.wire.ask(&self.address, &info).await else {
            return;
        };
        let text: String = redis::from_redis_value(answer).unwrap_or_default();
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or_default()
        };
        let policy = field("maxmemory_policy");
        if field("maxmemory") != "0" && !matches!(policy, "" | "noeviction") {
            tracing::warn!(
                redis = %self.address,
                maxmemory_policy = policy,
                "this Redis may evict sessions when its memory is full, and visitors are logged out without a word: set maxmemory-policy to noeviction"
            );
        }
    }
}

/// What a server is tried out with.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// In a slot that is the node's.
    pub(super) key: String,
    pub(super) channel: String,
    pub(super) process: String,
}

impl Clock {
    /// Notes what the clock showed in an answer to a question asked at `asked`: then it showed that at most.
    fn set(&self, asked: Instant, micros: i64) {
        self.at_base
            .store(micros - micros_between(self.base, asked), Ordering::Relaxed);
    }

    /// What it shows at a moment, or up to the length of a round trip more.
    fn at(&self, moment: Instant) -> i64 {
        self.at_base.load(Ordering::Relaxed) + micros_between(self.base, moment)
    }
}

fn micros_between(earlier: Instant, later: Instant) -> i64 {
    let span: Duration = later.saturating_duration_since(earlier);
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}
