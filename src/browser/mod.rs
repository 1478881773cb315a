//! Pages rendered by Chromium: a pool of its processes, a browser context a session, one identity on both routes.
//!
//! What a page loads comes back into burdock through a listener that belongs to its context ([`Doors`]): the one loop in the
//! walk of a request. The document itself is fetched by the exchange and offered to that listener ([`Visitor::offer`]), so that
//! an origin sees one request for it.

mod chromium;
mod context;
mod document;
mod error;
mod executable;
mod flags;
mod fleet;
mod identity;
mod link;
mod options;
mod page;
mod pool;
mod process;
mod profile;
mod read;
mod render;
mod seat;
mod setup;
mod slot;
mod status;
mod surrogates;
mod sync;
#[cfg(test)]
mod tests;
mod visitor;
mod watch;

pub use self::document::{Ask, Document, Rendered, Shot, ShotFormat};
pub use self::error::BrowserError;
pub use self::executable::find;
pub use self::options::{Blocked, Options, Sandbox, Wait, WaitUntil};
pub use self::pool::Browsers;
pub use self::slot::Slot;
pub use self::status::{BrowserStatus, Counts, Status};
pub use self::visitor::{Clients, Doors, IdentityFields, Offer, OpenDoor, Over, Visitor};
