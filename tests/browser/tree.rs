//! The processes that a burdock has started, as the kernel tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Burdock, eventually};

/// A process; its time of starting tells it from a later one with its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) pid: i32,
    started: u64,
    /// Ended, and not yet asked about by its parent.
    pub(super) zombie: bool,
    pub(super) arguments: String,
}

impl Process {
    /// What kind of Chromium's processes it is (`--type=`); the browser itself has none.
    pub(super) fn kind(&self) -> &str {
        let (_, rest) = self.arguments.split_once("--type=").unwrap_or_default();
        rest.split([' ', '\0']).next().unwrap_or_default()
    }

    /// Whether it is Chromium's main process.
    pub(super) fn is_browser(&self) -> bool {
        self.kind().is_empty() && self.arguments.contains("--remote-debugging")
    }

    /// Whether it is still running.
    pub(super) fn runs(&self) -> bool {
        read(self.pid).is_some_and(|(now, _)| now.started == self.started && !now.zombie)
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        let pid = Pid::from_raw(self.pid).expect("a process id");
        kill_process(pid, Signal::KILL).expect("it is running");
    }
}

/// Everything below burdock's process.
pub(super) fn below(burdock: &Burdock) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for (process, parent) in pids.filter_map(read) {
        children.entry(parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut parents = vec![burdock.pid()];
    while let Some(parent) = parents.pop() {
        let born = children.remove(&parent).unwrap_or_default();
        parents.extend(born.iter().map(|process| process.pid));
        found.extend(born);
    }
    found
}

/// Chromium's main processes.
pub(super) fn browsers(burdock: &Burdock) -> Vec<Process> {
    let mut found = below(burdock);
    found.retain(|process| process.is_browser() && !process.zombie);
    found
}

/// The processes that run pages.
pub(super) fn renderers(burdock: &Burdock) -> Vec<Process> {
    let mut found = below(burdock);
    found.retain(|process| process.kind() == "renderer" && !process.zombie);
    found
}

/// Waits until none of `processes` runs any more.
pub(super) async fn ended(processes: &[Process]) {
    eventually("the end of the browser's processes", async || {
        (!processes.iter().any(Process::runs)).then_some(())
    })
    .await;
}

/// Waits until burdock has so many browsers, no renderer without a page, and no zombie below it.
pub(super) async fn tidy(burdock: &Burdock, most_browsers: usize) {
    eventually("nothing left over of what was rendered", async || {
        let all = below(burdock);
        let browsers = all.iter().filter(|process| process.is_browser()).count();
        let zombies = all.iter().any(|process| process.zombie);
        (browsers <= most_browsers && !zombies).then_some(())
    })
    .await;
}

/// The ports of 127.0.0.1 on which burdock and all below it listen.
pub(super) fn listening(burdock: &Burdock) -> BTreeSet<u16> {
    let pids = below(burdock)
        .into_iter()
        .map(|process| process.pid)
        .chain([burdock.pid()]);
    let sockets: BTreeSet<String> = pids
        .flat_map(|pid| {
            fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
                .flatten()
        })
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local address, state (0A is LISTEN), inode.
        let ours = *fields.get(3)? == "0A" && sockets.contains(*fields.get(9)?);
        let (_, port) = fields.get(1)?.split_once(':')?;
        ours.then(|| u16::from_str_radix(port, 16).ok())?
    });
    listening.collect()
}

/// The folders and files in `folder`, at any depth: what temporary files and profiles there are.
pub(super) fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A browser that runs removes files of its own meanwhile.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            found.insert(path.display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    found
}

/// A process and its parent; none where it has gone.
fn read(pid: i32) -> Option<(Process, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may have anything in it, brackets too.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let process = Process {
        pid,
        started: fields.get(19)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        arguments: String::from_utf8_lossy(&arguments).replace('\0', " "),
    };
    Some((process, fields.get(1)?.parse().ok()?))
}
