//! An item of storage, by origin and under a name that does not tell its own.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::secret::Place;
use super::{Codec, Unreadable, broken, field};
use crate::session::id::SessionId;
use crate::session::origin::Origin;
use crate::session::storage::{Area, ItemKey};

#[derive(Serialize, Deserialize)]
struct StoredItem {
    area: Area,
    name: String,
    value: String,
}

impl Codec {
    /// The names under which a store may keep an item of an origin. It is written under the first, and what is there under
    /// the others, by older keys and by none, goes thereby; whoever removes it removes them all.
    pub(in crate::adapters) fn item_fields(&self, id: &SessionId, key: &ItemKey) -> Vec<String> {
        let parts: [&[u8]; 4] = [
            id.as_bytes(),
            key.origin.as_str().as_bytes(),
            area_name(key.area).as_bytes(),
            key.name.as_bytes(),
        ];
        let mut hash = Sha256::new_with_prefix(b"burdock item 1");
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let plain: [u8; 32] = hash.finalize().into();
        let keyed = self.keys.iter().flat_map(|keys| keys.fingerprints(&parts));
        keyed
            .map(|fingerprint| field(&fingerprint))
            .chain([field(&plain)])
            .collect()
    }

    /// An item as JSON, name and value sealed.
    pub(in crate::adapters) fn item(&self, id: &SessionId, key: &ItemKey, value: &str) -> String {
        let (origin, area) = (key.origin.as_str(), area_name(key.area));
        let stored = StoredItem {
            area: key.area,
            name: self.protect_text(&name_of(id, &[origin, area]), &key.name),
            value: self.protect_text(&value_of(id, &[origin, area, &key.name]), value),
        };
        serde_json::to_string(&stored).expect("an item is three strings")
    }

    /// A stored item of an origin.
    pub(in crate::adapters) fn read_item(
        &self,
        id: &SessionId,
        origin: &Origin,
        text: &str,
    ) -> Result<(ItemKey, String), Unreadable> {
        let stored: StoredItem = serde_json::from_str(text)
            .map_err(|error| value_of(id, &[]).damaged(broken(&error)))?;
        let area = area_name(stored.area);
        let name = self.reveal_text(&name_of(id, &[origin.as_str(), area]), &stored.name)?;
        let value = self.reveal_text(
            &value_of(id, &[origin.as_str(), area, &name]),
            &stored.value,
        )?;
        let key = ItemKey {
            origin: origin.clone(),
            area: stored.area,
            name: name.as_str().into(),
        };
        Ok((key, value.as_str().to_owned()))
    }
}

fn name_of<'a>(id: &'a SessionId, of: &'a [&'a str]) -> Place<'a> {
    Place {
        id,
        field: "storage name",
        of,
    }
}

fn value_of<'a>(id: &'a SessionId, of: &'a [&'a str]) -> Place<'a> {
    Place {
        id,
        field: "storage item",
        of,
    }
}

fn area_name(area: Area) -> &'static str {
    match area {
        Area::LocalStorage => "localStorage",
        Area::SessionStorage => "sessionStorage",
    }
}
