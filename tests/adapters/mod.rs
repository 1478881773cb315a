//! Sessions that survive, and that many processes share: a file a store, against the real store.

mod redis;
