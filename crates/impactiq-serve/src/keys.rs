//! API keys: made once, kept as hashes, compared in constant time; and how often each may ask.
//!
//! A key is 256 random bits, so one plain sha256 of it is safe to keep: there is no password to
//! guess. Which route wants which role is decided in `http::auth`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::error::ServeError;

/// What a key may do; each role may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ask for scores.
    Score,
    /// Look at models, reports, the log and live figures.
    Read,
    /// Change which model answers.
    Admin,
}

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Role; 3] = [Role::Score, Role::Read, Role::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Score => "score",
            Role::Read => "read",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("'{text}' is no role; roles are score, read and admin"))
    }
}

/// A key that was just made: shown once, never kept.
#[derive(Clone)]
pub struct NewKey {
    /// The key itself, for whoever will use it.
    pub key: String,
    /// The line for the key file.
    pub line: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").finish_non_exhaustive()
    }
}

impl NewKey {
    /// Makes a key of a role for somebody.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for a name that cannot stand in the file, [`ServeError::Random`].
    pub fn make(name: &str, role: Role) -> Result<NewKey, ServeError> {
        if !is_key_name(name) {
            return Err(ServeError::Setting {
                key: "name",
                value: format!("'{name}'"),
                reason: "letters, digits, `_`, `-`, `.` and `@` are possible, at most 100 of them".into(),
            });
        }
        let mut bytes = [0u8; 32];
        SysRng.try_fill_bytes(&mut bytes).map_err(|error| ServeError::Random { detail: error.to_string() })?;
        let key = format!("iq_{}", hex(&bytes));
        let line = format!("{role} {name} {}", hex(&Sha256::digest(key.as_bytes())));
        Ok(NewKey { key, line })
    }
}

/// Whose key it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub role: Role,
    /// Their place in the key file.
    pub index: u32,
}

struct Entry {
    role: Role,
    name: String,
    hash: [u8; 32],
    bucket: Mutex<Bucket>,
}

/// Requests a key has left; filled up with time.
struct Bucket {
    left: f64,
    filled: Instant,
}

/// The keys of a server.
pub struct Keys {
    entries: Vec<Entry>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("n_keys", &self.entries.len()).finish()
    }
}

impl Keys {
    /// Reads a key file: `ROLE NAME SHA256` a line; blank lines and those with `#` are passed over.
    ///
    /// # Errors
    /// [`ServeError::File`], [`ServeError::KeyLine`], [`ServeError::NoKeys`].
    pub fn read(path: &Path) -> Result<Keys, ServeError> {
        let text = std::fs::read_to_string(path).map_err(|source| ServeError::File {
            path: path.to_owned(),
            action: "read",
            source,
        })?;
        let mut entries: Vec<Entry> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| ServeError::KeyLine { path: path.to_owned(), line: index + 1, reason };
            let entry = parse(line).map_err(wrong)?;
            if entries.iter().any(|known| known.hash == entry.hash) {
                return Err(wrong("this key stands in the file twice".into()));
            }
            entries.push(entry);
        }
        if entries.is_empty() { Err(ServeError::NoKeys { path: path.to_owned() }) } else { Ok(Keys { entries }) }
    }

    /// Whose key this is. Every key is compared to its end, so time tells nothing.
    pub fn find(&self, key: &str) -> Option<Caller> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut found = u32::MAX;
        for (index, entry) in self.entries.iter().enumerate() {
            let same: Choice = entry.hash.ct_eq(&hash);
            found.conditional_assign(&(index as u32), same);
        }
        self.entries.get(found as usize).map(|entry| Caller { role: entry.role, index: found })
    }

    /// The name of a caller, for logs.
    pub fn name(&self, caller: Caller) -> &str {
        self.entries.get(caller.index as usize).map_or("", |entry| entry.name.as_str())
    }

    /// Takes one request from a caller's allowance; false when it is used up.
    pub fn take(&self, caller: Caller, per_second: u32, now: Instant) -> bool {
        let Some(entry) = self.entries.get(caller.index as usize) else { return false };
        let mut bucket = entry.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = f64::from(per_second);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.left = (bucket.left + passed * rate).min(rate);
        bucket.filled = now;
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

fn parse(line: &str) -> Result<Entry, String> {
    let mut words = line.split_whitespace();
    let (Some(role), Some(name), Some(hash), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("three words are needed: role, name, sha256".into());
    };
    let role = role.parse()?;
    if !is_key_name(name) {
        return Err("the name holds characters that are not possible".into());
    }
    let hash = unhex(hash).ok_or("the third word is no sha256 in 64 hex digits")?;
    // The first request fills the bucket: infinity is capped to the rate.
    let bucket = Mutex::new(Bucket { left: f64::INFINITY, filled: Instant::now() });
    Ok(Entry { role, name: name.to_owned(), hash, bucket })
}

fn is_key_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@');
    (1..=100).contains(&name.len()) && name.bytes().all(plain)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut hash = [0u8; 32];
    if bytes.len() != 64 {
        return None;
    }
    for (at, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
        *at = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn file(text: &str) -> Result<Keys, ServeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, text).unwrap();
        Keys::read(&path)
    }

    #[test]
    fn a_key_is_known_by_its_hash_alone() {
        let made = NewKey::make("shop", Role::Read).unwrap();
        let other = NewKey::make("boss", Role::Admin).unwrap();
        assert!(made.key.starts_with("iq_") && made.key.len() == 67 && !made.line.contains(&made.key));
        assert_ne!(made.key, other.key);
        let keys = file(&format!("# keys\n\n{}\n{}\n", made.line, other.line)).unwrap();
        assert_eq!(keys.find(&made.key).unwrap(), Caller { role: Role::Read, index: 0 });
        assert_eq!(keys.find(&other.key).unwrap().role, Role::Admin);
        assert_eq!(keys.name(keys.find(&other.key).unwrap()), "boss");
        for wrong in ["", "iq_", &made.key[..66], &made.line[10..]] {
            assert_eq!(keys.find(wrong), None);
        }
        assert!(!format!("{made:?}{keys:?}").contains(&made.key[3..]));
    }

    #[test]
    fn a_broken_line_is_told_with_its_number() {
        let good = NewKey::make("a", Role::Score).unwrap().line;
        for bad in ["boss b 00", "score b", "score b 00", "score b x y", &good.replace("score", "scores"), &good] {
            let error = file(&format!("{good}\n{bad}\n")).unwrap_err();
            assert!(matches!(error, ServeError::KeyLine { line: 2, .. }), "{bad}: {error}");
        }
        assert!(matches!(file("# nothing\n").unwrap_err(), ServeError::NoKeys { .. }));
        assert!(NewKey::make("a b", Role::Score).is_err());
    }

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let made = NewKey::make("a", Role::Score).unwrap();
        let keys = file(&made.line).unwrap();
        let caller = keys.find(&made.key).unwrap();
        let now = Instant::now();
        assert!(keys.take(caller, 2, now) && keys.take(caller, 2, now) && !keys.take(caller, 2, now));
        assert!(keys.take(caller, 2, now + Duration::from_millis(600)));
        assert!(!keys.take(caller, 2, now + Duration::from_millis(600)));
    }
}
