//! Two sessions interleaved through one client connection: nothing of one ever reaches the other.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::client::request;
use crate::support::origin::Seen;
use crate::support::{Burdock, Client, Origin, Reply, within_time};

const REQUESTS: usize = 10_000;
const SESSIONS: [&str; 2] = ["a", "b"];

/// An origin that gives each session cookies with its name in them, and closes connections now and then, so
/// that TLS tickets are used. `X-Truth` tells it what burdock does not: whose request this is.
fn script(seen: &Seen) -> Reply {
    let truth = seen
        .field("x-truth")
        .expect("the test says whose request it is");
    let number: usize = seen
        .target
        .trim_start_matches('/')
        .parse()
        .expect("a numbered request");
    let reply = Reply::text(seen.cookie())
        .cookie(&format!("sid={truth}-{number}"))
        .cookie(&format!("who={truth}"));
    if number % 97 < 2 && !seen.h2 {
        reply.field("Connection", "close").closing()
    } else {
        reply
    }
}

/// Sends every request on one connection of `client`, so many at a time, and checks each answer.
async fn interleave(clients: Vec<Client>) {
    let each = REQUESTS / clients.len();
    let mut running = tokio::task::JoinSet::new();
    for (lane, mut client) in clients.into_iter().enumerate() {
        running.spawn(async move {
            for number in lane * each..(lane + 1) * each {
                let truth = SESSIONS[number % 2];
                let call = request("GET", &format!("https://shop.example/{number}"))
                    .header("x-session-id", truth)
                    .header("x-truth", truth);
                let answer = client
                    .send(call.body("".into()).expect("a valid request"))
                    .await;
                assert_eq!(
                    (answer.status, answer.field("x-session-id")),
                    (200, Some(truth)),
                    "{answer:?}"
                );
            }
        });
    }
    let all = async {
        while let Some(done) = running.join_next().await {
            done.expect("every answer is right")
        }
    };
    within_time(Duration::from_secs(120), "the requests", all).await;
}

/// Checks that no cookie, connection or ticket of one session was seen with the other.
fn nothing_crossed(shop: &Origin) {
    let seen = shop.requests();
    assert!(seen.len() >= REQUESTS, "{} requests arrived", seen.len());
    let mut owners: HashMap<usize, &str> = HashMap::new();
    let mut resumed = 0;
    for one in &seen {
        let truth = one.field("x-truth").expect("checked when it arrived");
        for pair in one.cookie().split("; ").filter(|pair| !pair.is_empty()) {
            let (_, value) = pair.split_once('=').expect("name=value");
            assert!(value.starts_with(truth), "{truth} sent {pair}");
        }
        let owner = owners.entry(one.connection).or_insert(truth);
        assert_eq!(*owner, truth, "connection {} changed hands", one.connection);
    }
    for one in &seen {
        if let Some(origin) = one.resumes {
            resumed += 1;
            // A connection that brought no request has no owner that could be told apart.
            assert!(
                owners
                    .get(&origin)
                    .is_none_or(|owner| *owner == owners[&one.connection]),
                "a ticket changed hands"
            );
        }
    }
    assert!(
        seen.iter().any(|one| one.h2) || resumed > 0,
        "tickets are used at all"
    );
    let with_cookie = seen.iter().filter(|one| !one.cookie().is_empty()).count();
    assert!(
        with_cookie > REQUESTS * 9 / 10,
        "cookies are sent at all: {with_cookie}"
    );
}

#[tokio::test]
async fn ten_thousand_requests_on_one_http_1_connection_cross_nothing() {
    let shop = Origin::tls("shop.example").respond(script).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    interleave(vec![burdock.client()]).await;
    nothing_crossed(&shop);
}

#[tokio::test]
async fn ten_thousand_requests_at_once_on_one_h2_connection_cross_nothing() {
    let shop = Origin::tls("shop.example").respond(script).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut first = burdock.client().http2();
    first.open("https://shop.example/").await;
    interleave((0..20).map(|_| first.sharing_connections()).collect()).await;
    nothing_crossed(&shop);
}

#[tokio::test]
async fn ten_thousand_requests_at_once_to_an_h2_origin_cross_nothing() {
    let shop = Origin::h2("shop.example").respond(script).start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut first = burdock.client().http2();
    first.open("https://shop.example/").await;
    interleave((0..20).map(|_| first.sharing_connections()).collect()).await;
    nothing_crossed(&shop);
    assert_eq!(shop.connections(), 2, "one connection a session");
}
