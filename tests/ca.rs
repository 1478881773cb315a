//! The certificate authority: its files, its leaves, and who accepts them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::support::tool::{self, stdout};
use crate::support::{Burdock, Origin, Raw, raise_descriptor_limit, tls, within, within_time};

/// `openssl` with these arguments.
fn openssl(arguments: &[&str]) -> Command {
    let mut command = tool::command(&tool::on_path(&["openssl"]));
    command.args(arguments);
    command
}

/// The certificates that burdock shows for `target`, saved as a file: leaf first.
async fn chain(burdock: &Burdock, target: &str) -> PathBuf {
    let name = target
        .rsplit_once(':')
        .expect("HOST:PORT")
        .0
        .trim_matches(['[', ']']);
    let mut command = openssl(&[
        "s_client",
        "-showcerts",
        "-connect",
        target,
        "-proxy",
        &burdock.proxy.to_string(),
    ]);
    if name.parse::<std::net::IpAddr>().is_err() {
        command.args(["-servername", name]);
    }
    command
        .arg("-CAfile")
        .arg(burdock.ca_file())
        .stdin(std::process::Stdio::null());
    let shown = stdout(command).await;
    assert!(shown.contains("Verify return code: 0 (ok)"), "{shown}");
    let file = burdock.folder().join("chain.pem");
    std::fs::write(&file, shown).expect("our folder");
    file
}

async fn text_of(certificate: &Path) -> String {
    stdout(openssl(&[
        "x509",
        "-noout",
        "-text",
        "-in",
        certificate.to_str().expect("UTF-8"),
    ]))
    .await
}

#[tokio::test]
async fn the_first_start_makes_a_certificate_and_a_key_that_only_its_owner_reads() {
    let burdock = Burdock::new().start().await;
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("it exists")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&burdock.ca_dir.join("burdock-ca.pem")), 0o644);
    assert_eq!(mode(&burdock.ca_dir.join("burdock-ca.key")), 0o600);
    let text = text_of(&burdock.ca_file()).await;
    for wanted in [
        "CA:TRUE",
        "Certificate Sign",
        "prime256v1",
        "Subject Key Identifier",
        "critical",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
}

#[tokio::test]
async fn the_next_start_keeps_the_ca() {
    let first = Burdock::new().start().await;
    let pem = first.ca_pem();
    let folder = first.ca_dir.display().to_string();
    let key = std::fs::read(first.ca_dir.join("burdock-ca.key")).expect("a key");
    let second = Burdock::new().flag("--ca-dir").flag(&folder).start().await;
    assert_eq!(second.api("GET", "/ca.pem", "").await.text(), pem);
    assert_eq!(
        std::fs::read(first.ca_dir.join("burdock-ca.key")).expect("a key"),
        key
    );
}

#[tokio::test]
async fn a_ca_that_cannot_be_read_is_an_error_and_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("burdock-ca.key");
    std::fs::write(&key, "not a key").expect("our folder");
    std::fs::write(folder.path().join("burdock-ca.pem"), "not a certificate").expect("our folder");
    let (code, said) = Burdock::new()
        .flag("--ca-dir")
        .flag(&folder.path().display().to_string())
        .refused()
        .await;
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert!(said.contains("burdock-ca"), "it names the file: {said}");
    assert_eq!(std::fs::read_to_string(&key).expect("a file"), "not a key");
}

#[tokio::test]
async fn the_certificate_can_be_downloaded() {
    let burdock = Burdock::new().start().await;
    let pem = burdock.api("GET", "/ca.pem", "").await;
    assert_eq!((pem.status, pem.text()), (200, burdock.ca_pem()));
    let der = burdock.api("GET", "/ca.der", "").await;
    let file = burdock.folder().join("ca.der");
    std::fs::write(&file, &der.body).expect("our folder");
    let again = stdout(openssl(&[
        "x509",
        "-inform",
        "DER",
        "-in",
        file.to_str().expect("UTF-8"),
    ]))
    .await;
    assert_eq!(again.trim(), burdock.ca_pem().trim());
    assert!(
        pem.field("content-type")
            .is_some_and(|kind| kind.contains("x-x509-ca-cert") || kind.contains("pem"))
    );
}

#[tokio::test]
async fn openssl_accepts_a_leaf_strictly() {
    let shop = Origin::tls("shop.example").start().await;
    let home = Origin::tls("127.0.0.1").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    for (target, san) in [
        ("shop.example:443".to_owned(), "DNS:shop.example"),
        (home.address().to_string(), "IP Address:127.0.0.1"),
    ] {
        let leaf = chain(&burdock, &target).await;
        let leaf = leaf.to_str().expect("UTF-8");
        let ca = burdock.ca_file();
        let ca = ca.to_str().expect("UTF-8");
        let verified = stdout(openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            ca,
            leaf,
        ]))
        .await;
        assert!(verified.contains("OK"), "{verified}");
        let text = text_of(Path::new(leaf)).await;
        for wanted in [
            san,
            "prime256v1",
            "Authority Key Identifier",
            "TLS Web Server Authentication",
            "Digital Signature",
            "CA:FALSE",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert_eq!(
            text.matches("DNS:").count() + text.matches("IP Address:").count(),
            1,
            "one name: {text}"
        );
    }
}

