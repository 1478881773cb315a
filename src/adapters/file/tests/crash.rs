//! Ends without notice: SIGKILL between acknowledgements, a last write that is torn, a disk that is full.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Names the file that a child of these tests works on.
const FILE: &str = "BURDOCK_TEST_FILE";

/// A test of this program in a process of its own.
fn child(test: &str, home: &Home) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("adapters::file::tests::crash::{test}"),
            "--nocapture",
            "--include-ignored",
        ])
        .env(FILE, home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{text}").unwrap();
    out.flush().unwrap();
}

/// Where a child is to work; none where this is no child.
fn given() -> Option<FileAdapter> {
    let path = std::env::var_os(FILE)?;
    Some(FileAdapter::new(path.into(), Codec::default()))
}

#[tokio::test]
#[ignore = "it is the child of another test"]
async fn write_until_killed() {
    let Some(adapter) = given() else { return };
    let mut record = Record::new(
        "a".parse().unwrap(),
        Generation::new(1),
        Settings::default(),
        clock::now(),
    );
    match load(&adapter, &record).await {
        Some(known) => record = known,
        None => create(&adapter, &record).await,
    }
    for n in record.revision.. {
        let mut delta = set(
            &mut record,
            &format!("cookie-{}={n}; Path=/{}", n % 90, n % 2),
        );
        delta.counters.requests = 1;
        apply(&adapter, &record, delta).await.unwrap();
        let touch = Touch {
            last_used: clock::now(),
            expires: record.expires,
        };
        let soft = Delta {
            touched: Some(touch),
            ..Delta::default()
        };
        apply(&adapter, &record, soft).await.unwrap();
        say(&format!("acknowledged {}", record.revision));
    }
}

/// Reads what was acknowledged until so many are.
fn acknowledged(output: &mut BufReader<ChildStdout>, enough: u64) -> u64 {
    let mut last = 0;
    for line in output.lines() {
        let line = line.unwrap();
        if let Some(number) = line.strip_prefix("acknowledged ") {
            last = number.parse().unwrap();
            if last >= enough {
                break;
            }
        }
    }
    last
}

/// What a record of that many changes holds, whatever else is torn.
fn assert_whole(record: &Record) {
    assert_eq!(
        record.counters.requests, record.revision,
        "a change is there in part"
    );
    assert_eq!(record.jar.len() as u64, record.revision.min(90));
    let latest = record
        .jar
        .iter()
        .filter_map(|cookie| cookie.value().to_text().parse::<u64>().ok())
        .max();
    assert_eq!(latest, record.revision.checked_sub(1));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let home = Home::new();
    let mut seen = 0;
    for round in 1..=6_u64 {
        let (mut child, mut output) = child("write_until_killed", &home);
        // At another moment of a transaction each time.
        let mut last = acknowledged(&mut output, seen + 3 + round * 7);
        child.kill().unwrap();
        last = last.max(acknowledged(&mut output, u64::MAX));
        child.wait().unwrap();
        let adapter = home.adapter();
        let record = adapter.load(&"a".parse().unwrap()).await.unwrap().unwrap();
        assert!(
            last > seen && (last..=last + 1).contains(&record.revision),
            "{last}: {}",
            record.revision
        );
        assert!(record.last_used > record.created);
        assert_whole(&record);
        seen = record.revision;
    }
}

#[tokio::test]
async fn a_torn_last_write_costs_that_write_alone() {
    let home = Home::new();
    let (mut child, mut output) = child("write_until_killed", &home);
    acknowledged(&mut output, 40);
    child.kill().unwrap();
    child.wait().unwrap();
    let (file, log) = (
        fs::read(home.path()).unwrap(),
        fs::read(home.beside("-wal")).unwrap(),
    );
    let whole = {
        let adapter = home.adapter();
        adapter.load(&"a".parse().unwrap()).await.unwrap().unwrap()
    };
    // A log cut off anywhere, and one whose end holds something else.
    let mut least = whole.revision;
    for lost in [1, 100, 2000, 4119, 4120, 9000, 20_000] {
        for is_cut in [true, false] {
            let torn = Home::new();
            fs::create_dir_all(torn.path().parent().unwrap()).unwrap();
            fs::write(torn.path(), &file).unwrap();
            let mut log = log.clone();
            let kept = log.len() - lost;
            if is_cut {
                log.truncate(kept);
            } else {
                log[kept..].fill(0xa5);
            }
            fs::write(torn.beside("-wal"), &log).unwrap();
            let adapter = torn.adapter();
            let mut record = adapter.load(&"a".parse().unwrap()).await.unwrap().unwrap();
            assert!(record.revision <= whole.revision, "{lost}");
            assert!(
                whole.revision - record.revision <= lost as u64 / 4120 + 1,
                "{lost}"
            );
            assert_whole(&record);
            least = least.min(record.revision);
            let delta = set(&mut record, "after=1");
            apply(&adapter, &record, delta).await.unwrap();
            assert_eq!(load(&adapter, &record).await, Some(record));
        }
    }
    assert!(least < whole.revision, "something was torn");
}

#[tokio::test]
#[ignore = "it is the child of another test"]
async fn fill_the_disk() {
    let Some(adapter) = given() else { return };
    let limit = |size| {
        let limit = Rlimit {
            current: Some(size),
            maximum: getrlimit(Resource::Fsize).maximum,
        };
        setrlimit(Resource::Fsize, limit).unwrap();
    };
    let mut record = record("a");
    create(&adapter, &record).await;
    limit(400_000);
    let mut failed = None;
    for n in 0..2000 {
        let before = record.clone();
        let delta = set(
            &mut record,
            &format!("cookie-{}={}; Path=/{n}", n % 170, "v".repeat(3000)),
        );
        if let Err(error) = apply(&adapter, &record, delta).await {
            record = before;
            failed = Some(error);
            break;
        }
    }
    let error = failed.expect("there is an end to the room");
    say(&format!("full {}", error.reason));
    // Not a page more.
    limit(100_000);
    assert_eq!(adapter.count().await.unwrap(), 1);
    assert!(adapter.health().await.is_err());
    // What is there is read, and nothing of what did not fit.
    assert_eq!(load(&adapter, &record).await.as_ref(), Some(&record));
    limit(100_000_000);
    adapter.health().await.unwrap();
    for n in 0..100 {
        let delta = set(&mut record, &format!("later-{n}={n}"));
        apply(&adapter, &record, delta).await.unwrap();
    }
    assert_eq!(load(&adapter, &record).await.as_ref(), Some(&record));
    drop(adapter);
    say("recovered");
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let home = Home::new();
    let (mut child, output) = child("fill_the_disk", &home);
    let said: Vec<_> = output.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{said:?}");
    let full = said.iter().find(|line| line.starts_with("full ")).unwrap();
    assert!(
        full.contains("sessions.db") && full.contains("limit of a file's size"),
        "{full}"
    );
    assert!(said.iter().any(|line| line == "recovered"));
    let record = home.adapter().load(&"a".parse().unwrap()).await.unwrap();
    assert!(record.unwrap().jar.len() > 100);
}
