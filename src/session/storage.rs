//! localStorage and sessionStorage of a session, by origin.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::origin::Origin;

/// Which of the two areas of an origin an item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Area {
    /// Kept for good.
    LocalStorage,
    /// Kept for a browsing context; here: for the session.
    SessionStorage,
}

/// Where an item of storage is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemKey {
    /// Whose.
    pub origin: Origin,
    /// In which area.
    pub area: Area,
    /// Under which key.
    pub name: Box<str>,
}

/// The items of a session, in the order of origin, area and key, as Chromium enumerates them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Storage {
    items: BTreeMap<ItemKey, Arc<str>>,
    bytes: usize,
}

impl Storage {
    /// The most that a session may keep, keys and values together: 10 MiB, which every store can hold in one record.
    /// Who imports or absorbs items checks [`Storage::bytes`] against it.
    pub const MAX_BYTES: usize = 10 * 1024 * 1024;

    /// How many bytes keys and values take together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The value of an item.
    #[must_use]
    pub fn item(&self, key: &ItemKey) -> Option<&str> {
        self.items.get(key).map(|value| &**value)
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ItemKey, &str)> {
        self.items.iter().map(|(key, value)| (key, &**value))
    }

    /// The items of one area of one origin, in the order of their keys.
    pub fn area<'a>(
        &'a self,
        origin: &Origin,
        area: Area,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let first = ItemKey {
            origin: origin.clone(),
            area,
            name: "".into(),
        };
        let origin = origin.clone();
        self.items
            .range(first..)
            .take_while(move |(key, _)| key.origin == origin && key.area == area)
            .map(|(key, value)| (&*key.name, &**value))
    }

    /// The origins that have an item, in order.
    #[must_use]
    pub fn origins(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> = self.items.keys().map(|key| key.origin.clone()).collect();
        origins.dedup();
        origins
    }

    /// Makes the change.
    pub fn apply(&mut self, delta: &StorageDelta) {
        if delta.cleared {
            *self = Self::default();
        }
        for (key, value) in &delta.changes {
            let size = |value: &str| key.name.len() + value.len();
            let before = match value {
                Some(value) => {
                    self.bytes += size(value);
                    self.items.insert(key.clone(), Arc::clone(value))
                }
                None => self.items.remove(key),
            };
            self.bytes -= before.map_or(0, |value| size(&value));
        }
    }

    /// What turns this into `wanted`.
    #[must_use]
    pub fn difference(&self, wanted: &Self) -> StorageDelta {
        let mut delta = StorageDelta::default();
        for key in self
            .items
            .keys()
            .filter(|key| !wanted.items.contains_key(key))
        {
            delta.remove(key.clone());
        }
        for (key, value) in wanted
            .items
            .iter()
            .filter(|(key, value)| self.items.get(key) != Some(value))
        {
            delta.changes.insert(key.clone(), Some(Arc::clone(value)));
        }
        delta
    }
}

/// Items are the visitor's data, like cookie values: only their number is shown.
impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage")
            .field("items", &self.items.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Items set and removed, each by itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageDelta {
    cleared: bool,
    changes: BTreeMap<ItemKey, Option<Arc<str>>>,
}

impl StorageDelta {
    /// Every item goes, whatever was changed before.
    pub fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }

    /// An item takes the place of any of its key.
    pub fn set(&mut self, key: ItemKey, value: &str) {
        self.changes.insert(key, Some(value.into()));
    }

    /// The item of this key goes, if there is one.
    pub fn remove(&mut self, key: ItemKey) {
        self.changes.insert(key, None);
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.cleared && self.changes.is_empty()
    }

    /// Whether every item goes before [`Self::changes`] are made.
    #[must_use]
    pub fn cleared(&self) -> bool {
        self.cleared
    }

    /// The changes, one a key: the new value, or none where the item goes.
    pub fn changes(&self) -> impl Iterator<Item = (&ItemKey, Option<&str>)> {
        self.changes
            .iter()
            .map(|(key, value)| (key, value.as_deref()))
    }

    /// This change followed by `later`, as one. Associative.
    #[must_use]
    pub fn then(mut self, mut later: Self) -> Self {
        if later.cleared {
            return later;
        }
        self.changes.append(&mut later.changes);
        self
    }
}

impl fmt::Debug for StorageDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageDelta")
            .field("cleared", &self.cleared)
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

/// One item as it is stored; a removed one has no value.
#[derive(Serialize, Deserialize)]
struct StoredItem {
    #[serde(flatten)]
    key: ItemKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredDelta {
    cleared: bool,
    changes: Vec<StoredItem>,
}

impl Serialize for Storage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items.iter().map(|(key, value)| StoredItem {
            key: key.clone(),
            value: Some(value.to_string()),
        }))
    }
}

