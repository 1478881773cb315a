//! The clients that people have: each gets a page through burdock, keeps its session, and trusts the CA.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::nginx::Nginx;
use crate::support::tool::{command, node_modules, on_path, python, script, stdout};
use crate::support::{Burdock, Origin, Reply};

/// What the shop does: `/set` gives a cookie, `/show` tells what arrived, `/hop` redirects with a cookie.
const LOCATIONS: &str = r#"
    location = /set { add_header Set-Cookie "sid=$arg_v; Secure; HttpOnly"; return 200 "set"; }
    location = /hop { add_header Set-Cookie "hop=1" always; return 302 /show; }
    location / {
        default_type text/html;
        return 200 "cookie=[$http_cookie] agent=[$http_user_agent] protocol=[$server_protocol]";
    }"#;

/// The same in our own origin, by HTTP/1.1.
async fn own_origin() -> Origin {
    Origin::tls("own.example")
        .respond(|seen| match seen.target.split_once("?v=") {
            Some((_, value)) => {
                Reply::text("set").cookie(&format!("sid={value}; Secure; HttpOnly"))
            }
            None if seen.target == "/hop" => Reply::redirect("/show").cookie("hop=1"),
            None => Reply::text(format!("cookie=[{}] protocol=[HTTP/1.1]", seen.cookie())),
        })
        .start()
        .await
}

/// nginx, our own origin, and a burdock before both.
async fn shops(config: &str) -> (Nginx, Origin, Burdock) {
    let nginx = Nginx::start("shop.example", LOCATIONS).await;
    let own = own_origin().await;
    let routes = format!(
        "upstream.connect_to = [{:?}, {:?}]",
        nginx.connect_to(),
        own.connect_to()
    );
    let burdock = Burdock::new().config(&routes).config(config).start().await;
    (nginx, own, burdock)
}

fn curl(burdock: &Burdock, arguments: &[&str]) -> Command {
    let mut curl = command(&on_path(&["curl"]));
    curl.args(["--silent", "--show-error", "--fail", "--cacert"])
        .arg(burdock.ca_file())
        .args(arguments);
    curl
}

#[tokio::test]
async fn curl_keeps_a_session_by_every_carrier() {
    let (_nginx, _own, burdock) = shops("").await;
    let proxy = format!("http://{}", burdock.proxy);
    let user = format!("http://{{}}:@{}", burdock.proxy);
    for origin in ["https://shop.example", "https://own.example"] {
        for (number, version) in ["--http1.1", "--http2"].iter().enumerate() {
            let id = format!("c{number}-{}", &origin[8..11]);
            let header = format!("X-Session-ID: {id}");
            let user = user.replace("{}", &id);
            let set = format!("{origin}/set?v={id}");
            stdout(curl(
                &burdock,
                &[version, "-x", &proxy, "-H", &header, &set],
            ))
            .await;
            let show = format!("{origin}/show");
            for carrier in [
                vec![version, "-x", &proxy, "-H", &header, &show],
                vec![version, "-x", &proxy, "--proxy-header", &header, &show],
                vec![version, "-x", &user, &show],
            ] {
                let page = stdout(curl(&burdock, &carrier)).await;
                assert!(
                    page.contains(&format!("cookie=[sid={id}]")),
                    "{carrier:?}: {page}"
                );
            }
            let page = stdout(curl(&burdock, &[version, "-x", &proxy, &show])).await;
            assert!(page.contains("cookie=[]"), "another visitor: {page}");
        }
    }
}

#[tokio::test]
async fn curl_follows_redirects() {
    let (_nginx, _own, burdock) = shops("").await;
    let proxy = format!("http://r:@{}", burdock.proxy);
    let page = stdout(curl(
        &burdock,
        &["-L", "-x", &proxy, "https://shop.example/hop"],
    ))
    .await;
    assert!(
        page.contains("cookie=[hop=1]") && page.contains("protocol=[HTTP/2.0]"),
        "{page}"
    );
}

#[tokio::test]
async fn curl_posts_a_form_to_an_origin_that_answers_before_it_has_read_it() {
    let (nginx, _own, burdock) = shops("").await;
    let proxy = format!("http://r:@{}", burdock.proxy);
    let login = nginx.url("/login");
    // nginx answers at the head; whether curl's body is on its way by then is a matter of luck, hence so often.
    for number in 0..20 {
        let form = format!("user={number}");
        let page = stdout(curl(&burdock, &["-x", &proxy, &login, "-d", &form])).await;
        assert!(page.contains("protocol=[HTTP/2.0]"), "{page}");
    }
    assert_eq!(nginx.access_log().matches("POST /login").count(), 20);
}

/// Runs a script of `tests/clients/` as session `id`, with the proxy and the CA in the environment, as
/// `burdock env` gives them. It prints one JSON object.
async fn run(mut client: Command, burdock: &Burdock, id: &str, password: &str) -> Value {
    let proxy = format!("http://{id}:{password}@{}", burdock.proxy);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        client.env(name, &proxy);
    }
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        client.env(name, burdock.ca_file());
    }
    client.current_dir(burdock.folder());
    let said = stdout(client).await;
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn python_script(name: &str) -> Command {
    let mut client = command(&python());
    client.arg(script(name));
    client
}

fn node_script(name: &str) -> Command {
    let mut client = command(&on_path(&["node"]));
    client.arg(script(name)).env("NODE_PATH", node_modules());
    client
}

