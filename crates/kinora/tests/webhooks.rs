//! Webhooks: signed, tried again, replayed, and none lost when the hub is killed.
#![cfg(unix)]

mod support;

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use kinora_protocol::api::WebhookVerb;
use kinora_protocol::job::JobPhase;
use kinora_protocol::webhook::{DeliveryState, NewWebhook, WebhookEvent};
use serde_json::Value;
use support::cluster::{Hub, job};
use support::receiver::{Sent, receiver};
use support::{PATIENCE, Place, kinora, run, short};

impl Sent {
    fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Whether the signature is that of this secret, made anew.
    fn is_signed_with(&self, secret: &str) -> Result<bool> {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").context("no secret")?)?;
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key)?;
        let (id, time) = (&self.headers["webhook-id"], &self.headers["webhook-timestamp"]);
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(&self.body);
        let wanted = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        Ok(self.headers["webhook-signature"] == wanted)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_told_of_signed_and_again_when_it_fails() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let (url, told) = receiver(&[500], 204)?;
    let events = Some(vec![WebhookEvent::JobQueued, WebhookEvent::JobCompleted]);
    let hook = hub.client.new_webhook(&NewWebhook { url, events, secret: None }).await?;
    let secret = hook.secret.clone().context("no secret")?;
    ensure!(hub.client.webhooks().await?.items.iter().all(|shown| shown.secret.is_none()));
    let view = hub.client.submit(&job(hub.upload(&short()?).await?), None).await?;
    ensure!(hub.ends(view.id).await?.phase == JobPhase::Completed);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(told.recv_timeout(PATIENCE)?);
    }
    for sent in &seen {
        ensure!(sent.is_signed_with(&secret)?, "{sent:?}");
        ensure!(sent.json()?["data"]["id"] == view.id.to_string(), "{sent:?}");
    }
    // The first was answered with 500: it comes again, as the same one.
    let kinds: Vec<Value> =
        seen.iter().map(|sent| Ok(sent.json()?["type"].clone())).collect::<Result<_>>()?;
    let queued: Vec<&Sent> =
        seen.iter().zip(&kinds).filter(|(_, kind)| *kind == "job.queued").map(|(sent, _)| sent).collect();
    ensure!(
        queued.len() == 2 && kinds.iter().filter(|kind| *kind == "job.completed").count() == 1,
        "{kinds:?}"
    );
    ensure!(
        queued[0].headers["webhook-id"] == queued[1].headers["webhook-id"]
            && queued[0].body == queued[1].body
    );
    let log = hub.client.deliveries(hook.id).await?.items;
    ensure!(log.len() == 2, "{log:?}");
    support::until("the newest delivery to be noted", || {
        let log = run(kinora().args(["webhooks", "log", &hook.id.to_string(), "--hub", &hub.address]));
        log.is_ok_and(|log| log.stdout.matches("delivered").count() == 2)
    })?;
    // Again on demand, and something to try it.
    hub.client.replay_delivery(hook.id, log[0].id).await?;
    ensure!(told.recv_timeout(PATIENCE)?.headers["webhook-id"] == log[0].id.to_string());
    hub.client.tell_webhook(hook.id, WebhookVerb::Ping).await?;
    let ping = told.recv_timeout(PATIENCE)?;
    ensure!(ping.json()?["type"] == "ping" && ping.is_signed_with(&secret)?, "{ping:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_before_a_kill_is_told_after_it() -> Result<()> {
    let place = Place::new()?;
    let mut hub = Hub::alone(&place, "127.0.0.1:0")?;
    let listen = hub.listen();
    // Nobody is there yet.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let hook =
        NewWebhook { url: format!("http://{free}/"), events: Some(WebhookEvent::ALL.to_vec()), secret: None };
    let hook = hub.client.new_webhook(&hook).await?;
    let view = hub.client.submit(&job(hub.upload(&short()?).await?), None).await?;
    hub.client.tell_job(view.id, kinora_protocol::api::JobVerb::Cancel).await?;
    hub.child.kill()?;
    hub.child.wait()?;
    hub = Hub::alone(&place, &listen)?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let log = hub.client.deliveries(hook.id).await?.items;
        let tried =
            |event| log.iter().filter(|d| d.event == event && d.tries > 0 && d.error.is_some()).count();
        if (tried(WebhookEvent::JobQueued), tried(WebhookEvent::JobCancelled)) == (1, 1) {
            ensure!(log.len() == 2 && log.iter().all(|d| d.state == DeliveryState::Pending), "{log:?}");
            break;
        }
        ensure!(std::time::Instant::now() < deadline, "{log:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_gone_is_told_nothing_more() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let (url, told) = receiver(&[410], 204)?;
    let said = run(kinora().args(["webhooks", "add", &url, "--json", "--hub", &hub.address]))?.done()?;
    let id = said["id"].as_str().context("no id")?.to_owned();
    let ask =
        |words: &[&str]| run(kinora().args(["webhooks"]).args(words).args([&id, "--hub", &hub.address]));
    ensure!(ask(&["ping"])?.code == Some(0));
    told.recv_timeout(PATIENCE)?;
    support::until("it to be disabled", || {
        run(kinora().args(["webhooks", "ls", "--hub", &hub.address]))
            .is_ok_and(|list| list.stdout.contains("disabled"))
    })?;
    ensure!(ask(&["log"])?.stdout.contains("answered 410"));
    ensure!(ask(&["enable"])?.stdout.contains(&url));
    ensure!(ask(&["rm"])?.code == Some(0));
    ensure!(ask(&["rm"])?.stderr.contains("there is no webhook"));
    for (wrong, why) in
        [("ftp://x/", "write https"), ("https://a:b@x/", "do not belong"), ("hook", "write https")]
    {
        let refused = run(kinora().args(["webhooks", "add", wrong, "--hub", &hub.address]))?;
        ensure!(refused.code == Some(1) && refused.stderr.contains(why), "{refused:?}");
    }
    Ok(())
}
