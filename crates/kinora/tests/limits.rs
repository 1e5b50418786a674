//! What one user may have: so much media, so many requests, so many messages.

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use kinora_protocol::access::{NewKey, NewUser, Quota, Right, Role, ShareView, Sharee, UserChange, UserView};
use kinora_protocol::client::{Client, Shared};
use kinora_protocol::{ErrorCode, routes};
use support::cluster::{Hub, local_key};
use support::random::Random;
use support::{PATIENCE, Place, kinora, run, until, wire};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const MEGABYTE: usize = 1_000_000;

/// A hub with an admin and an editor, and the editor's key.
async fn studio(flags: &[&str]) -> Result<(Place, Hub, String)> {
    let place = Place::new()?;
    let own = ["--local-worker", "off", "--listen", "127.0.0.1:0"];
    let hub = Hub::start_as(&place, &[&own, flags].concat())?;
    for (name, role) in [("ada", Role::Admin), ("emil", Role::Editor)] {
        hub.client.new_user(&NewUser::new(name, role, "drei große Bären")).await?;
    }
    let key = key(&hub, "emil").await?;
    Ok((place, hub, key))
}

async fn key(hub: &Hub, user: &str) -> Result<String> {
    let wanted = NewKey { name: "test".into(), scopes: None, expires_in: None, user: None, login: false };
    hub.client.new_key(Some(user), &wanted).await?.key.context("no key")
}

fn bytes(random: &mut Random, size: usize) -> Vec<u8> {
    (0..size).map(|_| random.below(256) as u8).collect()
}

/// A form with a file on its way.
struct Form {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Form {
    /// Announces all of it and sends its beginning.
    fn begin(hub: &Hub, key: &str, name: &str, content: &[u8], beginning: usize) -> Result<Self> {
        let mut body =
            format!("--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n")
                .into_bytes();
        body.extend(content);
        body.extend(b"\r\n--b--\r\n");
        let (length, bearer) = (body.len().to_string(), format!("Bearer {key}"));
        let headers = [
            ("content-type", "multipart/form-data; boundary=b"),
            ("content-length", &*length),
            ("authorization", &*bearer),
        ];
        let mut stream = wire::open(&hub.address, "POST", routes::MEDIA, &headers)?;
        let rest = body.split_off(beginning.min(body.len()));
        // Who is refused early is not heard to the end.
        let _ = stream.write_all(&body);
        Ok(Self { stream, rest })
    }

