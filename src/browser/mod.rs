//! Pages rendered by Chromium: a pool of its processes, a browser context a session, one identity on both routes.
//!
//! What a page loads comes back into burdock through a listener that belongs to its context ([`Doors`]): the one loop in the
//! walk of a request. The document itself is fetched by the exchange and offered to that listener ([`Visitor::offer`]), so that
//! an origin sees one request for it.

mod document;
mod error;
mod executable;
mod options;
mod pool;
mod visitor;

pub use self::document::{Ask, Document, Rendered, Shot, ShotFormat};
pub use self::error::BrowserError;
pub use self::executable::find;
pub use self::options::{Blocked, Options, Sandbox, Wait, WaitUntil};
pub use self::pool::{BrowserStatus, Browsers, Counts, Slot, Status};
pub use self::visitor::{Clients, Doors, Offer, OpenDoor, Over, Visitor};
