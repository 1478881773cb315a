//! The clients: a closed loop of requests on so many connections, and what was counted of them.

use std::{
    cell::RefCell,
    process,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    client::{Carrier, Target},
    gauge, origin,
};

/// How long the first request may take, and then the first of each client, before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients that wait for their first answer at once: a thousand sessions are not made in one instant.
const BEGINNING: usize = 16;

pub struct Plan {
    pub target: Target,
    pub size: usize,
    pub cookies: bool,
    pub reconnect: bool,
    pub connections: usize,
    pub sessions: usize,
    pub carrier: Carrier,
    pub interleave: bool,
    pub warmup: Duration,
    pub window: Duration,
    pub watch: Vec<u32>,
}

/// What happened within the window.
#[derive(Serialize)]
pub struct Report {
    requests: usize,
    seconds: f64,
    /// Seconds of CPU of each watched process, in the order they were given.
    watched: Vec<f64>,
    /// Seconds of CPU of this process.
    own: f64,
    /// Seconds each core was busy, by number.
    cores: Vec<f64>,
    /// Times from the first byte sent (with `reconnect`, from dialling) to the last byte received, in microseconds.
    p50: f64,
    p99: f64,
    max: f64,
}

/// Checks the way with one careful request, then drives it. The first failed request ends the run as an error: a
/// figure got from a proxy that drops requests would compare nothing.
pub async fn drive(plan: Plan) -> Result<Report> {
    timeout(PATIENCE, check(&plan))
        .await
        .context("the first request was not answered in time")??;
    let times = Rc::new(RefCell::new(None));
    let begun = Rc::new(Semaphore::new(0));
    let beginning = Rc::new(Semaphore::new(BEGINNING));
    let plan = Rc::new(plan);
    let mut clients = JoinSet::new();
    for number in 0..plan.connections {
        let client = Client {
            plan: Rc::clone(&plan),
            number,
            turn: 0,
            times: Rc::clone(&times),
            begun: Rc::clone(&begun),
            beginning: Rc::clone(&beginning),
        };
        clients.spawn_local(client.run());
    }
    tokio::select! {
        Some(ended) = clients.join_next() => match ended? {
            Ok(()) => bail!("a client stopped by itself"),
            Err(error) => Err(error),
        },
        report = watch(&plan, &begun, &times) => report,
    }
}

async fn check(plan: &Plan) -> Result<()> {
    let session = (plan.sessions > 0).then(|| session(0));
    let mut connection = plan.target.connect(session.as_deref(), true).await?;
    let mut body = Vec::new();
    let request = plan
        .target
        .request(plan.size, plan.cookies, session.as_deref());
    let reply = connection
        .exchange(&request, |piece| body.extend_from_slice(piece))
        .await?;
    ensure!(reply.status == 200, "answered {}", reply.status);
    ensure!(
        body.iter().copied().eq(origin::body(plan.size)),
        "the body is not the origin's"
    );
    Ok(())
}

async fn watch(
    plan: &Plan,
    begun: &Semaphore,
    times: &RefCell<Option<Vec<u32>>>,
) -> Result<Report> {
    let all = begun.acquire_many(u32::try_from(plan.connections)?);
    timeout(PATIENCE, all)
        .await
        .context("not every client had its first answer in time")??
        .forget();
    sleep(plan.warmup).await;
    let before = Reading::take(&plan.watch)?;
    *times.borrow_mut() = Some(Vec::with_capacity(1 << 20));
    sleep(plan.window).await;
    let counted = times.borrow_mut().take();
    let after = Reading::take(&plan.watch)?;

    let mut times = counted.context("the window was opened above")?;
    ensure!(!times.is_empty(), "no request was answered in the window");
    times.sort_unstable();
    Ok(Report {
        requests: times.len(),
        seconds: (after.at - before.at).as_secs_f64(),
        watched: differences(&after.watched, &before.watched),
        own: after.own - before.own,
        cores: differences(&after.cores, &before.cores),
        p50: quantile(&times, 500),
        p99: quantile(&times, 990),
        max: quantile(&times, 1000),
    })
}

/// Microseconds below which so many of a thousand of the `sorted` nanoseconds lie, which are not none.
fn quantile(sorted: &[u32], thousandths: usize) -> f64 {
    f64::from(sorted[(sorted.len() - 1) * thousandths / 1000]) / 1000.0
}

