//! Uploads by tus 1.0 (<https://tus.io/protocols/resumable-upload>): core, creation, creation-with-upload,
//! creation-defer-length, checksum, termination, expiration and concatenation. What is done with them is decided in
//! `app::uploads`.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use futures_util::StreamExt as _;
use kinora_access::Action;
use kinora_protocol::access::Kind;
use kinora_protocol::api::UploadView;
use kinora_protocol::{ErrorCode, UploadId, routes};
use kinora_store::{Part, UploadRow};

use super::openapi::TusVersion;
use super::problem::Refusal;
use crate::app::access::Caller;
use crate::app::checksum::{ALGORITHMS, Checksum};
use crate::app::uploads::{NewUpload, Unfit};
use crate::{Hub, HubError};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str =
    "creation,creation-with-upload,creation-defer-length,checksum,termination,expiration,concatenation";
/// Longest metadata of an upload.
const LONGEST_METADATA: usize = 4096;

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const DEFER: HeaderName = HeaderName::from_static("upload-defer-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// The media that a finished upload became.
const MEDIA: HeaderName = HeaderName::from_static("x-kinora-media");

/// The bytes of a request are no form and no JSON.
const BYTES: &str = "application/offset+octet-stream";

type Answer = Result<Response, Refusal>;

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, ErrorCode::BadInput, why)
}

pub(super) fn unfit(unfit: Unfit) -> Refusal {
    let refuse = |status, why: String| Refusal::new(status, ErrorCode::BadInput, why);
    match unfit {
        Unfit::Unknown => Refusal::not_found("such upload, or it has expired"),
        Unfit::Offset(at) => refuse(StatusCode::CONFLICT, format!("the upload goes on at byte {at}")),
        Unfit::TooLong(most) => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("no more than {most} bytes are taken"))
        }
        Unfit::NoRoom(why) | Unfit::Quota(why) => {
            Refusal::new(StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Disk, why)
        }
        Unfit::Checksum => {
            let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
            refuse(status, "the bytes are not those of the checksum".to_owned())
        }
        Unfit::Parts(why) => refuse(StatusCode::FORBIDDEN, why),
        Unfit::Empty(why) | Unfit::Broken(why) => refuse(StatusCode::UNPROCESSABLE_ENTITY, why),
        Unfit::Interrupted => {
            Refusal::new(StatusCode::LOCKED, ErrorCode::Busy, "another request goes on with the upload")
        }
        Unfit::Disk(failure) => failure.into(),
    }
}

/// A header as text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| bad(format!("{name} is no plain text")))
}

/// A header as a number of bytes.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Refusal> {
    let parse = |text: &str| text.parse().map_err(|_| bad(format!("{name}: {text:?} is no number of bytes")));
    text(headers, name)?.map(parse).transpose()
}

/// Requests have to be of the version that is spoken here.
fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    if text(headers, &RESUMABLE)? == Some(VERSION) {
        return Ok(());
    }
    let why = format!("Tus-Resumable has to be {VERSION}");
    Err(Refusal::new(StatusCode::PRECONDITION_FAILED, ErrorCode::BadInput, why))
}

fn is_bytes(headers: &HeaderMap) -> Result<bool, Refusal> {
    Ok(text(headers, &header::CONTENT_TYPE)? == Some(BYTES))
}

fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Refusal> {
    let Some(words) = text(headers, &CHECKSUM)? else { return Ok(None) };
    let checksum = words.split_once(' ').and_then(|(algorithm, sum)| Checksum::wanted(algorithm, sum));
    checksum.map(Some).ok_or_else(|| bad(format!("Upload-Checksum: {words:?} is none of {ALGORITHMS}")))
}

/// `key base64,key base64`: the value of one of the keys.
fn said(metadata: &str, keys: &[&str]) -> Option<String> {
    let pairs = metadata.split(',').filter_map(|pair| pair.trim().split_once(' '));
    let value = |key: &&str| pairs.clone().find(|(k, _)| k == key).map(|(_, value)| value);
    let bytes = base64::engine::general_purpose::STANDARD.decode(keys.iter().find_map(value)?).ok()?;
    String::from_utf8(bytes).ok()
}

/// The id at the end of an upload's address, absolute or not.
fn id(address: &str) -> Result<UploadId, Refusal> {
    let last = address.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    last.parse().map_err(|_| Refusal::not_found(format!("upload {last:?}")))
}

