//! Public data sets by name: where they lie, under which licence, and how to know them.
//!
//! Nothing is fetched unless asked for. A download goes to a `.part` file first, continues
//! where an earlier one broke off, and gets its name only when its SHA-256 is right.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use impactiq_data::Watch;
use impactiq_data::error::closest_name;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::IoError;
use crate::read::fingerprint::hex;
use crate::write::sync_folder;

/// A public data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PublicDataset {
    /// The name to ask for.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The file it becomes.
    pub file: &'static str,
    /// Addresses, tried in order; all give the same bytes.
    pub urls: &'static [&'static str],
    /// SHA-256 of the file; `None` where no checksum is known.
    pub sha256: Option<&'static str>,
    /// Length in bytes, where known.
    pub n_bytes: Option<u64>,
    /// Rows.
    pub n_rows: u64,
    /// Licence or terms, as published.
    pub licence: &'static str,
    /// Which column plays which part.
    pub roles: &'static str,
}

/// Every data set that is known by name.
pub const DATASETS: &[PublicDataset] = &[
    PublicDataset {
        name: "hillstrom",
        title: "MineThatData e-mail challenge (Hillstrom, 2008): three arms, 64,000 customers",
        file: "hillstrom.csv",
        urls: &[
            "http://www.minethatdata.com/Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv",
            "https://raw.githubusercontent.com/turnaround0/UpliftModeling/d56c815e1efd4f982cf4b039f046ecfa7c03a2d5/input/Hillstrom.csv",
        ],
        sha256: Some("0e5893329d8b93cefecc571777672028290ab69865718020c78c7284f291aece"),
        n_bytes: Some(3_964_977),
        n_rows: 64_000,
        licence: "published for an open challenge, no explicit licence",
        roles: "treatment segment (control 'No E-Mail'); outcomes visit, conversion, spend",
    },
    PublicDataset {
        name: "criteo",
        title: "Criteo uplift v2.1 (Diemert et al., 2018): advertising incrementality, 14 million users",
        file: "criteo.csv.gz",
        urls: &[
            "https://huggingface.co/datasets/criteo/criteo-uplift/resolve/main/criteo-research-uplift-v2.1.csv.gz",
            "http://go.criteo.net/criteo-research-uplift-v2.1.csv.gz",
            "https://github.com/jszymon/uplift_sklearn_data/releases/download/Criteo/criteo-research-uplift-v2.1.csv.gz",
        ],
        sha256: Some("2716e1bf0fd157a93b5bf86924d9088419dfbac2022c6cd90030220634f616dc"),
        n_bytes: Some(311_422_618),
        n_rows: 13_979_592,
        licence: "CC BY-NC-SA 4.0",
        roles: "treatment treatment (control 0); outcomes visit, conversion; post_treatment exposure",
    },
    PublicDataset {
        name: "starbucks",
        title: "Starbucks promotion experiment (Udacity take-home): 84,534 customers",
        file: "starbucks.csv",
        urls: &[
            "https://raw.githubusercontent.com/muellermax/Starbucks-promotion-experiment/a9640d775c1ef37e8ef34e9137817e967ed4156d/Starbucks/training.csv",
        ],
        sha256: None,
        n_bytes: None,
        n_rows: 84_534,
        licence: "course material, no explicit licence",
        roles: "treatment Promotion (control 'No'); outcome purchase; id ID",
    },
    PublicDataset {
        name: "lenta",
        title: "Lenta SMS campaign (grocery, 687,029 customers, 194 columns)",
        file: "lenta.csv.gz",
        urls: &["https://sklift.s3.eu-west-2.amazonaws.com/lenta_dataset.csv.gz"],
        sha256: None,
        n_bytes: None,
        n_rows: 687_029,
        licence: "published for a hackathon, no explicit licence",
        roles: "treatment group (control 'control'); outcome response_att",
    },
    PublicDataset {
        name: "megafon",
        title: "MegaFon uplift competition (telecommunications, synthetic, 600,000 customers)",
        file: "megafon.csv.gz",
        urls: &[
            "https://github.com/jszymon/uplift_sklearn_data/releases/download/Megafon/megafon_dataset.csv.gz",
            "https://sklift.s3.eu-west-2.amazonaws.com/megafon_dataset.csv.gz",
        ],
        sha256: Some("cdcb2d052b90f8eefa75937d5540f114d0748ea231d95e2778dd6760478e4a00"),
        n_bytes: None,
        n_rows: 600_000,
        licence: "published for a competition, no explicit licence",
        roles: "treatment treatment_group (control 'control'); outcome conversion",
    },
];