fn differences(after: &[f64], before: &[f64]) -> Vec<f64> {
    after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

/// The clocks at one end of the window.
struct Reading {
    at: Instant,
    watched: Vec<f64>,
    own: f64,
    cores: Vec<f64>,
}

impl Reading {
    fn take(watch: &[u32]) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            watched: watch
                .iter()
                .map(|id| gauge::process(*id))
                .collect::<Result<_>>()?,
            own: gauge::process(process::id())?,
            cores: gauge::cores()?,
        })
    }
}

/// One connection's worth of load.
struct Client {
    plan: Rc<Plan>,
    number: usize,
    /// Requests begun.
    turn: usize,
    /// Nanoseconds of each request ended in the window; none outside of it.
    times: Rc<RefCell<Option<Vec<u32>>>>,
    /// Has a permit for each client that was answered once.
    begun: Rc<Semaphore>,
    /// Has a permit for each client that may begin.
    beginning: Rc<Semaphore>,
}

impl Client {
    async fn run(mut self) -> Result<()> {
        let requests = self.requests();
        let plan = Rc::clone(&self.plan);
        let beginning = Rc::clone(&self.beginning);
        let mut turn = Some(beginning.acquire().await?);
        let mut kept = None;
        loop {
            let session = self.session();
            let begun = Instant::now();
            let mut connection = if let Some(connection) = kept.take() {
                connection
            } else {
                let named = session.filter(|_| plan.carrier != Carrier::Requests);
                let id = named.map(self::session);
                plan.target.connect(id.as_deref(), false).await?
            };
            let request = &requests[session.unwrap_or(0)];
            let reply = connection.exchange(request, |_| ()).await?;
            ensure!(
                reply.status == 200 && reply.length == plan.size,
                "answered {} with {} bytes",
                reply.status,
                reply.length
            );
            self.count(begun.elapsed());
            if turn.take().is_some() {
                self.begun.add_permits(1);
            }
            if !plan.reconnect && !reply.close {
                kept = Some(connection);
            }
        }
    }

    /// The request of each session, or the one without.
    fn requests(&self) -> Vec<Vec<u8>> {
        let Plan {
            target,
            size,
            cookies,
            ..
        } = &*self.plan;
        let silent = self.plan.carrier == Carrier::Connect;
        (0..self.plan.sessions.max(1))
            .map(|number| {
                let named = self.plan.sessions > 0 && !silent;
                target.request(*size, *cookies, named.then(|| session(number)).as_deref())
            })
            .collect()
    }

    /// The number of the session whose turn it is.
    fn session(&mut self) -> Option<usize> {
        let turn = self.turn;
        self.turn += 1;
        let Plan {
            connections,
            sessions,
            interleave,
            reconnect,
            ..
        } = *self.plan;
        let step = if interleave || reconnect {
            stride(connections, sessions)
        } else {
            0
        };
        (sessions > 0).then(|| (self.number + turn * step) % sessions)
    }

    fn count(&self, time: Duration) {
        if let Some(times) = self.times.borrow_mut().as_mut() {
            times.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
        }
    }
}

/// From one session of a connection to the next: past those of the other connections, where there are more than these, so
/// that no two connections that keep step use one session at a time.
fn stride(connections: usize, sessions: usize) -> usize {
    if connections < sessions {
        connections
    } else {
        1
    }
}

fn session(number: usize) -> String {
    format!("visitor-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_in_step_share_no_session_and_use_them_all() {
        for (connections, sessions) in [(64, 1000), (32, 32), (1, 7)] {
            let step = stride(connections, sessions);
            let mut used = std::collections::BTreeSet::new();
            for turn in 0..sessions {
                let at_once: std::collections::BTreeSet<_> = (0..connections)
                    .map(|number| (number + turn * step) % sessions)
                    .collect();
                assert_eq!(at_once.len(), connections);
                used.extend(at_once);
            }
            assert_eq!(used.len(), sessions, "{connections} connections");
        }
    }

    #[test]
    fn quantiles_of_a_thousand_and_one_times_are_exact() {
        let times: Vec<u32> = (0..=1000).map(|micros| micros * 1000).collect();
        assert_eq!(quantile(&times, 500).to_bits(), 500f64.to_bits());
        assert_eq!(quantile(&times, 990).to_bits(), 990f64.to_bits());
        assert_eq!(quantile(&times, 1000).to_bits(), 1000f64.to_bits());
        assert_eq!(quantile(&[7000], 990).to_bits(), 7f64.to_bits());
    }
}
