//! The scripts, each an atomic step of the store, and a call of one.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs};
use tokio::time::Instant;

/// A script and the hash by which a server that has seen it knows it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) source: &'static str,
    hash: LazyLock<String>,
}

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident = $file:literal;)*) => {$(
        $(#[$meta])*
        pub(super) static $name: Script = {
            const SOURCE: &str = concat!(
                include_str!("scripts/prelude.lua"),
                include_str!(concat!("scripts/", $file)),
            );
            Script {
                source: SOURCE,
                hash: LazyLock::new(|| redis::Script::new(SOURCE).get_hash().to_owned()),
            }
        };
    )*};
}

scripts! {
    /// Stores a new session.
    CREATE = "create.lua";
    /// Everything of a session.
    LOAD = "load.lua";
    /// Applies a delta.
    APPLY = "apply.lua";
    /// Removes a session.
    REMOVE = "remove.lua";
    /// Takes cells of a rate.
    RESERVE = "reserve.lua";
    /// Takes room in the index.
    ADMIT = "admit.lua";
    /// Keeps the index's expiry of a session right.
    NOTE = "note.lua";
    /// Takes sessions off the index.
    UNLIST = "unlist.lua";
    /// How many sessions there are.
    COUNT = "count.lua";
    /// The next ids in order.
    PAGE = "page.lua";
    /// The ids that have expired by the index.
    DUE = "due.lua";
    /// Everything that the others do, on a key of its own.
    TRIAL = "trial.lua";
}

/// Whether a call may be made again when nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It may: doing it twice is doing it once.
    Harmless,
    /// It may not: counters would be added twice, or cells taken twice.
    Harmful,
}

/// A script with what it works on.
#[derive(Debug)]
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Vec<u8>>,
    pub(super) repeat: Repeat,
    /// When the caller gives up: nothing is done for it after that, by the server either.
    pub(super) deadline: Instant,
}

impl Call {
    pub(super) fn new(
        script: &'static Script,
        keys: &[String],
        repeat: Repeat,
        deadline: Instant,
    ) -> Self {
        Self {
            script,
            keys: keys.to_vec(),
            args: Vec::new(),
            repeat,
            deadline,
        }
    }

    /// Adds an argument.
    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.args.extend(arg.to_redis_args());
        self
    }

    /// Adds how many there are, and then each.
    pub(super) fn all<T: ToRedisArgs>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> &mut Self {
        let items = items.into_iter();
        self.arg(items.len());
        for item in items {
            self.arg(item);
        }
        self
    }

    /// The key that says to which node of a cluster it goes: all are in one slot.
    pub(super) fn key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    /// The command, by the script's hash, for a server whose clock shows `not_after` at the deadline.
    pub(super) fn by_hash(&self, not_after: i64) -> Cmd {
        self.command("EVALSHA", &self.script.hash, not_after)
    }

    /// The command with the script in it, which the server then knows.
    pub(super) fn by_source(&self, not_after: i64) -> Cmd {
        self.command("EVAL", self.script.source, not_after)
    }

    fn command(&self, name: &str, script: &str, not_after: i64) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        command.arg(not_after).arg(&self.args);
        command
    }
}