fn part(headers: &HeaderMap) -> Result<Part, Refusal> {
    match text(headers, &CONCAT)? {
        None => Ok(Part::Whole),
        Some("partial") => Ok(Part::Partial),
        Some(words) => match words.strip_prefix("final;") {
            Some(parts) => Ok(Part::Joined(parts.split_whitespace().map(id).collect::<Result<_, _>>()?)),
            None => Err(bad(format!("Upload-Concat: {words:?} is neither partial nor final;…"))),
        },
    }
}

/// A time as HTTP has it.
fn http_date(ms: i64) -> Option<HeaderValue> {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).ok()?);
    HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()
}

/// An answer without a body that says how an upload stands.
fn standing(status: StatusCode, row: &UploadRow) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(OFFSET, row.offset.into());
    if row.media.is_none() {
        headers.extend(http_date(row.expires_ms).map(|date| (EXPIRES, date)));
    }
    let media = row.media.as_ref().and_then(|media| HeaderValue::from_str(media.as_str()).ok());
    headers.extend(media.map(|media| (MEDIA, media)));
    response
}

/// Adds what every answer has, also one of somebody who was not let in.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(RESUMABLE, HeaderValue::from_static(VERSION));
}

/// The answer, errors included.
fn resumable(answer: Answer) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    if response.status() == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert("tus-version", HeaderValue::from_static(VERSION));
    }
    response
}

/// What is spoken here.
#[utoipa::path(
    options,
    path = "/api/v1/uploads",
    operation_id = "uploadOptions",
    tag = "media",
    responses((status = 204, description = "Which tus is spoken, by its headers")),
)]
pub(super) async fn options(State(hub): State<Hub>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert("tus-version", HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(ALGORITHMS));
    headers.insert("tus-max-size", hub.longest_upload().into());
    resumable(Ok(response))
}

/// Begins an upload by tus 1.0, with its first bytes where they come along.
#[utoipa::path(
    post,
    path = "/api/v1/uploads",
    operation_id = "createUpload",
    tag = "media",
    params(
        ("tus-resumable" = inline(TusVersion), Header, description = "1.0.0"),
        ("upload-length" = Option<u64>, Header, description = "Bytes that it will have"),
        ("upload-defer-length" = Option<String>, Header, description = "1 when that is not known yet"),
        ("upload-metadata" = Option<String>, Header, description = "As tus has it; filename is the name for people"),
        ("upload-concat" = Option<String>, Header, description = "partial, or final;URL URL …")
    ),
    responses((status = 201, description = "It is begun; Location says where it goes on"), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    resumable(begin(&hub, &caller, &headers, body).await)
}

async fn begin(hub: &Hub, caller: &Caller, headers: &HeaderMap, body: Body) -> Answer {
    check_version(headers)?;
    let part = part(headers)?;
    let length = number(headers, &LENGTH)?;
    let deferred = text(headers, &DEFER)?;
    match (&part, length, deferred) {
        (Part::Joined(_), None, None) | (_, Some(_), None) | (_, None, Some("1")) => {}
        _ => return Err(bad("either Upload-Length, or Upload-Defer-Length: 1")),
    }
    let metadata = text(headers, &METADATA)?.unwrap_or_default().to_owned();
    if metadata.len() > LONGEST_METADATA {
        return Err(bad(format!("Upload-Metadata is longer than {LONGEST_METADATA} bytes")));
    }
    if let Part::Joined(parts) = &part {
        for one in parts {
            hub.may(&caller.actor, Action::Read, (Kind::Upload, &one.to_string())).await??;
        }
    }
    let name = said(&metadata, &["filename", "name"]).unwrap_or_else(|| "upload".to_owned());
    let mut row = hub
        .begin_upload(NewUpload { length, name, metadata, part, owner: caller.actor.owner() })
        .await?
        .map_err(unfit)?;
    if is_bytes(headers)? && !body.is_end_stream() {
        // What arrived of the first bytes is kept; the client asks where to go on.
        match append(hub, row.id, 0, checksum(headers)?, body).await? {
            Ok(grown) => row = grown,
            Err(Unfit::Interrupted) => row = hub.upload(row.id).await?.unwrap_or(row),
            Err(other) => {
                hub.drop_upload(row.id).await?;
                return Err(unfit(other));
            }
        }
    }
    let mut response = standing(StatusCode::CREATED, &row);
    let place = HeaderValue::from_str(&routes::upload(row.id)).map_err(|e| bad(e.to_string()))?;
    response.headers_mut().insert(header::LOCATION, place);
    Ok(response)
}

