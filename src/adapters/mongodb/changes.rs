//! Word of what other processes change: a change stream where the server has them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::error::Error;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::NAME;
use super::document::whole;
use super::fault::is_refusal;
use super::link::{Link, State, Store};
use super::writer::{Process, Written};
use crate::adapters::{Change, DEADLINE};
use crate::session::id::SessionId;

/// Tells changes to `changes` until its receiver is gone, or nothing polls this any more.
///
/// A stream lasts as long as the link at most, and the next one begins under another number of interruptions: it does not take
/// up where the last one ended. (Where the driver finds a new primary by itself, it does, and nothing is lost.)
pub(super) async fn tell(
    link: Arc<Link>,
    process: Process,
    changes: mpsc::UnboundedSender<Change>,
) {
    let mut watch = link.watch();
    let (mut interruptions, mut refused) = (0, false);
    loop {
        let state = watch.borrow_and_update().clone();
        let told = async {
            let State::Up(store) = state else {
                return std::future::pending().await;
            };
            let ended = follow(&store, process, &changes, &mut interruptions).await;
            store.told.store(0, Ordering::Release);
            ended
        };
        // The link is held here, and with it what tells of its state.
        let ended = tokio::select! {
            () = changes.closed() => return,
            _ = watch.changed() => continue,
            ended = told => ended,
        };
        if let Ended::Refused(error) = &ended
            && !std::mem::replace(&mut refused, true)
        {
            tracing::warn!(
                adapter = NAME,
                reason = %link.explain(error).reason,
                "no change streams: what other processes change is seen within a second"
            );
        }
        let pause = match ended {
            Ended::Broken => PAUSE,
            // Rights may be granted, and a server be made a replica set.
            Ended::Refused(_) => TRY_AGAIN,
        };
        tokio::select! {
            () = changes.closed() => return,
            _ = watch.changed() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Why a stream came to its end.
enum Ended {
    /// The server, or the way to it, gave up.
    Broken,
    /// The server has no change streams, or not for us.
    Refused(Box<Error>),
}

async fn follow(
    store: &Store,
    process: Process,
    changes: &mpsc::UnboundedSender<Change>,
    interruptions: &mut u64,
) -> Ended {
    let opened = store
        .sessions
        .watch()
        .pipeline(pipeline())
        .max_await_time(AWAIT);
    let mut stream = match timeout(DEADLINE, opened).await {
        Ok(Ok(stream)) => stream.with_type::<Document>(),
        Ok(Err(error)) if is_refusal(&error) => return Ended::Refused(Box::new(error)),
        Ok(Err(_)) | Err(_) => return Ended::Broken,
    };
    *interruptions += 1;
    store.told.store(*interruptions, Ordering::Release);
    while stream.is_alive() {
        let Some(event) = next(&mut stream).await else {
            return Ended::Broken;
        };
        let Some(change) = event.and_then(|event| change(&event, process)) else {
            continue;
        };
        if changes.send(change).is_err() {
            break;
        }
    }
    Ended::Broken
}

/// The next event, or that there was none for a while; `None` where the stream is broken.
async fn next(stream: &mut ChangeStream<Document>) -> Option<Option<Document>> {
    // An empty answer comes after `AWAIT`: what is later than this is a link that hangs.
    match timeout(AWAIT + DEADLINE, stream.next_if_any()).await {
        Ok(Ok(event)) => Some(event),
        Ok(Err(error)) => {
            tracing::debug!(adapter = NAME, kind = ?error.labels(), "change stream broken");
            None
        }
        Err(_) => None,
    }
}

/// Of all events those that make a copy stale, and of them no more than what says whose, which and by whom. Touches,
/// counters and the limiter write no `revision`.
fn pipeline() -> [Document; 2] {
    let revised = doc! {
        "operationType": "update",
        "updateDescription.updatedFields.revision": { "$exists": true },
    };
    let other = [
        "replace",
        "delete",
        "drop",
        "rename",
        "dropDatabase",
        "invalidate",
    ];
    let either = |field: &str| {
        doc! { "$ifNull": [
            format!("$updateDescription.updatedFields.{field}"),
            format!("$fullDocument.{field}"),
        ] }
    };
    [
        doc! { "$match": { "$or": [revised, { "operationType": { "$in": other } }] } },
        doc! { "$project": {
            "operationType": 1,
            "ns": 1,
            "documentKey": 1,
            "revision": either("revision"),
            "writer": either("writer"),
        } },
    ]
}

/// What an event says, unless this process did it.
fn change(event: &Document, process: Process) -> Option<Change> {
    let kind = event.get_str("operationType").ok()?;
    if !matches!(kind, "update" | "replace" | "delete") {
        return Some(Change::Cleared);
    }
    let key = event.get_document("documentKey").ok()?;
    let id: SessionId = key.get_str("_id").ok()?.parse().ok()?;
    let gone = |id| {
        Some(Change::Gone {
            id,
            generation: None,
        })
    };
    if kind == "delete" {
        return gone(id);
    }
    let written = event.get_str("writer").ok().and_then(Written::read);
    let revision = event.get("revision").and_then(whole);
    match (
        written,
        revision.and_then(|revision| u64::try_from(revision).ok()),
    ) {
        (Some(written), _) if written.process == process => None,
        (Some(written), Some(revision)) => Some(Change::Changed {
            id,
            generation: written.generation,
            revision,
        }),
        // An operator changed it by hand.
        _ => gone(id),
    }
}

/// How long the server waits for an event before it says that there is none.
const AWAIT: Duration = Duration::from_millis(500);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
const TRY_AGAIN: Duration = Duration::from_secs(30);
