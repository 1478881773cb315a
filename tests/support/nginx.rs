//! nginx with TLS and h2, as an origin that nobody here wrote.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{burdock, eventually, tls, tool};

/// A running nginx; dropped, it is killed and reaped.
pub(crate) struct Nginx {
    child: Child,
    folder: TempDir,
    name: String,
    address: SocketAddr,
}

impl Nginx {
    /// Serves `locations` (nginx's configuration language) as `https://NAME/`.
    pub(crate) async fn start(name: &str, locations: &str) -> Self {
        let folder = TempDir::with_prefix("burdock-nginx-").expect("a temporary folder");
        let (leaf, key) = tls::TRUSTED.leaf(&[name]);
        let write = |file: &str, text: &str| {
            std::fs::write(folder.path().join(file), text).expect("our folder")
        };
        write("leaf.pem", &leaf);
        write("key.pem", &key);
        let address = free_address().await;
        write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;
                 events {{ }}
                 http {{
                   access_log access.log combined; default_type text/plain;
                   client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                   uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                   server {{
                     listen {address} ssl http2; server_name {name}; absolute_redirect off;
                     ssl_certificate leaf.pem; ssl_certificate_key key.pem;
                     {locations}
                   }}
                 }}"
            ),
        );
        let child = Command::new(tool::on_path(&["nginx"]))
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("nginx runs");
        let mut nginx = Self {
            child,
            folder,
            name: name.to_owned(),
            address,
        };
        nginx.listening().await;
        nginx
    }

    /// `HOST:PORT:ADDR:PORT` for `upstream.connect_to`.
    pub(crate) fn connect_to(&self) -> String {
        format!(
            "{}:443:{}:{}",
            self.name,
            self.address.ip(),
            self.address.port()
        )
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.name)
    }

    /// Its access log up to now.
    pub(crate) fn access_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    async fn listening(&mut self) {
        let (child, address) = (&mut self.child, self.address);
        eventually("nginx listens", async || {
            let ended = child.try_wait().expect("a child of ours");
            assert!(
                ended.is_none(),
                "nginx ended: {ended:?}; its reason is above"
            );
            TcpStream::connect(address).await.ok()
        })
        .await;
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        burdock::reap(&mut self.child);
    }
}

/// An address that was free a moment ago: nginx cannot choose a port itself.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    listener.local_addr().expect("a bound address")
}
