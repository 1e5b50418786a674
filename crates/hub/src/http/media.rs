//! Media.

use axum::Json;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use kinora_protocol::ErrorCode;
use kinora_protocol::api::{MediaView, Page};

use super::problem::Refusal;
use crate::Hub;

pub(super) async fn list(State(hub): State<Hub>) -> Result<Json<Page<MediaView>>, Refusal> {
    Ok(Json(Page { items: hub.media_views().await?, next: None }))
}

/// The first file of a form.
pub(super) async fn upload(
    State(hub): State<Hub>,
    mut form: Multipart,
) -> Result<(StatusCode, Json<MediaView>), Refusal> {
    let bad = |why: String| Refusal::new(StatusCode::BAD_REQUEST, ErrorCode::BadInput, why);
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.body_text()))? {
        let Some(name) = field.file_name().map(str::to_owned) else { continue };
        let pieces = field.map(|piece| piece.map_err(|e| e.body_text()));
        let media = hub.take_media(&name, Box::pin(pieces)).await?;
        return Ok((StatusCode::CREATED, Json(media)));
    }
    Err(bad("the form holds no file".to_owned()))
}
