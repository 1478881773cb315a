//! The table of docs/INTERFACE.md, section 5, row by row: each error provoked on HTTP/1.1, on h2 in a tunnel, and on h2c.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use http::Version;

use crate::faults::Deaf;
use crate::support::client::request;
use crate::support::problem::{assert_fault, proxy_error};
use crate::support::{Answer, Burdock, Client, Gate, Origin, Reply, tls};

/// Rows that no request on the proxy port can provoke, and why.
const NOT_PROVOKED: [(&str, &str); 1] = [(
    "internal",
    "it would need a defect; src/fault.rs tests its response",
)];

/// How to provoke an error.
struct Provocation {
    name: &'static str,
    /// What `Proxy-Status` says (RFC 9209, section 2.3).
    error: &'static str,
    config: &'static str,
    url: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// Whether an earlier request has to use something up.
    second: bool,
}

impl Provocation {
    const fn new(name: &'static str, error: &'static str) -> Self {
        Self {
            name,
            error,
            config: "",
            url: "https://shop.example/",
            fields: &[("X-Session-ID", "f")],
            second: false,
        }
    }
}

const PROVOCATIONS: [Provocation; 19] = [
    Provocation {
        fields: &[("X-Session-ID", "not valid")],
        ..Provocation::new("bad-request", "http_request_error")
    },
    Provocation {
        fields: &[],
        config: "sessions.on_missing = 'reject'",
        ..Provocation::new("session-required", "http_request_error")
    },
    Provocation {
        config: "sessions.on_unknown = 'reject'",
        ..Provocation::new("unknown-session", "http_request_error")
    },
    Provocation {
        config: "proxy.auth.tokens = ['token']",
        ..Provocation::new("proxy-auth-required", "http_request_denied")
    },
    Provocation {
        config: "upstream.deny = ['127.0.0.9/32']",
        url: "http://127.0.0.9/",
        ..Provocation::new("destination-denied", "destination_ip_prohibited")
    },
    Provocation {
        config: "sessions.rate_limit = { requests_per_second = 0.001, on_limit = 'reject' }",
        second: true,
        ..Provocation::new("rate-limited", "http_request_denied")
    },
    Provocation {
        config: "proxy.max_header_bytes = '8KiB'",
        fields: &[("X-Long", LONG)],
        ..Provocation::new("headers-too-large", "http_request_error")
    },
    Provocation {
        url: "http://nowhere.invalid/",
        ..Provocation::new("dns-failed", "dns_error")
    },
    Provocation {
        url: "http://127.0.0.1:1/",
        ..Provocation::new("connect-failed", "connection_refused")
    },
    Provocation {
        url: "https://untrusted.example/",
        ..Provocation::new("upstream-tls", "tls_certificate_error")
    },
    Provocation {
        url: "https://shop.example/nonsense",
        ..Provocation::new("upstream-protocol", "http_protocol_error")
    },
    Provocation {
        config: "sessions.max_active_sessions = 1",
        ..Provocation::new("too-many-sessions", "http_request_denied")
    },
    Provocation {
        config: "sessions.default_adapter = 'redis'\nadapters.redis.url = 'redis://127.0.0.1:1'",
        ..Provocation::new("store-unavailable", "proxy_internal_error")
    },
    Provocation {
        config: "browser.enabled = false",
        fields: &[("X-Session-ID", "f"), ("X-Burdock-Render", "browser")],
        ..Provocation::new("browser-unavailable", "proxy_internal_error")
    },
    Provocation {
        config: "upstream.connect_timeout = '500ms'",
        url: "http://deaf.example/",
        ..Provocation::new("connect-timeout", "connection_timeout")
    },
    Provocation {
        config: "upstream.response_header_timeout = '500ms'",
        url: "https://shop.example/never",
        ..Provocation::new("upstream-timeout", "http_response_timeout")
    },
    Provocation {
        config: "browser.navigation_timeout = '4s'",
        url: "https://shop.example/never",
        fields: &[("X-Session-ID", "f"), ("X-Burdock-Render", "browser")],
        ..Provocation::new("browser-timeout", "http_response_timeout")
    },
    Provocation {
        fields: &[("Host", "other.example")],
        ..Provocation::new("misdirected", "http_request_error")
    },
    Provocation {
        url: "http://127.0.0.1:PROXY/",
        ..Provocation::new("loop-detected", "proxy_loop_detected")
    },
];

/// A field of 9 KiB.
const LONG: &str = {
    const BYTES: [u8; 9 << 10] = [b'x'; 9 << 10];
    match str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// A way for requests to come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    /// HTTP/1.1, in absolute form or in a tunnel.
    Http1,
    /// h2 in an intercepted tunnel.
    Tunnel,
    /// h2 with prior knowledge, in absolute form.
    H2c,
}

impl Leg {
    fn client(self, burdock: &Burdock) -> Client {
        match self {
            Self::Http1 => burdock.client(),
            Self::Tunnel => burdock.client().http2(),
            Self::H2c => burdock.client().h2c(),
        }
    }