    /// Sends the rest; gives the status and what was said.
    fn end(mut self) -> Result<(u16, String)> {
        let _ = self.stream.write_all(&self.rest);
        let answer = wire::read(self.stream)?;
        Ok((answer.status, answer.text()))
    }
}

/// Posts a form with a file; gives the status and what was said.
fn post(hub: &Hub, key: &str, name: &str, content: &[u8]) -> Result<(u16, String)> {
    Form::begin(hub, key, name, content, 0)?.end()
}

async fn emil(hub: &Hub) -> Result<UserView> {
    let page = hub.client.users().await?;
    page.items.into_iter().find(|user| user.name == "emil").context("no emil")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_keeps_so_much_and_no_more() -> Result<()> {
    let (place, hub, key) = studio(&["--user-quota", "1500k"]).await?;
    let mut random = Random(1);
    let (one, two, three) =
        (bytes(&mut random, MEGABYTE), bytes(&mut random, MEGABYTE), bytes(&mut random, MEGABYTE / 4));
    ensure!(post(&hub, &key, "one.mp4", &one)?.0 == 201);
    let (status, said) = post(&hub, &key, "two.mp4", &two)?;
    ensure!(status == 507 && said.contains("1500000 bytes may be kept"), "{status} {said}");
    ensure!(emil(&hub).await?.used == MEGABYTE as u64, "{:?}", emil(&hub).await?);
    let bearer = format!("Bearer {key}");
    let tus = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let length = body.len().to_string();
        let own = [("authorization", &*bearer), ("tus-resumable", "1.0.0"), ("content-length", &*length)];
        let mut stream = wire::open(&hub.address, method, path, &[&own, headers].concat())?;
        let _ = stream.write_all(body);
        wire::read(stream)
    };
    let refused = tus("POST", routes::UPLOADS, &[("upload-length", "600000")], &[])?;
    ensure!(refused.status == 507, "{refused:?}");
    // One that is on its way counts, also before it has come.
    let begun = tus("POST", routes::UPLOADS, &[("upload-length", "400000")], &[])?;
    ensure!(begun.status == 201, "{begun:?}");
    ensure!(post(&hub, &key, "three.mp4", &three)?.0 == 507, "what is on its way does not count");
    // One that does not say how long it will be is stopped when it is too long.
    let endless = tus("POST", routes::UPLOADS, &[("upload-defer-length", "1")], &[])?;
    let path = endless.header("location")?.to_owned();
    let path = path.rsplit_once("/api/").map(|(_, rest)| format!("/api/{rest}")).context("no path")?;
    let bytes = ("content-type", "application/offset+octet-stream");
    let stopped = tus("PATCH", &path, &[bytes, ("upload-offset", "0")], &three)?;
    ensure!(stopped.status == 507, "{stopped:?}");
    ensure!(
        tus("PATCH", &path, &[bytes, ("upload-offset", "0"), ("upload-length", "200000")], &[])?.status
            == 507
    );
    // What is joined from parts is looked at before it is written, and leaves nothing when it is too much.
    let part =
        tus("POST", routes::UPLOADS, &[("upload-length", "50000"), ("upload-concat", "partial")], &[])?;
    let part = part.header("location")?.to_owned();
    let part = part.rsplit_once("/api/").map(|(_, rest)| format!("/api/{rest}")).context("no path")?;
    let sent = tus("PATCH", &part, &[bytes, ("upload-offset", "0")], &three[..50_000])?;
    ensure!(sent.status == 204, "{sent:?}");
    let twice = tus("POST", routes::UPLOADS, &[("upload-concat", &format!("final;{part} {part}"))], &[])?;
    ensure!(twice.status == 403, "{twice:?}");
    let before = emil(&hub).await?.used;
    let joined = tus("POST", routes::UPLOADS, &[("upload-concat", &format!("final;{part}"))], &[])?;
    ensure!(joined.status == 201, "{joined:?}");
    ensure!(emil(&hub).await?.used == before, "what was joined counts twice");
    // An admin gives more, to this one alone.
    let given = run(kinora()
        .args(["users", "quota", "emil", "3M", "--hub", &hub.address])
        .env("KINORA_KEY", local_key(&place).context("no key")?))?;
    ensure!(given.code == Some(0) && given.stdout.contains("of 3.00 MB"), "{given:?}");
    // What is one's own already takes nothing more.
    ensure!(post(&hub, &key, "again.mp4", &one)?.0 == 201);
    ensure!(emil(&hub).await?.used == (MEGABYTE + 450_000) as u64, "{:?}", emil(&hub).await?);
    ensure!(post(&hub, &key, "two.mp4", &two)?.0 == 201);
    // Nobody is made the owner of more than it may keep.
    let small = UserChange { quota: Some(Quota::Bytes(1000)), ..UserChange::default() };
    hub.client.change_user("ada", &small).await?;
    let digest: kinora_protocol::Digest =
        blake3::hash(&two).to_hex().to_string().try_into().map_err(anyhow::Error::msg)?;
    let emils = Client::new(&hub.address)?.showing(Some(key.clone()));
    let given = emils
        .share(&Shared::Media(digest), &ShareView { with: Sharee::User("ada".into()), right: Right::Own })
        .await;
    ensure!(given.is_err_and(|failure| failure.message.contains("no 1000000 bytes more")), "it was given");
    // Who deletes has room again.
    let media = blake3::hash(&one).to_hex().to_string().try_into().map_err(anyhow::Error::msg)?;
    Client::new(&hub.address)?.showing(Some(key.clone())).delete_media(&media).await?;
    ensure!(emil(&hub).await?.used == (MEGABYTE + 450_000) as u64, "{:?}", emil(&hub).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_that_come_at_once_as_many_as_fit() -> Result<()> {
    let (_place, hub, key) = studio(&[]).await?;
    let quota = UserChange { quota: Some(Quota::Bytes(2_500_000)), ..UserChange::default() };
    hub.client.change_user("emil", &quota).await?;
    let mut random = Random(2);
    let files: Vec<Vec<u8>> = (0..6).map(|_| bytes(&mut random, MEGABYTE)).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asks: Vec<_> = files.iter().map(|file| scope.spawn(|| post(&hub, &key, "a.mp4", file))).collect();
        asks.into_iter()
            .map(|ask| Ok(ask.join().map_err(|_| anyhow::anyhow!("it broke"))??.0))
            .collect::<Result<_>>()
    })?;
    ensure!(statuses.iter().filter(|status| **status == 201).count() == 2, "{statuses:?}");
    ensure!(statuses.iter().all(|status| [201, 507].contains(status)), "{statuses:?}");
    ensure!(emil(&hub).await?.used == 2 * MEGABYTE as u64);
    Ok(())
}

/// How many files are coming.
fn incoming(place: &Place) -> usize {
    let names = std::fs::read_dir(place.at("data").join("media")).into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".incoming-")).count()
}

