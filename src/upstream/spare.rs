//! A connection that a CONNECT made, before it is known what will be spoken on it.

use std::io;
use std::sync::Arc;

use super::egress::Exit;
use super::io::{Link, Stream};

/// A connection to an origin on which nothing has been said by us.
#[derive(Debug)]
pub struct Spare {
    link: Link,
    /// The proxy that it goes through.
    exit: Option<Arc<Exit>>,
}

impl Spare {
    pub(super) fn new(link: Link, exit: Option<Arc<Exit>>) -> Self {
        Self { link, exit }
    }

    /// Waits until the origin says something, which it leaves to be read: true; or closes: false.
    ///
    /// # Errors
    /// That of the connection.
    ///
    /// # Cancellation
    /// Dropped, nothing is lost.
    pub async fn speaks(&mut self) -> io::Result<bool> {
        self.link.speaks().await
    }

    /// The connection, if it leaves as it should, is still open, and nothing came on it that would be taken for an answer.
    pub(super) fn fit_for(mut self, exit: Option<&Arc<Exit>>) -> Option<Link> {
        (self.exit.as_ref() == exit && self.link.is_quiet()).then_some(self.link)
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }

    /// The connection itself, for bytes that are none of our business.
    pub fn into_stream(self) -> Stream {
        Stream::Plain(self.link)
    }
}
