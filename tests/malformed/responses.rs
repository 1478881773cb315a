//! The corpus of responses, to clients of HTTP/1.1 and HTTP/2, with and without TLS.

use std::collections::HashMap;
use std::sync::Arc;

use http_body_util::BodyExt;

use super::corpus::{Table, Targets, tables};
use super::{Read, all, judge, lives, read};
use crate::support::client::request;
use crate::support::origin::Builder;
use crate::support::problem::assert_fault;
use crate::support::reply::{Body, Then};
use crate::support::{Answer, Burdock, Gate, Origin, Raw, Reply, within};

const CORPUS: &str = include_str!("responses.txt");

/// What a client speaks, and to which origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
    Http2,
}

/// A row, what the origin does after it, and who asks for it.
struct Case {
    name: String,
    way: Way,
    method: &'static str,
    reply: Reply,
}

impl Case {
    fn of(table: &Table) -> Vec<Self> {
        let says = |word: &str| table.places.iter().any(|place| place == word);
        let method = if says("HEAD") { "HEAD" } else { "GET" };
        let mut cases = Vec::new();
        for end in ["closes", "keeps"].into_iter().filter(|end| says(end)) {
            for (at, row) in table.names().enumerate() {
                for way in [Way::Plain, Way::Tls, Way::Http2] {
                    let reply = Reply::wire(table.bytes(at, Targets::default()));
                    cases.push(Self {
                        name: format!("{}.{row}.{end}.{way:?}", table.name),
                        way,
                        method,
                        reply: if end == "closes" {
                            reply.closing()
                        } else {
                            reply
                        },
                    });
                }
            }
        }
        cases
    }

    /// The response to the row's own request, and what the two requests of the session after it got.
    async fn run(self, burdock: Arc<Burdock>) -> (Read, Vec<Answer>) {
        let url = |path: &str| match self.way {
            Way::Plain => format!("http://shop.example/{path}/{}", self.name),
            Way::Tls | Way::Http2 => format!("https://shop.example/{path}/{}", self.name),
        };
        if self.way == Way::Http2 {
            let mut client = burdock.visitor(&self.name).http2();
            client.open(&url("own")).await;
            let mut asking = client.sharing_connections();
            let asked = request(self.method, &url("own")).body("".into());
            let asked = asked.expect("a valid request");
            // A stream that is reset takes its head along where that has not left yet; the client says so by a panic.
            let own = tokio::spawn(async move {
                let own = asking.stream(asked).await;
                let (head, body) = own.expect("the tunnel is open").into_parts();
                let body = within("the body", body.collect()).await;
                body.map(|body| Answer {
                    status: head.status.as_u16(),
                    version: head.version,
                    fields: head.headers,
                    body: body.to_bytes(),
                })
            });
            let answer = own.await.ok().and_then(Result::ok);
            let own = Read {
                cut: answer.is_none(),
                answers: answer.into_iter().collect(),
            };
            let next = vec![
                client.get(&url("next")).await,
                client.get(&url("again")).await,
            ];
            return (own, next);
        }
        let ask = |method: &str, path: &str, last: &str| {
            let url = url(path);
            let target = match self.way {
                Way::Plain => url.as_str(),
                Way::Tls | Way::Http2 => {
                    url.strip_prefix("https://shop.example").expect("it has it")
                }
            };
            format!(
                "{method} {target} HTTP/1.1\r\nHost: shop.example\r\nX-Session-ID: {}\r\n{last}\r\n",
                self.name
            )
        };
        const LAST: &str = "Connection: close\r\n";
        let mut wire = self.open(&burdock).await;
        wire.send(ask(self.method, "own", "") + &ask("GET", "next", LAST))
            .await;
        let mut own = read(&wire.rest().await, self.method == "HEAD");
        let mut next: Vec<_> = own.answers.drain(1.min(own.answers.len())..).collect();
        let mut wire = self.open(&burdock).await;
        wire.send(ask("GET", "again", LAST)).await;
        next.extend(read(&wire.rest().await, false).answers);
        (own, next)
    }

    async fn open(&self, burdock: &Burdock) -> Raw {
        match self.way {
            Way::Plain => Raw::connect(burdock.proxy).await,
            Way::Tls | Way::Http2 => burdock.client().tls_tunnel("shop.example:443").await.0,
        }
    }
}

fn check(name: &str, verdict: &str, own: &Read, next: &[Answer]) {
    let bad_gateway = own
        .answers
        .first()
        .is_some_and(|answer| answer.status == 502);
    let answer = || {
        own.answers
            .first()
            .unwrap_or_else(|| panic!("an answer, not {own:?}"))
    };
    match verdict {
        "502/whole" | "502/cut" | "502" if bad_gateway => {
            assert_fault(answer(), "upstream-protocol", 502);
        }
        "cut" | "502/cut" => assert!(own.cut && own.answers.is_empty(), "{own:?}"),
        "whole" | "502/whole" => {
            assert_eq!(
                (answer().status, answer().text().as_str()),
                (200, "hello"),
                "{own:?}"
            );
        }
        "empty" => assert_eq!((answer().text().as_str(), own.cut), ("", false), "{own:?}"),
        _ => panic!("{verdict}, not {own:?}"),
    }
    // After a response that was cut the client needs another connection for what it asked for next.
    let wanted: &[&str] = match next.len() {
        1 if own.cut => &["again"],
        _ => &["next", "again"],
    };
    let got: Vec<_> = next
        .iter()
        .map(|answer| (answer.status, answer.text()))
        .collect();
    let wanted: Vec<_> = wanted
        .iter()
        .map(|path| (200, format!("/{path}/{name}")))
        .collect();
    assert_eq!(got, wanted, "the session's next requests, after {own:?}");
}

