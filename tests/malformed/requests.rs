//! The corpus of requests, by the proxy port, in a tunnel without TLS and in one with it.

use std::sync::Arc;

use super::corpus::{Table, Targets, tables};
use super::{all, half_close, judge, lives, read};
use crate::support::problem::assert_fault;
use crate::support::raw::text;
use crate::support::{Answer, Burdock, Origin, Raw, Reply};

const CORPUS: &str = include_str!("requests.txt");

/// By what way a request reaches burdock.
#[derive(Clone, Copy, Debug)]
enum Door {
    Proxy,
    Plain,
    Tls,
}

impl Door {
    fn named(name: &str) -> Self {
        match name {
            "proxy" => Self::Proxy,
            "plain" => Self::Plain,
            "tls" => Self::Tls,
            other => panic!("no such door: {other}"),
        }
    }

    fn target(self, path: &str) -> String {
        match self {
            Self::Proxy => format!("http://shop.example{path}"),
            Self::Plain | Self::Tls => path.to_owned(),
        }
    }

    async fn open(self, burdock: &Burdock) -> Raw {
        match self {
            Self::Proxy => Raw::connect(burdock.proxy).await,
            Self::Plain => burdock.client().tunnel("shop.example:80").await,
            Self::Tls => burdock.client().tls_tunnel("shop.example:443").await.0,
        }
    }
}

/// A row at a door.
struct Case {
    name: String,
    door: Door,
    bytes: Vec<u8>,
    smuggled: String,
    /// The client closes its half after it.
    ends: bool,
}

impl Case {
    /// Every row of `table` at each of its doors.
    fn of(table: &Table) -> Vec<Self> {
        let mut cases = Vec::new();
        for place in &table.places {
            let door = Door::named(place);
            for (at, row) in table.names().enumerate() {
                let name = format!("{}/{row}/{place}", table.name);
                let path = format!("/{name}");
                let smuggled = door.target(&format!("/smuggled{path}"));
                let targets = Targets {
                    path: &path,
                    own: &door.target(&path),
                    smuggled: &smuggled,
                };
                cases.push(Self {
                    door,
                    bytes: table.bytes(at, targets),
                    ends: table.verdict == "closed",
                    name,
                    smuggled,
                });
            }
        }
        cases
    }

    /// All that comes back up to the end of the connection.
    async fn run(self, burdock: Arc<Burdock>) -> Vec<u8> {
        let mut wire = self.door.open(&burdock).await;
        let mut bytes = self.bytes;
        if !self.ends {
            let next = format!(
                "GET {} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n",
                self.smuggled
            );
            bytes.extend_from_slice(next.as_bytes());
        }
        // What is refused need not be read to its end.
        let _ = wire.try_send(&bytes).await;
        if self.ends {
            wire = half_close(wire).await;
        }
        wire.rest().await
    }
}

/// What came of a case: the answers, and what the origins saw of its own request and of the one after it.
#[derive(Debug)]
struct Outcome {
    answers: Vec<Answer>,
    own: Vec<crate::support::origin::Seen>,
    next: usize,
}

impl Outcome {
    fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }

    /// One fault with `status`, nothing after it, nothing at the origin.
    fn refused(&self, statuses: &[u16]) {
        let [answer] = self.answers.as_slice() else {
            panic!("one answer, not {self:?}")
        };
        match answer.status {
            400 => assert_fault(answer, "bad-request", 400),
            431 => assert_fault(answer, "headers-too-large", 431),
            _ => {}
        }
        assert!(
            statuses.contains(&answer.status),
            "{statuses:?}, not {answer:?}"
        );
        assert_eq!(
            (self.own.len(), self.next),
            (0, 0),
            "what the origin saw: {self:?}"
        );
    }

    /// The request arrived once and well formed, and its answer is its own.
    fn arrived(&self, name: &str) {
        let [seen] = self.own.as_slice() else {
            panic!("one request at the origin: {self:?}")
        };
        let answer = self.answers.first().expect("an answer");
        if seen.method != "HEAD" {
            assert_eq!(answer.text(), format!("/{name}"), "its own answer");
        }
        assert!(
            matches!(seen.body.as_slice(), b"" | b"hello"),
            "{:?}",
            text(&seen.body)
        );
        let lines = seen.raw.replace("\r\n", "");
        assert!(
            !lines.contains(['\r', '\n', '\0']),
            "the head: {:?}",
            seen.raw
        );
        let framings =
            seen.head.fields("content-length").len() + seen.head.fields("transfer-encoding").len();
        assert!(framings < 2, "two framings: {:?}", seen.raw);
    }

    fn check(&self, name: &str, verdict: &str) {
        let refused = self.statuses() == [400];
        match verdict {
            "400" => self.refused(&[400]),
            "431" => self.refused(&[431]),
            "400/431" => self.refused(&[400, 431]),
            "400/chunked" | "400/served" if refused => self.refused(&[400]),
            "400/chunked" => {
                assert_eq!((self.statuses(), self.next), (vec![200], 0), "{self:?}");
                self.arrived(name);
                assert!(
                    self.own[0].head.field("content-length").is_none(),
                    "{self:?}"
                );
                assert_eq!(self.own[0].body, b"hello", "{self:?}");
            }
            "served" | "400/served" => {
                assert_eq!(
                    (self.statuses(), self.next),
                    (vec![200, 200], 1),
                    "{self:?}"
                );
                self.arrived(name);
            }
            "closed" => {
                assert!(
                    self.own.is_empty(),
                    "half a request at the origin: {self:?}"
                );
                for answer in &self.answers {
                    assert_fault(answer, "bad-request", 400);
                }
                assert!(self.answers.len() < 2, "{self:?}");
            }
            "421" => {
                assert_fault(&self.answers[0], "misdirected", 421);
                assert!(self.own.is_empty() && self.answers.len() < 3, "{self:?}");
            }
            other => panic!("no such verdict: {other}"),
        }
    }
}

