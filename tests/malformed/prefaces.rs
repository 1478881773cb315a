//! TLS and HTTP/2 that begin badly, or well and go on badly.

use std::sync::Arc;

use super::corpus::{Table, Targets, tables};
use super::{all, half_close, judge, lives, read};
use crate::support::problem::assert_fault;
use crate::support::{Burdock, Client, Origin, Raw};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

const CORPUS: &str = include_str!("prefaces.txt");

async fn open(client: &Client, burdock: &Burdock, place: &str) -> Raw {
    match place {
        "proxy" => Raw::connect(burdock.proxy).await,
        "tunnel" => client.tunnel("shop.example:443").await,
        "tls" => client.tls_tunnel("shop.example:443").await.0,
        other => panic!("no such place: {other}"),
    }
}

#[tokio::test]
async fn what_begins_badly_ends() {
    let tls = Origin::tls("shop.example").start().await;
    let burdock = Arc::new(Burdock::before(&[&tls]).await);
    burdock.client().get("https://shop.example/good").await;
    let before = burdock.resident();
    let mut outcomes = Vec::new();
    for table in &tables(CORPUS) {
        for place in &table.places {
            outcomes.extend(run(table, place, &burdock).await);
            lives(&burdock, before, "https://shop.example/good").await;
        }
    }
    judge(
        outcomes
            .iter()
            .map(|(name, said)| (name.as_str(), said.as_ref())),
        |name, said| {
            const HANDSHAKE: u8 = 22;
            const ALERT: u8 = 21;
            if name.starts_with("names/") {
                assert!(
                    matches!(said.first(), Some(&HANDSHAKE | &ALERT)),
                    "{said:?}"
                );
            }
            if said.starts_with(b"HTTP/1.1") {
                let [answer] = read(said, false).answers.try_into().expect("one answer");
                assert_fault(&answer, "bad-request", 400);
            }
        },
    );
    assert!(tls.requests().iter().all(|seen| seen.target == "/good"));
}

/// What is sent for row `at`.
fn bytes_of(table: &Table, at: usize) -> Vec<u8> {
    let bytes = table.bytes(at, Targets::default());
    if table.name == "names" {
        hello(&bytes)
    } else {
        bytes
    }
}

/// A ClientHello that asks for `name`, whatever it is: made for a name of its length, and changed.
fn hello(name: &[u8]) -> Vec<u8> {
    let stand_in: String = (0..name.len())
        .map(|at| if at % 50 == 49 { '.' } else { 'q' })
        .collect();
    let stand_in = match stand_in.strip_suffix('.') {
        Some(rest) => format!("{rest}q"),
        None => stand_in,
    };
    let config = crate::support::tls::client("", &["http/1.1"]);
    let server = ServerName::try_from(stand_in.clone()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), server).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector takes all");
    let mut windows = hello.windows(stand_in.len());
    let at = windows.position(|window| window == stand_in.as_bytes());
    let at = at.expect("the name is in the ClientHello");
    hello[at..at + name.len()].copy_from_slice(name);
    hello
}

/// What each row of `table` got back before the connection ended.
async fn run(table: &Table, place: &str, burdock: &Arc<Burdock>) -> Vec<(String, Option<Vec<u8>>)> {
    let rows: Vec<_> = table.names().map(str::to_owned).zip(0..).collect();
    let cases = rows.into_iter().map(|(row, at)| {
        let (burdock, bytes) = (Arc::clone(burdock), bytes_of(table, at));
        let (name, place) = (format!("{}/{row}/{place}", table.name), place.to_owned());
        (name, async move {
            let client = if place == "tls" {
                burdock.client().http2()
            } else {
                burdock.client()
            };
            let mut wire = open(&client, &burdock, &place).await;
            // burdock may have hung up in the middle of it.
            let _ = wire.try_send(&bytes).await;
            half_close(wire).await.rest().await
        })
    });
    all(cases).await
}
