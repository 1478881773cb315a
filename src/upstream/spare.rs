//! A connection that a CONNECT made, before it is known what will be spoken on it.

use std::io;

use tokio::net::TcpStream;

use super::io::is_quiet;

/// A TCP connection to an origin on which nothing has been said by us.
#[derive(Debug)]
pub struct Spare(TcpStream);

impl Spare {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// Waits until the origin says something, which it leaves to be read: true; or closes: false.
    ///
    /// # Errors
    /// That of the connection.
    ///
    /// # Cancellation
    /// Dropped, nothing is lost.
    pub async fn speaks(&self) -> io::Result<bool> {
        Ok(self.0.peek(&mut [0]).await? > 0)
    }

    /// Whether it is still open, and nothing came on it that would be taken for an answer.
    pub(super) fn is_open(&self) -> bool {
        is_quiet(&self.0)
    }

    /// The connection itself, for bytes that are none of our business.
    pub fn into_stream(self) -> TcpStream {
        self.0
    }
}
