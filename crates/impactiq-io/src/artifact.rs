//! Model directories: a manifest and plain files, written atomically and read without trust.
//!
//! This file knows bytes and checksums only; what the files mean is the codec's business.
//! `manifest.json` carries `format_version` and, for every other file, its length and
//! SHA-256 under `files`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::error::IoError;
use crate::read::fingerprint::hex;
use crate::write::{folder_of, hidden, sync_folder};

/// The manifest's file.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The format version that is written, and the highest that is read.
pub const FORMAT_VERSION: u64 = 1;

/// A manifest is text about a model; what is larger than this is none.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// A model directory that was opened: its manifest, and the way to its files.
#[derive(Clone, Debug)]
pub struct ModelDirectory {
    path: PathBuf,
    manifest: Value,
    files: Vec<Listed>,
}

/// A file as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    n_bytes: u64,
    sha256: String,
}

impl ModelDirectory {
    /// Writes a model directory, whole or not at all. The same arguments give the same bytes.
    ///
    /// The manifest gets `format_version` and `files`. A directory that exists is replaced
    /// only if `overwrite` is set and it is a model directory or empty.
    ///
    /// # Errors
    /// [`IoError::Exists`], [`IoError::BadFileName`], [`IoError::MissingFolder`],
    /// [`IoError::NotWritable`], [`IoError::DiskFull`], [`IoError::Write`].
    pub fn write(
        path: impl AsRef<Path>,
        manifest: Value,
        files: &[(String, Vec<u8>)],
        overwrite: bool,
    ) -> Result<(), IoError> {
        let path = path.as_ref();
        let replaces = replaceable(path, overwrite)?;
        let text = manifest_text(path, manifest, files)?;
        let folder = folder_of(path)?;
        let new = hidden_folder(&folder).map_err(|source| IoError::write(path, source))?;
        for (name, bytes) in files {
            write_synced(&new.path().join(name), bytes).map_err(|source| IoError::write(path, source))?;
        }
        write_synced(&new.path().join(MANIFEST_FILE), &text).map_err(|source| IoError::write(path, source))?;
        let _ = sync_folder(&new.path().join(MANIFEST_FILE));
        move_into_place(new, path, &folder, replaces)?;
        sync_folder(path)
    }

    /// Opens a model directory: reads the manifest and looks whether every file is there.
    ///
    /// # Errors
    /// [`IoError::NotAModel`], [`IoError::FutureVersion`], [`IoError::Manifest`] for damaged
    /// JSON, duplicate keys and lists that lead outside, [`IoError::ModelFile`],
    /// [`IoError::ModelFileChanged`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoError> {
        let path = path.as_ref();
        let not_a_model = |detail: &str| IoError::NotAModel { path: path.to_owned(), detail: detail.to_owned() };
        if !path.is_dir() {
            return Err(not_a_model(if path.exists() { "it is a file" } else { "it does not exist" }));
        }
        let place = path.join(MANIFEST_FILE);
        let n_bytes = fs::metadata(&place).map_err(|_| not_a_model("it holds no manifest.json"))?.len();
        let damaged = |detail: String| IoError::Manifest { path: place.clone(), detail };
        if n_bytes > MAX_MANIFEST_BYTES {
            return Err(damaged(format!("{n_bytes} bytes are too many")));
        }
        let text = fs::read(&place).map_err(|source| IoError::read(&place, source))?;
        let manifest = parse_strict(&text).map_err(|error| damaged(error.to_string()))?;
        let version = manifest.get("format_version").and_then(Value::as_u64);
        let version = version.ok_or_else(|| damaged("it has no format_version".into()))?;
        if version > FORMAT_VERSION {
            return Err(IoError::FutureVersion { path: path.to_owned(), found: version, supported: FORMAT_VERSION });
        }
        if version == 0 {
            return Err(damaged("format_version 0 never existed".into()));
        }
        let files = listed(&manifest).map_err(damaged)?;
        let directory = ModelDirectory { path: path.to_owned(), manifest, files };
        for file in &directory.files {
            directory.check_length(file)?;
        }
        Ok(directory)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest, with `format_version` and `files`.
    pub fn manifest(&self) -> &Value {
        &self.manifest
    }

    /// Names of the files beside the manifest, sorted.
    pub fn file_names(&self) -> Vec<&str> {
        self.files.iter().map(|file| file.name.as_str()).collect()
    }

    /// A file's bytes, which are those that were saved.
    ///
    /// # Errors
    /// [`IoError::ModelFile`], [`IoError::ModelFileChanged`], [`IoError::Read`].
    pub fn file(&self, name: &str) -> Result<Vec<u8>, IoError> {
        let listed = self
            .files
            .iter()
            .find(|file| file.name == name)
            .ok_or_else(|| IoError::ModelFile { path: self.path.clone(), file: name.to_owned() })?;
        self.check_length(listed)?;
        let place = self.path.join(name);
        let bytes = fs::read(&place).map_err(|source| IoError::read(&place, source))?;
        let found = hex(&Sha256::digest(&bytes));
        if found != listed.sha256 {
            let detail = format!("sha256 {found}, saved with {}", listed.sha256);
            return Err(IoError::ModelFileChanged { path: self.path.clone(), file: name.to_owned(), detail });
        }
        Ok(bytes)
    }

