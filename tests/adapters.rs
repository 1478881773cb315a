//! The stores of sessions: what survives what, and what is told when one cannot be used.

mod file;
mod mongodb;
mod redis;
