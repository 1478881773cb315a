//! burdock is a forward proxy for people who scrape the web: what `X-Session-ID` names is kept one visitor,
//! with cookies, limits, connections and a user agent of its own.
//!
//! Every request walks seven steps, whichever door it came through: identify, admit, inject, route, fetch,
//! absorb, deliver. From the top floor to the ground, a module using only those below it:
//!
//! - [`cli`]: arguments, commands and exit codes.
//! - [`app`]: builds everything from a configuration, runs it, and takes it down in order.
//! - [`doors`]: listeners; bytes become requests and the facts about their connection.
//! - [`admin`]: the REST API, on the same pipeline.
//! - [`exchange`]: the seven steps.
//! - [`browser`]: pages rendered by Chromium, a context a session.
//! - [`registry`]: the sessions in use, loaded once, expired on time.
//! - [`adapters`]: where records are stored.
//! - [`upstream`]: the way to origins, over connections that belong to one session.
//! - [`routing`]: by which route a request goes.
//! - [`ca`]: the certificate authority and its leaves.
//! - [`observe`]: what is told of an exchange.
//! - [`config`]: everything that can be configured, checked once.
//! - [`fault`]: the errors that burdock itself answers with.
//! - [`clock`]: the present.
//! - [`seal`]: secrets at rest.
//! - [`session`]: cookies, limits and records as pure values.
//! - [`message`]: authorities and fields as pure values.

#![forbid(unsafe_code)]

pub mod adapters;
pub mod admin;
pub mod app;
pub mod browser;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doors;
pub mod exchange;
pub mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod message;
pub mod observe;
pub mod registry;
pub mod routing;
pub mod seal;
pub mod session;
pub mod upstream;
