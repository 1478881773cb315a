//! localStorage and sessionStorage of a page: what it was given, what it made of that, and the difference.

use std::collections::{BTreeMap, HashMap};

use super::seed::{Fill, Seeds};
use crate::session::origin::Origin;
use crate::session::storage::{Area, ItemKey, Storage, StorageDelta};

/// The items of one area of one origin.
pub(in crate::browser) type Items = BTreeMap<String, String>;

/// What pages were heard to do to an area, on top of what was in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::browser) struct Overlay {
    cleared: bool,
    items: BTreeMap<String, Option<String>>,
}

impl Overlay {
    pub(in crate::browser) fn set(&mut self, key: &str, value: &str) {
        self.items.insert(key.to_owned(), Some(value.to_owned()));
    }

    pub(in crate::browser) fn remove(&mut self, key: &str) {
        self.items.insert(key.to_owned(), None);
    }

    pub(in crate::browser) fn clear(&mut self) {
        self.cleared = true;
        self.items.clear();
    }

    fn over(&self, known: &Items) -> Items {
        let mut items = match self.cleared {
            true => Items::new(),
            false => known.clone(),
        };
        for (key, value) in &self.items {
            match value {
                Some(value) => items.insert(key.clone(), value.clone()),
                None => items.remove(key),
            };
        }
        items
    }

    fn saw_go(&self, key: &str) -> bool {
        self.cleared || self.items.get(key).is_some_and(Option::is_none)
    }

    /// What the area holds now: as read, where that could be done, else as heard.
    ///
    /// An item that is missing, though nobody was heard to remove it, was never taken (the area was full) and stays the session's;
    /// unless all are missing, as after `Clear-Site-Data`, of which nothing is heard.
    pub(in crate::browser) fn result(&self, known: &Items, read: Option<Items>) -> Items {
        let Some(mut read) = read else {
            return self.over(known);
        };
        if !read.is_empty() {
            for (key, value) in known {
                if !read.contains_key(key) && !self.saw_go(key) {
                    read.insert(key.clone(), value.clone());
                }
            }
        }
        read
    }
}

/// What is to be put into a new page, given what the context is known to hold.
pub(in crate::browser) fn seeds(storage: &Storage, known: &HashMap<Origin, Items>) -> Seeds {
    let items = |origin: &Origin, area| -> Items {
        storage
            .area(origin, area)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let mut seeds = Seeds::default();
    for origin in storage.origins() {
        let session = items(&origin, Area::SessionStorage);
        if !session.is_empty() {
            seeds.session.insert(origin.clone(), session);
        }
        let local = items(&origin, Area::LocalStorage);
        if !known.contains_key(&origin) && !local.is_empty() {
            seeds.local.insert(origin, Fill::Whole(local));
        }
    }
    for (origin, known) in known {
        let wanted = items(origin, Area::LocalStorage);
        let mut changes: BTreeMap<String, Option<String>> = known
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .map(|key| (key.clone(), None))
            .collect();
        for (key, value) in &wanted {
            if known.get(key) != Some(value) {
                changes.insert(key.clone(), Some(value.clone()));
            }
        }
        if !changes.is_empty() {
            seeds
                .local
                .insert(origin.clone(), Fill::Changes(changes, wanted));
        }
    }
    seeds
}

/// Adds to `delta` what leads from `before` to `after`.
pub(in crate::browser) fn difference(
    delta: &mut StorageDelta,
    origin: &Origin,
    area: Area,
    before: &Items,
    after: &Items,
) {
    let item = |name: &str| ItemKey {
        origin: origin.clone(),
        area,
        name: name.into(),
    };
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        delta.remove(item(key));
    }
    for (key, value) in after {
        if before.get(key) != Some(value) {
            delta.set(item(key), value);
        }
    }
}

