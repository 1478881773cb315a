//! More than there is room for: slow clients, too many of them, no descriptors left, and the end under load.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::client::request;
use crate::support::{
    Answer, Burdock, Gate, Origin, Raw, Reply, eventually, raise_descriptor_limit, within,
    within_time,
};

const SLOW: &str = "GET http://shop.example/slow HTTP/1.1\r\nHost: shop.example\r\nX-Slow: ";

/// How long a good request may take beside whatever number of slow ones.
const GOOD: Duration = Duration::from_secs(2);

/// As many clients as `wanted`, or fewer where descriptors are short: this process needs one each, and so does burdock.
fn clients(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(200);
    if room < wanted {
        eprintln!("{room} clients instead of {wanted}: the limit of descriptors is {limit}");
    }
    room.min(wanted)
}

/// Sends a byte to each of `wires` each second or so, until it is aborted.
fn dribble(mut wires: Vec<Raw>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            for wire in &mut wires {
                // One that was hung up upon takes no more.
                let _ = wire.try_send("x").await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    task
}

#[tokio::test]
async fn ten_thousand_slow_clients_do_not_delay_a_good_request() {
    raise_descriptor_limit();
    let plain = Origin::plain("shop.example").start().await;
    let tls = Origin::tls("shop.example").start().await;
    let builder = Burdock::new().connect_to(&plain).connect_to(&tls);
    // Room for the slow and for those after them; the default has as many places as there are slow ones here.
    let config = "proxy.max_connections = 11000";
    let burdock = builder.config(config).start().await;
    let before = burdock.resident();
    let many = clients(10_000);
    let (mut silent, mut slow) = (Vec::new(), Vec::new());
    for at in 0..many {
        let mut wire = Raw::connect(burdock.proxy).await;
        if at % 2 == 0 {
            silent.push(wire);
        } else {
            wire.send(SLOW).await;
            slow.push(wire);
        }
    }
    let _dribbling = dribble(slow);
    for _ in 0..10 {
        for url in ["http://shop.example/", "https://shop.example/"] {
            let mut client = burdock.client();
            let answer = within_time(GOOD, "a good request", client.get(url)).await;
            assert_eq!(answer.status, 200);
        }
    }
    assert!(plain.requests().iter().all(|seen| seen.target == "/"));
    let each = burdock.resident().saturating_sub(before) / many as u64;
    assert!(each < 32 << 10, "{each} bytes for each slow client");
    drop(silent);
}

#[tokio::test]
async fn a_head_that_takes_too_long_ends_however_it_trickles() {
    let shop = Origin::plain("shop.example").start().await;
    let tls = Origin::tls("shop.example").start().await;
    let builder = Burdock::new().connect_to(&shop).connect_to(&tls);
    let config = "proxy.header_read_timeout = '500ms'";
    let burdock = builder.config(config).start().await;
    let client = burdock.client();
    let in_tunnel = SLOW.replace("http://shop.example", "");
    // Each with how much of a head it sends before it begins to trickle.
    let mut wires = vec![
        (Raw::connect(burdock.proxy).await, "G"),
        (Raw::connect(burdock.proxy).await, SLOW),
        (client.tunnel("shop.example:80").await, &in_tunnel),
        (client.tls_tunnel("shop.example:443").await.0, "G"),
        (client.tls_tunnel("shop.example:443").await.0, &in_tunnel),
    ];
    for (wire, begin) in &mut wires {
        wire.send(begin).await;
    }
    for (mut wire, begin) in wires {
        let ended = async {
            while timeout(Duration::from_millis(50), wire.rest())
                .await
                .is_err()
            {
                let _ = wire.try_send("x").await;
            }
        };
        within(begin, ended).await;
    }
    assert_eq!((shop.requests().len(), tls.requests().len()), (0, 0));
    let answer = burdock.client().get("http://shop.example/").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_tls_handshake_that_takes_too_long_ends() {
    let tls = Origin::tls("shop.example").start().await;
    let builder = Burdock::new().connect_to(&tls);
    let burdock = builder
        .config("proxy.header_read_timeout = '500ms'")
        .start()
        .await;
    let mut wire = burdock.client().tunnel("shop.example:443").await;
    // The header of a record with a ClientHello of 512 bytes, and nothing of it.
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .await;
    wire.closed().await;
}

#[tokio::test]
async fn clients_beyond_the_greatest_number_wait_for_others_to_leave() {
    let shop = Origin::plain("shop.example").start().await;
    let builder = Burdock::new().connect_to(&shop);
    let burdock = builder.config("proxy.max_connections = 4").start().await;
    let ask = "GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let mut inside = Vec::new();
    for _ in 0..4 {
        let mut wire = Raw::connect(burdock.proxy).await;
        wire.send(ask).await;
        assert_eq!(wire.answer().await.head.status(), 200);
        inside.push(wire);
    }
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut wire = Raw::connect(burdock.proxy).await;
        wire.send(ask).await;
        waiting.push(wire);
    }
    // Those inside are served as before, however many wait.
    for wire in &mut inside {
        wire.send(ask).await;
        assert_eq!(wire.answer().await.head.status(), 200);
    }
    let early = timeout(Duration::from_millis(200), waiting[0].answer()).await;
    assert!(early.is_err(), "one too many was served: {early:?}");
    drop(inside);
    for mut wire in waiting {
        assert_eq!(wire.answer().await.head.status(), 200);
    }
    assert_eq!(shop.requests().len(), 28);
}

/// The process that runs in burdock's folder, which nobody else does.
fn pid(burdock: &Burdock) -> Pid {
    let numbers = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse::<i32>().ok()
        });
    let folder = burdock.folder();
    let mut those = numbers.filter(|number| {
        std::fs::read_link(format!("/proc/{number}/cwd")).is_ok_and(|cwd| cwd == folder)
    });
    let number = those.next().expect("burdock runs in its folder");
    Pid::from_raw(number).expect("no process has number 0")
}

