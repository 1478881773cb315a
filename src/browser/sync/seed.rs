//! The script that puts a session's storage into a page before the page's own first script.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use super::storage::Items;
use crate::session::jar::PartitionKey;
use crate::session::origin::Origin;

/// What a page's script still has to put where. An origin goes out of it once a document of it was there: to put things there a
/// second time would undo the page's own deletions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::browser) struct Seeds {
    /// localStorage, once a context.
    pub(in crate::browser) local: BTreeMap<Origin, Fill>,
    /// sessionStorage, once a page: it dies with it.
    pub(in crate::browser) session: BTreeMap<Origin, Items>,
}

/// What becomes of an origin's localStorage.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::browser) enum Fill {
    /// It was never there in this context: these, if the area is empty.
    Whole(Items),
    /// The session changed elsewhere since: these are set, or removed, whatever else is there; and what that makes of it.
    Changes(BTreeMap<String, Option<String>>, Items),
}

impl Fill {
    /// What the area holds afterwards.
    pub(in crate::browser) fn result(&self) -> &Items {
        match self {
            Self::Whole(items) | Self::Changes(_, items) => items,
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    /// Scheme with its colon, and registrable domain or host.
    site: (String, String),
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<&'a Items>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a Items>,
}

impl Seeds {
    /// The script; none where there is nothing to put.
    pub(in crate::browser) fn script(&self) -> Option<String> {
        let origins: std::collections::BTreeSet<&Origin> =
            self.local.keys().chain(self.session.keys()).collect();
        let entries: BTreeMap<&str, Entry<'_>> = origins
            .into_iter()
            .filter_map(|origin| {
                let fill = self.local.get(origin);
                let entry = Entry {
                    site: site(origin)?,
                    local: fill.and_then(|fill| match fill {
                        Fill::Whole(items) => Some(items),
                        Fill::Changes(..) => None,
                    }),
                    changes: fill.and_then(|fill| match fill {
                        Fill::Whole(_) => None,
                        Fill::Changes(changes, _) => Some(changes),
                    }),
                    session: self.session.get(origin),
                };
                Some((origin.as_str(), entry))
            })
            .collect();
        if entries.is_empty() {
            return None;
        }
        let entries = serde_json::to_string(&entries).ok()?;
        Some(format!("({SCRIPT})({entries})"))
    }
}

fn site(origin: &Origin) -> Option<(String, String)> {
    let key = PartitionKey::new(origin.as_str(), false)?;
    let url = Url::parse(&key.top_level_site).ok()?;
    Some((format!("{}:", url.scheme()), url.host_str()?.to_owned()))
}

/// Nothing of it is left behind in the page. A third party's frame has storage of its own, which is not the session's; a sandboxed one,
/// whose origin is `null`, has none.
const SCRIPT: &str = r"seeds => {
  if (location.protocol !== 'http:' && location.protocol !== 'https:') return;
  if (!Object.hasOwn(seeds, self.origin)) return;
  const seed = seeds[self.origin];
  const [scheme, host] = seed.site;
  for (const ancestor of location.ancestorOrigins) {
    if (ancestor === 'null') return;
    const url = new URL(ancestor);
    if (url.protocol !== scheme || (url.hostname !== host && !url.hostname.endsWith('.' + host))) return;
  }
  const put = (area, key, value) => {
    try { value === null ? area.removeItem(key) : area.setItem(key, value); } catch { /* full */ }
  };
  const fill = (area, items) => {
    if (area.length === 0) for (const key of Object.keys(items)) put(area, key, items[key]);
  };
  try {
    if (seed.local) fill(localStorage, seed.local);
    if (seed.changes) for (const key of Object.keys(seed.changes)) put(localStorage, key, seed.changes[key]);
    if (seed.session) fill(sessionStorage, seed.session);
  } catch { /* storage is kept from a sandboxed frame */ }
}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_names_each_origin_with_its_site() {
        let origin: Origin = "https://www.shop.co.uk:8443".parse().unwrap();
        let items = Items::from([("a\u{2028}\"</script>".to_owned(), "1".to_owned())]);
        let seeds = Seeds {
            local: BTreeMap::from([(origin.clone(), Fill::Whole(items.clone()))]),
            session: BTreeMap::from([("http://127.0.0.1".parse().unwrap(), items)]),
        };
        let script = seeds.script().unwrap();
        let (_, entries) = script.split_once("})(").unwrap();
        let entries: serde_json::Value =
            serde_json::from_str(entries.strip_suffix(')').unwrap()).unwrap();
        assert_eq!(
            entries["https://www.shop.co.uk:8443"]["site"],
            serde_json::json!(["https:", "shop.co.uk"])
        );
        assert_eq!(
            entries["http://127.0.0.1"]["site"],
            serde_json::json!(["http:", "127.0.0.1"])
        );
        assert!(entries["http://127.0.0.1"].get("local").is_none());
        assert_eq!(Seeds::default().script(), None);
    }
}
