//! The files that the pages load: in the program, compressed once, kept by browsers until they change.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::model::{hex, sha256};
use crate::web::app::Named;
use crate::web::problem::Problem;

/// One file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

/// The styles of the pages.
pub(crate) const STYLE: &str = include_str!("assets/squelch.css");
/// The sign of Squelch, as SVG.
pub(crate) const ICON: &str = include_str!("assets/icon.svg");

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static ASSETS: [Asset; 4] = [
    Asset { name: "squelch.css", kind: CSS, bytes: STYLE.as_bytes() },
    Asset { name: "squelch.js", kind: JS, bytes: include_bytes!("assets/squelch.js") },
    Asset { name: "htmx.min.js", kind: JS, bytes: include_bytes!("assets/htmx.min.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", bytes: ICON.as_bytes() },
];

/// The compressed files and their tags, in the order of [`ASSETS`].
static PACKED: OnceLock<Vec<(Vec<u8>, String)>> = OnceLock::new();

fn packed() -> &'static [(Vec<u8>, String)] {
    PACKED.get_or_init(|| {
        let tag = |asset: &Asset| format!("\"{}\"", &hex(&sha256(asset.bytes))[..16]);
        ASSETS.iter().map(|asset| (gzip(asset.bytes, Compression::best()), tag(asset))).collect()
    })
}

/// `bytes` compressed. Writing to a vector does not fail.
pub(super) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Whether the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let (name, q) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(q.trim(), "q=0" | "q=0.0")
    })
}

/// The parameters of the icon's address.
#[derive(Deserialize)]
struct IconParams {
    /// The count that it shows.
    open: Option<u32>,
}

/// The icon with a count in its corner.
fn badge(count: u32) -> String {
    let count = if count > 99 { "99+".to_owned() } else { count.to_string() };
    let size = [18, 15, 11][count.len().clamp(1, 3) - 1];
    let badge = format!(
        "<circle cx=\"21\" cy=\"11\" r=\"11\" fill=\"#c62828\"/><text x=\"21\" y=\"{}\" font-family=\"sans-serif\" \
         font-weight=\"700\" font-size=\"{size}\" text-anchor=\"middle\" fill=\"#fff\">{count}</text></svg>",
        11 + size * 36 / 100
    );
    ICON.trim_end().replace("</svg>", &badge)
}

/// `GET /assets/{file}`
pub(in crate::web) async fn serve(Named(file): Named, uri: Uri, headers: HeaderMap) -> Response {
    if let ("icon.svg", Ok(IconParams { open: Some(open) })) = (file.as_str(), super::parameters(&uri)) {
        let headers =
            [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "public, max-age=300")];
        return (headers, badge(open)).into_response();
    }
    answer(&file, &headers)
}

/// `GET /favicon.ico`: browsers ask for it by themselves where nothing names an icon, as beside JSON.
pub(in crate::web) async fn icon(headers: HeaderMap) -> Response {
    answer("icon.svg", &headers)
}

fn answer(file: &str, headers: &HeaderMap) -> Response {
    let Some(index) = ASSETS.iter().position(|asset| asset.name == file) else {
        return Problem::new(StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let (asset, (small, tag)) = (&ASSETS[index], &packed()[index]);
    let mut response = if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if takes_gzip(headers) {
        ([(header::CONTENT_ENCODING, "gzip")], small.as_slice()).into_response()
    } else {
        asset.bytes.into_response()
    };
    let headers = response.headers_mut();
    let value = axum::http::HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, value(asset.kind));
    headers.insert(header::CACHE_CONTROL, value("public, max-age=300"));
    headers.insert(header::VARY, value("Accept-Encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, value("nosniff"));
    if let Ok(tag) = tag.parse() {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_page_loads_is_less_than_half_of_what_it_may_be() {
        let bytes: usize = packed().iter().map(|(small, _)| small.len()).sum();
        assert!(
            bytes < 50_000,
            "{bytes} bytes of assets. With the page at most 100 kB are to be transferred"
        );
    }

    #[test]
    fn the_icon_shows_a_count() {
        assert!(badge(3).contains(">3</text></svg>") && badge(3).starts_with("<svg"));
        assert!(badge(1000).contains(">99+</text>"));
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip, deflate, br") && takes("br;q=1.0, gzip;q=0.8"));
        assert!(!takes("gzip;q=0") && !takes("identity") && !takes("notgzip"));
    }
}
