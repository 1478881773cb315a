//! Upstream proxies that nobody here wrote: squid, tinyproxy, dante, microsocks. Each goes out by an address of its own, by which an
//! origin tells it from burdock and from the others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{burdock, eventually, tls, tool};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Squid,
    Tinyproxy,
    /// SOCKS 5; it needs root.
    Dante,
    /// SOCKS 5.
    Microsocks,
}

/// A user name and a password that URLs have to escape.
const USER: &str = "us@er";
pub(crate) const PASSWORD: &str = "s3cret:of:a:proxy";
const USER_INFO: &str = "us%40er:s3cret%3Aof%3Aa%3Aproxy@";

/// tinyproxy takes letters and digits only.
const PLAIN_USER: &str = "user";
const PLAIN_PASSWORD: &str = "s3cret";
const PLAIN_USER_INFO: &str = "user:s3cret@";

/// A proxy; dropped, it is killed and reaped.
pub(crate) struct UpstreamProxy {
    kind: Kind,
    child: Option<Child>,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    /// Whence its connections come.
    pub(crate) outgoing: IpAddr,
    credentials: bool,
}

impl UpstreamProxy {
    /// One that serves anybody, and goes out from 127.0.0.`number`.
    pub(crate) async fn open(kind: Kind, number: u8) -> Self {
        Self::start(kind, number, false, Ipv4Addr::LOCALHOST.into()).await
    }

    /// One that wants credentials.
    pub(crate) async fn closed(kind: Kind, number: u8) -> Self {
        Self::start(kind, number, true, Ipv4Addr::LOCALHOST.into()).await
    }

    /// One that listens on `listen`.
    pub(crate) async fn start(kind: Kind, number: u8, credentials: bool, listen: IpAddr) -> Self {
        let mut proxy = Self {
            kind,
            child: None,
            folder: TempDir::with_prefix("burdock-proxy-").expect("a temporary folder"),
            address: free_address(listen).await,
            outgoing: Ipv4Addr::new(127, 0, 0, number).into(),
            credentials,
        };
        proxy.run().await;
        proxy
    }

