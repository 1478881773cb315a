//! The benchmark's two ends: an origin that costs next to nothing, and the clients that keep it busy through a proxy.
//!
//! `benches/run` starts it; by itself it is `load pki DIR`, then `load origin ...`, then `load drive ...`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, Parser};
use tokio::{runtime, task::LocalSet};

mod client;
mod drive;
mod gauge;
mod origin;
mod pki;
mod tls;

/// The two ends of burdock's benchmark.
#[derive(Parser)]
enum Command {
    /// Write the origin's certificate authority, certificate and key.
    Pki { dir: PathBuf },
    /// Serve `/N` as N bytes, in plain and by TLS, until killed.
    Origin(OriginArguments),
    /// Send requests in a closed loop for a while, and print what came of it as one line of JSON.
    Drive(DriveArguments),
}

#[derive(Args)]
struct OriginArguments {
    /// Where `pki` wrote its files.
    #[arg(long)]
    pki: PathBuf,
    #[arg(long)]
    plain: u16,
    #[arg(long)]
    tls: u16,
}

#[derive(Args)]
struct DriveArguments {
    /// `http` or `https`, to the origin; `https` through a proxy is a `CONNECT` tunnel.
    #[arg(long)]
    scheme: client::Scheme,
    /// The origin's port on localhost.
    #[arg(long)]
    port: u16,
    /// Bytes of each answer.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Have every answer set a cookie, each time with another value.
    #[arg(long)]
    cookies: bool,
    /// Leave out to talk to the origin directly.
    #[arg(long)]
    proxy: Option<SocketAddr>,
    /// The authority that must have signed what the client is shown: the proxy's, or the origin's when direct.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Make a new connection, tunnel and TLS session for each request.
    #[arg(long)]
    reconnect: bool,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How many sessions share the requests; 0 names none.
    #[arg(long, default_value_t = 0)]
    sessions: usize,
    /// Which requests name a connection's session.
    #[arg(long, default_value = "everywhere")]
    carrier: client::Carrier,
    /// Let every request of a connection name the next session, instead of one session a connection.
    #[arg(long)]
    interleave: bool,
    /// Seconds before counting begins.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds that count.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// A process whose CPU time over the counted seconds is reported; may be repeated.
    #[arg(long)]
    watch: Vec<u32>,
}

fn main() -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match Command::parse() {
        Command::Pki { dir } => pki::write(&dir),
        Command::Origin(arguments) => runtime.block_on(LocalSet::new().run_until(origin::serve(
            &arguments.pki,
            arguments.plain,
            arguments.tls,
        ))),
        Command::Drive(arguments) => {
            let plan = arguments.plan()?;
            let report = runtime.block_on(LocalSet::new().run_until(drive::drive(plan)))?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
    }
}

impl DriveArguments {
    fn plan(self) -> Result<drive::Plan> {
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(
            (0.1..=600.0).contains(&self.seconds) && (0.0..=600.0).contains(&self.warmup),
            "--seconds must be 0.1 to 600 and --warmup 0 to 600"
        );
        Ok(drive::Plan {
            target: client::Target::new(self.scheme, self.port, self.proxy, self.ca.as_deref())?,
            size: self.size,
            cookies: self.cookies,
            reconnect: self.reconnect,
            connections: self.connections,
            sessions: self.sessions,
            carrier: self.carrier,
            interleave: self.interleave,
            warmup: Duration::from_secs_f64(self.warmup),
            window: Duration::from_secs_f64(self.seconds),
            watch: self.watch,
        })
    }
}
