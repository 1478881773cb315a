//! An application such as people log in to, whose pages need a browser: `pages/` has them, this answers for them.
//!
//! It keeps no state. A visitor is who their cookie `sid`, or their token, says, and every request is recorded, so that the hits of a
//! document can be counted.

use serde_json::{Map, Value, json};

use crate::support::origin::{Builder, Seen};
use crate::support::{Gate, Origin, Reply, eventually};

/// What a page says of itself when it has done all that it does (`X-Burdock-Wait`).
pub(super) const DONE: &str = "selector:[data-done]";

/// A document that is no HTML, for each kind that has to come back as it is: path, type, disposition, bytes.
pub(super) const FILES: [(&str, &str, &str, &[u8]); 5] = [
    (
        "/paper.pdf",
        "application/pdf",
        "",
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    ),
    ("/data.json", "application/json", "", b"{\"a\": [1,  2]}\n"),
    (
        "/file.bin",
        "application/octet-stream",
        "attachment; filename=\"file.bin\"",
        b"\x00\x01\xfe\xff no text",
    ),
    (
        "/page.html",
        "text/html; charset=utf-8",
        "attachment; filename=page.html",
        b"<!doctype html><p>saved<script>document.body.textContent = 'rendered'</script>",
    ),
    ("/feed.xml", "application/rss+xml", "", b"<rss version='2.0'><channel/></rss>\n"),
];

/// `<!doctype html><title>x</title><p>gr\u{fc}n</p>` and a script that says it is done, in ISO 8859-1, by gzip.
const CODED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x2d\xca\x3b\x0e\x80\x20\x0c\x00\xd0\xab\xe0\xc4\x06\x17\xa8\xbd\x0b\xd2\x46\x49\xf8\x34\x50\x13\xb9\xbb\x83\x26\xba\xbd\xe1\xc1\x42\x2d\xea\x14\x36\x87\x96\x8c\xa0\x49\x33\xe3\x05\xfe\x03\x08\xee\xfd\xae\xe0\x05\x61\xc4\x9e\x44\xf1\xfd\x67\xe1\xaa\x6e\x6b\x34\x1d\x05\x0d\x83\xd5\x51\xab\x6c\x56\x63\x2d\xf8\xff\x3d\x30\xa5\x47\xcd\x5a\x00\x00\x00";

/// The application under one name.
pub(super) struct App {
    origin: Origin,
    /// What `/gated.js` and `/gated` wait at.
    pub(super) gate: Gate,
}

impl App {
    /// `https://app.example`, by HTTP/1.1.
    pub(super) async fn start() -> Self {
        Self::on(Origin::tls("app.example")).await
    }

    /// Under the name and with the protocols of an origin to be.
    pub(super) async fn on(origin: Builder) -> Self {
        let gate = Gate::closed();
        let waits = gate.clone();
        let origin = origin
            .respond(move |seen| answer(seen, &waits))
            .start()
            .await;
        Self { origin, gate }
    }

    /// The origin, for `connect_to` and for what it recorded.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A URL of it.
    pub(super) fn url(&self, path: &str) -> String {
        self.origin.url(path)
    }

    /// The requests for a path, whatever their query.
    pub(super) fn requests(&self, path: &str) -> Vec<Seen> {
        let mut requests = self.origin.requests();
        requests.retain(|seen| path_of(seen) == path);
        requests
    }

    /// How many requests for a path there were.
    pub(super) fn hits(&self, path: &str) -> usize {
        self.requests(path).len()
    }

    /// Waits until so many requests for a path have come.
    pub(super) async fn hit(&self, path: &str, count: usize) {
        eventually(&format!("{count} requests for {path}"), async || {
            (self.hits(path) >= count).then_some(())
        })
        .await;
    }
}

fn path_of(seen: &Seen) -> &str {
    seen.target.split('?').next().unwrap_or_default()
}

/// A parameter of the query; the tests' values need no decoding.
fn query<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    let (_, query) = seen.target.split_once('?')?;
    pair(query.split('&'), name)
}

/// The value of a cookie that came.
pub(super) fn cookie<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    pair(seen.cookie().split("; "), name)
}

fn pair<'a>(mut pairs: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    pairs
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

fn html(body: impl Into<String>) -> Reply {
    Reply::bytes(body.into().into_bytes()).field("Content-Type", "text/html; charset=utf-8")
}

fn script(body: &str) -> Reply {
    Reply::bytes(body.as_bytes().to_vec()).field("Content-Type", "text/javascript")
}

fn data(value: &Value) -> Reply {
    Reply::text(value.to_string())
        .field("Content-Type", "application/json")
        .field("Cache-Control", "no-store")
}

