//! Events as they came: bytes in one buffer, with the place each has in its topic. Nothing is parsed here.

use sha2::{Digest, Sha256};

/// Where an event stands, and under which right it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// The epoch of whoever read it.
    pub epoch: i64,
}

/// Events of some partitions, those of one partition in their order.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    place: Place,
    /// When the broker has it from, in milliseconds since 1970.
    timestamp: i64,
    start: usize,
    key_end: usize,
    end: usize,
    has_key: bool,
    has_value: bool,
}

impl Incoming {
    /// Adds an event.
    pub fn push(&mut self, place: Place, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let end = self.bytes.len();
        let (has_key, has_value) = (key.is_some(), value.is_some());
        self.rows.push(Row { place, timestamp, start, key_end, end, has_key, has_value });
    }

    /// Events.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True without events.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of keys and values.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Where an event stands.
    pub fn place(&self, row: usize) -> Place {
        self.rows[row].place
    }

    /// When the broker has it from, in milliseconds since 1970.
    pub fn timestamp(&self, row: usize) -> i64 {
        self.rows[row].timestamp
    }

    /// Its key.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        let row = &self.rows[row];
        row.has_key.then(|| &self.bytes[row.start..row.key_end])
    }

    /// Its value; `None` for a tombstone.
    pub fn value(&self, row: usize) -> Option<&[u8]> {
        let row = &self.rows[row];
        row.has_value.then(|| &self.bytes[row.key_end..row.end])
    }

    /// Keeps the events of some places.
    pub fn retain(&mut self, keep: impl Fn(Place) -> bool) {
        self.rows.retain(|row| keep(row.place));
    }

    /// 64 bits that tell the event from another one at its place.
    pub fn mark(&self, row: usize) -> i64 {
        let row = &self.rows[row];
        let mut hasher = Sha256::new();
        hasher.update(row.timestamp.to_le_bytes());
        hasher.update(((row.key_end - row.start) as u64).to_le_bytes());
        hasher.update(&self.bytes[row.start..row.end]);
        let bits = hasher.finalize().iter().take(8).fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        bits as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_as_they_came_and_others_have_other_marks() {
        let mut incoming = Incoming::default();
        let place = |offset| Place { partition: 0, offset, epoch: 1 };
        incoming.push(place(0), 5, Some(b"k"), Some(b"v"));
        incoming.push(place(1), 5, None, None);
        incoming.push(place(2), 5, Some(b"kv"), Some(b""));
        incoming.push(place(3), 6, Some(b"k"), Some(b"v"));
        incoming.push(place(4), 5, Some(b"k"), Some(b"v"));
        assert_eq!((incoming.key(0), incoming.value(0)), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!((incoming.key(1), incoming.value(1), incoming.value(2)), (None, None, Some(&b""[..])));
        assert_eq!(incoming.mark(0), incoming.mark(4));
        assert!(incoming.mark(0) != incoming.mark(2) && incoming.mark(0) != incoming.mark(3));
        incoming.retain(|place| place.offset != 1);
        assert_eq!((incoming.len(), incoming.place(1).offset), (4, 2));
    }
}
