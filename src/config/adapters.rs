//! `[adapters]`: the stores of sessions.

use std::path::PathBuf;

use super::section::section;
use super::value::{DatabaseName, KeyPrefix, StoreUrl};

section! {
    /// The stores of sessions. A session lives in the one it was created in.
    pub struct Adapters {}
    nested {
        /// The file adapter: embedded and durable, for one process at a time.
        file: FileAdapter,
        /// The Redis adapter: shared by any number of processes.
        redis: RedisAdapter,
        /// The MongoDB adapter: shared by any number of processes.
        mongodb: MongodbAdapter,
    }
}

section! {
    /// An embedded and durable store that needs no server; one process at a time.
    pub struct FileAdapter {
        /// The file; made when the adapter is first used.
        path: PathBuf = "burdock.db";
    }
}

section! {
    /// A Redis server, or several as a cluster or behind Sentinel.
    pub struct RedisAdapter {
        /// redis://, rediss://, redis+cluster://H:P,H:P or redis+sentinel://H:P,H:P/SERVICE/DB.
        url: Option<StoreUrl> = "";
        /// What every key begins with.
        key_prefix: KeyPrefix = "burdock:";
    }
}

section! {
    /// A MongoDB server or replica set.
    pub struct MongodbAdapter {
        /// mongodb:// or mongodb+srv://.
        uri: Option<StoreUrl> = "";
        /// The database; its collections are made at the first connection.
        database: DatabaseName = "burdock";
    }
}