    /// The `h2` crate answers a header list beyond SETTINGS_MAX_HEADER_LIST_SIZE before anybody sees the request: the status
    /// is right, the rest of the contract missing (docs/CONFORMANCE.md).
    fn is_answered_by_h2_itself(self, provocation: &Provocation) -> bool {
        self != Self::Http1 && provocation.name == "headers-too-large"
    }

    /// Whether what is provoked can be provoked this way.
    fn can(self, provocation: &Provocation) -> bool {
        match (self, provocation.name) {
            // In absolute form the target goes before Host: nothing is misdirected.
            (Self::H2c, "misdirected") => false,
            // The CONNECT is refused, which comes by HTTP/1.1.
            (Self::Tunnel, "proxy-auth-required") => false,
            (Self::Tunnel, _) => provocation.url.starts_with("https:"),
            _ => true,
        }
    }
}

/// NAME and status of each row that exists in this version.
fn table() -> BTreeMap<String, u16> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/INTERFACE.md");
    let contract = std::fs::read_to_string(contract).expect("the contract");
    let (_, section) = contract.split_once("## 5. ").expect("a section 5");
    let (section, _) = section.split_once("\n## 6. ").expect("a section 6");
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let (names, status) = (cells.next()?, cells.next()?);
        let status: u16 = status.trim().get(..3)?.parse().ok()?;
        Some((format!("`{names}"), status))
    });
    rows.flat_map(|(names, status)| {
        let present = names
            .split(", ")
            .filter(|name| !name.contains("[not yet]"))
            .map(|name| (name.trim().trim_matches('`').to_owned(), status));
        present.collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn every_row_is_provoked_or_named_with_the_reason() {
    let named = PROVOCATIONS
        .iter()
        .map(|provocation| provocation.name)
        .chain(NOT_PROVOKED.map(|(name, _)| name));
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(named, table().into_keys().collect());
}

#[tokio::test]
async fn every_row_is_answered_alike_on_http_1_and_h2() {
    let table = table();
    let never = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/never", Reply::text("").after(&never))
        .on("/nonsense", Reply::wire("what is this\r\n\r\n").closing())
        .start()
        .await;
    let untrusted = tls::UNTRUSTED.server("untrusted.example", &["http/1.1"]);
    let untrusted = Origin::with_tls("untrusted.example", untrusted)
        .start()
        .await;
    let deaf = Deaf::new();
    let routes = [
        shop.connect_to(),
        untrusted.connect_to(),
        format!("deaf.example:80:{}", deaf.address),
    ];
    let routes = format!("upstream.connect_to = {routes:?}");
    for provocation in &PROVOCATIONS {
        for leg in [Leg::Http1, Leg::Tunnel, Leg::H2c] {
            if !leg.can(provocation) {
                continue;
            }
            let what = format!("{} on {leg:?}", provocation.name);
            let burdock = Burdock::new()
                .config(&routes)
                .config(provocation.config)
                .start()
                .await;
            let answer = provoke(&burdock, provocation, leg).await;
            let version = match leg {
                Leg::Http1 => Version::HTTP_11,
                Leg::Tunnel | Leg::H2c => Version::HTTP_2,
            };
            assert_eq!(answer.version, version, "{what}");
            if leg.is_answered_by_h2_itself(provocation) {
                let said = (
                    answer.status,
                    answer.body.len(),
                    answer.field("proxy-status"),
                );
                assert_eq!(said, (table[provocation.name], 0, None), "{what}");
                continue;
            }
            assert_fault(&answer, provocation.name, table[provocation.name]);
            assert_eq!(proxy_error(&answer), provocation.error, "{what}");
            assert_eq!(answer.field("x-burdock-route"), None, "{what}");
            // Where waiting helps; a browser does not come by itself.
            let waits = ["rate-limited", "too-many-sessions", "store-unavailable"]
                .contains(&provocation.name);
            assert_eq!(answer.field("retry-after").is_some(), waits, "{what}");
            let challenge = answer.field("proxy-authenticate");
            assert_eq!(challenge.is_some(), answer.status == 407, "{what}");
        }
    }
}

async fn provoke(burdock: &Burdock, provocation: &Provocation, leg: Leg) -> Answer {
    if provocation.name == "too-many-sessions" {
        let made = burdock.api("POST", "/api/v1/sessions", "").await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let mut client = leg.client(burdock);
    let url = provocation
        .url
        .replace("PROXY", &burdock.proxy.port().to_string());
    let get = || {
        let mut get = request("GET", &url);
        for (name, value) in provocation.fields {
            get = get.header(*name, *value);
        }
        get.body("".into()).expect("a valid request")
    };
    if provocation.second {
        assert_eq!(client.send(get()).await.status, 200, "{}", provocation.name);
    }
    client.send(get()).await
}