/// In a task of its own: what arrived is kept also when the connection, and with it the request, is gone.
async fn append(
    hub: &Hub,
    upload: UploadId,
    offset: u64,
    checksum: Option<Checksum>,
    body: Body,
) -> crate::Result<Result<UploadRow, Unfit>> {
    let hub = hub.clone();
    let work = tokio::spawn(async move {
        let pieces = body.into_data_stream().map(|piece| piece.map_err(|e| e.to_string()));
        hub.append(upload, offset, checksum, Box::pin(pieces)).await
    });
    work.await.unwrap_or_else(|broken| {
        Err(HubError::Inconsistent(format!("the work on an upload broke off ({broken})")))
    })
}

/// HEAD, PATCH, DELETE, and POST that stands for one of them; GET shows it as JSON.
pub(super) async fn one(
    State(hub): State<Hub>,
    Path(upload): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    resumable(answer(&hub, &upload, &method, &headers, body).await)
}

async fn answer(hub: &Hub, upload: &str, method: &Method, headers: &HeaderMap, body: Body) -> Answer {
    let upload = id(upload)?;
    let meant = text(headers, &OVERRIDE)?.filter(|_| method == Method::POST).unwrap_or(method.as_str());
    if meant == "GET" {
        let row = hub.upload(upload).await?.ok_or(Unfit::Unknown).map_err(unfit)?;
        return Ok(Json(view(row)).into_response());
    }
    check_version(headers)?;
    match meant {
        "HEAD" => {
            let row = hub.settled_upload(upload).await?.ok_or(Unfit::Unknown).map_err(unfit)?;
            Ok(head(&row))
        }
        "PATCH" => patch(hub, upload, headers, body).await,
        "DELETE" => match hub.drop_upload(upload).await? {
            true => Ok(StatusCode::NO_CONTENT.into_response()),
            false => Err(unfit(Unfit::Unknown)),
        },
        other => {
            let why = format!("an upload does not take {other}");
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadInput, why))
        }
    }
}

fn head(row: &UploadRow) -> Response {
    let mut response = standing(StatusCode::OK, row);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match row.length {
        Some(length) => headers.insert(LENGTH, length.into()),
        None => headers.insert(DEFER, HeaderValue::from_static("1")),
    };
    if let (false, Ok(metadata)) = (row.metadata.is_empty(), HeaderValue::from_str(&row.metadata)) {
        headers.insert(METADATA, metadata);
    }
    let concat = match &row.part {
        Part::Whole => None,
        Part::Partial => Some("partial".to_owned()),
        Part::Joined(parts) => {
            let places: Vec<String> = parts.iter().map(|part| routes::upload(*part)).collect();
            Some(format!("final;{}", places.join(" ")))
        }
    };
    headers.extend(concat.and_then(|c| HeaderValue::from_str(&c).ok()).map(|c| (CONCAT, c)));
    response
}

async fn patch(hub: &Hub, upload: UploadId, headers: &HeaderMap, body: Body) -> Answer {
    if !is_bytes(headers)? {
        let why = format!("the Content-Type has to be {BYTES}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadInput, why));
    }
    let offset = number(headers, &OFFSET)?.ok_or_else(|| bad("Upload-Offset is missing"))?;
    let checksum = checksum(headers)?;
    if let Some(length) = number(headers, &LENGTH)? {
        hub.set_upload_length(upload, length).await?.map_err(unfit)?;
    }
    let row = append(hub, upload, offset, checksum, body).await?.map_err(unfit)?;
    Ok(standing(StatusCode::NO_CONTENT, &row))
}

fn view(row: UploadRow) -> UploadView {
    let UploadRow { id, name, length, offset, media, created_ms, expires_ms, .. } = row;
    UploadView { id, name, length, offset, media, created_ms, expires_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read() {
        let metadata = "is_private,filename aG9saWRheS5tb3Y=,type dmlkZW8=";
        assert_eq!(said(metadata, &["filename", "name"]).as_deref(), Some("holiday.mov"));
        assert_eq!(said("name eA==", &["filename", "name"]).as_deref(), Some("x"));
        for odd in ["", "filename", "filename !!", "filename /w=="] {
            assert_eq!(said(odd, &["filename"]), None, "{odd}");
        }
    }
}
