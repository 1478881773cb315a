//! What is done to many sessions: page by page along the index, each step with a deadline of its own.

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::Redis;
use super::index::Entry;
use super::one::{Removed, deadline};
use super::trouble::Trouble;
use crate::adapters::{Query, StoreError};
use crate::session::record::Record;

/// Entries of the index in one call.
const PAGE: usize = 128;
/// Sessions that one call of the adapter has loaded or removed at a time.
const ABREAST: usize = 32;

impl Redis {
    pub(super) async fn clear_all(&self) -> Result<u64, StoreError> {
        let (mut live, mut after) = (0, None);
        loop {
            let deadline = deadline();
            let page = self.page(after.as_ref(), PAGE, deadline).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(id, _)| id.clone());
            let mut gone: Vec<Entry> = Vec::with_capacity(page.len());
            let mut removals = stream::iter(page.into_iter().map(|(id, listed)| async move {
                let removed = self.remove(&id, false, deadline).await;
                removed.map(|removed| (id, listed, removed))
            }))
            .buffered(ABREAST);
            while let Some(removal) = removals.next().await {
                let (id, listed, removed) = removal?;
                live += u64::from(matches!(removed, Removed::Live(_)));
                // The entry may be ahead of its session; one that is made at this moment sees to its own.
                gone.push((id, listed));
            }
            drop(removals);
            self.unlist(&gone, deadline).await?;
            if !full {
                return Ok(live);
            }
        }
    }

    pub(super) async fn list_records(&self, query: &Query) -> Result<Vec<Record>, StoreError> {
        let mut found: Vec<Record> = Vec::new();
        let mut after = query.after.clone();
        while found.len() < query.limit {
            let deadline = deadline();
            let wanted = match query.labels.is_empty() {
                true => PAGE.min(query.limit - found.len()),
                false => PAGE,
            };
            let page = self.page(after.as_ref(), wanted, deadline).await?;
            let full = page.len() == wanted;
            after = page.last().map(|(id, _)| id.clone());
            let mut loads = stream::iter(page.into_iter().map(|(id, score)| async move {
                let loaded = self.load_record(&id, deadline).await;
                loaded.map(|loaded| (id, score, loaded))
            }))
            .buffered(ABREAST);
            while let Some(load) = loads.next().await {
                let (id, score, loaded) = load?;
                match loaded {
                    Some(record) if found.len() < query.limit && query.matches(&record) => {
                        found.push(record);
                    }
                    Some(_) => {}
                    None => self.suspects.add(&id, &score),
                }
            }
            if !full {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn sweep_expired(&self, now: Instant) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let deadline = deadline();
            let due = self.due(PAGE, deadline).await?;
            let full = due.len() == PAGE;
            swept += self.reap_all(due, deadline).await?;
            if !full {
                break;
            }
        }
        let convicted = self.suspects.convict(now);
        self.reap_all(convicted, deadline()).await?;
        Ok(swept)
    }

    /// Reaps entries; how many went.
    pub(super) async fn reap_all(
        &self,
        entries: Vec<Entry>,
        deadline: Instant,
    ) -> Result<u64, Trouble> {
        let mut reaping = stream::iter(
            entries
                .into_iter()
                .map(|(id, score)| async move { self.reap(&id, &score, deadline).await }),
        )
        .buffered(ABREAST);
        let mut gone = 0;
        while let Some(reaped) = reaping.next().await {
            gone += u64::from(reaped?);
        }
        Ok(gone)
    }
}
