//! How machines are let in, known, and shut out: real workers at a hub that others can reach.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_access::Secret;
use kinora_access::node::{SigningKey, Statement, fingerprint, hex};
use kinora_protocol::access::{Enroll, NewEnrollment, Renew};
use kinora_protocol::api::{NodeState, NodeVerb};
use kinora_protocol::class::Tags;
use kinora_protocol::client::Client;
use kinora_protocol::node::{Capabilities, Hello, PROTOCOL, Slots};
use kinora_protocol::{EnrollmentId, ErrorCode, NodeId, routes};
use support::cluster::{Hub, job};
use support::{Place, eight, kinora, run, wire};

/// A hub that others can reach; nobody works for it who has not been let in.
fn hub(place: &Place, flags: &[&str]) -> Result<Hub> {
    let own = ["--local-worker", "off", "--listen", "127.0.0.1:0", "--allow-host", "studio.lan"];
    Hub::start_as(place, &[&own, flags].concat())
}

/// A worker that shows nothing but what it has itself.
fn worker(place: &Place, name: &str, hub: &Hub, flags: &[&str]) -> Command {
    let mut command = kinora();
    command.args(["worker", "--hub", &hub.address, "--name", name, "--benchmark-seconds", "0", "--copy"]);
    command.arg("--work-dir").arg(place.at(name)).args(flags);
    command
}

/// It is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn token(hub: &Hub, seconds: u32) -> Result<String> {
    let wanted = NewEnrollment { name: Some("attic".into()), expires_in: Some(seconds) };
    hub.client.new_enrollment(&wanted).await?.token.context("no token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_one_machine_in_once() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place, &[])?;
    let stranger = run(&mut worker(&place, "stranger", &hub, &[]))?;
    ensure!(stranger.code == Some(1) && stranger.stderr.contains("kinora tokens new"), "{stranger:?}");
    // The command that is printed is the one to run.
    let mut printed = kinora();
    printed.args(["tokens", "new", "--node", "--hub", &hub.address, "--address", &hub.address]);
    let key = support::cluster::local_key(&place).context("no key")?;
    let printed = run(printed.env("KINORA_KEY", key))?.stdout;
    let words: Vec<&str> = printed.split_whitespace().collect();
    ensure!(words[..4] == ["kinora", "worker", "--hub", hub.address.as_str()], "{printed}");
    let token = words.last().context("no token")?.to_string();
    let first = Running(worker(&place, "one", &hub, &["--token", &token]).spawn()?);
    hub.connected(1).await?;
    let second = run(&mut worker(&place, "two", &hub, &["--token", &token]))?;
    ensure!(second.code == Some(1) && second.stderr.contains("used before"), "{second:?}");
    let media = hub.upload(&eight()?).await?;
    let made = hub.client.submit(&job(media), None).await?.id;
    let ended = hub.ends(made).await?;
    hub.right(&place, &ended, &eight()?).await?;
    // A later start needs no token, and the same command with the used one does no harm.
    drop(first);
    let again = Running(worker(&place, "one", &hub, &[]).spawn()?);
    until(&hub, "one", NodeState::Idle).await?;
    drop(again);
    let _again = Running(worker(&place, "one", &hub, &["--token", &token]).spawn()?);
    until(&hub, "one", NodeState::Idle).await?;
    let tokens = hub.client.enrollments().await?.items;
    ensure!(tokens.len() == 1 && tokens[0].node.is_some() && tokens[0].token.is_none(), "{tokens:?}");
    Ok(())
}