/// One that will not fit, and is still coming, takes no room from those that came before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_let_in_is_not_turned_away_at_the_end() -> Result<()> {
    let (place, hub, key) = studio(&[]).await?;
    let quota = UserChange { quota: Some(Quota::Bytes(2_500_000)), ..UserChange::default() };
    hub.client.change_user("emil", &quota).await?;
    let mut random = Random(3);
    let files: Vec<Vec<u8>> = (0..3).map(|_| bytes(&mut random, MEGABYTE)).collect();
    let mut forms = Vec::new();
    for (nth, file) in files.iter().enumerate() {
        forms.push(Form::begin(&hub, &key, "a.mp4", file, MEGABYTE / 4)?);
        // The hub writes into one file for each that it has let in.
        until("it to be let in", || incoming(&place) == nth + 1)?;
    }
    let statuses: Vec<u16> = forms.into_iter().map(|form| Ok(form.end()?.0)).collect::<Result<_>>()?;
    ensure!(statuses == [201, 201, 507], "{statuses:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_makes_so_many_requests() -> Result<()> {
    let (_place, hub, emils) = studio(&["--requests-per-second", "2"]).await?;
    let adas = key(&hub, "ada").await?;
    let ask = |key: &str| {
        wire::ask(&hub.address, "GET", routes::SYSTEM, &[("authorization", &format!("Bearer {key}"))])
    };
    let answers: Vec<_> = (0..40).map(|_| ask(&emils)).collect::<Result<_>>()?;
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    // Twenty at once, and two each second from then on: a busy machine may take some.
    ensure!((1..=20).contains(&refused), "{refused} of 40 were too many");
    let last = answers.iter().find(|answer| answer.status == 429).context("no answer")?;
    let seconds: u64 = last.header("retry-after")?.parse()?;
    ensure!((1..=3).contains(&seconds) && last.text().contains("too_many"), "{last:?}");
    // Another key of the same user is none of it, nor is another user, nor is who sits at the hub's machine.
    let others = key(&hub, "emil").await?;
    ensure!(ask(&others)?.status == 200 && ask(&adas)?.status == 200);
    // All keys of a user together make four times as many as one: eighty at once and eight each second.
    let started = Instant::now();
    let mut is_refused = false;
    while !is_refused {
        ensure!(started.elapsed() < PATIENCE, "a user may ask anything by many keys");
        let one = key(&hub, "emil").await?;
        // A busy machine asks more slowly than keys may.
        for _ in 0..18 {
            is_refused |= ask(&one)?.status == 429;
        }
    }
    ensure!(ask(&adas)?.status == 200);
    for _ in 0..50 {
        hub.client.system().await?;
    }
    // Our own client waits for its turn.
    let client = Client::new(&hub.address)?.showing(Some(emils));
    for _ in 0..4 {
        client.system().await?;
    }
    // Who shows nothing has less, and who tries keys is stopped before they are looked at.
    let proxied = [("x-forwarded-for", "192.0.2.1"), ("authorization", "Bearer kn_0_0")];
    let tried: Vec<u16> = (0..260)
        .map(|_| Ok(wire::ask(&hub.address, "GET", routes::SYSTEM, &proxied)?.status))
        .collect::<Result<_>>()?;
    ensure!(tried[0] == 401 && tried.contains(&429), "{tried:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_talks_all_the_time_is_cut_off() -> Result<()> {
    let (_place, hub, key) = studio(&[]).await?;
    let url = format!("{}{}", hub.address.replacen("http", "ws", 1), routes::LIVE);
    let open = async || -> Result<_> {
        let mut request = url.as_str().into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse()?);
        Ok(tokio_tungstenite::connect_async(request).await?.0)
    };
    let mut loud = open().await?;
    for _ in 0..500 {
        if loud.send(Message::Ping(Vec::new().into())).await.is_err() {
            break;
        }
    }
    let end = async { while let Some(Ok(_)) = loud.next().await {} };
    tokio::time::timeout(Duration::from_secs(10), end).await.context("it goes on")?;
    // A message that is too long ends it before it is there.
    let mut long = open().await?;
    let _ = long.send(Message::text("a".repeat(1 << 20))).await;
    let end = async { while let Some(Ok(_)) = long.next().await {} };
    tokio::time::timeout(Duration::from_secs(10), end).await.context("it goes on")?;
    let failure = Client::new(&hub.address)?.system().await.err().context("let in")?;
    ensure!(failure.code == ErrorCode::Unauthenticated, "{failure:?}");
    Ok(())
}

/// What has no business being long is not taken when it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_heads_have_an_end() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let long = vec![b' '; (1 << 20) + 1];
    let refused = wire::send(&hub.address, "POST", "/api/v1/jobs", "application/json", &long)?;
    ensure!(refused.status == 413, "{refused:?}: {}", refused.text());
    let just = wire::send(&hub.address, "POST", "/api/v1/jobs", "application/json", &long[..1 << 20])?;
    ensure!(just.status == 422, "{just:?}: {}", just.text());
    let word = "x".repeat(2 << 20);
    // Who sends so much may be cut off before it has read the answer.
    if let Ok(answer) = wire::ask(&hub.address, "GET", "/health/live", &[("x-word", &word)]) {
        ensure!(answer.status == 431, "{answer:?}");
    }
    ensure!(wire::ask(&hub.address, "GET", "/health/live", &[])?.status == 204);
    Ok(())
}
