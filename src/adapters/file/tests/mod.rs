//! The file: what it does besides what every adapter must, and what is done when it cannot.

mod crash;
mod damage;
mod life;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::adapters::conformance::conformance;
use crate::seal;
use crate::session::delta::Touch;
use crate::session::jar::CookieUrl;
use crate::session::settings::Settings;

/// A folder for one test, and the file in it.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("deep/er/sessions.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path().into_os_string();
        path.push(suffix);
        path.into()
    }

    fn adapter(&self) -> FileAdapter {
        FileAdapter::new(self.path(), Codec::default())
    }

    /// With a file in which there is one session.
    async fn inhabited() -> (Self, Record) {
        let home = Self::new();
        let record = record("a");
        create(&home.adapter(), &record).await;
        (home, record)
    }
}

fn record(name: &str) -> Record {
    let generation = Generation::new(rand::random());
    Record::new(
        name.parse().unwrap(),
        generation,
        Settings::default(),
        clock::now(),
    )
}

async fn create(adapter: &FileAdapter, record: &Record) {
    let created = adapter.create(record.clone(), 1000).await.unwrap();
    assert_eq!(created, Created::Done);
}

/// What one line of `Set-Cookie` changes.
fn set(record: &mut Record, line: &str) -> Delta {
    let url = CookieUrl {
        secure: true,
        host: "shop.example",
        path: "/",
    };
    let cookies = record
        .jar
        .clone()
        .receive(&url, [line.as_bytes()], clock::now());
    let delta = Delta {
        cookies,
        ..Delta::default()
    };
    record.apply(&delta);
    delta
}

async fn apply(
    adapter: &FileAdapter,
    record: &Record,
    delta: Delta,
) -> Result<Applied, StoreError> {
    adapter.apply(&record.id, record.generation, delta).await
}

async fn load(adapter: &FileAdapter, record: &Record) -> Option<Record> {
    adapter.load(&record.id).await.unwrap()
}

#[tokio::test]
async fn it_does_what_every_adapter_must() {
    let home = Home::new();
    conformance(&[Arc::new(home.adapter())]).await;
}

#[tokio::test]
async fn with_keys_it_does_it_too() {
    let home = Home::new();
    let codec = Codec::new(Some(Arc::new(seal::keyring(&[1, 2]))));
    conformance(&[Arc::new(FileAdapter::new(home.path(), codec))]).await;
}
