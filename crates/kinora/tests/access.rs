//! Who gets in, and to what: by a running hub, with real logins, keys and tickets.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use kinora_protocol::ErrorCode;
use kinora_protocol::access::{Me, NewKey, NewUser, Right, Role, ShareView, Sharee, UserChange};
use kinora_protocol::client::{Client, Shared};
use kinora_protocol::live::{Subscribe, Topic};
use kinora_protocol::routes;
use serde_json::{Value, json};
use support::cluster::{Hub, job};
use support::{Place, kinora, run, short, wire};

/// The password of everybody here.
const PASSWORD: &str = "drei große Bären";

/// A hub with users.
struct Studio {
    hub: Hub,
    place: Place,
}

impl Studio {
    async fn open() -> Result<Self> {
        let place = Place::new()?;
        let hub = Hub::alone(&place, "127.0.0.1:0")?;
        for (name, role) in
            [("ada", Role::Admin), ("emil", Role::Editor), ("fred", Role::Editor), ("vera", Role::Viewer)]
        {
            hub.client.new_user(&NewUser::new(name, role, PASSWORD)).await?;
        }
        Ok(Self { hub, place })
    }

    /// A client with a key of a user's.
    async fn by(&self, user: &str) -> Result<Client> {
        self.by_scopes(user, None).await
    }

    async fn by_scopes(&self, user: &str, scopes: Option<&[&str]>) -> Result<Client> {
        let parsed =
            scopes.map(|scopes| scopes.iter().map(|scope| scope.parse()).collect::<Result<_, String>>());
        let scopes = parsed.transpose().map_err(anyhow::Error::msg)?;
        let wanted = NewKey { name: "test".into(), scopes, expires_in: None, user: None, login: false };
        let key = self.hub.client.new_key(Some(user), &wanted).await?.key;
        Ok(Client::new(&self.hub.address)?.showing(key))
    }

    fn nobody(&self) -> Result<Client> {
        Ok(Client::new(&self.hub.address)?)
    }

    /// What was recorded, as `actor outcome action detail`.
    async fn record(&self) -> Result<Vec<String>> {
        let page = self.hub.client.audit(0).await?;
        let line = |e: kinora_protocol::access::AuditView| {
            format!("{} {} {} {}", e.actor, e.outcome, e.action, e.detail)
        };
        Ok(page.items.into_iter().map(line).collect())
    }

    async fn recorded(&self, part: &str) -> Result<()> {
        let record = self.record().await?;
        ensure!(record.iter().any(|line| line.contains(part)), "no {part:?} in {record:#?}");
        Ok(())
    }
}

