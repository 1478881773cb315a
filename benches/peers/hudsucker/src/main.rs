//! hudsucker as an intercepting proxy that changes nothing: the yardstick of `benches/run`.
//!
//! Everything is as hudsucker's own example has it (its default client and server, its certificate authority, the default
//! tokio runtime, no log subscriber) but for two things: sockets have `TCP_NODELAY`, without which every tunnel waits
//! 40 ms for Nagle's algorithm, and upstream certificates are verified against the benchmark origin's authority instead of the public roots.

use std::{env, fs, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, ensure};
use hudsucker::{
    Proxy,
    certificate_authority::RcgenAuthority,
    hyper_util::client::legacy::connect::HttpConnector,
    rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose},
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, pem::PemObject},
    },
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    ensure!(
        arguments.len() == 3,
        "usage: hudsucker-peer LISTEN ORIGIN_CA_PEM OWN_CA_PEM_TO_WRITE"
    );
    let listen: SocketAddr = arguments[0].parse().context("the address to listen on")?;
    let origin_ca = PathBuf::from(&arguments[1]);
    let own_ca = PathBuf::from(&arguments[2]);

    let (issuer, pem) = authority()?;
    fs::write(&own_ca, pem).with_context(|| format!("write {}", own_ca.display()))?;

    let proxy = Proxy::builder()
        .with_listener(listener(listen)?)
        .with_ca(RcgenAuthority::new(
            issuer,
            1_000,
            aws_lc_rs::default_provider(),
        ))
        .with_http_connector(connector(&origin_ca)?)
        .build()?;
    proxy.start().await?;
    Ok(())
}

/// A listener whose accepted sockets have `TCP_NODELAY`: hudsucker offers no way to set it, but Linux lets them inherit it.
fn listener(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket
        .bind(&address.into())
        .with_context(|| format!("bind {address}"))?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into())?)
}

/// Upstream connections with `TCP_NODELAY`, HTTP/1.1, trusting only the authority of the benchmark's origin.
fn connector(origin_ca: &PathBuf) -> Result<HttpsConnector<HttpConnector>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(origin_ca)
        .with_context(|| format!("read {}", origin_ca.display()))?
    {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();

    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
}

/// A P-256 authority that lives as long as this process, and its certificate in PEM.
fn authority() -> Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = parameters.self_signed(&key)?.pem();
    Ok((Issuer::new(parameters, key), pem))
}