impl<'de> Deserialize<'de> for Storage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut delta = StorageDelta::default();
        for StoredItem { key, value } in Vec::deserialize(deserializer)? {
            let value = value.ok_or_else(|| serde::de::Error::missing_field("value"))?;
            delta.set(key, &value);
        }
        let mut storage = Self::default();
        storage.apply(&delta);
        Ok(storage)
    }
}

impl Serialize for StorageDelta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let changes = self.changes.iter().map(|(key, value)| StoredItem {
            key: key.clone(),
            value: value.as_deref().map(str::to_owned),
        });
        StoredDelta {
            cleared: self.cleared,
            changes: changes.collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StorageDelta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StoredDelta { cleared, changes } = StoredDelta::deserialize(deserializer)?;
        Ok(Self {
            cleared,
            changes: changes
                .into_iter()
                .map(|item| (item.key, item.value.map(Arc::from)))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(origin: &str, area: Area, name: &str) -> ItemKey {
        ItemKey {
            origin: origin.parse().unwrap(),
            area,
            name: name.into(),
        }
    }

    #[test]
    fn areas_and_origins_are_apart_and_in_order() {
        let mut delta = StorageDelta::default();
        delta.set(key("https://b.example", Area::LocalStorage, "k"), "1");
        delta.set(key("https://a.example", Area::SessionStorage, "k"), "2");
        delta.set(key("https://a.example", Area::LocalStorage, "z"), "3");
        delta.set(key("https://a.example", Area::LocalStorage, "a"), "4");
        let mut storage = Storage::default();
        storage.apply(&delta);
        let a: Origin = "https://a.example".parse().unwrap();
        assert_eq!(
            storage.area(&a, Area::LocalStorage).collect::<Vec<_>>(),
            [("a", "4"), ("z", "3")]
        );
        assert_eq!(
            storage.area(&a, Area::SessionStorage).collect::<Vec<_>>(),
            [("k", "2")]
        );
        assert_eq!(storage.origins(), [a, "https://b.example".parse().unwrap()]);
        assert_eq!(storage.bytes(), 8);
        assert!(!format!("{storage:?} {delta:?}").contains('3'));
    }

    fn deltas() -> impl Strategy<Value = StorageDelta> {
        let change = (
            0..2usize,
            any::<bool>(),
            "[ab]",
            proptest::option::of("[xyz]{0,2}"),
        );
        (any::<bool>(), proptest::collection::vec(change, 0..6)).prop_map(|(cleared, changes)| {
            let mut delta = StorageDelta::default();
            if cleared {
                delta.clear();
            }
            for (origin, local, name, value) in changes {
                let area = if local {
                    Area::LocalStorage
                } else {
                    Area::SessionStorage
                };
                let key = key(
                    ["https://a.example", "https://b.example"][origin],
                    area,
                    &name,
                );
                match value {
                    Some(value) => delta.set(key, &value),
                    None => delta.remove(key),
                }
            }
            delta
        })
    }

    fn after(deltas: &[&StorageDelta]) -> Storage {
        let mut storage = Storage::default();
        for delta in deltas {
            storage.apply(delta);
        }
        storage
    }

    proptest! {
        #[test]
        fn deltas_merge_associatively(a in deltas(), b in deltas(), c in deltas()) {
            let one = a.clone().then(b.clone()).then(c.clone());
            let other = a.clone().then(b.clone().then(c.clone()));
            prop_assert_eq!(&one, &other);
            let storage = after(&[&a, &b, &c]);
            prop_assert_eq!(&after(&[&one]), &storage);
            let bytes: usize = storage.iter().map(|(key, value)| key.name.len() + value.len()).sum();
            prop_assert_eq!(storage.bytes(), bytes);
        }

        #[test]
        fn the_difference_leads_from_one_to_the_other(a in deltas(), b in deltas()) {
            let (from, to) = (after(&[&a]), after(&[&b]));
            let mut moved = from.clone();
            moved.apply(&from.difference(&to));
            prop_assert_eq!(moved, to);
        }

        #[test]
        fn what_was_serialized_reads_back(delta in deltas()) {
            let json = serde_json::to_string(&delta).unwrap();
            prop_assert_eq!(&serde_json::from_str::<StorageDelta>(&json).unwrap(), &delta);
            let storage = after(&[&delta]);
            let json = serde_json::to_string(&storage).unwrap();
            prop_assert_eq!(serde_json::from_str::<Storage>(&json).unwrap(), storage);
        }
    }
}