/// What is answered to `/own/NAME`, by NAME.
fn replies(tables: &[Table]) -> Arc<HashMap<String, Reply>> {
    let cases = tables.iter().flat_map(Case::of);
    Arc::new(cases.map(|case| (case.name, case.reply)).collect())
}

/// Answers `/own/NAME` with that row, everything else with the path.
fn script(builder: Builder, replies: &Arc<HashMap<String, Reply>>) -> Builder {
    let replies = Arc::clone(replies);
    builder.respond(move |seen| {
        let row = seen.target.strip_prefix("/own/");
        match row.and_then(|name| replies.get(name)) {
            Some(reply) => reply.clone(),
            None => Reply::text(seen.target.clone()),
        }
    })
}

/// Runs the cases of `tables` that `wanted` picks, and judges them.
async fn run(burdock: Burdock, tables: &[Table], wanted: impl Fn(&Case) -> bool) {
    let burdock = Arc::new(burdock);
    burdock.client().get("http://shop.example/").await;
    let before = burdock.resident();
    let mut outcomes = Vec::new();
    for table in tables {
        let cases = Case::of(table).into_iter().filter(&wanted);
        let cases = cases.map(|case| (case.name.clone(), case.run(Arc::clone(&burdock))));
        for (name, outcome) in all(cases).await {
            outcomes.push((
                name,
                outcome.map(|outcome| (table.verdict.as_str(), outcome)),
            ));
        }
        lives(&burdock, before, "http://shop.example/good").await;
    }
    judge(
        outcomes
            .iter()
            .map(|(name, outcome)| (name.as_str(), outcome.as_ref())),
        |name, (verdict, (own, next))| check(name, verdict, own, next),
    );
}

/// More sessions than there are by default: each row has its own.
const MANY: &str = "sessions.max_active_sessions = 10000";

fn is_of_head(table: &Table) -> bool {
    table.places.iter().any(|place| place == "HEAD")
}

#[tokio::test]
async fn no_response_is_another_requests_and_what_is_broken_says_so() {
    let mut tables = tables(CORPUS);
    tables.retain(|table| !is_of_head(table));
    let replies = replies(&tables);
    let plain = script(Origin::plain("shop.example"), &replies)
        .start()
        .await;
    let tls = script(Origin::tls("shop.example"), &replies).start().await;
    let builder = Burdock::new().connect_to(&plain).connect_to(&tls);
    run(builder.config(MANY).start().await, &tables, |_| true).await;
}

#[tokio::test]
async fn a_body_after_the_answer_to_a_head_is_nobodys() {
    let mut tables = tables(CORPUS);
    tables.retain(is_of_head);
    let replies = replies(&tables);
    // The scripted origin never sends a body there.
    let shop = Origin::tcp("shop.example", move |mut wire| {
        let replies = Arc::clone(&replies);
        async move {
            while let Some((_, head)) = wire.next_head().await {
                let target = head.start.split(' ').nth(1).unwrap_or_default();
                let reply = target
                    .strip_prefix("/own/")
                    .and_then(|name| replies.get(name))
                    .cloned();
                let reply = reply.unwrap_or_else(|| Reply::text(target));
                let mut bytes = reply.head_bytes();
                if let Body::Bytes(body) | Body::Wire(body) = &reply.body {
                    bytes.extend_from_slice(body);
                }
                if wire.try_send(bytes).await.is_err() || reply.then == Then::Close {
                    return;
                }
            }
        }
    })
    .await;
    let builder = Burdock::new().connect_to(&shop).config(MANY);
    run(builder.start().await, &tables, |case| {
        case.way == Way::Plain
    })
    .await;
}

#[tokio::test]
async fn hints_without_end_end() {
    let ended = Gate::closed();
    let gate = ended.clone();
    let shop = Origin::tcp("shop.example", move |mut wire| {
        let ended = gate.clone();
        async move {
            wire.head().await;
            let hint = format!(
                "HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n",
                "a".repeat(1000)
            );
            while wire.try_send(&hint).await.is_ok() {}
            ended.let_pass(1);
        }
    })
    .await;
    let builder = Burdock::new().connect_to(&shop);
    let burdock = builder
        .config("upstream.response_header_timeout = '1s'")
        .start()
        .await;
    let before = burdock.resident();
    let ask = "GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let mut wire = Raw::connect(burdock.proxy).await;
    wire.send(ask).await;
    assert!(matches!(wire.answer().await.head.status(), 502 | 504));
    within("the end of the hints", ended.pass()).await;
    let grown = burdock.resident().saturating_sub(before);
    assert!(grown < super::GROWTH, "{} MiB more", grown >> 20);
}
