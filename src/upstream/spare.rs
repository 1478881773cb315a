//! A connection that a CONNECT made, before it is known what will be spoken on it.

use std::io;
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

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

    /// Whether it is still open, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        match self
            .0
            .poll_peek(&mut Context::from_waker(Waker::noop()), &mut byte)
        {
            Poll::Ready(Ok(read)) => read > 0,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        }
    }

    /// The connection itself, for bytes that are none of our business.
    pub fn into_stream(self) -> TcpStream {
        self.0
    }
}
