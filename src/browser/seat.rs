//! What hangs on a session: its browser context, while it has one, and the last picture of its pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::context::{Context, InUse};
use crate::registry::Attachment;

/// A session's place in the browsers. It is there from its first page until the session is over or unloaded.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Held while a context is made, so that there is one.
    pub(super) making: tokio::sync::Mutex<()>,
    context: Mutex<Option<Arc<Context>>>,
    pub(super) thumbnail: Mutex<Option<Bytes>>,
    over: AtomicBool,
}

impl Seat {
    /// Its context, if pages may be opened in that; it stays until the answer is dropped.
    pub(super) fn context(&self) -> Option<InUse> {
        let mut seated = self.context.lock();
        match seated.as_ref().filter(|context| context.is_usable()) {
            Some(context) => Some(context.hold()),
            None => {
                *seated = None;
                None
            }
        }
    }

    /// Gives it a context.
    pub(super) fn put(&self, context: &Arc<Context>) -> InUse {
        let held = context.hold();
        *self.context.lock() = Some(Arc::clone(context));
        // After it was put there: whoever ends the session meanwhile finds it, or is seen here.
        if self.over.load(Ordering::SeqCst) {
            self.end();
        }
        held
    }

    /// Takes it away if nobody uses it; whether that was so.
    pub(super) fn vacate(&self, context: &Context) -> bool {
        let mut seated = self.context.lock();
        let is_it = seated
            .as_ref()
            .is_some_and(|seated| std::ptr::eq(&**seated, context));
        let leaves = is_it && context.idle_since().is_some();
        if leaves {
            *seated = None;
        }
        leaves
    }

    fn end(&self) {
        if let Some(context) = self.context.lock().take() {
            context.over.cancel();
        }
    }
}

impl Attachment for Seat {
    fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.end();
    }
}
