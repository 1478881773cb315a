//! Tests of the jar as a whole: a table of cases, a model, properties.

mod cases;
mod echoes;
mod limits;
mod model;
mod properties;
mod retrieval;

use super::{CookieUrl, Jar};
use crate::session::Timestamp;

/// 2026-11-24T10:00:00Z.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

const SHOP: CookieUrl<'static> = CookieUrl {
    secure: true,
    host: "www.shop.example",
    path: "/",
};

/// The field value as text, empty where no field is sent.
fn header(jar: &mut Jar, url: &CookieUrl<'_>, client: &[&str], now: Timestamp) -> String {
    let client = client.iter().map(|line| line.as_bytes());
    let value = jar.header_for(url, client, now);
    value.map_or(String::new(), |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

fn jar_with(lines: &[&str]) -> Jar {
    let mut jar = Jar::default();
    jar.receive(&SHOP, lines.iter().map(|line| line.as_bytes()), NOW);
    jar
}