    fn check_length(&self, file: &Listed) -> Result<(), IoError> {
        let missing = || IoError::ModelFile { path: self.path.clone(), file: file.name.clone() };
        let metadata = fs::metadata(self.path.join(&file.name)).map_err(|_| missing())?;
        if !metadata.is_file() {
            return Err(missing());
        }
        if metadata.len() != file.n_bytes {
            let detail = format!("{} bytes, saved with {}", metadata.len(), file.n_bytes);
            return Err(IoError::ModelFileChanged { path: self.path.clone(), file: file.name.clone(), detail });
        }
        Ok(())
    }
}

/// True when something has to be moved out of the way.
fn replaceable(path: &Path, overwrite: bool) -> Result<bool, IoError> {
    let exists = || IoError::Exists { path: path.to_owned() };
    if path.symlink_metadata().is_err() {
        return Ok(false);
    }
    if !overwrite {
        return Err(exists());
    }
    // Whatever is neither a model nor empty may be somebody's work.
    let is_empty = fs::read_dir(path).map_err(|_| exists())?.next().is_none();
    if is_empty || path.join(MANIFEST_FILE).is_file() { Ok(true) } else { Err(exists()) }
}

fn manifest_text(path: &Path, manifest: Value, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, IoError> {
    let mut list = Map::new();
    let mut sorted: Vec<&(String, Vec<u8>)> = files.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, bytes) in sorted {
        if !is_plain_name(name) || list.contains_key(name) {
            return Err(IoError::BadFileName { file: name.clone() });
        }
        list.insert(name.clone(), json!({"n_bytes": bytes.len(), "sha256": hex(&Sha256::digest(bytes))}));
    }
    let Value::Object(fields) = manifest else {
        let detail = "a manifest must be an object".to_owned();
        return Err(IoError::Manifest { path: path.join(MANIFEST_FILE), detail });
    };
    let mut whole = Map::new();
    whole.insert("format_version".into(), FORMAT_VERSION.into());
    whole.extend(fields.into_iter().filter(|(key, _)| key != "format_version" && key != "files"));
    whole.insert("files".into(), Value::Object(list));
    let mut text = serde_json::to_vec_pretty(&Value::Object(whole))
        .map_err(|error| IoError::Manifest { path: path.join(MANIFEST_FILE), detail: error.to_string() })?;
    text.push(b'\n');
    Ok(text)
}

