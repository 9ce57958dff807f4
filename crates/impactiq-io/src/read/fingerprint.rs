//! What a source held: a checksum of its bytes, to notice that a file changed.
//!
//! Per file: SHA-256 of each 8 MiB part, then SHA-256 over the file's length and the parts'
//! digests in order. The source's fingerprint is SHA-256 over its files' digests in
//! order. Parts are hashed in parallel; names and folders don't count.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::error::IoError;
use crate::read::source::{DataFile, Source, resolve};

const PART_BYTES: u64 = 8 << 20;

/// The fingerprint of a source's files as 64 hexadecimal digits.
///
/// It depends on every byte of every file and on their order, and on nothing else.
///
/// # Errors
/// [`IoError::NoFiles`], [`IoError::Open`], [`IoError::Read`].
pub fn fingerprint(source: &Source) -> Result<String, IoError> {
    of_files(&resolve(&source.paths)?)
}

pub(crate) fn of_files(files: &[DataFile]) -> Result<String, IoError> {
    let mut all = Sha256::new();
    for file in files {
        let failed = |e| IoError::read(&file.path, e);
        let n_bytes = std::fs::metadata(&file.path).map_err(failed)?.len();
        let parts = (0..n_bytes.div_ceil(PART_BYTES))
            .into_par_iter()
            .map(|part| {
                let mut opened = File::open(&file.path)?;
                opened.seek(SeekFrom::Start(part * PART_BYTES))?;
                let mut bytes = Vec::new();
                opened.take(PART_BYTES).read_to_end(&mut bytes)?;
                Ok(Sha256::digest(&bytes))
            })
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(failed)?;
        let mut whole = Sha256::new();
        whole.update(n_bytes.to_le_bytes());
        parts.iter().for_each(|digest| whole.update(digest));
        all.update(whole.finalize());
    }
    Ok(hex(&all.finalize()))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_follows_the_bytes_not_the_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Source { paths: vec![path.to_string_lossy().into_owned()], ..Source::default() }
        };
        let a = fingerprint(&write("a.csv", "x\n1\n")).unwrap();
        assert_eq!(a.len(), 64);
        assert_eq!(a, fingerprint(&write("b.csv", "x\n1\n")).unwrap());
        assert_ne!(a, fingerprint(&write("c.csv", "x\n2\n")).unwrap());
    }
}
