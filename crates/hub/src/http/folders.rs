//! Folders that are watched, and what became of their files.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use kinora_protocol::api::Page;
use kinora_protocol::folder::{FolderFile, FolderVerb, FolderView, NewFolder};
use kinora_protocol::{ErrorCode, FolderId};

use super::asked;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

fn unknown(folder: &str) -> Refusal {
    Refusal::not_found(format!("folder {folder:?}"))
}

fn id(text: &str) -> Result<FolderId, Refusal> {
    text.parse().map_err(|_| unknown(text))
}

/// Watches a folder: each file that comes into it becomes a job.
#[utoipa::path(
    post,
    path = "/api/v1/folders",
    operation_id = "newFolder",
    tag = "folders",
    request_body = NewFolder,
    responses((status = 201, description = "It is watched from now on", body = FolderView), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<FolderView>), Refusal> {
    let wanted: NewFolder = asked::json(&body, "the folder", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.new_folder(caller.actor.owner(), wanted).await??)))
}

/// All folders that are watched, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/folders",
    operation_id = "listFolders",
    tag = "folders",
    responses((status = 200, description = "As asked", body = Page<FolderView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Page<FolderView>>, Refusal> {
    Ok(Json(Page { items: hub.folder_views(&caller.actor.sight()).await?, next: None }))
}

/// A folder that is watched.
#[utoipa::path(
    get,
    path = "/api/v1/folders/{folder}",
    operation_id = "showFolder",
    tag = "folders",
    params(("folder" = String, Path, description = "Id of the folder")),
    responses((status = 200, description = "As asked", body = FolderView), Refusal),
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Path(folder): Path<String>,
) -> Result<Json<FolderView>, Refusal> {
    Ok(Json(hub.folder_view(id(&folder)?).await?.ok_or_else(|| unknown(&folder))?))
}

/// Watches it no more. Its files stay as they are.
#[utoipa::path(
    delete,
    path = "/api/v1/folders/{folder}",
    operation_id = "deleteFolder",
    tag = "folders",
    params(("folder" = String, Path, description = "Id of the folder")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn delete(
    State(hub): State<Hub>,
    Path(folder): Path<String>,
) -> Result<StatusCode, Refusal> {
    if hub.delete_folder(id(&folder)?).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&folder)) }
}

/// Lets files be taken up again, or not any more, or tries again what failed.
#[utoipa::path(
    post,
    path = "/api/v1/folders/{folder}/{verb}",
    operation_id = "actOnFolder",
    tag = "folders",
    params(("folder" = String, Path, description = "Id of the folder"), ("verb" = FolderVerb, Path, description = "What to do")),
    responses((status = 200, description = "As asked", body = FolderView), Refusal),
)]
pub(super) async fn act(
    State(hub): State<Hub>,
    Path((folder, verb)): Path<(String, String)>,
) -> Result<Json<FolderView>, Refusal> {
    let one = id(&folder)?;
    let verb = FolderVerb::ALL.into_iter().find(|known| known.name() == verb);
    let Some(verb) = verb else { return Err(Refusal::not_found("such a thing to do with a folder")) };
    let there = match verb {
        FolderVerb::Enable => hub.enable_folder(one, true).await?,
        FolderVerb::Disable => hub.enable_folder(one, false).await?,
        FolderVerb::Retry => hub.retry_folder(one).await?,
    };
    let view = hub.folder_view(one).await?.filter(|_| there);
    Ok(Json(view.ok_or_else(|| unknown(&folder))?))
}

/// Files that were taken up, those that changed last first: 500 at the most.
#[utoipa::path(
    get,
    path = "/api/v1/folders/{folder}/files",
    operation_id = "listFolderFiles",
    tag = "folders",
    params(("folder" = String, Path, description = "Id of the folder")),
    responses((status = 200, description = "As asked", body = Page<FolderFile>), Refusal),
)]
pub(super) async fn files(
    State(hub): State<Hub>,
    Path(folder): Path<String>,
) -> Result<Json<Page<FolderFile>>, Refusal> {
    let items = hub.folder_files(id(&folder)?).await?.ok_or_else(|| unknown(&folder))?;
    Ok(Json(Page { items, next: None }))
}
