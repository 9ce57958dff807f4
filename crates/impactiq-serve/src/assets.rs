//! The dashboard's files, put into the binary when it is built.
//!
//! A binary that was built without them says so on a page of its own. Nothing is ever read from
//! the disk here, so no address can leave the dashboard's folder.

use std::borrow::Cow;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../dashboard/dist"]
#[allow_missing = true]
struct Dist;

/// A file of the dashboard.
pub(crate) struct Asset {
    pub bytes: Cow<'static, [u8]>,
    pub content_type: &'static str,
    /// True when the name carries a hash of the content: it never changes.
    pub is_hashed: bool,
}

const STUB: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>ImpactIQ</title></head>\
    <body><main><h1>This server was built without its dashboard</h1>\
    <p>It answers all the same: <a href=\"/docs\">the API and its description</a>, <a href=\"/v1/models\">the models</a>, \
    <a href=\"/v1/reports\">their reports</a>.</p>\
    <p>To get the pages: <code>make dashboard &amp;&amp; make build</code></p></main></body></html>\n";

/// A file by its path without the leading slash; the empty path is the page itself.
pub(crate) fn find(path: &str) -> Option<Asset> {
    let name = if path.is_empty() { "index.html" } else { path };
    match Dist::get(name) {
        Some(file) => {
            Some(Asset { content_type: content_type(name), bytes: file.data, is_hashed: name.starts_with("assets/") })
        }
        None if name == "index.html" => {
            Some(Asset { bytes: Cow::Borrowed(STUB.as_bytes()), content_type: content_type(name), is_hashed: false })
        }
        None => None,
    }
}

/// True when the dashboard is in this binary.
pub fn has_dashboard() -> bool {
    Dist::get("index.html").is_some()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "map") => "application/json",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_that_is_built_is_in_the_binary() {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboard/dist/index.html");
        assert_eq!(has_dashboard(), std::path::Path::new(built).is_file());
    }

    #[test]
    fn there_is_always_a_page_and_never_a_file_from_elsewhere() {
        assert!(find("").unwrap().content_type.starts_with("text/html"));
        for path in ["../Cargo.toml", "/etc/passwd", "assets/../../Cargo.toml", "..%2fCargo.toml", "assets/", "no"] {
            assert!(find(path).is_none(), "{path}");
        }
    }
}
