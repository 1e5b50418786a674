//! What is known about media, and the files that belong to it.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kinora_plan::time;
use kinora_protocol::api::{JobView, MetadataView};
use kinora_protocol::describe::{Found, Part, Piece, Sprites};
use kinora_protocol::media::Verdict;
use kinora_protocol::{Digest, ErrorCode};
use kinora_vault::Vault;
use serde::Deserialize;
use utoipa::IntoParams;

use super::media::{id, unknown};
use super::openapi::{Bytes, Waveform};
use super::problem::Refusal;
use crate::Hub;
use crate::app::describe::Finding;
use crate::off_thread;

/// What is known about it.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/metadata",
    operation_id = "showMetadata",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 200, description = "As asked", body = MetadataView), Refusal),
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Path(media): Path<String>,
) -> Result<Json<MetadataView>, Refusal> {
    Ok(Json(hub.metadata_view(&id(&media)?).await?.ok_or_else(|| unknown(&media))?))
}

/// Lets nodes find it out.
#[utoipa::path(
    post,
    path = "/api/v1/media/{media}/metadata",
    operation_id = "describeMedia",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 202, description = "The job that finds it out", body = JobView), Refusal),
)]
pub(super) async fn describe(
    State(hub): State<Hub>,
    Path(media): Path<String>,
) -> Result<(StatusCode, Json<JobView>), Refusal> {
    let job = hub.describe(&id(&media)?).await?.ok_or_else(|| unknown(&media))?;
    let view = hub.job_view(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// Which picture.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// 0 is the poster.
    #[serde(default)]
    n: usize,
}

/// A picture of it.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/thumbnail",
    operation_id = "thumbnail",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), Which),
    responses((status = 200, description = "A picture", body = Bytes, content_type = "image/jpeg"), (status = 304, description = "The client has it"), Refusal),
)]
pub(super) async fn thumbnail(
    State(hub): State<Hub>,
    Path(media): Path<String>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let piece = |found: &Found| match found {
        Found::Thumbnails { pictures } => pictures.get(which.n).map(|picture| picture.file),
        _ => None,
    };
    file(&hub, &id(&media)?, Part::Thumbnails, piece, "image/jpeg", &headers).await
}

/// A sheet of small pictures.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/sprites/{sheet}",
    operation_id = "spriteSheet",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), ("sheet" = String, Path, description = "N.jpg")),
    responses((status = 200, description = "A sheet of small pictures", body = Bytes, content_type = "image/jpeg"), (status = 304, description = "The client has it"), Refusal),
)]
pub(super) async fn sheet(
    State(hub): State<Hub>,
    Path((media, sheet)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number: Option<usize> = sheet.strip_suffix(".jpg").and_then(|number| number.parse().ok());
    let piece = |found: &Found| match found {
        Found::Scenes { sprites, .. } => sprites.sheets.get(number?).copied(),
        _ => None,
    };
    file(&hub, &id(&media)?, Part::Scenes, piece, "image/jpeg", &headers).await
}

/// The waveform of its sound.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/waveform",
    operation_id = "waveform",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 200, description = "In the version 2 of audiowaveform", body = Waveform, content_type = "application/json"), (status = 304, description = "The client has it"), Refusal),
)]
pub(super) async fn waveform(
    State(hub): State<Hub>,
    Path(media): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let piece = |found: &Found| match found {
        Found::Sound { waveform, .. } => Some(*waveform),
        _ => None,
    };
    file(&hub, &id(&media)?, Part::Sound, piece, "application/json", &headers).await
}

/// Which small picture is shown when.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/sprites.vtt",
    operation_id = "spritesVtt",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 200, description = "Which small picture is shown when", body = String, content_type = "text/vtt"), Refusal),
)]
pub(super) async fn vtt(State(hub): State<Hub>, Path(media): Path<String>) -> Result<Response, Refusal> {
    let digest = id(&media)?;
    let view = hub.media_view(&digest).await?.ok_or_else(|| unknown(&media))?;
    let part = hub.finding(&digest, Part::Scenes).await?;
    let Some(Found::Scenes { sprites, .. }) = part.map(|part| part.found) else {
        return Err(not_known(&media, Part::Scenes));
    };
    let end = view.verdict.as_ref().and_then(Verdict::duration_us);
    Ok(([(header::CONTENT_TYPE, "text/vtt; charset=utf-8")], cues(&sprites, end)).into_response())
}

