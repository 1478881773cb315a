//! Where hyper's HTTP/2 runs its tasks: among those that are waited for at the end.

use std::future::Future;

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

/// Runs hyper's tasks as tasks of a tracker.
#[derive(Clone, Debug)]
pub struct TrackedExecutor(pub TaskTracker);

impl<F> Executor<F> for TrackedExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
