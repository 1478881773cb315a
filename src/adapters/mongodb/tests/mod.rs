//! The adapter against a server that speaks MongoDB's protocol.

mod changes;
mod faults;
mod rate;
mod room;
#[path = "../../../../tests/support/mongo.rs"]
mod server;
mod sessions;
#[path = "../../../../tests/support/tls.rs"]
#[allow(dead_code, reason = "a server of ours needs certificates alone")]
mod tls;

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::{Client, Collection};

use self::server::Mongo;
use super::{Mongodb, MongodbSettings};
use crate::adapters::conformance::conformance;
use crate::adapters::{Adapter, Applied, Codec, Created};
use crate::clock;
use crate::session::delta::{Delta, Touch};
use crate::session::id::SessionId;
use crate::session::jar::{CookieUrl, Jar};
use crate::session::record::{Generation, Record};
use crate::session::settings::Settings;

/// The adapter of a process of its own.
fn process(uri: &str, number: u64) -> Arc<Mongodb> {
    let settings = MongodbSettings {
        uri: uri.to_owned(),
        database: "burdock".to_owned(),
    };
    Arc::new(Mongodb::new(settings, Codec::new(None), number).expect("a valid URI"))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let mongo = Mongo::start().await;
    let processes = [1, 2].map(|number| -> Arc<dyn Adapter> { process(&mongo.uri(), number) });
    conformance(&processes).await;
}

/// A look at the stored documents, round the adapter.
async fn documents(mongo: &Mongo, collection: &str) -> Collection<Document> {
    let client = Client::with_uri_str(mongo.uri())
        .await
        .expect("a valid URI");
    client.database("burdock").collection(collection)
}

fn id(text: &str) -> SessionId {
    text.parse().expect("a session id")
}

/// A session that lives for an hour.
fn record(name: &str, generation: u128) -> Record {
    lasting(name, generation, Duration::from_hours(1))
}

fn lasting(name: &str, generation: u128, ttl: Duration) -> Record {
    let settings = Settings {
        ttl,
        ..Settings::default()
    };
    Record::new(
        id(name),
        Generation::new(generation),
        settings,
        clock::now(),
    )
}

/// What a response with this `Set-Cookie` changes.
fn cookie(line: &str) -> Delta {
    let url = CookieUrl {
        secure: true,
        host: "shop.example",
        path: "/",
    };
    Delta {
        cookies: Jar::default().receive(&url, [line.as_bytes()], clock::now()),
        ..Delta::default()
    }
}

fn touch(ttl: Duration) -> Delta {
    let now = clock::now();
    Delta {
        touched: Some(Touch {
            last_used: now,
            expires: now + ttl,
        }),
        ..Delta::default()
    }
}

async fn created(adapter: &Mongodb, record: &Record) {
    let created = adapter.create(record.clone(), u64::MAX).await;
    assert_eq!(created.expect("the server runs"), Created::Done);
}

async fn applied(adapter: &Mongodb, record: &Record, delta: Delta) -> Applied {
    let applied = adapter.apply(&record.id, record.generation, delta).await;
    applied.expect("the server runs")
}
