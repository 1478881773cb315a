//! The end of a client's connection, of which nothing that was sent is lost.
//!
//! Who closes a socket while bytes are unread, or still on their way, answers them with a reset, and a reset makes the
//! client's kernel throw away what its program has not read yet. So the sending half is closed first, and what the client
//! still sends is read and forgotten for a while (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::accept::Place;
use crate::upstream::write_gathered;

/// A client's TCP connection. Dropped before the client has closed it, it lingers.
#[derive(Debug)]
pub(super) struct Client {
    /// `None` only while it is dropped.
    stream: Option<TcpStream>,
    /// Something was sent that could be lost.
    wrote: bool,
    /// The client has closed its half, or is gone.
    ended: bool,
    place: Place,
    tasks: TaskTracker,
}

/// How long a client has to take what was sent to it, and how much of its own is read meanwhile.
const LONGEST_LINGER: Duration = Duration::from_secs(2);
const MOST_FORGOTTEN: u64 = 4 << 20;

impl Client {
    /// The connection keeps its `place` while it lingers, by a task of `tasks`.
    pub(super) fn new(stream: TcpStream, place: Place, tasks: &TaskTracker) -> Self {
        Self {
            stream: Some(stream),
            wrote: false,
            ended: false,
            place,
            tasks: tasks.clone(),
        }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        let stream = self.stream.as_mut();
        Pin::new(stream.expect("it is there until the drop"))
    }

    fn note_written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(_)) => self.wrote = true,
            Poll::Ready(Err(_)) => self.ended = true,
            Poll::Pending => {}
        }
        written
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && self.wrote
            && !self.ended
            && let Ok(runtime) = Handle::try_current()
        {
            let linger = linger(stream, Place::clone(&self.place));
            self.tasks.spawn_on(linger, &runtime);
        }
    }
}

async fn linger(mut stream: TcpStream, _place: Place) {
    let forgotten = tokio::time::timeout(LONGEST_LINGER, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MOST_FORGOTTEN), &mut tokio::io::sink()).await
    });
    match forgotten.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::trace!(%error, "a client was gone before its connection was closed")
        }
        Err(_) => tracing::trace!("a client did not close its connection"),
    }
}

impl AsyncRead for Client {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = this.stream().poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => {
                this.ended |= buf.filled().len() == before && buf.remaining() > 0;
            }
            Poll::Ready(Err(_)) => this.ended = true,
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.stream().poll_write(cx, bytes);
        this.note_written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = write_gathered(this.stream(), cx, slices);
        this.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_shutdown(cx)
    }
}
