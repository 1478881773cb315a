//! The harness: a real burdock, real origins and raw clients round real sockets, each reaped on drop.

use std::future::Future;
use std::time::Duration;

pub mod burdock;
pub mod client;
pub mod head;
pub mod nginx;
pub mod origin;
pub mod problem;
pub mod raw;
pub mod reply;
pub mod tls;
pub mod tool;

pub use burdock::Burdock;
pub use client::{Answer, Client};
pub use origin::Origin;
pub use raw::Raw;
pub use reply::{Gate, Reply};

/// How long anything that should happen may take to happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What `future` gives, within the deadline; `what` is named if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(DEADLINE, what, future).await
}

/// What `future` gives, within `time`.
pub async fn within_time<T>(time: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(time, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {time:?}"),
    }
}

/// Looks again and again until `look` finds something, within the deadline.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, found).await
}
