//! Files over HTTP: whole, in parts, or not at all because the client has them already (RFC 9110). What may be read by whom is
//! decided before.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use kinora_protocol::ErrorCode;

use super::problem::Refusal;
use super::ranges::{self, Asked};
use super::reading::{self, Served};
use crate::app::metrics::Flow;
use crate::{Hub, off_thread};

/// Between parts; no media has this line, and if it had, lengths are given.
const BOUNDARY: &str = "kinora-part-7d1f3c9a0b54";

/// A file as it is offered.
pub(super) struct Offer<'a> {
    /// Where it is.
    pub(super) path: &'a Path,
    /// Which bytes of that file are it; all when absent.
    pub(super) within: Option<Range<u64>>,
    /// What stands for its content and for no other: a hash.
    pub(super) tag: &'a str,
    /// Name for people who keep it; what is within another file is of the type that its extension says.
    pub(super) name: &'a str,
    /// It is to be kept, not shown.
    pub(super) keep: bool,
}

/// Answers a GET or HEAD.
pub(super) async fn serve(
    hub: &Hub,
    offer: Offer<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let gone = |error: std::io::Error| {
        let why = format!("{}: {error}", offer.name);
        Refusal::new(StatusCode::GONE, ErrorCode::Disk, why)
    };
    let (vault, path) = (hub.vault().clone(), offer.path.to_owned());
    let file = off_thread(move || vault.read(&path)).await.map_err(gone)?;
    let file = Arc::new(Served { file, sent: hub.metrics().bytes(Flow::Served) });
    let place = offer.within.clone().unwrap_or(0..file.file.length());
    let (size, modified) =
        (place.end.min(file.file.length()).saturating_sub(place.start), file.file.modified());
    let kind = kind(if offer.within.is_some() { Path::new(offer.name) } else { offer.path });
    let tag = format!("\"{}\"", offer.tag);
    let mut answer = match condition(headers, &tag, modified) {
        Some(status) => status.into_response(),
        None => {
            let asked = match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
                Some(range) if in_range(headers, &tag, modified) => ranges::asked(range, size),
                _ => Asked::Whole,
            };
            let head_only = method == Method::HEAD;
            match asked {
                Asked::Nothing => {
                    let mut answer = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                    set(answer.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
                    answer
                }
                Asked::Whole => {
                    let body = part(file, place.start..place.start + size, head_only);
                    one(StatusCode::OK, kind, size, body)
                }
                Asked::Parts(ranges) => match ranges.as_slice() {
                    [range] => {
                        let length = range.end - range.start;
                        let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                        let bytes = place.start + range.start..place.start + range.end;
                        let body = part(file, bytes, head_only);
                        let mut answer = one(StatusCode::PARTIAL_CONTENT, kind, length, body);
                        set(answer.headers_mut(), header::CONTENT_RANGE, &said);
                        answer
                    }
                    _ => several((file, place.start), ranges, size, kind, head_only),
                },
            }
        }
    };
    describe(answer.headers_mut(), &offer, &tag, modified);
    Ok(answer)
}

