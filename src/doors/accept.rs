//! The proxy port: accepts connections, as many as there may be, and serves HTTP/1.1 and HTTP/2 on each.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::House;
use super::detect::{Detected, detect};
use super::http::{self, Served};
use super::linger::Client;
use super::wire::Wire;
use crate::exchange::{Connection, Door};

/// Holds a client connection's place among `max_connections`, until the last part of it has ended.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// Accepts connections until the house closes. Beyond `max_connections` they wait in the kernel's backlog.
pub async fn accept(house: Arc<House>, listener: TcpListener, places: Arc<Semaphore>) {
    loop {
        let place = tokio::select! {
            () = house.closing.cancelled() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { return };
        let accepted = tokio::select! {
            () = house.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let connection = Connection::new(client, Door::Proxy);
                let serve = serve(Arc::clone(&house), stream, connection, Arc::new(place));
                house.tasks.spawn(serve);
            }
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it could be accepted");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; out of file descriptors? (`ulimit -n`)");
                // Descriptors come back when connections end; until then trying again only burns time.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn is_of_one_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionRefused
    )
}

/// Serves what a connection turns out to speak.
pub(super) async fn serve(
    house: Arc<House>,
    stream: TcpStream,
    connection: Connection,
    place: Place,
) {
    let client = connection.client;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%client, %error, "TCP_NODELAY cannot be set");
    }
    let stream = Client::new(stream, Arc::clone(&place), &house.tasks);
    let mut wire = Wire::new(stream);
    let detecting = timeout(house.bounds.header_read_timeout, async {
        loop {
            match detect(wire.seen()) {
                Detected::NeedMore => {}
                detected => return Ok::<_, std::io::Error>(detected),
            }
            if wire.look().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    });
    let detected = tokio::select! {
        biased;
        detected = detecting => detected,
        () = house.closing.cancelled() => return,
    };
    let protocol = match detected {
        // Whatever is no HTTP/2 is HTTP/1.1, or becomes its 400.
        Ok(Ok(detected)) => detected,
        Ok(Err(error)) => {
            tracing::trace!(%client, %error, "a client said nothing");
            return;
        }
        Err(_) => {
            tracing::debug!(%client, "a client did not send a request's head in time");
            return;
        }
    };
    let served = Served {
        connection,
        house,
        place,
    };
    match protocol {
        Detected::Http2 => http::serve_http2(served, wire).await,
        _ => http::serve_http1(served, wire).await,
    }
}