    /// Its URL, with the scheme given and the credentials that it wants.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}{}", self.user_info(), self.address)
    }

    fn user_info(&self) -> &'static str {
        match (self.credentials, self.kind) {
            (false, _) => "",
            (true, Kind::Tinyproxy) => PLAIN_USER_INFO,
            (true, _) => USER_INFO,
        }
    }

    /// Kills it, and its connections with it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            burdock::reap(&mut child);
        }
        if self.kind == Kind::Squid {
            // What squid shares between processes outlives a SIGKILL.
            for file in ["metadata", "queues", "readers"] {
                let file = format!("/dev/shm/{}-cf__{file}.shm", self.squid_name());
                let _ = std::fs::remove_file(file);
            }
        }
    }

    /// Runs it, on the address that it had.
    pub(crate) async fn run(&mut self) {
        let mut command = match self.kind {
            Kind::Squid => self.squid(),
            Kind::Tinyproxy => self.tinyproxy(),
            Kind::Dante => self.dante(),
            Kind::Microsocks => self.microsocks(),
        };
        let mut child = command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the proxy runs");
        eventually("the proxy listens", async || {
            let ended = child.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "{:?} ended: {ended:?}", self.kind);
            TcpStream::connect(self.address).await.ok()
        })
        .await;
        self.child = Some(child);
    }

    fn squid(&self) -> Command {
        let passwords = format!("{USER}:{}\n", hashed(PASSWORD));
        self.write("passwords", &passwords);
        let rules = match self.credentials {
            true => format!(
                "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 auth_param basic children 1 startup=1\n\
                 acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
                self.file("passwords").display()
            ),
            false => "http_access allow all\n".to_owned(),
        };
        // As Debian's own has it but for the ports: tunnels go where TLS is spoken, not to port 80.
        let config = format!(
            "http_port {}\ntcp_outgoing_address {}\nacl web port 80\nacl CONNECT method CONNECT\n\
             http_access deny CONNECT web\n{rules}\
             pid_filename none\ncache_log {}\naccess_log none\ncache deny all\npinger_enable off\n\
             coredump_dir {}\nshutdown_lifetime 0 seconds\nvia on\nforwarded_for delete\n",
            self.address,
            self.outgoing,
            self.file("cache.log").display(),
            self.folder.path().display()
        );
        self.write("squid.conf", &config);
        // It gives up root, and writes its log and reads its passwords then.
        set_mode(self.folder.path(), 0o777);
        set_mode(&self.file("passwords"), 0o644);
        let mut command = Command::new(tool::on_path(&["squid"]));
        command
            .args(["-N", "-n", &self.squid_name(), "-f"])
            .arg(self.file("squid.conf"));
        command
    }

    fn squid_name(&self) -> String {
        format!("burdock{}x{}", std::process::id(), self.address.port())
    }

    fn tinyproxy(&self) -> Command {
        let credentials = match self.credentials {
            true => format!("BasicAuth {PLAIN_USER} {PLAIN_PASSWORD}\n"),
            false => String::new(),
        };
        let config = format!(
            "Port {}\nListen {}\nBind {}\nTimeout 60\nMaxClients 100\n{credentials}",
            self.address.port(),
            self.address.ip(),
            self.outgoing
        );
        self.write("tinyproxy.conf", &config);
        let mut command = Command::new(tool::on_path(&["tinyproxy"]));
        command.arg("-d").arg("-c").arg(self.file("tinyproxy.conf"));
        command
    }

    fn dante(&self) -> Command {
        let config = format!(
            "logoutput: stderr\ninternal: {} port = {}\nexternal: {}\nsocksmethod: none\nclientmethod: none\n\
             user.privileged: root\nuser.unprivileged: nobody\n\
             client pass {{ from: 0/0 to: 0/0 }}\nsocks pass {{ from: 0/0 to: 0/0 }}\n",
            self.address.ip(),
            self.address.port(),
            self.outgoing
        );
        self.write("danted.conf", &config);
        let mut command = Command::new(tool::on_path(&["danted"]));
        command.arg("-f").arg(self.file("danted.conf"));
        command
    }

    fn microsocks(&self) -> Command {
        let mut command = Command::new(tool::on_path(&["microsocks"]));
        let (ip, port) = (
            self.address.ip().to_string(),
            self.address.port().to_string(),
        );
        command.args(["-i", &ip, "-p", &port, "-b", &self.outgoing.to_string()]);
        if self.credentials {
            command.args(["-u", USER, "-P", PASSWORD]);
        }
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("the folder is ours");
    }
}

impl Drop for UpstreamProxy {
    fn drop(&mut self) {
        self.kill();
    }
}

/// TLS before a proxy that speaks none itself; it ends with the test.
pub(crate) struct TlsBefore {
    /// `https://...` of it.
    pub(crate) url: String,
    accepting: JoinHandle<()>,
}

impl TlsBefore {
    /// An `https://` proxy of the name `localhost`, which is `proxy` behind it.
    pub(crate) async fn new(proxy: &UpstreamProxy) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let acceptor = TlsAcceptor::from(Arc::new(tls::TRUSTED.server("localhost", &["http/1.1"])));
        let behind = proxy.address;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that refuses the certificate, or a proxy that is gone, ends the connection.
                    let Ok(mut client) = acceptor.accept(stream).await else {
                        return;
                    };
                    let Ok(mut proxy) = TcpStream::connect(behind).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut proxy).await;
                });
            }
        });
        Self {
            url: format!("https://{}localhost:{port}", proxy.user_info()),
            accepting,
        }
    }
}

impl Drop for TlsBefore {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A password as Apache's files have it.
fn hashed(password: &str) -> String {
    let output = Command::new(tool::on_path(&["openssl"]))
        .args(["passwd", "-apr1", password])
        .output()
        .expect("openssl runs");
    String::from_utf8(output.stdout)
        .expect("ASCII")
        .trim()
        .to_owned()
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .expect("the folder is ours");
}

/// An address that was free a moment ago: these programs cannot choose a port themselves.
async fn free_address(listen: IpAddr) -> SocketAddr {
    let listener = TcpListener::bind((listen, 0)).await.expect("a free port");
    listener.local_addr().expect("a bound address")
}