/// Headers that every answer about the file has.
fn describe(headers: &mut HeaderMap, offer: &Offer<'_>, tag: &str, modified: Option<SystemTime>) {
    set(headers, header::ETAG, tag);
    set(headers, header::ACCEPT_RANGES, "bytes");
    if let Some(modified) = modified {
        set(headers, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    }
    set(headers, header::CONTENT_DISPOSITION, &disposition(offer.name, offer.keep));
    set(headers, header::CACHE_CONTROL, "private, max-age=31536000, immutable");
    // What people bring is shown as what it is said to be, and runs nothing.
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(
        headers,
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'",
    );
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn one(status: StatusCode, kind: &'static str, length: u64, body: Body) -> Response {
    let mut answer = (status, body).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn part(file: Arc<Served>, range: Range<u64>, head_only: bool) -> Body {
    if head_only { Body::empty() } else { Body::from_stream(reading::pieces(file, range)) }
}

/// Several ranges in one answer, each with a head of its own. They count from a place in the file.
fn several(
    (file, start): (Arc<Served>, u64),
    ranges: Vec<Range<u64>>,
    size: u64,
    kind: &str,
    head_only: bool,
) -> Response {
    let head = |range: &Range<u64>| {
        let (first, last) = (range.start, range.end - 1);
        format!(
            "\r\n--{BOUNDARY}\r\ncontent-type: {kind}\r\ncontent-range: bytes {first}-{last}/{size}\r\n\r\n"
        )
    };
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let of_parts: u64 = ranges.iter().map(|r| head(r).len() as u64 + r.end - r.start).sum();
    let body = if head_only {
        Body::empty()
    } else {
        let heads: Vec<String> = ranges.iter().map(head).collect();
        let places = ranges.into_iter().map(|range| start + range.start..start + range.end);
        Body::from_stream(in_turn(file, heads.into_iter().zip(places).collect(), end.clone()))
    };
    let mut answer = (StatusCode::PARTIAL_CONTENT, body).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (of_parts + end.len() as u64).into());
    set(headers, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={BOUNDARY}"));
    answer
}

fn in_turn(
    file: Arc<Served>,
    parts: Vec<(String, Range<u64>)>,
    end: String,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let pieces = stream::iter(parts).map(move |(head, range)| {
        stream::iter([Ok(Bytes::from(head))]).chain(reading::pieces(Arc::clone(&file), range))
    });
    pieces.flatten().chain(stream::iter([Ok(Bytes::from(end))]))
}

/// Whether the answer is a status only, by what the client has (RFC 9110, section 13.2.2).
fn condition(headers: &HeaderMap, tag: &str, modified: Option<SystemTime>) -> Option<StatusCode> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |name: HeaderName| text(name).and_then(|value| httpdate::parse_http_date(value).ok());
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let changed_after = |time: SystemTime| modified.is_none_or(|m| seconds(m) > seconds(time));
    let names = |list: &str, weak: bool| {
        let same = |one: &str| {
            let one = one.trim();
            one == "*" || one == tag || (weak && one.strip_prefix("W/") == Some(tag))
        };
        list.split(',').any(same)
    };
    match (text(header::IF_MATCH), date(header::IF_UNMODIFIED_SINCE)) {
        (Some(list), _) if !names(list, false) => return Some(StatusCode::PRECONDITION_FAILED),
        (None, Some(time)) if changed_after(time) => return Some(StatusCode::PRECONDITION_FAILED),
        _ => {}
    }
    match (text(header::IF_NONE_MATCH), date(header::IF_MODIFIED_SINCE)) {
        (Some(list), _) if names(list, true) => Some(StatusCode::NOT_MODIFIED),
        (None, Some(time)) if !changed_after(time) => Some(StatusCode::NOT_MODIFIED),
        _ => None,
    }
}

/// Whether `If-Range` lets a range be answered: the client has a part of this very content.
fn in_range(headers: &HeaderMap, tag: &str, modified: Option<SystemTime>) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    text == tag || modified.is_some_and(|modified| text == httpdate::fmt_http_date(modified))
}

/// The media type by the extension, which was chosen when the file was made or taken in.
fn kind(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "mp4" | "m4v" => "video/mp4",
        "mov" => "video/quicktime",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "ts" | "m2ts" => "video/mp2t",
        "avi" => "video/x-msvideo",
        "mpg" | "mpeg" => "video/mpeg",
        "ogv" => "video/ogg",
        "flv" => "video/x-flv",
        "wmv" => "video/x-ms-wmv",
        "mxf" => "application/mxf",
        "m4a" => "audio/mp4",
        "mp3" => "audio/mpeg",
        "aac" => "audio/aac",
        "ogg" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "mka" => "audio/x-matroska",
        "wav" => "audio/wav",
        "m4s" => "video/iso.segment",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "vtt" => "text/vtt",
        "tar" => "application/x-tar",
        _ => "application/octet-stream",
    }
}

/// RFC 6266: the name in plain letters for old clients, and as it is.
fn disposition(name: &str, keep: bool) -> String {
    let how = if keep { "attachment" } else { "inline" };
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    let mut exact = String::new();
    for byte in name.bytes() {
        // RFC 8187, attr-char.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_cannot_break_a_header() {
        assert_eq!(
            disposition("a b.mp4", true),
            "attachment; filename=\"a b.mp4\"; filename*=UTF-8''a%20b.mp4"
        );
        let odd = disposition("Grüße\"\\\r\n;x%.mp4", false);
        assert_eq!(
            odd,
            "inline; filename=\"Gr__e____;x_.mp4\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%22%5C%0D%0A%3Bx%25.mp4"
        );
        assert!(HeaderValue::from_str(&odd).is_ok());
    }

    #[test]
    fn conditions_in_their_order() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let date =
            |seconds: u64| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let status = |pairs: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(name.clone(), HeaderValue::from_str(value).expect("a header"));
            }
            condition(&headers, "\"t\"", Some(modified)).map(|status| status.as_u16())
        };
        assert_eq!(status(&[]), None);
        assert_eq!(status(&[(header::IF_NONE_MATCH, "\"x\", W/\"t\"")]), Some(304));
        assert_eq!(status(&[(header::IF_NONE_MATCH, "\"x\"")]), None);
        assert_eq!(
            status(&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_MODIFIED_SINCE, &date(2_000_000))]),
            None
        );
        assert_eq!(status(&[(header::IF_MODIFIED_SINCE, &date(1_000_000))]), Some(304));
        assert_eq!(status(&[(header::IF_MODIFIED_SINCE, &date(999_999))]), None);
        assert_eq!(status(&[(header::IF_MATCH, "\"x\"")]), Some(412));
        assert_eq!(status(&[(header::IF_MATCH, "*")]), None);
        assert_eq!(status(&[(header::IF_MATCH, "W/\"t\"")]), Some(412), "a weak tag proves nothing");
        assert_eq!(status(&[(header::IF_UNMODIFIED_SINCE, &date(999_999))]), Some(412));
        let if_range = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_RANGE, HeaderValue::from_str(value).expect("a header"));
            in_range(&headers, "\"t\"", Some(modified))
        };
        assert!(if_range("\"t\"") && if_range(&date(1_000_000)));
        assert!(!if_range("W/\"t\"") && !if_range(&date(999_999)) && !if_range("nonsense"));
    }
}
