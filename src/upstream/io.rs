//! The byte stream to an origin, with TLS or without.

use std::io::{self, ErrorKind, Read as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncBufRead as _, AsyncBufReadExt as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    /// Cleartext.
    Plain(Link),
    /// TLS with the origin, its handshake done.
    Tls(Box<TlsStream<Link>>),
}

/// What leads to an origin: a TCP connection, or a way through an upstream proxy that TLS is spoken with.
#[derive(Debug)]
pub enum Link {
    /// To the origin, or to a proxy that carries bytes to it.
    Tcp(Socket),
    /// To a proxy, by TLS.
    Tls(Box<TlsStream<Socket>>),
}

impl Link {
    pub(super) fn look(&self) -> Look {
        match self {
            Self::Tcp(socket) => socket.look(),
            Self::Tls(tls) => tls.get_ref().0.look(),
        }
    }

    /// Whether the other side has neither said anything that was not read, nor closed.
    pub(super) fn is_quiet(&mut self) -> bool {
        match self {
            Self::Tcp(socket) => is_quiet(&socket.tcp),
            // What came may be of TLS alone, such as tickets: it is read, and nobody is to be woken.
            Self::Tls(tls) => {
                let look = tls.get_ref().0.look();
                let cx = &mut Context::from_waker(Waker::noop());
                look.closely(|| Pin::new(&mut **tls).poll_fill_buf(cx).is_pending())
            }
        }
    }

    /// Waits until the other side says something, which it leaves to be read: true; or closes: false.
    pub(super) async fn speaks(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(socket) => Ok(socket.tcp.peek(&mut [0]).await? > 0),
            Self::Tls(tls) => Ok(!tls.fill_buf().await?.is_empty()),
        }
    }
}

/// A TCP connection of which can be read what the runtime does not know of yet.
///
/// Between two turns of its reactor the runtime takes a socket for empty that was empty when it last read of it.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    look: Look,
}

/// Whether a [`Socket`] asks the kernel when the runtime knows of nothing to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Look(Arc<AtomicBool>);

impl Look {
    /// Runs `read`, in which the socket asks the kernel: a system call, where nothing has come.
    pub(super) fn closely<T>(&self, read: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::Relaxed);
        let read = read();
        self.0.store(false, Ordering::Relaxed);
        read
    }
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            look: Look::default(),
        }
    }

    pub(super) fn look(&self) -> Look {
        self.look.clone()
    }
}

/// Whether the other side has neither sent anything that was not read, nor closed.
fn is_quiet(tcp: &TcpStream) -> bool {
    let peeked = SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// So many bytes are copied together rather than gathered by the kernel: a head, and a small body with it.
const SMALL: usize = 2048;

/// Writes `slices` by one `send` where they are few bytes or one slice, else by `writev`.
///
/// `writev` goes through the layer of files, and costs a quarter of a microsecond more than `send` and this copy.
pub(crate) fn write_gathered(
    tcp: Pin<&mut TcpStream>,
    cx: &mut Context<'_>,
    slices: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = slices {
        return tcp.poll_write(cx, only);
    }
    if slices.iter().map(|slice| slice.len()).sum::<usize>() > SMALL {
        return tcp.poll_write_vectored(cx, slices);
    }
    let mut together = [0; SMALL];
    let mut filled = 0;
    for slice in slices {
        together[filled..][..slice.len()].copy_from_slice(slice);
        filled += slice.len();
    }
    tcp.poll_write(cx, &together[..filled])
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if read.is_ready() || !this.look.0.load(Ordering::Relaxed) {
            return read;
        }
        // The waker is registered by now; at worst it is woken for what is read here.
        match (&*SockRef::from(&this.tcp)).read(buf.initialize_unfilled()) {
            Ok(count) => {
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write_gathered(Pin::new(&mut self.get_mut().tcp), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

macro_rules! either {
    ($Either:ident: $Plain:ident | $Boxed:ident) => {
        impl AsyncRead for $Either {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$Plain(stream) => Pin::new(stream).poll_read(cx, buf),
                    Self::$Boxed(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
                }
            }
        }

        impl AsyncWrite for $Either {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::$Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
                    Self::$Boxed(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::$Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
                    Self::$Boxed(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::$Plain(stream) => stream.is_write_vectored(),
                    Self::$Boxed(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$Plain(stream) => Pin::new(stream).poll_flush(cx),
                    Self::$Boxed(stream) => Pin::new(&mut **stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::$Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                    Self::$Boxed(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
                }
            }
        }
    };
}

either!(Stream: Plain | Tls);
either!(Link: Tcp | Tls);
