//! The way to origins: which addresses, how to connect, and connections that belong to one owner.

mod body;
pub mod dial;
pub mod egress;
mod error;
mod executor;
mod io;
pub mod policy;
mod pool;
mod reached;
mod relay;
mod send;
mod shared;
mod source;
mod spare;
pub mod tls;

pub use body::{BodyError, Hold, Progress, RequestBody, ResponseBody};
pub use error::UpstreamError;
pub use executor::TrackedExecutor;
pub(crate) use io::write_gathered;
pub use io::{Link, Socket, Stream};
pub use pool::{MAX_ORIGINS, Origin, Pool, Terms};
pub use reached::Reached;
pub use relay::{Side, relay};
pub use send::{Answer, Failed, Switched, Upstream};
pub use spare::Spare;
