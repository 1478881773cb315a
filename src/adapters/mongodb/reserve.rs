//! Cells of a bucket, taken by the server: [`Rate::reserve`] as a pipeline of MongoDB.

use mongodb::bson::{Bson, Document, doc};

use super::document::{field_of, whole};
use super::time;
use crate::adapters::{Reservation, Reserve};
use crate::session::limiter::{LONGEST_PATIENCE, Rate};
use crate::session::time::Timestamp;

/// Where the bucket of a reservation is, as the path of a sub-document.
pub(super) fn bucket_of(reserve: &Reserve) -> String {
    format!("limiter.buckets.{}", field_of(&reserve.bucket))
}

/// The update that takes the cells. It leaves in the bucket what the server knew: `before`, `at`.
pub(super) fn pipeline(reserve: &Reserve) -> Vec<Document> {
    let bucket = bucket_of(reserve);
    let at = |field: &str| format!("{bucket}.{field}");
    let known = |field: &str| format!("${bucket}.{field}");
    vec![
        doc! { "$set": {
            at("host"): { "$literal": &*reserve.bucket },
            at("before"): { "$ifNull": [known("fullAt"), 0_i64] },
            at("at"): time::now(),
        } },
        doc! { "$set": {
            at("fullAt"): full_at(reserve, &known("before"), &known("at")),
        } },
    ]
}

/// What the bucket says after the update.
pub(super) fn reservation(session: &Document, reserve: &Reserve) -> Option<Reservation> {
    let buckets = session.get_document("limiter").ok()?;
    let buckets = buckets.get_document("buckets").ok()?;
    let bucket = buckets.get_document(field_of(&reserve.bucket)).ok()?;
    let read = |field| {
        bucket
            .get(field)
            .and_then(whole)
            .map(Timestamp::from_micros)
    };
    Some(Reservation {
        before: read("before")?,
        at: read("at")?,
    })
}

/// The formula of [`Rate::reserve`], on 64-bit integers. Quotients are made of doubles and rounded down: below 2^53, where
/// all of these are, that is exact.
fn full_at(reserve: &Reserve, before: &str, at: &str) -> Bson {
    let (interval, tolerance) = steps(reserve.rate);
    let patience = i64::try_from(reserve.patience.as_micros()).unwrap_or(i64::MAX);
    let patience = patience.min(LONGEST_PATIENCE);
    // The cells of which none lies further ahead than `patience`, at most `most`.
    let cells = |patience: i64, share: i64, most: u32| {
        let whole = |dividend: Bson, divisor: i64| {
            doc! { "$toLong": { "$floor": { "$divide": [dividend, divisor] } } }
        };
        let all = doc! { "$add": [whole("$$room".into(), interval), 1_i64] };
        doc! { "$let": {
            "vars": { "room": { "$subtract": [
                { "$add": [at, patience.saturating_add(tolerance)] },
                "$$tat",
            ] } },
            "in": { "$cond": [
                { "$lt": ["$$room", 0_i64] },
                0_i64,
                { "$min": [i64::from(most), whole(all.into(), share)] },
            ] },
        } }
    };
    let then = |taken: Document, more: Bson| {
        doc! { "$let": {
            "vars": { "tat": { "$add": ["$$tat", { "$multiply": [taken, interval] }] } },
            "in": more,
        } }
    };
    let latest = tolerance.saturating_add(interval).saturating_add(DAY);
    let spare = then(cells(0, 4, reserve.spare), "$$tat".into());
    let wanted = then(cells(patience, 1, reserve.wanted), spare.into());
    Bson::Document(doc! { "$let": {
        "vars": { "tat": { "$min": [
            { "$max": [before, at] },
            { "$add": [at, latest] },
        ] } },
        "in": wanted,
    } })
}

fn steps(rate: Rate) -> (i64, i64) {
    let signed = |micros| i64::try_from(micros).unwrap_or(i64::MAX);
    (
        signed(rate.interval_micros()),
        signed(rate.tolerance_micros()),
    )
}

const DAY: i64 = 86_400_000_000;
