//! Forms of other systems: one file, and what is said beside it.

use std::collections::BTreeMap;

use axum::extract::Multipart;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use kinora_access::{Action, Resource, authorize};
use kinora_protocol::ErrorCode;
use kinora_protocol::access::Area;
use kinora_protocol::api::MediaView;

use super::super::media::unfit;
use super::super::problem::Refusal;
use crate::Hub;
use crate::app::access::{Caller, denied};

/// Longest value beside the file.
const LONGEST_VALUE: usize = 64 << 10;
/// Values beside the file.
const MOST_VALUES: usize = 100;

/// What came with a form.
pub(super) struct Form {
    /// The file.
    pub(super) media: MediaView,
    /// Everything else, in its order.
    pub(super) values: BTreeMap<String, Vec<String>>,
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, ErrorCode::BadInput, why)
}

/// Takes the file of a form in.
pub(super) async fn take(
    hub: &Hub,
    caller: &Caller,
    headers: &HeaderMap,
    mut form: Multipart,
) -> Result<Form, Refusal> {
    let verdict = authorize(&caller.actor, Action::Create, Resource::Area(Area::Media));
    verdict.map_err(|denial| denied(denial, "such thing"))?;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let (mut media, mut values) = (None, BTreeMap::<String, Vec<String>>::new());
    let mut count = 0;
    while let Some(mut field) = form.next_field().await.map_err(|e| bad(e.body_text()))? {
        if let Some(name) = field.file_name().map(str::to_owned) {
            if media.is_some() {
                return Err(bad("the form holds more than one file"));
            }
            let pieces = field.map(|piece| piece.map_err(|e| e.body_text()));
            let owner = caller.actor.owner();
            media = Some(hub.take_media(owner, &name, announced, Box::pin(pieces)).await.map_err(unfit)?);
            continue;
        }
        let name = field.name().unwrap_or_default().to_owned();
        let mut value = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|e| bad(e.body_text()))? {
            value.extend_from_slice(&piece);
            if value.len() > LONGEST_VALUE {
                return Err(bad(format!("{name} is too long")));
            }
        }
        count += 1;
        if count > MOST_VALUES {
            return Err(bad("the form holds too many values"));
        }
        let value = String::from_utf8(value).map_err(|_| bad(format!("{name} is no text")))?;
        values.entry(name).or_default().push(value);
    }
    let media = media.ok_or_else(|| bad("the form holds no file"))?;
    Ok(Form { media, values })
}
