//! What is told of an exchange once it is over.

mod access;

pub use access::{AccessLog, Entry};
