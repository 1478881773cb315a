//! The end: what is in flight is finished, and nothing is left behind.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::support::{Burdock, Gate, Origin, Reply, eventually};

/// A shop whose `/slow` waits at the gate, and a request of session `a` that has arrived there.
async fn in_flight(
    config: &str,
) -> (
    Gate,
    Origin,
    Burdock,
    tokio::task::JoinHandle<(u16, String)>,
) {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/slow", Reply::text("whole").after(&gate))
        .start()
        .await;
    let burdock = Burdock::new()
        .connect_to(&shop)
        .config(config)
        .start()
        .await;
    let mut client = burdock.visitor("a");
    let request = tokio::spawn(async move {
        let answer = client.get("https://shop.example/slow").await;
        (answer.status, answer.text())
    });
    shop.seen(1).await;
    (gate, shop, burdock, request)
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_the_exit_is_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (gate, _shop, mut burdock, request) = in_flight("").await;
        burdock.signal(signal);
        let refused = async || {
            TcpStream::connect(burdock.proxy)
                .await
                .is_err()
                .then_some(())
        };
        eventually("no new connection is accepted", refused).await;
        gate.let_pass(1);
        assert_eq!(request.await.expect("it ends"), (200, "whole".to_owned()));
        assert_eq!(burdock.exited().await.code(), Some(0));
    }
}

/// A burdock before `shop` that would wait a minute for what is in flight.
async fn patient(shop: &Origin) -> Burdock {
    Burdock::new()
        .connect_to(shop)
        .config("proxy.shutdown_grace = '60s'")
        .start()
        .await
}

#[tokio::test]
async fn kept_connections_do_not_hold_the_end_up() {
    let shop = Origin::tls("shop.example").start().await;
    let mut burdock = patient(&shop).await;
    let mut kept = [burdock.visitor("a"), burdock.visitor("a").http2()];
    for client in &mut kept {
        client.get("https://shop.example/").await;
    }
    burdock.signal(Signal::TERM);
    assert_eq!(burdock.exited().await.code(), Some(0));
}

#[tokio::test]
async fn connections_that_asked_for_nothing_do_not_hold_the_end_up() {
    let shop = Origin::tls("shop.example").start().await;
    let mut burdock = patient(&shop).await;
    let _silent = TcpStream::connect(burdock.proxy).await.expect("connected");
    let _tunnel = burdock.client().tunnel("shop.example:443").await;
    burdock.signal(Signal::TERM);
    assert_eq!(burdock.exited().await.code(), Some(0));
}

#[tokio::test]
async fn the_grace_ends_what_does_not_end_itself() {
    let (_gate, _shop, mut burdock, request) = in_flight("proxy.shutdown_grace = '500ms'").await;
    let begun = Instant::now();
    burdock.signal(Signal::TERM);
    assert_eq!(burdock.exited().await.code(), Some(0));
    assert!(
        begun.elapsed() >= Duration::from_millis(400),
        "{:?}",
        begun.elapsed()
    );
    request.abort();
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let (_gate, _shop, mut burdock, request) = in_flight("proxy.shutdown_grace = '60s'").await;
    burdock.signal(Signal::TERM);
    let refused = async || {
        TcpStream::connect(burdock.proxy)
            .await
            .is_err()
            .then_some(())
    };
    eventually("the first signal is heard", refused).await;
    burdock.signal(Signal::TERM);
    burdock.exited().await;
    request.abort();
}

#[tokio::test]
async fn an_open_tunnel_of_unknown_bytes_ends_with_the_grace() {
    let echo = Origin::tcp("echo.example", |mut wire| async move {
        wire.send("hello").await;
        wire.rest().await;
    })
    .await;
    let mut burdock = Burdock::new()
        .connect_to(&echo)
        .config("proxy.shutdown_grace = '500ms'")
        .start()
        .await;
    let mut wire = burdock.client().tunnel(&echo.authority()).await;
    assert_eq!(wire.take(5).await, b"hello");
    burdock.signal(Signal::TERM);
    assert_eq!(burdock.exited().await.code(), Some(0));
    wire.closed().await;
}
