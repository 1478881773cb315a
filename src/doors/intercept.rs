//! TLS in a tunnel, ended here with a certificate for the host that the client asks for.

use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;

use super::http::{serve_http1, serve_http2};
use super::tunnel::Inside;
use super::wire::Wire;
use crate::clock;
use crate::exchange::{Door, Tunnel};
use crate::message::Host;

/// Accepts TLS as the host of its SNI, or else of the CONNECT, and serves what ALPN chooses.
pub(super) async fn intercept<S>(inside: Inside, tunnel: Tunnel, wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let outer = inside.outer();
    let house = Arc::clone(&outer.house);
    let client = outer.connection.client;
    let authority = tunnel.authority.clone();
    let accept = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), wire).await?;
        // A name that no certificate could carry is not one that the client will look for either.
        let named = start
            .client_hello()
            .server_name()
            .and_then(|name| Host::parse(name).ok());
        let host = named.as_ref().unwrap_or(&authority.host);
        let config = house
            .ca
            .server_config(host, clock::now())
            .map_err(std::io::Error::other)?;
        start.into_stream(config).await
    };
    let accepted = tokio::select! {
        biased;
        accepted = timeout(house.bounds.header_read_timeout, accept) => accepted,
        () = house.closing.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            explain(&error, client, &authority, &house.ca);
            return;
        }
        Err(_) => {
            tracing::debug!(%client, %authority, "a TLS handshake was not finished in time");
            return;
        }
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let served = inside.through(Door::Tunnel(tunnel));
    match http2 {
        true => serve_http2(served, Wire::new(stream)).await,
        false => serve_http1(served, Wire::new(stream)).await,
    }
}

/// A client that does not trust the CA is the most common trouble there is, so it is named with its remedy.
fn explain(
    error: &std::io::Error,
    client: std::net::SocketAddr,
    authority: &crate::message::Authority,
    ca: &crate::ca::CertificateAuthority,
) {
    use rustls::AlertDescription as Alert;
    let rejected = error
        .get_ref()
        .and_then(|source| source.downcast_ref::<rustls::Error>())
        .is_some_and(|error| {
            matches!(
                error,
                rustls::Error::AlertReceived(
                    Alert::UnknownCA
                        | Alert::BadCertificate
                        | Alert::CertificateUnknown
                        | Alert::UnsupportedCertificate
                        | Alert::CertificateExpired
                )
            )
        });
    if rejected {
        tracing::warn!(
            %client,
            %authority,
            ca = %ca.path().display(),
            "the client rejects our certificate: have it trust the CA, or pass the host through (`tls.passthrough`)"
        );
    } else {
        tracing::debug!(%client, %authority, %error, "a TLS handshake failed");
    }
}