/// The part of `delta` that `storage` has room for, and how many items that leaves out. Removals come first.
pub(in crate::browser) fn fit(delta: StorageDelta, storage: &Storage) -> (StorageDelta, usize) {
    let mut bytes = storage.bytes();
    let mut kept = StorageDelta::default();
    let (sets, removals): (Vec<_>, Vec<_>) =
        delta.changes().partition(|(_, value)| value.is_some());
    let held = |key: &ItemKey| {
        storage
            .item(key)
            .map_or(0, |value| key.name.len() + value.len())
    };
    for (key, _) in removals {
        bytes -= held(key);
        kept.remove(key.clone());
    }
    let mut left_out = 0;
    for (key, value) in sets {
        let value = value.unwrap_or_default();
        let after = bytes - held(key) + key.name.len() + value.len();
        if after > Storage::MAX_BYTES {
            left_out += 1;
        } else {
            bytes = after;
            kept.set(key.clone(), value);
        }
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pairs: &[(&str, &str)]) -> Items {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn origin() -> Origin {
        "https://a.example".parse().unwrap()
    }

    fn storage(pairs: &[(Area, &str, &str)]) -> Storage {
        let mut delta = StorageDelta::default();
        for (area, name, value) in pairs {
            let key = ItemKey {
                origin: origin(),
                area: *area,
                name: (*name).into(),
            };
            delta.set(key, value);
        }
        let mut storage = Storage::default();
        storage.apply(&delta);
        storage
    }

    #[test]
    fn a_fresh_context_gets_everything_and_a_known_one_the_difference() {
        let storage = storage(&[
            (Area::LocalStorage, "a", "1"),
            (Area::LocalStorage, "b", "2"),
            (Area::SessionStorage, "s", "3"),
        ]);
        let fresh = seeds(&storage, &HashMap::new());
        let all = items(&[("a", "1"), ("b", "2")]);
        assert_eq!(fresh.local[&origin()], Fill::Whole(all.clone()));
        assert_eq!(fresh.session[&origin()], items(&[("s", "3")]));

        let same = seeds(&storage, &HashMap::from([(origin(), all.clone())]));
        assert!(same.local.is_empty() && same.session.len() == 1);

        let other = HashMap::from([(origin(), items(&[("a", "0"), ("gone", "x")]))]);
        let changes = BTreeMap::from([
            ("a".to_owned(), Some("1".to_owned())),
            ("b".to_owned(), Some("2".to_owned())),
            ("gone".to_owned(), None),
        ]);
        assert_eq!(
            seeds(&storage, &other).local[&origin()],
            Fill::Changes(changes, all)
        );
        let emptied = seeds(&Storage::default(), &other);
        assert_eq!(*emptied.local[&origin()].result(), Items::new());
    }

    #[test]
    fn what_was_heard_stands_in_for_what_cannot_be_read() {
        let known = items(&[("a", "1"), ("b", "2")]);
        let mut heard = Overlay::default();
        heard.set("c", "3");
        heard.remove("a");
        assert_eq!(heard.result(&known, None), items(&[("b", "2"), ("c", "3")]));
        heard.clear();
        heard.set("d", "4");
        assert_eq!(heard.result(&known, None), items(&[("d", "4")]));
    }

    #[test]
    fn what_never_fitted_is_no_deletion() {
        let known = items(&[("a", "1"), ("big", "2")]);
        let heard = Overlay::default();
        assert_eq!(heard.result(&known, Some(items(&[("a", "1")]))), known);
        assert_eq!(heard.result(&known, Some(Items::new())), Items::new());
        let mut heard = Overlay::default();
        heard.remove("big");
        assert_eq!(
            heard.result(&known, Some(items(&[("a", "1")]))),
            items(&[("a", "1")])
        );
    }

    #[test]
    fn a_difference_leads_there() {
        let mut delta = StorageDelta::default();
        difference(
            &mut delta,
            &origin(),
            Area::LocalStorage,
            &items(&[("a", "1"), ("b", "2"), ("c", "3")]),
            &items(&[("a", "1"), ("b", "0"), ("d", "4")]),
        );
        let changes: Vec<(&str, Option<&str>)> = delta
            .changes()
            .map(|(key, value)| (&*key.name, value))
            .collect();
        assert_eq!(changes, [("b", Some("0")), ("c", None), ("d", Some("4"))]);
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let big = "x".repeat(Storage::MAX_BYTES - 10);
        let storage = storage(&[(Area::LocalStorage, "big", &big)]);
        let mut delta = StorageDelta::default();
        let key = |name: &str| ItemKey {
            origin: origin(),
            area: Area::LocalStorage,
            name: name.into(),
        };
        delta.set(key("a"), "123");
        delta.set(key("b"), &"y".repeat(100));
        let (kept, left_out) = fit(delta.clone(), &storage);
        assert_eq!((kept.changes().count(), left_out), (1, 1));
        delta.remove(key("big"));
        let (kept, left_out) = fit(delta, &storage);
        assert_eq!((kept.changes().count(), left_out), (3, 0));
    }
}
