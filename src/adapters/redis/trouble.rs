//! What is wrong with a Redis, in words that say what to do. No password and no value is ever in them.

use std::fmt;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::url::Address;
use crate::adapters::StoreError;

/// What is wrong, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    text: Arc<str>,
    /// What the server answered; none where it did not.
    refusal: Option<Refusal>,
}

impl Trouble {
    pub(super) fn new(text: impl fmt::Display) -> Self {
        Self {
            text: text.to_string().into(),
            refusal: None,
        }
    }

    /// Whether the server has refused, so that nothing was done.
    pub(super) fn is_refusal(&self) -> bool {
        self.refusal
            .is_some_and(|refusal| refusal != Refusal::Dropped)
    }

    /// Whether the server has no room for more, and does everything else.
    pub(super) fn is_fullness(&self) -> bool {
        self.refusal == Some(Refusal::Full)
    }

    /// No connection could be made.
    pub(super) fn unreachable(address: &Address, error: &io::Error) -> Self {
        Self::new(format_args!(
            "Redis at {address} cannot be reached ({error}): start it, or correct adapters.redis.url"
        ))
    }

    /// There was no answer in time.
    pub(super) fn silent(address: &Address) -> Self {
        Self::new(format_args!(
            "Redis at {address} does not answer in time: it is stopped, overloaded, or cut off"
        ))
    }

    /// The connection ended.
    pub(super) fn dropped(address: &Address) -> Self {
        let text = format_args!(
            "the connection to Redis at {address} ended: it was stopped or started anew"
        );
        Self {
            refusal: Some(Refusal::Dropped),
            ..Self::new(text)
        }
    }

    /// Whether the connection ended: another may be had.
    pub(super) fn is_drop(&self) -> bool {
        self.refusal == Some(Refusal::Dropped)
    }

    /// TLS could not be agreed upon.
    pub(super) fn tls(address: &Address, error: &dyn fmt::Display) -> Self {
        Self::new(format_args!(
            "no TLS with Redis at {address} ({error}): its certificate has to be for that name and from a known authority; without TLS the address begins with redis://"
        ))
    }

    /// What the server answered instead of doing the work.
    pub(super) fn answered(address: &Address, error: &RedisError) -> Self {
        let refusal = Refusal::of(error);
        Self {
            refusal: Some(refusal),
            ..Self::explaining(refusal, address, error)
        }
    }

    fn explaining(refusal: Refusal, address: &Address, error: &RedisError) -> Self {
        let at = format_args!("Redis at {address}");
        match refusal {
            Refusal::Login => Self::new(format_args!(
                "{at} refuses the user or the password: correct them in adapters.redis.url"
            )),
            Refusal::NoLogin => Self::new(format_args!(
                "{at} wants a password: put user and password into adapters.redis.url"
            )),
            Refusal::Forbidden => Self::new(format_args!(
                "{at} forbids its user what burdock needs ({}): docs/ADAPTERS.md has the rules for the user",
                error.detail().unwrap_or("NOPERM")
            )),
            Refusal::ReadOnly => Self::new(format_args!(
                "{at} is a read-only replica: adapters.redis.url has to name the master, or the sentinels that know it"
            )),
            Refusal::Full => Self::new(format_args!(
                "{at} is full (maxmemory): give it more memory, or delete sessions"
            )),
            Refusal::CannotSave => Self::new(format_args!(
                "{at} takes no writes since it cannot save them (MISCONF): look at its disk and its log"
            )),
            Refusal::Loading => Self::new(format_args!("{at} is still loading its data")),
            Refusal::FewReplicas => Self::new(format_args!(
                "{at} has fewer replicas than its min-replicas-to-write: start them"
            )),
            Refusal::ClusterDown => Self::new(format_args!(
                "the cluster of {at} is down: a part of its slots has no master"
            )),
            Refusal::Late => Self::silent(address),
            Refusal::Dropped => Self::dropped(address),
            Refusal::Cluster => Self::new(format_args!(
                "{at} is a node of a cluster: adapters.redis.url has to begin with redis+cluster://"
            )),
            Refusal::NoCluster => Self::new(format_args!(
                "{at} is no node of a cluster: adapters.redis.url has to begin with redis:// or rediss://"
            )),
            Refusal::Other => {
                let code = error.code().unwrap_or(error.category());
                Self::new(format_args!(
                    "{at} answers {code}: {}",
                    error.detail().unwrap_or("no more than that")
                ))
            }
        }
    }

    /// A reply that is none of those that the scripts give.
    pub(super) fn garbled(what: &str) -> Self {
        Self::new(format_args!(
            "Redis answers a script of burdock's with something else ({what}): is it a Redis, 6.0 or later?"
        ))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        Self {
            adapter: super::NAME,
            reason: trouble.text,
        }
    }
}

/// The kinds of refusal that have a remedy of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Login,
    NoLogin,
    Forbidden,
    ReadOnly,
    Full,
    CannotSave,
    Loading,
    FewReplicas,
    ClusterDown,
    /// It is a node of a cluster, and the keys are another's.
    Cluster,
    /// It was asked for its cluster, and has none.
    NoCluster,
    /// The caller had given up before the server came to it: nothing was done.
    Late,
    /// The connection is gone: what was asked may have been done or not.
    Dropped,
    Other,
}

impl Refusal {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => return Self::of_login(error),
            ErrorKind::Io => return Self::Dropped,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => return Self::Loading,
            _ => {}
        }
        let code = error.code().unwrap_or_default();
        let says = |words: &str| error.detail().is_some_and(|detail| detail.contains(words));
        if code == "ERR" && says("cluster support disabled") {
            return Self::NoCluster;
        }
        // Redis 7.0 gives no code to what a script is forbidden.
        if code == "ERR" && says("The user executing the script can't") {
            return Self::Forbidden;
        }
        match Self::of_code(code) {
            // Redis 6 wraps what a command of a script was refused with.
            Self::Other => error
                .detail()
                .unwrap_or_default()
                .split(|c: char| !c.is_ascii_uppercase())
                .map(Self::of_code)
                .find(|refusal| *refusal != Self::Other)
                .unwrap_or(Self::Other),
            refusal => refusal,
        }
    }

    fn of_login(error: &RedisError) -> Self {
        let detail = error.detail().unwrap_or_default();
        if detail.contains("NOAUTH") {
            Self::NoLogin
        } else {
            Self::Login
        }
    }

    fn of_code(code: &str) -> Self {
        match code {
            "WRONGPASS" => Self::Login,
            "NOAUTH" => Self::NoLogin,
            "NOPERM" => Self::Forbidden,
            "READONLY" => Self::ReadOnly,
            "OOM" => Self::Full,
            "MISCONF" => Self::CannotSave,
            "LOADING" => Self::Loading,
            "NOREPLICAS" => Self::FewReplicas,
            "CLUSTERDOWN" | "MASTERDOWN" => Self::ClusterDown,
            "LATE" => Self::Late,
            "MOVED" | "CROSSSLOT" => Self::Cluster,
            _ => Self::Other,
        }
    }
}
