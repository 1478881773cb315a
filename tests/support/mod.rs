//! The harness: a real burdock, real origins and raw clients round real sockets, each reaped on drop.

use std::future::Future;
use std::time::Duration;

pub(crate) mod burdock;
pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod head;
pub(crate) mod mongo;
pub(crate) mod nginx;
pub(crate) mod origin;
pub(crate) mod problem;
pub(crate) mod proxies;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod reply;
pub(crate) mod service;
pub(crate) mod tls;
pub(crate) mod tool;

pub(crate) use burdock::Burdock;
pub(crate) use client::{Answer, Client};
pub(crate) use origin::Origin;
pub(crate) use raw::Raw;
pub(crate) use reply::{Gate, Reply};

/// How long anything that should happen may take to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Lets this process, and the burdocks that it starts from now on, have as many descriptors as they ever may.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, most).expect("the soft limit may be as high as the hard one");
}

/// What `future` gives, within the deadline; `what` is named if it does not come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    within_time(DEADLINE, what, future).await
}

/// What `future` gives, within `time`.
pub(crate) async fn within_time<T>(
    time: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> T {
    match tokio::time::timeout(time, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {time:?}"),
    }
}

/// Looks again and again until `look` finds something, within the deadline.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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
