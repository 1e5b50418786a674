//! The log for programs: one object in each line, with the ids of what it is about; and how much of it there is.
#![cfg(unix)]

mod support;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::ChildStderr;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::NodeVerb;
use kinora_protocol::job::JobPhase;
use serde_json::Value;
use support::cluster::{Hub, Worker, job};
use support::{Place, eight, kinora, run, signal};

fn read(stderr: Option<ChildStderr>) -> Result<JoinHandle<String>> {
    let mut stderr = stderr.context("no stderr")?;
    Ok(std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    }))
}

fn lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// What a worker says is changed from afar.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_says_more_and_less_when_it_is_told() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    let flags = ["--log-format", "json"];
    let mut worker = Worker::start_with(&place, "one", &hub.address, &flags, &[("KINORA_LOG", "warn")])?;
    let told = read(worker.child.stderr.take())?;
    hub.connected(2).await?;
    let nodes = hub.client.nodes().await?.items;
    let id = |is_one: bool| {
        let node = nodes.iter().find(|node| (node.name == "one") == is_one);
        node.map(|node| node.id.to_string()).context("it is not there")
    };
    let (one, own) = (id(true)?, id(false)?);
    let log =
        |node: &str, filter: &str| run(kinora().args(["log", filter, "--node", node, "--hub", &hub.address]));
    for (node, filter, why) in [
        (own.as_str(), "debug", "the hub's own"),
        ("nobody", "debug", "nobody connected"),
        (&one, "kinora_worker=loud", "no filter"),
    ] {
        let refused = log(node, filter)?;
        ensure!(refused.code == Some(1) && refused.stderr.contains(why), "{node} {filter}: {refused:?}");
    }
    hub.client.tell_node(&own.clone().into(), NodeVerb::Drain).await?;
    for filter in ["kinora_media=trace,kinora_worker=info", "off"] {
        let changed = log(&one, filter)?;
        ensure!(changed.code == Some(0), "{changed:?}");
        let id = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?.id;
        ensure!(hub.ends(id).await?.phase == JobPhase::Completed);
    }
    signal(&worker.child, "TERM")?;
    worker.child.wait()?;
    let said = told.join().unwrap_or_default();
    let lines = lines(&said)?;
    let count = |message: &str| {
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with(message))).count()
    };
    ensure!(count("the log says") == 1 && count("runs") >= 4, "{said}");
    let jobs: BTreeSet<&str> = lines.iter().filter_map(|line| line["span"]["job"].as_str()).collect();
    ensure!(jobs.len() == 1, "it says nothing any more, or said nothing before: {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_names_what_it_is_about() -> Result<()> {
    let place = Place::new()?;
    let flags = ["--listen", "127.0.0.1:0", "--local-worker", "off", "--log-format", "json"];
    let mut hub = Hub::start_with(&place, &flags, &[("KINORA_LOG", "info")])?;
    let said = read(hub.child.stderr.take())?;
    let log = |filter: &[&str]| run(kinora().args(["log", "--hub", &hub.address]).args(filter));
    ensure!(log(&[])?.stdout.trim() == "info");
    let loud = log(&["info,kinora_hub=debug"])?;
    ensure!(loud.code == Some(0) && loud.stdout.contains("kinora_hub=debug"), "{loud:?}");
    let wrong = log(&["kinora_hub=loud"])?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("no filter"), "{wrong:?}");
    ensure!(log(&[])?.stdout.contains("kinora_hub=debug"), "what is wrong changes nothing");
    let environment = [("KINORA_LOG", "info")];
    let mut worker =
        Worker::start_with(&place, "one", &hub.address, &["--log-format", "json"], &environment)?;
    let told = read(worker.child.stderr.take())?;
    let ended = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?;
    ensure!(hub.ends(ended.id).await?.phase == JobPhase::Completed);
    ensure!(log(&["off"])?.code == Some(0));
    let quiet = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?;
    ensure!(hub.ends(quiet.id).await?.phase == JobPhase::Completed);
    signal(&worker.child, "TERM")?;
    worker.child.wait()?;
    signal(&hub.child, "TERM")?;
    hub.child.wait()?;

    let (hub_said, worker_said) = (said.join().unwrap_or_default(), told.join().unwrap_or_default());
    let (hub_lines, worker_lines) = (lines(&hub_said)?, lines(&worker_said)?);
    ensure!(!hub_lines.is_empty(), "{hub_said:?} {worker_said:?}");
    let id = ended.id.to_string();
    let of_job: Vec<&Value> = hub_lines.iter().filter(|line| line["job"] == id.as_str()).collect();
    let has = |message: &str| of_job.iter().any(|line| line["message"] == message);
    ensure!(has("a job is planned") && has("a job is Completed"), "{hub_said}");
    let handed: Vec<&&Value> = of_job
        .iter()
        .filter(|line| line["message"] == "a task is handed out" && line["kind"] == "chunk")
        .collect();
    ensure!(handed.len() == 4 && handed.iter().all(|line| line["task"].is_string()), "{hub_said}");
    ensure!(
        hub_lines.iter().any(|line| line["message"] == "a node is there" && line["node"].is_string()),
        "{hub_said}"
    );
    for line in &hub_lines {
        ensure!(
            line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    // After it was switched off nothing more is said.
    ensure!(
        of_job.len() >= 10
            && hub_lines.iter().filter(|line| line["message"] == "a job is Completed").count() == 1
    );
    let done = worker_lines.iter().filter(|line| line["message"] == "an attempt is done");
    let of_chunks = done.filter(|line| line["span"]["job"] == id.as_str() && line["span"]["kind"] == "chunk");
    ensure!(of_chunks.count() == 4, "{worker_said}");
    Ok(())
}