fn hidden_folder(folder: &Path) -> std::io::Result<TempDir> {
    let mut builder = hidden();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(folder)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Renames the new directory to its name. One that is replaced is moved aside first and
/// moved back if the rename fails, so at every moment one of the two is whole.
fn move_into_place(new: TempDir, path: &Path, folder: &Path, replaces: bool) -> Result<(), IoError> {
    let failed = |source| IoError::write(path, source);
    let aside = if replaces {
        let aside = hidden_folder(folder).map_err(failed)?;
        fs::rename(path, aside.path().join("old")).map_err(failed)?;
        Some(aside)
    } else {
        None
    };
    match fs::rename(new.path(), path) {
        Ok(()) => {
            // The name it was made under is gone; nothing is left to clean up there.
            let _ = new.keep();
            Ok(())
        }
        Err(source) => {
            if let Some(aside) = aside
                && fs::rename(aside.path().join("old"), path).is_err()
            {
                // Better a hidden folder left behind than the user's only model deleted.
                let _ = aside.keep();
            }
            Err(if path.exists() && !replaces { IoError::Exists { path: path.to_owned() } } else { failed(source) })
        }
    }
}

/// Letters, digits, `.`, `_`, `-`; no leading dot; not the manifest.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name != MANIFEST_FILE
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn listed(manifest: &Value) -> Result<Vec<Listed>, String> {
    let list = manifest.get("files").and_then(Value::as_object).ok_or("it lists no files")?;
    list.iter()
        .map(|(name, entry)| {
            if !is_plain_name(name) {
                return Err(format!("'{name}' is not a plain file name"));
            }
            let n_bytes = entry.get("n_bytes").and_then(Value::as_u64);
            let sha256 = entry.get("sha256").and_then(Value::as_str);
            match (n_bytes, sha256) {
                (Some(n_bytes), Some(sha256)) if sha256.len() == 64 => {
                    Ok(Listed { name: name.clone(), n_bytes, sha256: sha256.to_lowercase() })
                }
                _ => Err(format!("'{name}' has no length and sha256")),
            }
        })
        .collect()
}

/// JSON in which no key stands twice in an object: with a doubled key two readers could
/// see two different models.
fn parse_strict(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Value, S::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(M::Error::custom(format!("the key '{key}' stands twice")));
            }
            let value = map.next_value_seed(Strict)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<(String, Vec<u8>)> {
        vec![("model.safetensors".into(), vec![1, 2, 3]), ("card.md".into(), b"# card".to_vec())]
    }

    fn written(dir: &Path) -> PathBuf {
        let path = dir.join("model");
        ModelDirectory::write(&path, json!({"id": "a", "nested": {"x": 0.1}}), &files(), false).unwrap();
        path
    }

    fn edit(path: &Path, from: &str, to: &str) {
        let place = path.join(MANIFEST_FILE);
        let text = fs::read_to_string(&place).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(place, text.replacen(from, to, 1)).unwrap();
    }

    #[test]
    fn a_model_directory_comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let opened = ModelDirectory::open(&path).unwrap();
        assert_eq!(opened.manifest()["id"], "a");
        assert_eq!(opened.manifest()["format_version"], 1);
        assert_eq!(opened.file_names(), ["card.md", "model.safetensors"]);
        assert_eq!(opened.file("model.safetensors").unwrap(), [1, 2, 3]);
        assert!(matches!(opened.file("other").unwrap_err(), IoError::ModelFile { .. }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn overwriting_replaces_models_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let write = |path: &Path, overwrite| ModelDirectory::write(path, json!({"id": "b"}), &[], overwrite);
        assert!(matches!(write(&path, false).unwrap_err(), IoError::Exists { .. }));
        write(&path, true).unwrap();
        assert_eq!(ModelDirectory::open(&path).unwrap().manifest()["id"], "b");
        assert!(!path.join("card.md").exists());
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        write(&work, true).unwrap();
        let papers = dir.path().join("papers");
        fs::create_dir(&papers).unwrap();
        fs::write(papers.join("thesis.txt"), "x").unwrap();
        assert!(matches!(write(&papers, true).unwrap_err(), IoError::Exists { .. }));
        assert!(matches!(write(&dir.path().join("no/model"), true).unwrap_err(), IoError::MissingFolder { .. }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn damage_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| ModelDirectory::open(path).unwrap_err();
        assert!(matches!(open(&dir.path().join("none")), IoError::NotAModel { .. }));
        assert!(matches!(open(dir.path()), IoError::NotAModel { .. }));

        let path = written(dir.path());
        edit(&path, "\"format_version\": 1", "\"format_version\": 7");
        let error = open(&path);
        assert!(matches!(error, IoError::FutureVersion { found: 7, .. }));
        assert!(error.hint().unwrap().contains("newer impactiq"));
        edit(&path, "\"format_version\": 7", "\"format_version\": 1");

        edit(&path, "\"card.md\"", "\"../card.md\"");
        assert!(open(&path).to_string().contains("not a plain file name"));
        edit(&path, "\"../card.md\"", "\"card.md\"");

        edit(&path, "\"id\": \"a\"", "\"id\": \"a\", \"id\": \"b\"");
        assert!(open(&path).to_string().contains("the key 'id' stands twice"));
        edit(&path, ", \"id\": \"b\"", "");

        fs::write(path.join("card.md"), "# cart").unwrap();
        let opened = ModelDirectory::open(&path).unwrap();
        assert!(matches!(opened.file("card.md").unwrap_err(), IoError::ModelFileChanged { .. }));
        fs::write(path.join("card.md"), "#").unwrap();
        assert!(matches!(open(&path), IoError::ModelFileChanged { .. }));
        fs::remove_file(path.join("card.md")).unwrap();
        assert!(matches!(open(&path), IoError::ModelFile { .. }));
    }

    #[test]
    fn hostile_manifests_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let text = fs::read(path.join(MANIFEST_FILE)).unwrap();
        for end in 0..text.len() - 1 {
            fs::write(path.join(MANIFEST_FILE), &text[..end]).unwrap();
            assert!(matches!(ModelDirectory::open(&path).unwrap_err(), IoError::Manifest { .. }));
        }
        for byte in 0..text.len() {
            let mut changed = text.clone();
            changed[byte] ^= 0x55;
            fs::write(path.join(MANIFEST_FILE), &changed).unwrap();
            let _ = ModelDirectory::open(&path);
        }
        fs::write(path.join(MANIFEST_FILE), "[".repeat(1_000_000)).unwrap();
        assert!(matches!(ModelDirectory::open(&path).unwrap_err(), IoError::Manifest { .. }));
    }

    #[test]
    fn names_that_leave_the_directory_are_not_written() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../a", "a/b", "", ".hidden", "manifest.json", "a\0b", "ü"] {
            let files = [(name.to_owned(), Vec::new())];
            let error = ModelDirectory::write(dir.path().join("m"), json!({}), &files, false).unwrap_err();
            assert!(matches!(error, IoError::BadFileName { .. }), "{name}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
