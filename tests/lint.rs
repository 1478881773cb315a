//! What a linter of certificates (pkilint) finds in burdock's: nothing but what lies in the host or no private CA can have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::support::tool::{self, stdout};
use crate::support::{Burdock, Origin};

/// Findings that every leaf has, by the rules for public CAs, and why they cannot apply here.
const OF_EVERY_LEAF: [(&str, &str); 5] = [
    (
        "cabf.serverauth.subscriber.revocation_information_absent",
        "a leaf lives as long as its process, and nobody could be asked whether it was revoked",
    ),
    (
        "msft.end_entity.revocation_information_absent",
        "the same, for Microsoft's root program",
    ),
    (
        "cabf.serverauth.subscriber.authority_info_access_extension_absent",
        "the issuer is sent along; there is no server to fetch it or a revocation status from",
    ),
    (
        "cabf.serverauth.subscriber.certificate_policies_extension_absent",
        "its policy would have to be one of the Forum's, which would be a lie",
    ),
    (
        "cabf.serverauth.subscriber.subject_key_identifier_extension_present",
        "RFC 5280, section 4.2.1.2, wants it; the Forum advises against it only for its size",
    ),
];

/// A kind of leaf: how the client asks for it, and the findings that lie in the host itself, each with the reason.
struct Kind {
    connect: &'static str,
    sni: Option<&'static str>,
    name: &'static str,
    /// By RFC 5280.
    syntax: &'static [(&'static str, &'static str)],
    /// By the rules for public CAs, beside those of every leaf.
    findings: &'static [(&'static str, &'static str)],
}

/// No public CA may certify what only a private network knows.
const INTERNAL_ADDRESS: (&str, &str) = (
    "cabf.internal_ip_address",
    "the address is this machine's own",
);

const LONG: &str = concat!(
    "a23456789-123456789-123456789-123456789-123456789-123456789-abc.",
    "b23456789-123456789-123456789-123456789-123456789-123456789-abc.",
    "c23456789-123456789-123456789-123456789-123456789-123456789-abc.",
    "d23456789-123456789-123456789-123456789-123456789.example.com"
);

const KINDS: [Kind; 11] = [
    Kind::of_name("shop.example.com"),
    Kind::of_name(LONG),
    Kind::of_name("xn--bcher-kva.example.com"),
    Kind::of_name("1.example.com"),
    Kind {
        findings: &[(
            "cabf.internal_domain_name",
            "the name is of a network of its own",
        )],
        ..Kind::of_name("intranet.local")
    },
    Kind::without_sni("shop.example.com:443", "shop.example.com"),
    Kind {
        syntax: &[(
            "pkix.invalid_domain_name_syntax",
            "RFC 5280 knows no wildcards, which came by RFC 6125",
        )],
        ..Kind::without_sni("*.shop.example.com:443", "*.shop.example.com")
    },
    Kind {
        findings: &[(
            "cabf.serverauth.invalid_dnsname_syntax",
            "public CAs certify no underscores; hosts that have them exist",
        )],
        ..Kind::of_name("a_b.example.com")
    },
    // What the SNI says goes before what the CONNECT said.
    Kind {
        connect: "127.0.0.1:443",
        ..Kind::of_name("inner.example.com")
    },
    Kind {
        findings: &[INTERNAL_ADDRESS],
        ..Kind::without_sni("127.0.0.1:443", "127.0.0.1")
    },
    Kind {
        findings: &[INTERNAL_ADDRESS],
        ..Kind::without_sni("[::1]:443", "0:0:0:0:0:0:0:1")
    },
];

impl Kind {
    const fn of_name(name: &'static str) -> Self {
        Self {
            connect: "",
            sni: Some(name),
            name,
            syntax: &[],
            findings: &[],
        }
    }

    const fn without_sni(connect: &'static str, name: &'static str) -> Self {
        Self {
            connect,
            sni: None,
            name,
            syntax: &[],
            findings: &[],
        }
    }

    fn target(&self) -> String {
        match self.connect {
            "" => format!("{}:443", self.name),
            connect => connect.to_owned(),
        }
    }
}

#[tokio::test]
async fn a_linter_finds_nothing_in_any_kind_of_leaf_but_what_no_private_ca_can_have() {
    assert_eq!(LONG.len(), 253, "the longest name there is");
    let origin = Origin::tls("shop.example.com").start().await;
    let port = origin.address().port();
    let burdock = Burdock::new()
        .config(&format!("upstream.connect_to = [':443:127.0.0.1:{port}']"))
        .start()
        .await;
    let mut leaves = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        leaves.push(leaf(&burdock, kind, at).await);
    }
    let mut lint = tool::command(&tool::python());
    lint.arg(tool::script("lint_certificates.py"))
        .arg(burdock.ca_file())
        .args(&leaves);
    let report: BTreeMap<PathBuf, BTreeMap<String, BTreeSet<String>>> =
        serde_json::from_str(&stdout(lint).await).expect("a report");
    let none = BTreeSet::new();
    assert_eq!(report[&burdock.ca_file()]["pkix"], none, "in the root");
    for (kind, leaf) in KINDS.iter().zip(&leaves) {
        let found = &report[leaf];
        assert_eq!(found["pkix"], codes(kind.syntax), "RFC 5280, {}", kind.name);
        assert_eq!(found["chain"], none, "leaf and issuer, {}", kind.name);
        let wanted = &codes(&OF_EVERY_LEAF) | &codes(kind.findings);
        assert_eq!(found["cabf"], wanted, "the Forum's rules, {}", kind.name);
    }
}

fn codes(findings: &[(&str, &str)]) -> BTreeSet<String> {
    let codes = findings.iter().map(|(code, _)| (*code).to_owned());
    codes.collect()
}

/// The leaf that a client of this kind is shown, as a file.
async fn leaf(burdock: &Burdock, kind: &Kind, at: usize) -> PathBuf {
    let mut client = tool::command(&tool::python());
    client
        .arg(tool::script("leaf.py"))
        .arg(burdock.proxy.to_string())
        .arg(burdock.ca_file())
        .arg(kind.target())
        .args(kind.sni);
    let file = burdock.folder().join(format!("leaf{at}.pem"));
    std::fs::write(&file, stdout(client).await).expect("our folder");
    let mut text = tool::command(&tool::on_path(&["openssl"]));
    text.args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(&file);
    let names = stdout(text).await;
    let name = names.lines().last().unwrap_or_default().trim();
    let name = name.split_once(':').map(|(_, name)| name);
    assert_eq!(name, Some(kind.name), "{names}");
    file
}
