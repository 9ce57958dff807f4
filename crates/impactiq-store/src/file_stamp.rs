//! By what a file is known to be the same without reading it.
//!
//! What a change means is the business of whoever asks.

use std::path::Path;
use std::time::SystemTime;

/// Size, time of change and number of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    bytes: u64,
    modified: SystemTime,
    inode: u64,
}

impl FileStamp {
    /// As the file is now; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(FileStamp { bytes: file.len(), modified: file.modified().ok()?, inode: inode(&file) })
    }
}

/// A file that was put in place of another has a number of its own: the clock of a file system moves in
/// steps of some milliseconds, in which two files of one size look alike.
#[cfg(unix)]
fn inode(file: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_took_anothers_place_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, "one").unwrap();
        let before = FileStamp::of(&path);
        assert_eq!(FileStamp::of(&path), before);
        std::fs::write(&new, "two").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(before.is_some() && FileStamp::of(&path) != before);
        assert_eq!(FileStamp::of(&new), None);
    }
}
