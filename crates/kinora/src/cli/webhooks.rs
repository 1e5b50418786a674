//! `kinora webhooks`: who is told what happens.

use clap::{Args, Subcommand};
use kinora_protocol::api::WebhookVerb;
use kinora_protocol::webhook::{DeliveryView, NewWebhook, WebhookEvent, WebhookView};
use kinora_protocol::{DeliveryId, ErrorCode, Failure, WebhookId};

use super::remote::HubAddress;

/// Flags of `kinora webhooks`.
#[derive(Debug, Args)]
pub struct WebhooksArgs {
    /// What to do
    #[command(subcommand)]
    pub command: WebhooksCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// List all webhooks
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Let an address be told what happens; prints the secret that deliveries are signed with
    Add {
        /// Where deliveries go: https://HOST/PATH
        url: String,
        /// What it is told of, separated by commas; that jobs ended when absent
        #[arg(long, value_name = "EVENT,…", value_delimiter = ',', value_parser = event)]
        events: Option<Vec<WebhookEvent>>,
        /// whsec_ and 24 to 64 bytes in base64; made by the hub when absent
        #[arg(long)]
        secret: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Forget a webhook with its log
    Rm(OneWebhook),
    /// Send something to try it
    Ping(OneWebhook),
    /// Let it be told things again
    Enable(OneWebhook),
    /// Let it be told nothing
    Disable(OneWebhook),
    /// Show what was sent, newest first
    Log(OneWebhook),
    /// Send a delivery again
    Replay {
        /// Id of the delivery, from `log`
        delivery: String,
        /// The webhook
        #[command(flatten)]
        one: OneWebhook,
    },
}

/// A webhook and its hub.
#[derive(Debug, Args)]
pub struct OneWebhook {
    /// Id of the webhook
    pub webhook: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

impl OneWebhook {
    fn id(&self) -> Result<WebhookId, Failure> {
        let unknown = || Failure::new(ErrorCode::BadInput, format!("there is no webhook {:?}", self.webhook));
        self.webhook.parse().map_err(|_| unknown())
    }

    async fn tell(&self, verb: WebhookVerb) -> Result<(), Failure> {
        let view = self.hub.client()?.tell_webhook(self.id()?, verb).await?;
        self.hub.show(&view, line);
        Ok(())
    }
}

fn event(text: &str) -> Result<WebhookEvent, String> {
    let known = WebhookEvent::ALL.into_iter().filter(|event| *event != WebhookEvent::Ping);
    let names: Vec<&str> = known.clone().map(WebhookEvent::name).collect();
    known.into_iter().find(|event| event.name() == text).ok_or_else(|| format!("write {}", names.join(", ")))
}

/// Runs it.
pub async fn run(args: &WebhooksArgs) -> Result<(), Failure> {
    match &args.command {
        WebhooksCommand::Ls { hub } => {
            let page = hub.client()?.webhooks().await?;
            hub.show(&page, |page| page.items.iter().for_each(line));
            Ok(())
        }
        WebhooksCommand::Add { url, events, secret, hub } => {
            let wanted = NewWebhook { url: url.clone(), events: events.clone(), secret: secret.clone() };
            let made = hub.client()?.new_webhook(&wanted).await?;
            hub.show(&made, |made| {
                say!("{}", made.id);
                say!("secret: {}", made.secret.as_deref().unwrap_or_default());
            });
            Ok(())
        }
        WebhooksCommand::Rm(one) => one.hub.client()?.delete_webhook(one.id()?).await,
        WebhooksCommand::Ping(one) => one.tell(WebhookVerb::Ping).await,
        WebhooksCommand::Enable(one) => one.tell(WebhookVerb::Enable).await,
        WebhooksCommand::Disable(one) => one.tell(WebhookVerb::Disable).await,
        WebhooksCommand::Log(one) => {
            let page = one.hub.client()?.deliveries(one.id()?).await?;
            one.hub.show(&page, |page| page.items.iter().for_each(delivery));
            Ok(())
        }
        WebhooksCommand::Replay { delivery: text, one } => {
            let unknown = |_| Failure::new(ErrorCode::BadInput, format!("there is no delivery {text:?}"));
            let id: DeliveryId = text.parse().map_err(unknown)?;
            let view = one.hub.client()?.replay_delivery(one.id()?, id).await?;
            one.hub.show(&view, delivery);
            Ok(())
        }
    }
}

fn line(webhook: &WebhookView) {
    let events: Vec<&str> = webhook.events.iter().map(|event| event.name()).collect();
    let off = if webhook.enabled { "" } else { "  disabled" };
    say!("{}  {}  {}{off}", webhook.id, webhook.url, events.join(","));
}

fn delivery(delivery: &DeliveryView) {
    let job = delivery.job.map(|job| format!("  job {job}")).unwrap_or_default();
    let (state, tries) = (delivery.state.name(), delivery.tries);
    say!("{}  {}  {state}, tried {tries}×{job}", delivery.id, delivery.event.name());
    if let Some(error) = &delivery.error {
        say!("    {error}");
    }
}
