//! Webhooks and their deliveries.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use kinora_protocol::ErrorCode;
use kinora_protocol::api::{Page, WebhookVerb};
use kinora_protocol::webhook::{DeliveryView, NewWebhook, WebhookView};
use kinora_protocol::{DeliveryId, WebhookId};

use super::asked;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

fn unknown(webhook: &str) -> Refusal {
    Refusal::not_found(format!("webhook {webhook:?}"))
}

fn id(text: &str) -> Result<WebhookId, Refusal> {
    text.parse().map_err(|_| unknown(text))
}

/// Makes a webhook. Only this answer has its secret.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks",
    operation_id = "newWebhook",
    tag = "webhooks",
    request_body = NewWebhook,
    responses((status = 201, description = "It is told what happens from now on", body = WebhookView), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<WebhookView>), Refusal> {
    let wanted: NewWebhook = asked::json(&body, "the webhook", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.new_webhook(caller.actor.owner(), wanted).await??)))
}

/// All webhooks, oldest first.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks",
    operation_id = "listWebhooks",
    tag = "webhooks",
    responses((status = 200, description = "As asked", body = Page<WebhookView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Page<WebhookView>>, Refusal> {
    Ok(Json(Page { items: hub.webhook_views(&caller.actor.sight()).await?, next: None }))
}

/// A webhook.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{webhook}",
    operation_id = "showWebhook",
    tag = "webhooks",
    params(("webhook" = String, Path, description = "Id of the webhook")),
    responses((status = 200, description = "As asked", body = WebhookView), Refusal),
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Path(webhook): Path<String>,
) -> Result<Json<WebhookView>, Refusal> {
    Ok(Json(hub.webhook_view(id(&webhook)?).await?.ok_or_else(|| unknown(&webhook))?))
}

/// Forgets it with its log.
#[utoipa::path(
    delete,
    path = "/api/v1/webhooks/{webhook}",
    operation_id = "deleteWebhook",
    tag = "webhooks",
    params(("webhook" = String, Path, description = "Id of the webhook")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn delete(
    State(hub): State<Hub>,
    Path(webhook): Path<String>,
) -> Result<StatusCode, Refusal> {
    if hub.delete_webhook(id(&webhook)?).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown(&webhook)) }
}

/// Lets it be told things again, or not any more.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{webhook}/{verb}",
    operation_id = "actOnWebhook",
    tag = "webhooks",
    params(("webhook" = String, Path, description = "Id of the webhook"), ("verb" = WebhookVerb, Path, description = "What to do")),
    responses((status = 200, description = "As asked", body = WebhookView), Refusal),
)]
pub(super) async fn act(
    State(hub): State<Hub>,
    Path((webhook, verb)): Path<(String, String)>,
) -> Result<Json<WebhookView>, Refusal> {
    let one = id(&webhook)?;
    let verb = WebhookVerb::ALL.into_iter().find(|known| known.name() == verb);
    let Some(verb) = verb else { return Err(Refusal::not_found("such a thing to do with a webhook")) };
    let there = match verb {
        WebhookVerb::Enable => hub.enable_webhook(one, true).await?,
        WebhookVerb::Disable => hub.enable_webhook(one, false).await?,
        WebhookVerb::Ping => hub.ping(one).await?.is_some(),
    };
    let view = hub.webhook_view(one).await?.filter(|_| there);
    Ok(Json(view.ok_or_else(|| unknown(&webhook))?))
}

/// Its newest deliveries, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/webhooks/{webhook}/deliveries",
    operation_id = "listDeliveries",
    tag = "webhooks",
    params(("webhook" = String, Path, description = "Id of the webhook")),
    responses((status = 200, description = "As asked", body = Page<DeliveryView>), Refusal),
)]
pub(super) async fn deliveries(
    State(hub): State<Hub>,
    Path(webhook): Path<String>,
) -> Result<Json<Page<DeliveryView>>, Refusal> {
    let items = hub.delivery_views(id(&webhook)?).await?.ok_or_else(|| unknown(&webhook))?;
    Ok(Json(Page { items, next: None }))
}

/// Sends a delivery again, whatever became of it.
#[utoipa::path(
    post,
    path = "/api/v1/webhooks/{webhook}/deliveries/{delivery}/replay",
    operation_id = "replayDelivery",
    tag = "webhooks",
    params(("webhook" = String, Path, description = "Id of the webhook"), ("delivery" = String, Path, description = "Id of the delivery")),
    responses((status = 202, description = "It is sent", body = DeliveryView), Refusal),
)]
pub(super) async fn replay(
    State(hub): State<Hub>,
    Path((webhook, delivery)): Path<(String, String)>,
) -> Result<(StatusCode, Json<DeliveryView>), Refusal> {
    let missing = || Refusal::not_found(format!("delivery {delivery:?} of webhook {webhook:?}"));
    let one: DeliveryId = delivery.parse().map_err(|_| missing())?;
    let view = hub.replay(id(&webhook)?, one).await?.ok_or_else(missing)?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}