/// A data set that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// True when a published checksum confirmed it.
    pub verified: bool,
    /// True when it was there already.
    pub was_there: bool,
}

/// A data set by name.
///
/// # Errors
/// [`IoError::UnknownDataset`] with the closest name.
pub fn find_dataset(name: &str) -> Result<&'static PublicDataset, IoError> {
    DATASETS.iter().find(|dataset| dataset.name == name).ok_or_else(|| {
        let available: Vec<String> = DATASETS.iter().map(|dataset| dataset.name.to_owned()).collect();
        let closest = closest_name(name, &available).map(str::to_owned);
        IoError::UnknownDataset { name: name.to_owned(), closest, available }
    })
}

/// Downloads a data set into a folder, which is made if need be.
///
/// A file that is there and has the right checksum is left alone; one that hasn't is
/// replaced only with `overwrite`.
///
/// # Errors
/// [`IoError::UnknownDataset`], [`IoError::Download`] (without a network, too),
/// [`IoError::DownloadChecksum`], [`IoError::Exists`], and what can go wrong with writing.
pub fn fetch_dataset(name: &str, folder: &Path, overwrite: bool, watch: &dyn Watch) -> Result<Fetched, IoError> {
    fetch(find_dataset(name)?, folder, overwrite, watch)
}

fn fetch(dataset: &PublicDataset, folder: &Path, overwrite: bool, watch: &dyn Watch) -> Result<Fetched, IoError> {
    fs::create_dir_all(folder).map_err(|source| IoError::write(folder, source))?;
    let path = folder.join(dataset.file);
    if path.exists() {
        let found = hash_file(&path)?;
        let matches = dataset.sha256.map(|expected| expected == found);
        if matches == Some(true) || (matches.is_none() && !overwrite) {
            return Ok(Fetched { path, sha256: found, verified: matches == Some(true), was_there: true });
        }
        if !overwrite {
            return Err(IoError::Exists { path });
        }
    }
    let part = folder.join(format!("{}.part", dataset.file));
    let mut failure = None;
    for url in dataset.urls {
        match fetch_from(url, dataset, &part, watch) {
            Ok(sha256) => {
                fs::rename(&part, &path).map_err(|source| IoError::write(&path, source))?;
                sync_folder(&path)?;
                return Ok(Fetched { path, sha256, verified: dataset.sha256.is_some(), was_there: false });
            }
            // The next address may serve what this one doesn't.
            Err(error @ (IoError::Download { .. } | IoError::DownloadChecksum { .. })) => {
                failure.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(failure.unwrap_or_else(|| IoError::Download { url: dataset.name.into(), detail: "no address is known".into() }))
}

fn fetch_from(url: &str, dataset: &PublicDataset, part: &Path, watch: &dyn Watch) -> Result<String, IoError> {
    // A connection may break several times in a large file; every attempt must bring more.
    let mut last = None;
    for _ in 0..5 {
        let before = fs::metadata(part).map_or(0, |metadata| metadata.len());
        match download(url, dataset, part, watch) {
            Ok(()) => {
                last = None;
                break;
            }
            Err(error @ IoError::Download { .. }) => {
                let after = fs::metadata(part).map_or(0, |metadata| metadata.len());
                last = Some(error);
                if after <= before {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = last {
        return Err(error);
    }
    let found = hash_file(part)?;
    match dataset.sha256 {
        Some(expected) if expected != found => {
            let _ = fs::remove_file(part);
            Err(IoError::DownloadChecksum { url: url.to_owned(), found, expected: expected.to_owned() })
        }
        _ => Ok(found),
    }
}

/// One attempt: asks for what is missing and appends it.
fn download(url: &str, dataset: &PublicDataset, part: &Path, watch: &dyn Watch) -> Result<(), IoError> {
    let failed = |detail: String| IoError::Download { url: url.to_owned(), detail };
    let mut done = fs::metadata(part).map_or(0, |metadata| metadata.len());
    if dataset.n_bytes.is_some_and(|n_bytes| done >= n_bytes) {
        return Ok(());
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .user_agent(concat!("impactiq/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    // Packed files are wanted as they are, not unpacked on the way.
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if done > 0 {
        request = request.header("Range", format!("bytes={done}-"));
    }
    let response = request.call().map_err(|error| failed(error.to_string()))?;
    let continues = match response.status().as_u16() {
        200 => false,
        206 => true,
        // What is there already is all there is (or of another file: the checksum tells).
        416 if done > 0 => return Ok(()),
        status => return Err(failed(format!("the server answered {status}"))),
    };
    if !continues {
        done = 0;
    }
    let length = response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let total = length.map(|length| done + length);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .append(continues)
        .truncate(!continues)
        .open(part)
        .map_err(|source| IoError::write(part, source))?;
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = body.read(&mut buffer).map_err(|error| failed(error.to_string()))?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).map_err(|source| IoError::write(part, source))?;
        done += n as u64;
        watch.progress("download", done, total.or(dataset.n_bytes).unwrap_or(done));
        if watch.should_stop() {
            return Err(IoError::Interrupted);
        }
    }
    file.sync_all().map_err(|source| IoError::write(part, source))?;
    match total {
        Some(total) if done < total => Err(failed(format!("the connection ended after {done} of {total} bytes"))),
        _ => Ok(()),
    }
}

fn hash_file(path: &Path) -> Result<String, IoError> {
    let failed = |source| IoError::read(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Silent;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// A server that sends at most `limit` bytes per answer, as a shaky connection would.
    fn serve(content: &'static [u8], limit: usize) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/data.csv", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut start = 0;
                let mut range = String::new();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let line = line.unwrap().to_lowercase();
                    if let Some(from) = line.strip_prefix("range: bytes=") {
                        range = from.to_owned();
                        start = from.trim_end_matches('-').parse().unwrap();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                seen.lock().unwrap().push(range);
                let rest = &content[start..];
                let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&rest[..rest.len().min(limit)]);
            }
        });
        (url, ranges)
    }

    fn dataset(urls: Vec<&'static str>, sha256: Option<&'static str>) -> PublicDataset {
        let urls: &'static [&'static str] = Vec::leak(urls);
        PublicDataset { name: "test", file: "test.csv", urls, sha256, n_bytes: None, ..DATASETS[0] }
    }

    const CONTENT: &[u8] = b"a,b\n1,2\n3,4\n";

    fn sha() -> &'static str {
        String::leak(hex(&Sha256::digest(CONTENT)))
    }

    #[test]
    fn a_broken_download_is_continued_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (url, ranges) = serve(CONTENT, 5);
        let set = dataset(vec![String::leak(url)], Some(sha()));
        let fetched = fetch(&set, dir.path(), false, &Silent).unwrap();
        assert_eq!(fs::read(&fetched.path).unwrap(), CONTENT);
        assert!(fetched.verified && !fetched.was_there);
        assert_eq!(*ranges.lock().unwrap(), ["", "5-", "10-"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left");
        assert!(fetch(&set, dir.path(), false, &Silent).unwrap().was_there);
    }

    #[test]
    fn other_bytes_than_published_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (url, _) = serve(b"evil", 100);
        let set = dataset(vec![String::leak(url)], Some(sha()));
        let error = fetch(&set, dir.path(), false, &Silent).unwrap_err();
        assert!(matches!(error, IoError::DownloadChecksum { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_address_helps_when_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let dead: &'static str = String::leak(format!("http://{}/x", gone.local_addr().unwrap()));
        drop(gone);
        let (url, _) = serve(CONTENT, 100);
        let set = dataset(vec![dead, String::leak(url)], Some(sha()));
        assert!(fetch(&set, dir.path(), false, &Silent).unwrap().verified);

        let set = dataset(vec![dead], None);
        let error = fetch(&set, &dir.path().join("other"), false, &Silent).unwrap_err();
        assert!(matches!(error, IoError::Download { .. }));
        assert!(error.hint().unwrap().contains("network"));
    }

    #[test]
    fn names_are_known_or_answered() {
        assert_eq!(find_dataset("hillstrom").unwrap().n_rows, 64_000);
        assert_eq!(find_dataset("hilstrom").unwrap_err().hint().unwrap(), "did you mean 'hillstrom'?");
        for dataset in DATASETS {
            assert!(dataset.sha256.is_none_or(|sha| sha.len() == 64));
            assert!(crate::format_of(Path::new(dataset.file)).is_some());
        }
    }
}
