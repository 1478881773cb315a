//! The names of the keys, and the slot of a cluster that a key is in.

use crate::session::id::SessionId;

/// The names that begin with one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// `adapters.redis.key_prefix` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// A brace would take the place of those round the session's id.
    #[error(
        "it has a brace, and the keys of a session are held together by the braces round its id"
    )]
    Brace,
    /// A character that cannot be seen.
    #[error("it has a blank or a control character")]
    Unprintable,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Result<Self, InvalidPrefix> {
        if prefix.contains(['{', '}']) {
            return Err(InvalidPrefix::Brace);
        }
        if prefix.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(InvalidPrefix::Unprintable);
        }
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    /// The five keys of a session, in the order in which every script takes them. The braces put them into one slot.
    pub(super) fn of_session(&self, id: &SessionId) -> [String; 5] {
        ["meta", "cookies", "storage", "echoes", "limiter"]
            .map(|part| format!("{}{{{id}}}:{part}", self.prefix))
    }

    /// The two keys of the index: ids by their expiry, ids in order.
    pub(super) fn of_index(&self) -> [String; 2] {
        ["expiry", "ids"].map(|part| format!("{}{{sessions}}:{part}", self.prefix))
    }

    /// What a trial of a server writes to: a key in this slot.
    pub(super) fn of_trial(&self, wanted: u16) -> String {
        let tags = (0u32..).map(|tag| format!("{{{tag}}}"));
        let tag = tags.into_iter().find(|tag| slot(tag) == wanted);
        format!("{}{}:trial", self.prefix, tag.unwrap_or_default())
    }

    /// The channel on which changes are told.
    pub(super) fn changes(&self) -> String {
        format!("{}changes", self.prefix)
    }
}

/// The slot of a key: CRC16 (XMODEM) of what the first braces hold, or of all of it, modulo 16384.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty());
    let mut crc = 0u16;
    for byte in tag.unwrap_or(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
        }
    }
    crc % SLOTS
}

/// How many slots a cluster has.
pub(super) const SLOTS: u16 = 16384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // `CLUSTER KEYSLOT` of Redis 7.0 says these.
        for (key, wanted) in [
            ("123456789", 12739),
            ("foo", 12182),
            ("burdock:{foo}:meta", 12182),
            ("{}foo", 9500),
            ("a{b}{c}", 3300),
        ] {
            assert_eq!(slot(key), wanted, "{key}");
        }
    }

    #[test]
    fn the_keys_of_a_session_are_in_one_slot() {
        let keys = Keys::new("burdock:").expect("a prefix");
        let id: SessionId = "shop-1".parse().expect("an id");
        let of_session = keys.of_session(&id);
        assert_eq!(of_session[0], "burdock:{shop-1}:meta");
        assert!(of_session.iter().all(|key| slot(key) == slot("shop-1")));
        assert_eq!(slot(&keys.of_index()[0]), slot(&keys.of_index()[1]));
        for wanted in [0, 1, SLOTS - 1] {
            assert_eq!(slot(&keys.of_trial(wanted)), wanted);
        }
    }

    #[test]
    fn a_prefix_has_no_brace_and_no_blank() {
        assert_eq!(Keys::new("a{b").map(|_| ()), Err(InvalidPrefix::Brace));
        assert_eq!(
            Keys::new("a b").map(|_| ()),
            Err(InvalidPrefix::Unprintable)
        );
        assert!(Keys::new("").is_ok());
    }
}