#[tokio::test]
async fn a_leaf_is_valid_for_at_most_47_days_and_already_for_a_while() {
    let shop = Origin::tls("shop.example").start().await;
    let builder = Burdock::new()
        .connect_to(&shop)
        .config("ca.leaf_validity = '47d'");
    let burdock = builder.start().await;
    let leaf = chain(&burdock, "shop.example:443").await;
    let dates = stdout(openssl(&[
        "x509",
        "-noout",
        "-dates",
        "-dateopt",
        "iso_8601",
        "-in",
        leaf.to_str().expect("UTF-8"),
    ]))
    .await;
    let date = |name: &str| {
        let line = dates
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{name} in {dates}"));
        let format =
            time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        time::PrimitiveDateTime::parse(line, format)
            .expect("a date")
            .assume_utc()
    };
    let (from, to) = (date("notBefore="), date("notAfter="));
    assert!(to - from <= time::Duration::days(47), "{dates}");
    assert!(
        from < time::OffsetDateTime::now_utc() - time::Duration::minutes(10),
        "clocks differ: {dates}"
    );
    assert!(
        to > time::OffsetDateTime::now_utc() + time::Duration::days(44),
        "{dates}"
    );
}

#[tokio::test]
async fn more_than_47_days_is_a_config_error() {
    let (code, said) = Burdock::new()
        .config("ca.leaf_validity = '48d'")
        .refused()
        .await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("leaf_validity"), "{said}");
}

/// First connections to one host at the same time.
const AT_ONCE: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaf_is_minted_once_for_a_thousand_first_connections_at_once() {
    raise_descriptor_limit();
    let shop = Origin::tcp("shop.example", async |mut wire| {
        wire.take_whenever(1).await;
    })
    .await;
    let route = format!("shop.example:443:127.0.0.1:{}", shop.address().port());
    let burdock = Burdock::new()
        .config(&format!("upstream.connect_to = [{route:?}]"))
        .start()
        .await;
    let config = Arc::new(tls::client(&burdock.ca_pem(), &[]));
    let client = burdock.client();
    // All tunnels are open before anybody asks for the certificate.
    let mut tunnels = Vec::new();
    for _ in 0..AT_ONCE {
        tunnels.push(client.tunnel("shop.example:443").await);
    }
    let mut asking = JoinSet::new();
    for tunnel in tunnels {
        asking.spawn(leaf(tunnel, Arc::clone(&config)));
    }
    let mut leaves = BTreeSet::new();
    while let Some(leaf) = asking.join_next().await {
        leaves.insert(leaf.expect("it ends"));
    }
    assert_eq!(leaves.len(), 1, "serial numbers are random: one leaf");
    let again = Burdock::new()
        .config(&format!("upstream.connect_to = [{route:?}]"))
        .start()
        .await;
    let tunnel = again.client().tunnel("shop.example:443").await;
    let config = Arc::new(tls::client(&again.ca_pem(), &[]));
    let other = leaf(tunnel, config).await;
    assert!(!leaves.contains(&other), "another CA, another leaf");
}

/// The leaf that is shown for `shop.example` in a tunnel.
async fn leaf(tunnel: Raw, config: Arc<rustls::ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("shop.example").expect("a name");
    let handshake = TlsConnector::from(config).connect(name, tunnel.into_stream());
    let stream = within_time(Duration::from_secs(60), "the handshake", handshake).await;
    let stream = stream.expect("a good certificate");
    let certificates = stream.get_ref().1.peer_certificates();
    certificates.expect("certificates")[0].to_vec()
}

#[tokio::test]
async fn a_client_that_rejects_the_leaf_is_named_in_the_log_with_the_remedy() {
    let shop = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    // One that trusts some other authority, in either version of TLS.
    let stranger = tls::UNTRUSTED.pem();
    for version in [&TLS13, &TLS12] {
        let wire = TcpStream::connect(burdock.proxy).await.expect("connected");
        let client = wire.local_addr().expect("bound");
        let mut tunnel = Raw::over(wire);
        tunnel
            .send("CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n")
            .await;
        assert_eq!(tunnel.answer_to("CONNECT").await.head.status(), 200);
        let config = tls::client_of(&stranger, &["http/1.1"], &[version]);
        let name = ServerName::try_from("shop.example").expect("a name");
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tunnel.into_stream());
        let refused = within("the handshake", handshake).await;
        assert!(refused.is_err(), "a stranger's certificate was accepted");
        burdock.logged(&format!("client={client}")).await;
        let log = burdock.log();
        let line = log
            .lines()
            .find(|line| line.contains(&format!("client={client}")))
            .expect("it was waited for");
        for wanted in [
            "WARN",
            "the client rejects our certificate",
            "authority=shop.example:443",
            "have it trust the CA",
            "burdock-ca.pem",
            "`tls.passthrough`",
        ] {
            assert!(line.contains(wanted), "{wanted} in {line}");
        }
    }
    // Whoever trusts it goes on, and is not named.
    let before = burdock.log().matches("rejects").count();
    let answer = burdock.client().get("https://shop.example/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(burdock.log().matches("rejects").count(), before);
}

#[tokio::test]
async fn serials_are_random_and_keys_are_the_leafs_own() {
    let names = ["one.example", "two.example", "three.example"];
    let mut origins = Vec::new();
    for name in names {
        origins.push(Origin::tls(name).start().await);
    }
    let burdock = Burdock::before(&origins.iter().collect::<Vec<_>>()).await;
    let mut serials = BTreeSet::new();
    let ca_key = stdout(openssl(&[
        "x509",
        "-noout",
        "-pubkey",
        "-in",
        burdock.ca_file().to_str().expect("UTF-8"),
    ]))
    .await;
    for name in names {
        let leaf = chain(&burdock, &format!("{name}:443")).await;
        let leaf = leaf.to_str().expect("UTF-8");
        let serial = stdout(openssl(&["x509", "-noout", "-serial", "-in", leaf])).await;
        assert!(
            serial.trim().len() >= "serial=".len() + 16,
            "64 bits and more: {serial}"
        );
        serials.insert(serial);
        assert_ne!(
            stdout(openssl(&["x509", "-noout", "-pubkey", "-in", leaf])).await,
            ca_key
        );
    }
    assert_eq!(serials.len(), names.len());
}
