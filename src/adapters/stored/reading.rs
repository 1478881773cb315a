//! A record put together again out of its stored parts.

use std::collections::HashMap;

use super::{Codec, Head, Unreadable, broken};
use crate::session::id::SessionId;
use crate::session::jar::{Cookie, EchoMark, Jar};
use crate::session::limiter::LimiterState;
use crate::session::origin::Origin;
use crate::session::record::Record;
use crate::session::storage::{Storage, StorageDelta};

/// The parts of a record that have been read. They may come in any order, but for the marks.
#[derive(Debug)]
pub(in crate::adapters) struct Reading<'a> {
    codec: &'a Codec,
    id: &'a SessionId,
    head: Head,
    cookies: Vec<Cookie>,
    items: StorageDelta,
    marks: Vec<EchoMark>,
}

impl Codec {
    /// Begins with the head.
    pub(in crate::adapters) fn reading<'a>(&'a self, id: &'a SessionId, head: Head) -> Reading<'a> {
        Reading {
            codec: self,
            id,
            head,
            cookies: Vec::new(),
            items: StorageDelta::default(),
            marks: Vec::new(),
        }
    }
}

impl Reading<'_> {
    /// A cookie.
    pub(in crate::adapters) fn cookie(&mut self, text: &str) -> Result<(), Unreadable> {
        let cookie = self.codec.read_cookie(self.id, text)?;
        self.cookies.extend(cookie);
        Ok(())
    }

    /// An item of an origin.
    pub(in crate::adapters) fn item(&mut self, origin: &str, text: &str) -> Result<(), Unreadable> {
        let origin = self.origin(origin)?;
        self.item_of(&origin, text)
    }

    /// The items of an origin, as a JSON object of field and text.
    pub(in crate::adapters) fn items(
        &mut self,
        origin: &str,
        object: &str,
    ) -> Result<(), Unreadable> {
        let origin = self.origin(origin)?;
        let items: HashMap<String, String> = serde_json::from_str(object)
            .map_err(|error| self.damaged("storage", broken(&error)))?;
        items
            .values()
            .try_for_each(|text| self.item_of(&origin, text))
    }

    /// The next mark.
    pub(in crate::adapters) fn mark(&mut self, text: &str) -> Result<(), Unreadable> {
        let mark = text
            .parse()
            .map_err(|_| self.damaged("mark", "is none".to_owned()))?;
        self.marks.push(mark);
        Ok(())
    }

    /// The record.
    pub(in crate::adapters) fn record(self, limiter: LimiterState) -> Record {
        let mut storage = Storage::default();
        storage.apply(&self.items);
        let head = self.head;
        Record {
            id: self.id.clone(),
            generation: head.generation,
            revision: head.revision,
            created: head.created,
            last_used: head.last_used,
            expires: head.expires,
            settings: head.settings,
            jar: Jar::from_parts(self.cookies, self.marks),
            storage,
            counters: head.counters,
            limiter,
        }
    }

    fn item_of(&mut self, origin: &Origin, text: &str) -> Result<(), Unreadable> {
        let (key, value) = self.codec.read_item(self.id, origin, text)?;
        self.items.set(key, &value);
        Ok(())
    }

    fn origin(&self, text: &str) -> Result<Origin, Unreadable> {
        text.parse()
            .map_err(|_| self.damaged("storage", "belongs to no origin".to_owned()))
    }

    fn damaged(&self, field: &'static str, reason: String) -> Unreadable {
        Unreadable::Damaged {
            id: self.id.clone(),
            field,
            reason,
        }
    }
}