/// One cue for each small picture, with the place of it in its sheet as a media fragment.
fn cues(sprites: &Sprites, end_us: Option<i64>) -> String {
    let mut text = "WEBVTT\n".to_owned();
    let Sprites { tile, grid, times_us, .. } = sprites;
    // They come from a node.
    let across = grid.width.max(1);
    let per_sheet = across.saturating_mul(grid.height.max(1)) as usize;
    let last = times_us.last().copied().unwrap_or(0);
    let end = end_us.unwrap_or(0).max(last + 1_000_000);
    let ends = times_us.iter().skip(1).copied().chain([end]);
    for (number, (start, end)) in times_us.iter().zip(ends).enumerate() {
        let (sheet, place) = (number / per_sheet, (number % per_sheet) as u32);
        let (x, y) = (place % across * tile.width, place / across * tile.height);
        // A first frame that is late is shown from the start.
        let start = if number == 0 { 0 } else { *start };
        let _ = write!(
            text,
            "\n{} --> {}\nsprites/{sheet}.jpg#xywh={x},{y},{},{}\n",
            time::clock(start / 1000),
            time::clock(end / 1000),
            tile.width,
            tile.height
        );
    }
    text
}

fn not_known(media: &str, part: Part) -> Refusal {
    let name = part.name();
    Refusal::new(
        StatusCode::NOT_FOUND,
        ErrorCode::BadInput,
        format!("the {name} of media {media} are not known; see /api/v1/media/{media}/metadata"),
    )
}

/// A file of a part, whole: they are small.
async fn file(
    hub: &Hub,
    media: &Digest,
    part: Part,
    piece: impl Fn(&Found) -> Option<Piece>,
    kind: &'static str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let missing = || not_known(media.as_str(), part);
    if let Some(failure) = hub.barred_media(media).await? {
        return Err(failure.into());
    }
    let found = hub.finding(media, part).await?.ok_or_else(missing)?;
    let Finding { path, piece, digest } = hub.file_of(&found, piece).ok_or_else(missing)?;
    let tag = format!("\"{digest}-{}\"", piece.at);
    let mut answer = if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let bytes = read(hub.vault(), path, piece).await.map_err(|error| {
            Refusal::new(
                StatusCode::GONE,
                ErrorCode::Disk,
                format!("what is known of media {media}: {error}"),
            )
        })?;
        ([(header::CONTENT_TYPE, kind)], Body::from(bytes)).into_response()
    };
    let answered = answer.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answered.insert(header::ETAG, tag);
    }
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    answered.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

async fn read(vault: &Vault, path: PathBuf, piece: Piece) -> std::io::Result<Vec<u8>> {
    let vault = vault.clone();
    off_thread(move || {
        let mut file = vault.read(&path)?.cursor();
        file.seek(SeekFrom::Start(piece.at))?;
        let mut bytes = Vec::new();
        let read = file.take(piece.len).read_to_end(&mut bytes)? as u64;
        if read == piece.len { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
    })
    .await
}

#[cfg(test)]
mod tests {
    use kinora_protocol::describe::Size;

    use super::*;

    #[test]
    fn a_cue_names_its_place_in_its_sheet() {
        let sprites = Sprites {
            tile: Size { width: 160, height: 90 },
            grid: Size { width: 2, height: 1 },
            times_us: vec![40_000, 1_000_000, 3_661_500_000],
            sheets: Vec::new(),
        };
        assert_eq!(
            cues(&sprites, Some(3_662_000_000)),
            "WEBVTT\n\
             \n00:00:00.000 --> 00:00:01.000\nsprites/0.jpg#xywh=0,0,160,90\n\
             \n00:00:01.000 --> 01:01:01.500\nsprites/0.jpg#xywh=160,0,160,90\n\
             \n01:01:01.500 --> 01:01:02.500\nsprites/1.jpg#xywh=0,0,160,90\n"
        );
    }
}