/// The answers in `bytes`, all of which must be whole.
fn whole(bytes: &[u8]) -> Vec<Answer> {
    let read = read(bytes, false);
    assert!(!read.cut, "half an answer: {:?}", text(bytes));
    read.answers
}

/// An origin that answers with the path it was asked for.
fn echo(builder: crate::support::origin::Builder) -> crate::support::origin::Builder {
    builder.respond(|seen| Reply::text(seen.target.clone()))
}

/// Runs the tables that `wanted` picks.
async fn run(wanted: impl Fn(&Table) -> bool) {
    let plain = echo(Origin::plain("shop.example")).start().await;
    let tls = echo(Origin::tls("shop.example")).start().await;
    let burdock = Arc::new(Burdock::before(&[&plain, &tls]).await);
    // What the first connections cost is no growth.
    burdock.client().get("https://shop.example/").await;
    let before = burdock.resident();
    let tables: Vec<_> = tables(CORPUS).into_iter().filter(wanted).collect();
    let mut outcomes = Vec::new();
    for table in &tables {
        let cases = Case::of(table).into_iter();
        let cases = cases.map(|case| (case.name.clone(), case.run(Arc::clone(&burdock))));
        for (name, bytes) in all(cases).await {
            outcomes.push((name, bytes.map(|bytes| (table.verdict.as_str(), bytes))));
        }
        for url in ["http://shop.example/good", "https://shop.example/good"] {
            lives(&burdock, before, url).await;
        }
    }
    let mut own = std::collections::HashMap::<_, Vec<_>>::new();
    let mut next = std::collections::HashMap::<_, usize>::new();
    for seen in plain.requests().into_iter().chain(tls.requests()) {
        let path = seen.target.split('?').next().unwrap_or_default().to_owned();
        match path.strip_prefix("/smuggled/") {
            Some(name) => *next.entry(name.to_owned()).or_default() += 1,
            None => own.entry(path[1..].to_owned()).or_default().push(seen),
        }
    }
    judge(
        outcomes
            .iter()
            .map(|(name, outcome)| (name.as_str(), outcome.as_ref())),
        |name, (verdict, bytes)| {
            let outcome = Outcome {
                answers: whole(bytes),
                own: own.get(name).cloned().unwrap_or_default(),
                next: next.get(name).copied().unwrap_or_default(),
            };
            outcome.check(name, verdict);
        },
    );
}

/// Tables that take the most of the time, and so have tests of their own.
const FIELDS: [&str; 2] = ["fields", "harmless-fields"];

#[tokio::test]
async fn fields_that_two_parsers_could_read_differently_end_here() {
    run(|table| FIELDS.contains(&table.name.as_str())).await;
}

#[tokio::test]
async fn no_request_is_read_as_two_or_in_two_ways() {
    run(|table| !FIELDS.contains(&table.name.as_str()) && table.verdict != "relayed").await;
}

#[tokio::test]
async fn what_is_no_http_in_a_tunnel_is_relayed_as_it_is() {
    let raw = Origin::tcp("raw.example", |mut wire| async move {
        let all = wire.rest().await;
        // A client that is gone already is one whose bytes did not come back, and that fails there.
        let _ = wire.try_send(all).await;
    })
    .await;
    let burdock = Arc::new(Burdock::before(&[&raw]).await);
    for table in tables(CORPUS)
        .iter()
        .filter(|table| table.verdict == "relayed")
    {
        let rows: Vec<_> = table.names().map(str::to_owned).zip(0..).collect();
        let cases = rows.into_iter().map(|(name, at)| {
            let (burdock, bytes) = (Arc::clone(&burdock), table.bytes(at, Targets::default()));
            (name, async move {
                let mut wire = burdock.client().tunnel("raw.example:80").await;
                wire.send(&bytes).await;
                wire.finish().await;
                (bytes, wire.rest().await)
            })
        });
        let outcomes = all(cases).await;
        judge(
            outcomes
                .iter()
                .map(|(name, outcome)| (name.as_str(), outcome.as_ref())),
            |_, (sent, back)| assert_eq!(text(back), text(sent)),
        );
    }
}
