//! Calls about webhooks.

use reqwest::Method;

use super::{Answer, Client};
use crate::api::{Page, WebhookVerb};
use crate::id::{DeliveryId, WebhookId};
use crate::routes;
use crate::webhook::{DeliveryView, NewWebhook, WebhookView};

impl Client {
    /// Makes a webhook; only this answer has its secret.
    ///
    /// # Errors
    /// As all calls: the hub cannot be reached, or says no.
    pub async fn new_webhook(&self, wanted: &NewWebhook) -> Answer<WebhookView> {
        self.post(routes::WEBHOOKS, wanted).await
    }

    /// All webhooks, oldest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn webhooks(&self) -> Answer<Page<WebhookView>> {
        self.get(routes::WEBHOOKS).await
    }

    /// Forgets one with its log.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_webhook(&self, webhook: WebhookId) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::webhook(webhook))).await.map(drop)
    }

    /// Enables, disables or tries one.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tell_webhook(&self, webhook: WebhookId, verb: WebhookVerb) -> Answer<WebhookView> {
        self.post(&routes::of_webhook(webhook, verb.name()), &()).await
    }

    /// What was sent, newest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn deliveries(&self, webhook: WebhookId) -> Answer<Page<DeliveryView>> {
        self.get(&routes::of_webhook(webhook, "deliveries")).await
    }

    /// Sends a delivery again.
    ///
    /// # Errors
    /// As all calls.
    pub async fn replay_delivery(&self, webhook: WebhookId, delivery: DeliveryId) -> Answer<DeliveryView> {
        self.post(&routes::of_webhook(webhook, &format!("deliveries/{delivery}/replay")), &()).await
    }
}