async fn until(hub: &Hub, name: &str, state: NodeState) -> Result<NodeId> {
    let started = Instant::now();
    loop {
        let nodes = hub.client.nodes().await?.items;
        match nodes.iter().find(|node| node.name == name) {
            Some(node) if node.state == state => return Ok(node.id.clone()),
            _ if started.elapsed() > Duration::from_secs(60) => bail!("{name} is not {state:?}: {nodes:?}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_is_out_at_once_and_loses_nothing_of_others() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place, &[])?;
    let slow = support::cluster::slowed(Duration::from_secs(60))?;
    let tool = slow.ffmpeg().display().to_string();
    let bad_token = token(&hub, 600).await?;
    let flags = ["--token", &bad_token, "--sandbox", "off", "--ffmpeg", &tool, "--persistent"];
    let mut bad = worker(&place, "bad", &hub, &flags).spawn()?;
    let media = hub.upload(&eight()?).await?;
    let made = hub.client.submit(&job(media), None).await?.id;
    hub.until(made, |view| view.chunks.running > 0).await?;
    let node = until(&hub, "bad", NodeState::Processing).await?;
    hub.client.tell_node(&node, NodeVerb::Revoke).await?;
    // What it was at is free at once, before its connection or its leases could have run out.
    let view = hub.client.job(made).await?;
    ensure!(view.chunks.running == 0, "{view:?}");
    let ended = tokio::task::spawn_blocking(move || -> Result<support::Run> {
        let since = Instant::now();
        while bad.try_wait()?.is_none() {
            if since.elapsed() > Duration::from_secs(60) {
                bad.kill()?;
                bail!("it goes on");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        support::finish(bad)
    })
    .await??;
    ensure!(ended.code == Some(1) && ended.stderr.contains("shut out"), "{ended:?}");
    let back = run(&mut worker(&place, "bad", &hub, &[]))?;
    ensure!(back.code == Some(1) && back.stderr.contains("shut it out"), "{back:?}");
    let good_token = token(&hub, 600).await?;
    let _good = Running(worker(&place, "good", &hub, &["--token", &good_token]).spawn()?);
    let ended = hub.ends(made).await?;
    let tasks = hub.right(&place, &ended, &eight()?).await?;
    // The chunk that it was at is somebody else's.
    let of_bad = tasks.iter().flat_map(|task| &task.attempts).filter(|attempt| attempt.node == node);
    ensure!(of_bad.clone().any(|attempt| attempt.outcome.as_deref() == Some("released")), "{tasks:?}");
    let record = hub.client.audit(0).await?.items;
    let revoked = format!("POST {}", routes::of_node(&node, "revoke"));
    ensure!(record.iter().any(|entry| entry.action == revoked && entry.outcome == "done"), "{record:?}");
    ensure!(record.iter().any(|entry| entry.action == "renew" && entry.outcome == "denied"), "{record:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_renewed_and_the_hub_may_be_away() -> Result<()> {
    let place = Place::new()?;
    let mut at = hub(&place, &["--node-identity", "6s"])?;
    let let_in = token(&at, 600).await?;
    let _one = Running(worker(&place, "one", &at, &["--token", &let_in, "--persistent"]).spawn()?);
    until(&at, "one", NodeState::Idle).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    // Every identity of before is over by now; transfers show the last one.
    let media = at.upload(&eight()?).await?;
    let made = at.client.submit(&job(media.clone()), None).await?.id;
    at.ends(made).await?;
    let listen = at.listen();
    drop(at);
    tokio::time::sleep(Duration::from_secs(7)).await;
    at = Hub::start_as(
        &place,
        &["--local-worker", "off", "--listen", &listen, "--allow-host", "x", "--node-identity", "6s"],
    )?;
    until(&at, "one", NodeState::Idle).await?;
    let ended = at.client.submit(&kinora_protocol::api::NewJob { priority: 1, ..job(media) }, None).await?.id;
    at.ends(ended).await?;
    Ok(())
}

/// What a machine says that is not the one that it says to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_replayed_words_are_refused() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place, &[])?;
    let client = Client::new(&hub.address)?;
    let (own, other) =
        (SigningKey::read(&SigningKey::generate()?)?, SigningKey::read(&SigningKey::generate()?)?);
    let shown = client.hub_identity("abc").await?;
    let pin = fingerprint(&shown.public_key);
    let token = token(&hub, 600).await?;
    let (secret, end) = token.rsplit_once('_').context("no pin")?;
    ensure!(end == pin, "a token pins the hub's key");
    let secret: Secret = secret.parse().map_err(|()| anyhow::anyhow!("no token"))?;
    let id = EnrollmentId::from(secret.id).to_string();
    let node = NodeId::from("machine-1".to_owned());
    let asked = |key: &SigningKey, signed_for: &str, hub: &str| Enroll {
        token: EnrollmentId::from(secret.id),
        node: node.clone(),
        public_key: own.public(),
        signature: key.sign(Statement::Enroll { token: &id, node: signed_for, hub }),
        proof: secret.proof(Statement::Enroll { token: &id, node: signed_for, hub }, &own.public()),
    };
    for (wrong, why) in [
        (asked(&other, "machine-1", &pin), "a key that it has not"),
        (asked(&own, "machine-2", &pin), "said about another machine"),
        (asked(&own, "machine-1", &"0".repeat(64)), "said to another hub"),
    ] {
        let failure = client.enroll(&wrong).await.err().context(why)?;
        ensure!(failure.code == ErrorCode::Unauthenticated, "{why}: {failure:?}");
    }
    let other_secret = Enroll { proof: hex(&[1; 32]), ..asked(&own, "machine-1", &pin) };
    ensure!(client.enroll(&other_secret).await.is_err_and(|f| f.code == ErrorCode::Unauthenticated));
    let identity = client.enroll(&asked(&own, "machine-1", &pin)).await?;
    // A signature is good once.
    let challenge = client.challenge(&node).await?;
    let signature = own.sign(Statement::Renew { nonce: &challenge.nonce, node: "machine-1" });
    let renew = Renew { node: node.clone(), nonce: challenge.nonce.clone(), signature };
    client.renew_identity(&renew).await?;
    ensure!(client.renew_identity(&renew).await.is_err_and(|f| f.code == ErrorCode::Unauthenticated));
    let made_up = Renew {
        nonce: hex(&[7; 32]),
        signature: own.sign(Statement::Renew { nonce: &hex(&[7; 32]), node: "machine-1" }),
        ..renew
    };
    ensure!(client.renew_identity(&made_up).await.is_err_and(|f| f.code == ErrorCode::Unauthenticated));
    // A machine works, and does nothing else.
    let bearer = format!("Bearer {}", identity.token);
    for (method, path, status) in [
        ("GET", routes::JOBS, 403),
        ("GET", routes::MEDIA, 403),
        ("POST", routes::NODE_TOKENS, 403),
        ("GET", routes::AUDIT, 403),
        ("POST", "/api/v1/work/1.1.00/source", 403),
    ] {
        let answer = wire::ask(&hub.address, method, path, &[("authorization", &bearer)])?;
        ensure!(answer.status == status || answer.status == 415, "{method} {path}: {answer:?}");
    }
    Ok(())
}

/// The right of one attempt is good for nobody but the machine that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_is_good_for_its_machine_task_and_attempt() -> Result<()> {
    use kinora_protocol::node::ToNode;
    let place = Place::new()?;
    let hub = hub(&place, &[])?;
    let media = hub.upload(&eight()?).await?;
    hub.client.submit(&job(media), None).await?;
    let (one, hello) = machine(&place, &hub, "one").await?;
    let (two, _) = machine(&place, &hub, "two").await?;
    let (to_hub, mut from_hub) = one.connect_node().await?;
    // A machine speaks for itself.
    let mut other = hello.clone();
    other.node = NodeId::from("two".to_owned());
    let (lying, mut told) = one.connect_node().await?;
    lying.send(kinora_protocol::node::ToHub::Hello(Box::new(other))).await?;
    ensure!(matches!(told.recv().await, Some(ToNode::Refused(_))), "it was believed");
    to_hub.send(kinora_protocol::node::ToHub::Hello(Box::new(hello))).await?;
    let ready = kinora_protocol::node::ToHub::Ready { shares_files: false, speeds: Vec::new() };
    to_hub.send(ready).await?;
    let capability = loop {
        match tokio::time::timeout(Duration::from_secs(20), from_hub.recv()).await?.context("the end")? {
            ToNode::Lease(grant) => break grant.capability,
            _ => continue,
        }
    };
    let all = vec![(0, 100)];
    ensure!(one.work_source(&capability, all.clone()).await.is_ok());
    let words: Vec<&str> = capability.splitn(3, '.').collect();
    let task: i64 = words[0].parse()?;
    let attempt: u32 = words[1].parse()?;
    for forged in [
        format!("{}.{}.{}", task + 1, attempt, words[2]),
        format!("{}.{}.{}", task, attempt + 1, words[2]),
        format!("{}.{}.{}", task, attempt, "0".repeat(words[2].len())),
    ] {
        let failure = one.work_source(&forged, all.clone()).await.err().context(forged)?;
        ensure!(failure.message.contains("no capability"), "{failure:?}");
    }
    let stolen = two.work_source(&capability, all.clone()).await.err().context("another machine had it")?;
    ensure!(stolen.message.contains("no capability"), "{stolen:?}");
    let nobody = Client::new(&hub.address)?.work_source(&capability, all.clone()).await;
    ensure!(nobody.is_err_and(|failure| failure.code == ErrorCode::Unauthenticated));
    let denied: Vec<_> =
        hub.client.audit(0).await?.items.into_iter().filter(|entry| entry.outcome == "denied").collect();
    for (action, detail, times) in [("connect", "greets as machine two", 1), ("work", "no capability", 4)] {
        let found = denied.iter().filter(|e| e.action == action && e.detail.contains(detail)).count();
        ensure!(found == times, "{action}, {detail}: {found} in {denied:?}");
    }
    // Shut out in the middle of its task, it gets nothing more.
    hub.client.tell_node(&NodeId::from("one".to_owned()), NodeVerb::Revoke).await?;
    let late = one.work_source(&capability, all).await.err().context("it went on")?;
    ensure!(late.code == ErrorCode::Unauthenticated, "{late:?}");
    Ok(())
}

/// A client that shows the identity of a machine, and how that machine greets.
async fn machine(place: &Place, hub: &Hub, name: &str) -> Result<(Client, kinora_protocol::node::Hello)> {
    let client = Client::new(&hub.address)?;
    let folder = place.at(name);
    std::fs::create_dir_all(&folder)?;
    let node = NodeId::from(name.to_owned());
    let machine = kinora_worker::identity::Machine::open(&folder, node.clone(), client.clone(), None)?;
    machine.enroll(&token(hub, 600).await?).await?;
    Ok((client, hello(node)))
}

/// A machine that could do anything.
fn hello(node: NodeId) -> Hello {
    Hello {
        protocol: PROTOCOL,
        name: node.to_string(),
        version: String::new(),
        node,
        capabilities: Capabilities {
            ffmpeg: "ffmpeg of this test".to_owned(),
            encoders: vec![kinora_protocol::encode::Encoder::X264],
            cores: 2,
            ..Capabilities::default()
        },
        slots: Slots { chunks: 1, other: 1 },
        tags: Tags::NONE,
        priority: 0,
        holding: Vec::new(),
    }
}

/// Somebody who has taken the hub's place at its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_works_for_no_other_hub_than_its_own() -> Result<()> {
    let place = Place::new()?;
    let own = hub(&place, &[])?;
    let let_in = token(&own, 600).await?;
    let one = Running(worker(&place, "one", &own, &["--token", &let_in]).spawn()?);
    until(&own, "one", NodeState::Idle).await?;
    drop(one);
    let listen = own.listen();
    drop(own);
    let elsewhere = Place::new()?;
    let flags = ["--local-worker", "off", "--listen", listen.as_str()];
    let imposter = Hub::start_as(&elsewhere, &flags)?;
    let refused = run(&mut worker(&place, "one", &imposter, &[]))?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("not the hub that is meant"), "{refused:?}");
    let refused = run(&mut worker(&place, "new", &imposter, &["--token", &let_in]))?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("not the hub that is meant"), "{refused:?}");
    ensure!(imposter.client.nodes().await?.items.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_has_its_time() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place, &[])?;
    let brief = token(&hub, 1).await?;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let late = run(&mut worker(&place, "late", &hub, &["--token", &brief]))?;
    ensure!(late.code == Some(1) && late.stderr.contains("time of this token is over"), "{late:?}");
    let garbled = run(&mut worker(&place, "late", &hub, &["--token", "ke_1"]))?;
    ensure!(garbled.code == Some(1) && garbled.stderr.contains("copy the whole"), "{garbled:?}");
    let mut lines = BufReader::new(late.stderr.as_bytes()).lines();
    ensure!(lines.all(|line| line.is_ok_and(|line| !line.contains(&brief))), "a token stands in no message");
    Ok(())
}