/// A client that gets `/set?v=1` and then `/show` from both origins, by calls that share no jar.
async fn keeps_its_session(client: impl Fn() -> Command) {
    let (_nginx, _own, burdock) = shops("").await;
    for (id, value) in [("one", "1"), ("two", "2")] {
        for (origin, protocol) in [
            ("https://shop.example", "HTTP/2.0"),
            ("https://own.example", "HTTP/1.1"),
        ] {
            let mut client = client();
            client.args([origin, value]);
            let said = run(client, &burdock, id, "x").await;
            let page = said["page"].as_str().expect("a page");
            assert!(page.contains(&format!("cookie=[sid={value}]")), "{said}");
            assert!(page.contains(&format!("protocol=[{protocol}]")), "{said}");
            assert_eq!(said["session"], id, "{said}");
        }
    }
}

#[tokio::test]
async fn python_requests_needs_no_change() {
    keeps_its_session(|| python_script("requests_client.py")).await;
}

#[tokio::test]
async fn httpx_needs_no_change() {
    keeps_its_session(|| python_script("httpx_client.py")).await;
}

#[tokio::test]
async fn scrapy_needs_no_change() {
    keeps_its_session(|| python_script("scrapy_client.py")).await;
}

#[tokio::test]
async fn undici_needs_no_change() {
    keeps_its_session(|| node_script("undici_client.js")).await;
}

#[tokio::test]
async fn python_websockets_pass() {
    let burdock = Burdock::new().start().await;
    let said = run(python_script("websockets_client.py"), &burdock, "w", "x").await;
    assert_eq!(said["echo"], "hello through burdock", "{said}");
    assert_eq!(said["session"], Value::from(1), "{said}");
}

/// A home folder whose NSS store trusts burdock's CA: what Chromium asks on Linux.
async fn home_that_trusts(burdock: &Burdock) -> PathBuf {
    let home = burdock.folder().join("home");
    let store = home.join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("our folder");
    let certutil = || {
        let mut certutil = command(&on_path(&["certutil"]));
        certutil.arg("-d").arg(format!("sql:{}", store.display()));
        certutil
    };
    let mut make = certutil();
    make.args(["-N", "--empty-password"]);
    stdout(make).await;
    let mut trust = certutil();
    trust
        .args(["-A", "-t", "C,,", "-n", "burdock", "-i"])
        .arg(burdock.ca_file());
    stdout(trust).await;
    home
}

fn chromium(program: &Path, burdock: &Burdock, home: &Path, url: &str) -> Command {
    let mut chromium = command(program);
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg("--disable-dev-shm-usage")
        .arg(format!(
            "--user-data-dir={}",
            home.join("profile").display()
        ))
        .arg(format!("--proxy-server=http://{}", burdock.proxy))
        .args(["--dump-dom", url])
        .env("HOME", home);
    chromium
}

#[tokio::test]
async fn chromium_accepts_the_certificates() {
    let (nginx, _own, burdock) = shops("").await;
    let home = home_that_trusts(&burdock).await;
    for url in ["https://shop.example/show", "https://own.example/show"] {
        let page = stdout(chromium(&on_path(&["chromium"]), &burdock, &home, url)).await;
        assert!(page.contains("protocol=["), "{page}");
    }
    assert!(
        nginx.access_log().contains("Chrome/"),
        "{}",
        nginx.access_log()
    );
}

#[tokio::test]
async fn chromium_refuses_them_where_the_ca_is_not_trusted() {
    let (nginx, _own, burdock) = shops("").await;
    let home = burdock.folder().join("home");
    std::fs::create_dir_all(&home).expect("our folder");
    let page = stdout(chromium(
        &on_path(&["chromium"]),
        &burdock,
        &home,
        "https://shop.example/show",
    ))
    .await;
    assert!(!page.contains("protocol=["), "{page}");
    assert!(
        !nginx.access_log().contains("/show"),
        "{}",
        nginx.access_log()
    );
}

#[tokio::test]
async fn playwright_names_its_session_by_proxy_credentials() {
    let (_nginx, _own, burdock) = shops("proxy.auth.tokens = ['secret']").await;
    let home = home_that_trusts(&burdock).await;
    for id in ["p1", "p2"] {
        let mut client = node_script("playwright_client.js");
        client.args([
            format!("http://{}", burdock.proxy),
            id.to_owned(),
            "secret".to_owned(),
        ]);
        client.arg(on_path(&["chromium"])).env("HOME", &home);
        let said = run(client, &burdock, id, "secret").await;
        assert!(
            said["page"]
                .as_str()
                .is_some_and(|page| page.contains(&format!("sid={id}"))),
            "{said}"
        );
        assert_eq!(said["session"], id, "{said}");
    }
}

#[tokio::test]
async fn h2load_gets_every_answer_over_h2c() {
    let shop = Origin::plain("shop.example").start().await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut h2load = command(&on_path(&["h2load"]));
    h2load
        .args(["-n", "2000", "-c", "8", "-m", "20", "-p", "h2c"])
        .args(["-H", "x-session-id: load"])
        .args(["--connect-to", &burdock.proxy.to_string()])
        .arg(shop.url("/"));
    let report = stdout(h2load).await;
    assert!(
        report.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{report}"
    );
    assert_eq!(burdock.session("load").await["counters"]["requests"], 2000);
}