fn answer(seen: &Seen, gate: &Gate) -> Reply {
    let path = path_of(seen);
    if let Some((_, kind, disposition, bytes)) = FILES.iter().find(|file| file.0 == path) {
        let reply = Reply::bytes(bytes.to_vec()).field("Content-Type", kind);
        return match *disposition {
            "" => reply,
            disposition => reply.field("Content-Disposition", disposition),
        };
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    match (folder, name) {
        ("", _) => front(seen, name, gate),
        ("/api" | "/sw", _) => api(seen, path),
        ("/wizard", _) => html(include_str!("pages/wizard.html")),
        ("/spa" | "/app", _) => html(include_str!("pages/shell.html")),
        ("/plain", _) => html(include_str!("pages/plain.html")),
        ("/redirect", "0") => Reply::redirect("/account").cookie("hops=0; Path=/; Secure"),
        ("/redirect", hop) => {
            let next = hop.parse::<u32>().map_or(0, |hop| hop - 1);
            Reply::redirect(&format!("/redirect/{next}"))
                .cookie(&format!("hops={next}; Path=/; Secure"))
        }
        _ => faulty(seen, path),
    }
}

/// What people visit.
fn front(seen: &Seen, name: &str, gate: &Gate) -> Reply {
    let user = query(seen, "user").unwrap_or("ada");
    match name {
        "login" if seen.method == "POST" => {
            let form = String::from_utf8_lossy(&seen.body).into_owned();
            let user = pair(form.split('&'), "user").unwrap_or_default().to_owned();
            let to = Reply { status: 303, ..Reply::redirect("/account") };
            to.cookie(&format!("sid={user}; Path=/; Secure; HttpOnly; SameSite=Lax"))
        }
        "login" => html(include_str!("pages/login.html")),
        "account" => html(format!(
            "<!doctype html><title>account</title><p id=who>{}</p><script>document.body.dataset.done = ''</script>",
            cookie(seen, "sid").map_or("nobody".to_owned(), |user| format!("hello {user}"))
        )),
        "token-login" => html(include_str!("pages/token_login.html")),
        "me" => html(include_str!("pages/me.html")),
        "indexed" => html(include_str!("pages/indexed.html")),
        "lazy" => html(include_str!("pages/lazy.html")),
        "service" => html(include_str!("pages/service.html")),
        "sw.js" => script(include_str!("pages/sw.js")),
        "spa.js" => script(include_str!("pages/spa.js")),
        "analytics.js" | "ok.js" => script(""),
        "strict" => html(include_str!("pages/strict.html")).field(
            "Content-Security-Policy",
            "default-src 'self'; script-src 'nonce-r4nd0m'; require-trusted-types-for 'script'; sandbox allow-scripts allow-same-origin",
        ),
        "frame" => html(include_str!("pages/frame.html")),
        "framed" => html(include_str!("pages/framed.html").replace("COOKIE", seen.cookie()))
            .cookie("__Host-part=1; Path=/; Secure; HttpOnly; SameSite=None; Partitioned")
            .cookie("third=1; Path=/; Secure; SameSite=None"),
        "whoami" => html(include_str!("pages/whoami.html")),
        "load" => html(include_str!("pages/load.html")),
        "cookies" => html(include_str!("pages/cookies.html"))
            .cookie("plain=1")
            .cookie("only=1; HttpOnly; SameSite=Strict; Secure")
            .cookie("late=1; Path=/; Secure; Expires=Fri, 01 Jan 2100 00:00:00 GMT")
            .cookie("long=1; Path=/; Secure; Max-Age=7200")
            .cookie("site=1; Domain=app.example; Path=/; SameSite=None; Secure")
            .cookie("__Host-part=1; Path=/; Secure; HttpOnly; SameSite=None; Partitioned")
            .cookie("__Secure-a=1; Secure; Path=/cookies")
            .cookie("__Host-bad=1; Secure; Path=/cookies"),
        "logout" => html(include_str!("pages/logout.html"))
            .cookie("sid=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
            .cookie("api=; Path=/; Secure; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        "forget" => html("<!doctype html><p>forgotten</p><script>localStorage.clear(); document.body.dataset.done = ''</script>"),
        "echo" => data(&fields(seen)),
        "gated.js" => script("document.body.dataset.gated = ''; document.cookie = 'gated=1; Path=/; Secure'; localStorage.setItem('gated', '1')").after(gate),
        "gated" => html(format!(
            "<!doctype html><p id=who>{user}</p><script src=/gated.js></script><script>document.body.dataset.done = ''</script>"
        )),
        "coded" => Reply::bytes(CODED.to_vec())
            .field("Content-Type", "text/html; charset=iso-8859-1")
            .field("Content-Encoding", "gzip")
            .field("ETag", "\"1\"")
            .field("Last-Modified", "Fri, 02 Oct 2026 00:00:00 GMT")
            .field("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ==")
            .field("Repr-Digest", "sha-256=:AAAA:")
            .field("Accept-Ranges", "bytes")
            .field("X-Mine", "1")
            .cookie("coded=1; Path=/; Secure"),
        "orders" => html(
            "<!doctype html><ul id=orders></ul><script>setTimeout(() => {\
             document.querySelector('#orders').innerHTML = '<li>an order of badgers</li>' }, 50)</script>",
        ),
        "parts" => html(
            "<!doctype html><link rel=stylesheet href=/part.css><img src=/part.png><script src=/ok.js></script>\
             <script>onload = () => { document.body.dataset.done = '' }</script>",
        ),
        "part.css" => Reply::text("p { color: red }").field("Content-Type", "text/css"),
        "part.png" => Reply::text("").field("Content-Type", "image/png"),
        "tall" => html(
            "<!doctype html><body style='margin: 0; background: teal'><div style='height: 3000px'></div>\
             <script>document.body.dataset.done = ''</script>",
        ),
        // To where a page must not lead.
        "lead" => html(format!(
            "<!doctype html><p>stayed</p><iframe src='{0}'></iframe><script>location.href = '{0}'; document.body.dataset.done = ''</script>",
            query(seen, "to").unwrap_or_default()
        )),
        "script-redirect" => html("<!doctype html><script>location.replace('/landed?by=script')</script>").field("X-Page", "first"),
        "landed" => html("<!doctype html><p>landed</p><script>document.body.dataset.done = ''</script>").field("X-Page", "second"),
        "auto-login" => html(
            "<!doctype html><form method=post action=/login><input name=user value=ada></form>\
             <script>document.forms[0].submit()</script>",
        ),
        "refresh" => html("<!doctype html><meta http-equiv=refresh content='0;url=/landed?by=refresh'><p>soon</p>"),
        "to-missing" => html("<!doctype html><script>location.href = '/missing'</script>"),
        "missing" => Reply {
            status: 404,
            ..html("<!doctype html><p>not</p><script>document.body.append('found'); document.body.dataset.done = ''</script>")
        },
        "popup" => html(include_str!("pages/popup.html")),
        "flood" => html("").filled(b'x', 1 << 30),
        _ => faulty(seen, &format!("/{name}")),
    }
}

/// What its scripts ask for.
fn api(seen: &Seen, path: &str) -> Reply {
    match path {
        "/api/login" => {
            let asked: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            let user = asked["user"].as_str().unwrap_or_default();
            data(&json!({ "token": format!("token-{user}") }))
                .cookie(&format!("api={user}; Path=/; Secure; HttpOnly"))
        }
        "/api/me" => match seen
            .field("authorization")
            .and_then(|field| field.strip_prefix("Bearer token-"))
        {
            Some(name) => data(&json!({ "name": name })),
            None => Reply {
                status: 401,
                ..data(&json!({}))
            },
        },
        "/api/items" => {
            let items: Vec<String> = (0..12).map(|item| format!("item {item}")).collect();
            data(&json!(items))
        }
        "/sw/asset" | "/sw/echo" => Reply::text("past the service worker"),
        _ => Reply::status(404),
    }
}

/// Pages that misbehave.
fn faulty(seen: &Seen, path: &str) -> Reply {
    match path {
        "/never" => Reply::text("").after(&Gate::closed()),
        "/waiting" => html(
            "<!doctype html><p>before</p><script>document.body.append('script'); document.body.dataset.done = ''</script>\
             <img src=/never><script src=/never defer></script>",
        ),
        "/beacon" => html(
            "<!doctype html><p>idle</p><script>fetch('/never'); document.body.dataset.done = ''</script>",
        ),
        "/restless" => html(include_str!("pages/restless.html")),
        "/tick" => Reply::text("tick"),
        "/spin" => html("<!doctype html><p>spinning</p><script>while (true) {}</script>"),
        "/spin-later" => html(
            "<!doctype html><p>spinning</p><script>onload = () => setTimeout(() => { while (true) {} })</script>",
        ),
        "/alerts" => html(
            "<!doctype html><p id=said></p><script>const said = [];\
             for (let n = 0; n < 10; n++) { alert(n); said.push(confirm('sure?'), prompt('name?', 'x')); }\
             document.querySelector('#said').textContent = JSON.stringify(said);\
             onbeforeunload = () => 'stay'; document.body.dataset.done = ''</script>",
        ),
        "/alert-loop" => {
            html("<!doctype html><p>alert</p><script>while (true) alert('again')</script>")
        }
        "/script-loop" => {
            let next = query(seen, "n")
                .and_then(|n| n.parse().ok())
                .unwrap_or(0_u32)
                + 1;
            html(format!(
                "<!doctype html><p>round</p><script>location.href = '/script-loop?n={next}'</script>"
            ))
        }
        "/reload" => html("<!doctype html><p>again</p><script>location.reload()</script>"),
        "/round" => Reply::redirect("/round"),
        "/to-round" => html("<!doctype html><script>location.href = '/round'</script>"),
        "/swollen" => html(
            "<!doctype html><p></p><script>document.querySelector('p').textContent = 'x'.repeat(1 << 28); document.body.dataset.done = ''</script>",
        ),
        "/flooded" => {
            html("<!doctype html><p>flooded</p><img src=/flood><script src=/flood></script>")
        }
        _ => Reply::status(404),
    }
}

/// The fields of a request, names in small letters.
fn fields(seen: &Seen) -> Value {
    let named = |name: &&str| (name.to_ascii_lowercase(), json!(seen.field(name)));
    let fields: Map<String, Value> = seen.head.names().iter().map(named).collect();
    fields.into()
}