#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    let shop = Origin::plain("shop.example").start().await;
    let tls = Origin::tls("shop.example").start().await;
    let burdock = Burdock::before(&[&shop, &tls]).await;
    // As `ulimit -n 64` before it began.
    let few = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    prlimit(Some(pid(&burdock)), Resource::Nofile, few).expect("burdock is ours");
    let mut kept = burdock.visitor("a");
    assert_eq!(kept.get("http://shop.example/").await.status, 200);
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(
            TcpStream::connect(burdock.proxy)
                .await
                .expect("the backlog has room"),
        );
    }
    burdock.logged("cannot accept connections").await;
    // Whoever has both connections goes on; whoever needs one more is told.
    assert_eq!(kept.get("http://shop.example/").await.status, 200);
    let refused = kept.get("http://127.0.0.1:1/").await;
    assert_eq!(refused.status, 502, "{refused:?}");
    drop(silent);
    // Those that left are still to be accepted and let go, and until then a descriptor may be missing.
    for url in ["http://shop.example/", "https://shop.example/"] {
        eventually(url, async || {
            let answer = burdock.client().get(url).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    assert_eq!(burdock.api("GET", "/healthz", "").await.status, 200);
}

/// Open at the same time when the signal comes.
const OPEN: usize = 200;

/// Signals the end, waits until it is heard, lets `gate` open, and checks all answers and the exit.
async fn finishes(
    mut burdock: Burdock,
    gate: &Gate,
    mut streams: JoinSet<(u16, usize)>,
    length: usize,
) {
    burdock.signal(Signal::TERM);
    let refused = async || {
        TcpStream::connect(burdock.proxy)
            .await
            .is_err()
            .then_some(())
    };
    eventually("no new connection is accepted", refused).await;
    gate.let_pass(OPEN);
    let mut whole = 0;
    while let Some(answer) = within("the answers", streams.join_next()).await {
        assert_eq!(answer.expect("an answer"), (200, length));
        whole += 1;
    }
    assert_eq!(whole, OPEN);
    assert_eq!(burdock.exited().await.code(), Some(0));
}

fn summary(answer: &Answer) -> (u16, usize) {
    (answer.status, answer.body.len())
}

#[tokio::test]
async fn a_signal_under_200_requests_lets_each_finish() {
    let gate = Gate::closed();
    let shop = Origin::tls("shop.example")
        .on("/slow", Reply::bytes(vec![b'x'; 100_000]).after(&gate))
        .start()
        .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut streams = JoinSet::new();
    for _ in 0..OPEN {
        let mut client = burdock.visitor("a");
        streams.spawn(async move { summary(&client.get("https://shop.example/slow").await) });
    }
    shop.seen(OPEN).await;
    finishes(burdock, &gate, streams, 100_000).await;
}

#[tokio::test]
async fn a_signal_under_200_downloads_lets_each_arrive_whole() {
    const HALF: usize = 50_000;
    let gate = Gate::closed();
    let opening = gate.clone();
    let shop = Origin::tcp("shop.example", move |mut wire| {
        let gate = opening.clone();
        async move {
            wire.head().await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * HALF);
            wire.send(head.as_bytes()).await;
            wire.send(vec![b'x'; HALF]).await;
            gate.pass().await;
            wire.send(vec![b'x'; HALF]).await;
        }
    })
    .await;
    let burdock = Burdock::before(&[&shop]).await;
    let mut streams = JoinSet::new();
    let mut begun = JoinSet::new();
    for _ in 0..OPEN {
        let mut wire = Raw::connect(burdock.proxy).await;
        begun.spawn(async move {
            wire.send("GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n")
                .await;
            let head = wire.head().await;
            wire.take(HALF).await;
            (wire, head.status())
        });
    }
    while let Some(download) = within("half of each download", begun.join_next()).await {
        let (mut wire, status) = download.expect("half a download");
        streams.spawn(async move { (status, HALF + wire.take(HALF).await.len()) });
    }
    finishes(burdock, &gate, streams, 2 * HALF).await;
}

#[tokio::test]
async fn a_signal_under_200_streams_of_one_connection_lets_each_finish() {
    let gate = Gate::closed();
    let fast = Origin::h2("fast.example")
        .on("/slow", Reply::bytes(vec![b'x'; 100_000]).after(&gate))
        .start()
        .await;
    let burdock = Burdock::before(&[&fast]).await;
    let mut client = burdock.visitor("a").http2();
    client.open("https://fast.example/").await;
    let mut streams = JoinSet::new();
    for _ in 0..OPEN {
        let mut client = client.sharing_connections();
        streams.spawn(async move {
            let slow = request("GET", "https://fast.example/slow").header("x-session-id", "a");
            summary(
                &client
                    .send(slow.body("".into()).expect("a valid request"))
                    .await,
            )
        });
    }
    fast.seen(OPEN).await;
    finishes(burdock, &gate, streams, 100_000).await;
}