/// It is refused, and with this code.
#[track_caller]
fn refused<T>(outcome: std::result::Result<T, kinora_protocol::Failure>, code: ErrorCode) -> Result<String> {
    let place = std::panic::Location::caller();
    match outcome {
        Err(failure) if failure.code == code => Ok(failure.message),
        Err(failure) => bail!("{code:?} was expected at {place}: {failure:?}"),
        Ok(_) => bail!("{code:?} was expected at {place}, and it was done"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ones_own_is_nobody_elses() -> Result<()> {
    let studio = Studio::open().await?;
    let (emil, fred, vera, ada) = (
        studio.by("emil").await?,
        studio.by("fred").await?,
        studio.by("vera").await?,
        studio.by("ada").await?,
    );
    let media = emil.upload(&short()?, |_| ()).await?.id;
    let made = emil.submit(&job(media.clone()), Some("once")).await?.id;
    for (who, client) in [("fred", &fred), ("vera", &vera)] {
        ensure!(client.media().await?.items.is_empty(), "{who}");
        ensure!(client.jobs(None, 50).await?.items.is_empty(), "{who}");
        // What is not to be seen is as if it was not there.
        let why = refused(client.one_media(&media).await, ErrorCode::BadInput)?;
        ensure!(why == format!("there is no media {media}"), "{why}");
        refused(client.job(made).await, ErrorCode::BadInput)?;
        refused(client.delete_job(made).await, ErrorCode::BadInput)?;
        refused(client.describe(&media).await, ErrorCode::BadInput)?;
    }
    refused(fred.submit(&job(media.clone()), None).await, ErrorCode::BadInput)?;
    refused(vera.submit(&job(media.clone()), None).await, ErrorCode::Forbidden)?;
    refused(vera.upload(&short()?, |_| ()).await, ErrorCode::Forbidden)?;
    ensure!(ada.media().await?.items.len() == 1 && ada.jobs(None, 50).await?.items.len() == 1);
    refused(emil.users().await, ErrorCode::Forbidden)?;
    refused(emil.start_scrub().await, ErrorCode::Forbidden)?;
    // The same key of two people is two jobs; of one, the same.
    ensure!(emil.submit(&job(media.clone()), Some("once")).await?.id == made);
    let shared = ShareView { with: Sharee::User("fred".into()), right: Right::View };
    emil.share(&Shared::Media(media.clone()), &shared).await?;
    let other = fred.submit(&job(media.clone()), Some("once")).await?.id;
    ensure!(other != made);
    refused(emil.job(other).await, ErrorCode::BadInput)?;
    refused(studio.nobody()?.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    studio.recorded("key fred/test denied DELETE").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_with_a_user_a_team_and_everyone() -> Result<()> {
    let studio = Studio::open().await?;
    let (emil, fred, vera) = (studio.by("emil").await?, studio.by("fred").await?, studio.by("vera").await?);
    let media = emil.upload(&short()?, |_| ()).await?.id;
    let made = emil.submit(&job(media.clone()), None).await?.id;
    let (film, result) = (Shared::Media(media.clone()), Shared::Job(made));
    let with = |with: &str, right| ShareView { with: with.parse().unwrap(), right };
    emil.share(&film, &with("user:vera", Right::View)).await?;
    ensure!(vera.one_media(&media).await?.id == media);
    refused(vera.job(made).await, ErrorCode::BadInput)?;
    refused(vera.delete_media(&media).await, ErrorCode::Forbidden)?;
    refused(vera.share(&film, &with("everyone", Right::View)).await, ErrorCode::Forbidden)?;
    // A team: with who is in it now.
    studio.hub.client.new_team("cut").await?;
    emil.share(&result, &with("team:cut", Right::Edit)).await?;
    refused(fred.job(made).await, ErrorCode::BadInput)?;
    studio.hub.client.set_member("cut", "fred", true).await?;
    ensure!(fred.jobs(None, 9).await?.items.len() == 1);
    fred.tell_job(made, kinora_protocol::api::JobVerb::Pause).await?;
    refused(fred.delete_job(made).await, ErrorCode::Forbidden)?;
    studio.hub.client.set_member("cut", "fred", false).await?;
    refused(fred.job(made).await, ErrorCode::BadInput)?;
    emil.share(&result, &with("everyone", Right::View)).await?;
    ensure!(fred.job(made).await?.id == made && vera.job(made).await?.id == made);
    emil.unshare(&result, &"everyone".parse().unwrap()).await?;
    refused(vera.job(made).await, ErrorCode::BadInput)?;
    // Somebody has to own it.
    refused(emil.unshare(&film, &"user:emil".parse().unwrap()).await, ErrorCode::Busy)?;
    refused(emil.share(&film, &with("team:cut", Right::Own)).await, ErrorCode::BadInput)?;
    refused(emil.share(&film, &with("user:nemo", Right::View)).await, ErrorCode::BadInput)?;
    emil.share(&film, &with("user:fred", Right::Own)).await?;
    emil.unshare(&film, &"user:emil".parse().unwrap()).await?;
    refused(emil.one_media(&media).await, ErrorCode::BadInput)?;
    ensure!(fred.shares(&film).await?.items.len() == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_owners_only_gives_it_up() -> Result<()> {
    let studio = Studio::open().await?;
    let (emil, fred) = (studio.by("emil").await?, studio.by("fred").await?);
    let media = emil.upload(&short()?, |_| ()).await?.id;
    ensure!(fred.upload(&short()?, |_| ()).await?.id == media, "the same content is the same media");
    // Whoever has brought it, too, has not taken it away.
    let film = Shared::Media(media.clone());
    refused(
        fred.unshare(&film, &"user:emil".parse().map_err(anyhow::Error::msg)?).await,
        ErrorCode::Forbidden,
    )?;
    let lesser = ShareView { with: Sharee::User("emil".into()), right: Right::View };
    refused(fred.share(&film, &lesser).await, ErrorCode::Forbidden)?;
    emil.delete_media(&media).await?;
    refused(emil.one_media(&media).await, ErrorCode::BadInput)?;
    let kept = wire::ask(
        &studio.hub.address,
        "GET",
        &routes::of_media(&media, "content"),
        &[("x-api-key", &key_of(&studio, "fred").await?)],
    )?;
    ensure!(kept.status == 200 && kept.body == std::fs::read(short()?)?, "{kept:?}");
    fred.delete_media(&media).await?;
    ensure!(studio.hub.client.media().await?.items.is_empty());
    Ok(())
}

async fn key_of(studio: &Studio, user: &str) -> Result<String> {
    let wanted = NewKey { name: "raw".into(), scopes: None, expires_in: None, user: None, login: false };
    studio.hub.client.new_key(Some(user), &wanted).await?.key.context("no key")
}

/// What was made for whoever may see media is seen as long as that is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_a_right_goes_with_it() -> Result<()> {
    let studio = Studio::open().await?;
    let (emil, fred) = (studio.by("emil").await?, studio.by("fred").await?);
    let media = emil.upload(&short()?, |_| ()).await?.id;
    let shared = ShareView { with: Sharee::User("fred".into()), right: Right::View };
    emil.share(&Shared::Media(media.clone()), &shared).await?;
    let proxy =
        fred.make_proxy(&media, kinora_protocol::proxy::ProxyKind::Mp4).await?.job.context("no job")?;
    let described = fred.describe(&media).await?.id;
    for job in [proxy, described] {
        ensure!(fred.job(job).await?.id == job && emil.job(job).await?.id == job);
        refused(fred.delete_job(job).await, ErrorCode::Forbidden)?;
    }
    emil.unshare(&Shared::Media(media.clone()), &shared.with).await?;
    for job in [proxy, described] {
        refused(fred.job(job).await, ErrorCode::BadInput)?;
        ensure!(emil.job(job).await?.id == job);
    }
    refused(fred.describe(&media).await, ErrorCode::BadInput)?;
    let body = json!({ "operation": "analyze", "input_file": media }).to_string();
    let (key, length) = (key_of(&studio, "fred").await?, body.len().to_string());
    let headers =
        [("content-type", "application/json"), ("content-length", length.as_str()), ("x-api-key", &key)];
    let mut stream = wire::open(&studio.hub.address, "POST", "/api/video/process", &headers)?;
    stream.write_all(body.as_bytes())?;
    let answer = wire::read(stream)?;
    ensure!(answer.status == 422 || answer.status == 404, "{answer:?}");
    ensure!(answer.text().contains("there is no media"), "{}", answer.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_logins_and_what_stands_for_them() -> Result<()> {
    let studio = Studio::open().await?;
    let tokens = studio.nobody()?.login("emil", PASSWORD).await?;
    let session = Client::new(&studio.hub.address)?.showing(Some(tokens.access_token));
    let wanted =
        NewKey { name: "login on x".into(), scopes: None, expires_in: Some(60), user: None, login: true };
    let made = session.new_key(None, &wanted).await?;
    let machine = Client::new(&studio.hub.address)?.showing(made.key);
    // What a key makes does not outlast it.
    let child = machine.new_key(None, &NewKey { expires_in: None, login: false, ..wanted }).await?;
    ensure!(child.expires_ms == made.expires_ms && made.expires_ms.is_some(), "{child:?}");
    let plain = studio.by("emil").await?;
    ensure!(machine.jobs(None, 1).await.is_ok());
    let other = UserChange { password: Some("eine andere Losung".into()), ..UserChange::default() };
    studio.hub.client.change_user("emil", &other).await?;
    refused(session.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    refused(machine.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    ensure!(plain.jobs(None, 1).await.is_ok(), "a key of its own stays");
    refused(studio.nobody()?.login("emil", PASSWORD).await, ErrorCode::Unauthenticated)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_comes_twice_ends_its_login() -> Result<()> {
    let studio = Studio::open().await?;
    let client = studio.nobody()?;
    let first = client.login("EMIL", PASSWORD).await?;
    ensure!(first.token_type == "Bearer" && first.expires_in == 600);
    let with = |token: &str| Client::new(&studio.hub.address).map(|c| c.showing(Some(token.to_owned())));
    ensure!(with(&first.access_token)?.jobs(None, 1).await?.items.is_empty());
    let second = client.refresh(&first.refresh_token).await?;
    let third = client.refresh(&second.refresh_token).await?;
    ensure!(with(&third.access_token)?.jobs(None, 1).await.is_ok());
    // Somebody else has the second.
    let why = refused(client.refresh(&second.refresh_token).await, ErrorCode::Unauthenticated)?;
    ensure!(why.contains("used before"), "{why}");
    for token in [&first.access_token, &second.access_token, &third.access_token] {
        refused(with(token)?.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    }
    refused(client.refresh(&third.refresh_token).await, ErrorCode::Unauthenticated)?;
    studio.recorded("denied refresh emil: a refresh token came twice").await?;
    // A token is not good for something else, nor is a forged one.
    let again = client.login("emil", PASSWORD).await?;
    for token in [
        again.refresh_token.as_str(),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJlbWlsIn0.",
        &again.access_token[..again.access_token.len() - 4],
        "kn_1",
        "",
    ] {
        refused(with(token)?.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    }
    refused(client.refresh(&again.access_token).await, ErrorCode::Unauthenticated)?;
    with(&again.access_token)?.logout().await?;
    refused(with(&again.access_token)?.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    refused(client.refresh(&again.refresh_token).await, ErrorCode::Unauthenticated)?;
    Ok(())
}

/// The same claims under another algorithm.
fn signed_otherwise(token: &str, header: &str, key: Option<&[u8]>) -> Result<String> {
    let claims = token.split('.').nth(1).context("no claims")?;
    let text = format!("{}.{claims}", BASE64_URL_SAFE_NO_PAD.encode(header));
    let seal = match key {
        None => String::new(),
        Some(key) => {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key)?;
            mac.update(text.as_bytes());
            BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        }
    };
    Ok(format!("{text}.{seal}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_turned_away_is_in_the_record() -> Result<()> {
    let studio = Studio::open().await?;
    let hub = &studio.hub.address;
    let good = studio.nobody()?.login("emil", PASSWORD).await?.access_token;
    let kid = good.split('.').next().unwrap_or_default();
    for token in [
        signed_otherwise(&good, r#"{"alg":"none"}"#, None)?,
        signed_otherwise(&good, r#"{"alg":"HS256"}"#, Some(kid.as_bytes()))?,
    ] {
        let before = studio.record().await?.len();
        let shown = format!("Bearer {token}");
        ensure!(wire::ask(hub, "GET", routes::JOBS, &[("authorization", &shown)])?.status == 401);
        let new = studio.record().await?.split_off(before);
        ensure!(new.iter().any(|line| line.contains("denied GET /api/v1/jobs")), "{new:?}");
        ensure!(!new.iter().any(|line| line.contains(&token)), "{new:?}");
    }
    // A name of somebody else's that leads here, and pages of other origins.
    ensure!(wire::ask(hub, "GET", routes::JOBS, &[("host", "evil.example")])?.status == 421);
    studio.recorded("nobody denied GET /api/v1/jobs by the name \"evil.example\"").await?;
    let foreign = [("origin", "http://evil.example")];
    ensure!(wire::ask(hub, "POST", routes::SCRUB, &foreign)?.status == 403);
    studio.recorded("nobody denied POST /api/v1/system/scrub a page of another origin").await?;
    ensure!(upgrade(hub, routes::LIVE, &foreign)? == 403);
    studio.recorded(&format!("nobody denied GET {} a page of another origin", routes::LIVE)).await?;
    // Rights to bytes stand in paths: they are not written down.
    ensure!(wire::ask(hub, "POST", "/api/v1/work/7.1.abcdef/source", &foreign)?.status == 403);
    studio.recorded("nobody denied POST /api/v1/work/ a page of another origin").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slow_and_says_nothing() -> Result<()> {
    let studio = Studio::open().await?;
    let client = studio.nobody()?;
    let wrong = refused(client.login("emil", "drei große Baren").await, ErrorCode::Unauthenticated)?;
    let nobody = refused(client.login("nemo", "drei große Baren").await, ErrorCode::Unauthenticated)?;
    ensure!(wrong == nobody, "{wrong} {nobody}");
    let mut tries = 2;
    let why = loop {
        match client.login("emil", "another guess").await {
            Err(failure) if failure.code == ErrorCode::TooMany => break failure.message,
            Err(_) => tries += 1,
            Ok(_) => bail!("guessed"),
        }
        ensure!(tries < 20, "nobody stops it");
    };
    ensure!(why.contains("wait"), "{why}");
    // Also with the right one, and the record says who was tried.
    refused(client.login("emil", PASSWORD).await, ErrorCode::TooMany)?;
    studio.recorded("nobody denied login emil").await?;
    studio.recorded("too many tries").await
}

/// A WebSocket's handshake, as it is sent.
fn upgrade(hub: &str, path: &str, more: &[(&str, &str)]) -> Result<u16> {
    let usual = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let mut stream = wire::open(hub, "GET", path, &[&usual, more].concat())?;
    let mut head = String::new();
    BufReader::new(&mut stream).read_line(&mut head)?;
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).context(head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_one_websocket() -> Result<()> {
    let studio = Studio::open().await?;
    let hub = &studio.hub.address;
    ensure!(upgrade(hub, routes::LIVE, &[])? == 401);
    let ticket = studio.by("vera").await?.ticket().await?;
    ensure!(ticket.expires_in == 30);
    let path = format!("{}?ticket={}", routes::LIVE, ticket.ticket);
    // It is a right to open a WebSocket, and nothing else.
    ensure!(wire::ask(hub, "GET", &format!("{}?ticket={}", routes::JOBS, ticket.ticket), &[])?.status == 401);
    ensure!(upgrade(hub, &path, &[])? == 101);
    ensure!(upgrade(hub, &path, &[])? == 401, "twice");
    let forged = format!("{}{}", &path[..path.len() - 1], if path.ends_with('0') { '1' } else { '0' });
    ensure!(upgrade(hub, &forged, &[])? == 401);
    studio.recorded("denied GET /api/v1/live").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_shut_out_sees_nothing_any_more() -> Result<()> {
    let studio = Studio::open().await?;
    let emil = studio.by("emil").await?;
    let media = emil.upload(&short()?, |_| ()).await?.id;
    let mut own = emil.live(&Subscribe { subscribe: vec![Topic::Jobs], after: None }).await?;
    let fred = studio.by("fred").await?;
    let mut others =
        fred.live(&Subscribe { subscribe: vec![Topic::Jobs, Topic::Nodes], after: None }).await?;
    let made = emil.submit(&job(media), None).await?.id;
    let told = tokio::time::timeout(Duration::from_secs(10), own.recv()).await?.context("the end")?;
    ensure!(format!("{told:?}").contains(&made.to_string()), "{told:?}");
    // Somebody else's watcher hears of it neither then nor later.
    while let Ok(Some(update)) = tokio::time::timeout(Duration::from_secs(1), others.recv()).await {
        ensure!(!format!("{update:?}").contains(&made.to_string()), "{update:?}");
    }
    let shut = UserChange { disabled: Some(true), ..UserChange::default() };
    studio.hub.client.change_user("emil", &shut).await?;
    refused(emil.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    refused(studio.nobody()?.login("emil", PASSWORD).await, ErrorCode::Unauthenticated)?;
    let since = Instant::now();
    while tokio::time::timeout(Duration::from_secs(20), own.recv()).await?.is_some() {
        ensure!(since.elapsed() < Duration::from_secs(15), "it goes on");
    }
    let last = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    refused(studio.hub.client.change_user("ada", &last).await, ErrorCode::Busy)?;
    refused(studio.hub.client.delete_user("ada").await, ErrorCode::Busy)?;
    Ok(())
}

/// Rights are looked at anew while a connection lasts: to single things, to all of them by the role, and the key's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_loses_what_it_may_not_see_any_more() -> Result<()> {
    let studio = Studio::open().await?;
    let emil = studio.by("emil").await?;
    let media = emil.upload(&short()?, |_| ()).await?.id;
    let made = emil.submit(&job(media), None).await?.id;
    let film = Shared::Job(made);
    let fred: kinora_protocol::access::Sharee = "user:fred".parse().unwrap();
    emil.share(&film, &ShareView { with: fred.clone(), right: Right::View }).await?;
    let wanted = NewKey { name: "test".into(), scopes: None, expires_in: None, user: None, login: false };
    let key = studio.hub.client.new_key(Some("fred"), &wanted).await?;
    let watching = Client::new(&studio.hub.address)?.showing(key.key);
    let mut told = watching.live(&Subscribe { subscribe: vec![Topic::Jobs], after: None }).await?;
    let mut of_admin =
        studio.by("ada").await?.live(&Subscribe { subscribe: vec![Topic::Jobs], after: None }).await?;
    let names_it = |update: &kinora_protocol::live::Update| format!("{update:?}").contains(&made.to_string());
    let hears =
        async |watcher: &mut tokio::sync::mpsc::Receiver<kinora_protocol::live::Update>| -> Result<()> {
            loop {
                let update = tokio::time::timeout(Duration::from_secs(20), watcher.recv())
                    .await?
                    .context("the end")?;
                if names_it(&update) {
                    return Ok(());
                }
            }
        };
    let quiet =
        async |watcher: &mut tokio::sync::mpsc::Receiver<kinora_protocol::live::Update>| -> Result<()> {
            while let Ok(Some(update)) = tokio::time::timeout(Duration::from_secs(1), watcher.recv()).await {
                ensure!(!names_it(&update), "{update:?}");
            }
            Ok(())
        };
    emil.tell_job(made, kinora_protocol::api::JobVerb::Pause).await?;
    hears(&mut told).await?;
    hears(&mut of_admin).await?;
    // The share ends, and the admin is none any more.
    emil.unshare(&film, &fred).await?;
    let viewer = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    studio.hub.client.new_user(&NewUser::new("eve", Role::Admin, PASSWORD)).await?;
    studio.hub.client.change_user("ada", &viewer).await?;
    // Who a watcher is, is good for two seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    emil.tell_job(made, kinora_protocol::api::JobVerb::Resume).await?;
    quiet(&mut told).await?;
    quiet(&mut of_admin).await?;
    studio.hub.client.revoke_key(Some("fred"), key.id).await?;
    let since = Instant::now();
    while tokio::time::timeout(Duration::from_secs(20), told.recv()).await?.is_some() {
        ensure!(since.elapsed() < Duration::from_secs(15), "it goes on");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_does_what_it_is_for() -> Result<()> {
    let studio = Studio::open().await?;
    let reader = studio.by_scopes("emil", Some(&["jobs:read"])).await?;
    ensure!(reader.jobs(None, 1).await?.items.is_empty());
    refused(reader.media().await, ErrorCode::Forbidden)?;
    refused(reader.upload(&short()?, |_| ()).await, ErrorCode::Forbidden)?;
    let wider = NewKey { name: "wider".into(), scopes: None, expires_in: None, user: None, login: false };
    refused(reader.new_key(None, &wider).await, ErrorCode::Forbidden)?;
    let emil = studio.by("emil").await?;
    refused(emil.new_key(Some("ada"), &wider).await, ErrorCode::Forbidden)?;
    let named = NewKey { user: Some("ada".into()), ..wider.clone() };
    refused(emil.new_key(None, &named).await, ErrorCode::Forbidden)?;
    // Its time.
    let short_lived = NewKey { expires_in: Some(4), ..wider };
    let made = emil.new_key(None, &short_lived).await?;
    let brief = Client::new(&studio.hub.address)?.showing(made.key);
    ensure!(matches!(brief.me().await?, Me::User(user) if user.name == "emil"));
    tokio::time::sleep(Duration::from_millis(4100)).await;
    let why = refused(brief.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    ensure!(why.contains("expired"), "{why}");
    // Its end.
    let all = emil.keys(None).await?.items;
    ensure!(all.iter().all(|key| key.key.is_none() && key.user == "emil"), "{all:?}");
    let own = all.iter().find(|key| key.name == "test" && key.scopes.is_none()).context("no key")?;
    refused(studio.by("fred").await?.revoke_key(None, own.id).await, ErrorCode::BadInput)?;
    emil.revoke_key(None, own.id).await?;
    refused(emil.jobs(None, 1).await, ErrorCode::Unauthenticated)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_other_systems_are_held_to_the_same() -> Result<()> {
    let studio = Studio::open().await?;
    let media = studio.by("emil").await?.upload(&short()?, |_| ()).await?.id;
    let made = studio.by("emil").await?.submit(&job(media), None).await?.id;
    let key = key_of(&studio, "fred").await?;
    let command = |body: Value| -> Result<Value> {
        let (text, bearer) = (body.to_string(), format!("Bearer {key}"));
        let length = text.len().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("content-length", length.as_str()),
            ("authorization", &bearer),
        ];
        let mut stream = wire::open(&studio.hub.address, "POST", "/ws/command", &headers)?;
        stream.write_all(text.as_bytes())?;
        Ok(serde_json::from_slice(&wire::read(stream)?.body)?)
    };
    let name = short()?.file_name().unwrap().to_string_lossy().into_owned();
    for (body, part) in [
        (json!({ "GetJobStatus": { "job_id": made } }), "JOB_NOT_FOUND"),
        (json!({ "CancelJob": { "job_id": made } }), "JOB_NOT_FOUND"),
        (json!({ "ProcessUploadedFile": { "file_name": name, "config": null } }), "FILE_NOT_FOUND"),
        (json!({ "DisconnectClient": { "client_id": "x" } }), "PERMISSION_DENIED"),
        (json!("ListJobs"), "{\"JobsList\":[]}"),
    ] {
        let answer = command(body.clone())?.to_string();
        ensure!(answer.contains(part), "{body}: {answer}");
    }
    let path = format!("/api/jobs/{made}/status");
    ensure!(wire::ask(&studio.hub.address, "GET", &path, &[("x-api-key", &key)])?.status == 404);
    ensure!(wire::ask(&studio.hub.address, "GET", &path, &[])?.status == 401);
    // A name and a password in the address, as some clients have it.
    let basic = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("fred:{key}"));
    let answer =
        wire::ask(&studio.hub.address, "GET", routes::JOBS, &[("authorization", &format!("Basic {basic}"))])?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// A hub that others can reach, with all that it says.
fn reachable(place: &Place) -> Result<(Child, String, String)> {
    let mut command = kinora();
    command.args(["hub", "--local-worker", "off", "--metadata", "off", "--listen", "0.0.0.0:0", "--data"]);
    let mut child = command.arg(place.at("data")).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let first = lines.next().context("it says nothing")??;
    let port =
        first.split("0.0.0.0:").nth(1).and_then(|rest| rest.split(',').next()).context(first.clone())?;
    let address = format!("http://127.0.0.1:{port}");
    let link = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("/setup?token=").map(|(_, token)| token.to_owned()));
    Ok((child, address, link.context("no link")?))
}

#[test]
fn who_can_be_reached_runs_for_nobody_until_it_is_set_up() -> Result<()> {
    let place = Place::new()?;
    let (mut child, hub, token) = reachable(&place)?;
    let outcome = set_up(&hub, &token);
    child.kill()?;
    child.wait()?;
    outcome
}

fn set_up(hub: &str, token: &str) -> Result<()> {
    for path in [routes::JOBS, routes::MEDIA, routes::NODES, routes::SYSTEM, "/api/health"] {
        ensure!(wire::ask(hub, "GET", path, &[])?.status == 401, "{path}");
    }
    ensure!(wire::ask(hub, "GET", "/health/ready", &[])?.status == 200);
    let page = wire::ask(hub, "GET", &format!("/setup?token={token}"), &[])?;
    ensure!(page.status == 200 && page.text().contains(token) && page.header("cache-control")? == "no-store");
    ensure!(!wire::ask(hub, "GET", "/setup?token=%22%3E%3Cscript%3E", &[])?.text().contains("<script"));
    let form = |token: &str, password: &str| {
        let body = format!("token={token}&name=ada&password={password}");
        wire::send(hub, "POST", "/setup", "application/x-www-form-urlencoded", body.as_bytes())
    };
    ensure!(form(&token.replace(&token[40..42], "zz"), "ten+characters")?.status == 422);
    let weak = form(token, "short")?;
    ensure!(
        weak.status == 422 && weak.text().contains("ten characters") || weak.text().contains("10 characters")
    );
    let done = form(token, "ten+characters")?;
    ensure!(done.status == 303, "{done:?} {}", done.text());
    let cookie = done.header("set-cookie")?.to_owned();
    ensure!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let session = cookie.split(';').next().unwrap_or_default();
    let by_cookie = |method: &str, path: &str, more: &[(&str, &str)]| {
        wire::ask(hub, method, path, &[&[("cookie", session)], more].concat())
    };
    let me = by_cookie("GET", routes::ME, &[])?;
    ensure!(me.text().contains("\"ada\"") && me.text().contains("admin"), "{}", me.text());
    // Other pages can make a browser send the cookie, and nothing comes of it.
    let origin = hub.to_owned();
    for more in [
        &[][..],
        &[("origin", "http://evil.example")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", &origin)],
    ] {
        ensure!(by_cookie("POST", routes::SCRUB, more)?.status == 403, "{more:?}");
        ensure!(by_cookie("DELETE", "/api/v1/users/ada", more)?.status == 403, "{more:?}");
        let upgraded = upgrade(hub, routes::LIVE, &[&[("cookie", session)], more].concat())?;
        ensure!(upgraded == 403, "{more:?}: {upgraded}");
    }
    ensure!(by_cookie("POST", routes::SCRUB, &[("origin", &origin)])?.status / 100 == 2);
    ensure!(upgrade(hub, routes::LIVE, &[("cookie", session), ("origin", &origin)])? == 101);
    // The link is used up.
    ensure!(form(token, "ten+characters")?.status == 422);
    ensure!(wire::ask(hub, "GET", "/setup", &[])?.status == 303);
    let audit = by_cookie("GET", routes::AUDIT, &[])?.text();
    for part in ["\"setup\"", "another origin", "POST /api/v1/system/scrub"] {
        ensure!(audit.contains(part), "{part}: {audit}");
    }
    ensure!(by_cookie("POST", routes::LOGOUT, &[("origin", &origin)])?.status == 204);
    ensure!(by_cookie("GET", routes::JOBS, &[])?.status == 401);
    Ok(())
}

/// What stands before the hub stands before others: they do not sit at its machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_hub_is_open_to_its_own_machine_alone() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    ensure!(wire::ask(&hub.address, "GET", routes::JOBS, &[])?.status == 200);
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let answer = wire::ask(&hub.address, "GET", routes::JOBS, &[(header, "192.0.2.7")])?;
        ensure!(answer.status == 401, "{header}: {answer:?}");
    }
    // A cookie of another hub at this address is none of ours.
    let stale = "kinora=kc_00000000000000000000000000000000_0000000000000000000000000000000000000000000000000000000000000000";
    ensure!(wire::ask(&hub.address, "GET", routes::JOBS, &[("cookie", stale)])?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_signs_in_and_out() -> Result<()> {
    let studio = Studio::open().await?;
    let home = studio.place.at("home");
    let call = |words: &[&str], input: &str| -> Result<support::Run> {
        let mut command = kinora();
        command.env("XDG_CONFIG_HOME", &home).env("APPDATA", &home).args(words);
        command.args(["--hub", &studio.hub.address]).stdin(Stdio::piped());
        let mut child = command.spawn()?;
        child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
        support::finish(child)
    };
    let out = call(&["jobs", "ls"], "")?;
    ensure!(out.code == Some(1) && out.stderr.contains("kinora login"), "{out:?}");
    let wrong = call(&["login", "emil", "--password-stdin"], "not the password")?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("wrong"), "{wrong:?}");
    let login = call(&["login", "emil", "--password-stdin"], &format!("{PASSWORD}\n"))?;
    ensure!(login.code == Some(0) && !login.stdout.contains("kn_"), "{login:?}");
    ensure!(call(&["whoami"], "")?.stdout.trim() == "emil, editor");
    ensure!(call(&["jobs", "ls"], "")?.code == Some(0));
    let made = call(&["keys", "new", "ci", "--scopes", "jobs:read,media:read", "--expires", "1d"], "")?;
    ensure!(made.stdout.contains("kn_"), "{made:?}");
    let refused = call(&["users", "ls"], "")?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("role admin"), "{refused:?}");
    // Signing in again leaves one key.
    call(&["login", "emil", "--password-stdin"], PASSWORD)?;
    let keys = studio.hub.client.keys(Some("emil")).await?.items;
    ensure!(keys.iter().filter(|key| key.name.starts_with("login on")).count() == 1, "{keys:?}");
    ensure!(call(&["logout"], "")?.code == Some(0));
    ensure!(call(&["whoami"], "")?.stdout.contains("nobody"));
    let keys = studio.hub.client.keys(Some("emil")).await?.items;
    ensure!(keys.iter().all(|key| !key.name.starts_with("login on")), "{keys:?}");
    // Whoever sits at the hub's machine, in its folder, needs no login.
    let mut here = kinora();
    std::os::unix::fs::symlink(studio.place.at("data"), studio.place.at("kinora-data"))?;
    here.current_dir(studio.place.path()).args(["users", "ls", "--hub", &studio.hub.address]);
    let users = run(&mut here)?;
    ensure!(users.stdout.lines().count() == 4, "{users:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_cannot_be_changed_unseen() -> Result<()> {
    let studio = Studio::open().await?;
    let key = key_of(&studio, "ada").await?;
    let call = |words: &[&str]| -> Result<support::Run> {
        let mut command = kinora();
        run(command.env("KINORA_KEY", &key).args(words).args(["--hub", &studio.hub.address]))
    };
    let whole = call(&["audit", "verify", "--json"])?.done()?;
    ensure!(whole["entries"].as_i64().is_some_and(|entries| entries >= 5), "{whole}");
    let kept = call(&["audit", "ls", "--json"])?.stdout;
    let path = studio.place.file("audit.jsonl", &kept)?;
    let verify = |head: &str| {
        let path = path.display().to_string();
        call(&["audit", "verify", "--json", "--from", &path, "--head", head])
    };
    let head = whole["head"].as_str().context("no head")?.to_owned();
    ensure!(verify(&head)?.code == Some(0));
    ensure!(verify(&"0".repeat(64))?.code == Some(1));
    let lines: Vec<&str> = kept.lines().collect();
    let without = [&lines[..2], &lines[3..]].concat().join("\n");
    let changed = kept.replacen("/users", "/teams", 1);
    for (forged, why) in [(without, "entry 3 is missing"), (changed, "was changed")] {
        std::fs::write(&path, forged)?;
        let seen = verify(&head)?;
        ensure!(seen.code == Some(1) && seen.stderr.contains(why), "{seen:?}");
    }
    Ok(())
}
