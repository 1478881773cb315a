//! Bytes both ways, untouched, until both sides have closed.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

/// A side of a relay: its stream, and bytes that were already read from it.
#[derive(Debug)]
pub struct Side<S> {
    /// The stream.
    pub stream: S,
    /// What it has said already; it goes to the other side first.
    pub said: bytes::Bytes,
}

/// Relays between a client and an origin; a side that closes its half leaves the other open.
///
/// Returns how many bytes came from the client and from the origin.
///
/// # Errors
/// Those of either stream.
pub async fn relay<C, O>(mut client: Side<C>, mut origin: Side<O>) -> io::Result<(u64, u64)>
where
    C: AsyncRead + AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    let (sent, received) = (client.said.len() as u64, origin.said.len() as u64);
    if !client.said.is_empty() {
        origin.stream.write_all(&client.said).await?;
    }
    if !origin.said.is_empty() {
        client.stream.write_all(&origin.said).await?;
        client.stream.flush().await?;
    }
    drop(std::mem::take(&mut client.said));
    drop(std::mem::take(&mut origin.said));
    let (up, down) = copy_bidirectional(&mut client.stream, &mut origin.stream).await?;
    Ok((sent + up, received + down))
}
