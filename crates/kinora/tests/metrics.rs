//! Numbers for whoever watches a hub: they are there, they are right, and dashboards and alerts ask for none that is not.
#![cfg(unix)]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::ChunkRecipe;
use support::cluster::{Hub, Worker, job};
use support::{Place, deploy, eight, loud, wire};

fn scrape(hub: &Hub) -> Result<String> {
    let answer = wire::ask(&hub.address, "GET", "/metrics", &[])?;
    ensure!(answer.status == 200, "{answer:?}");
    ensure!(answer.header("content-type")?.starts_with("application/openmetrics-text"), "{answer:?}");
    let text = answer.text();
    ensure!(text.ends_with("# EOF\n"), "{text}");
    Ok(text)
}

/// The number on the line that begins so.
fn number(text: &str, line: &str) -> Result<f64> {
    let found = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' '));
    Ok(found.with_context(|| format!("no {line} in\n{text}"))?.parse()?)
}

/// Names of all that has a sample, or could have one.
fn names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            let ends: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            found.extend(ends.iter().map(|end| format!("{name}{end}")));
        }
    }
    found
}

/// Names of ours that a text asks for.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("kinora_")).map(str::to_owned).collect()
}

/// Is there where a graphics processor is whose driver says how busy it is.
const OF_GPUS: &str = "kinora_node_gpu_busy_ratios";

/// As Prometheus reads them.
fn check_rules() -> Result<()> {
    let rules = deploy("prometheus/kinora.rules.yml");
    let Ok(ended) = Command::new("promtool").args(["check", "rules"]).arg(rules).output() else {
        loud(
            "SKIPPED: promtool is not installed (Debian: prometheus): only the names in the rules are looked at",
        );
        return Ok(());
    };
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_right() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &["--local-worker", "off"])?;
    let fresh = scrape(&hub)?;
    ensure!(number(&fresh, "kinora_jobs{phase=\"Completed\"}")? == 0.0);
    ensure!(number(&fresh, "kinora_ready{part=\"store\"}")? == 1.0);
    let media = hub.upload(&eight()?).await?;
    let waiting = hub.client.submit(&job(media.clone()), None).await?;
    let text = scrape(&hub)?;
    ensure!(number(&text, "kinora_queue_tasks{kind=\"probe\"}")? == 1.0, "{text}");
    let size = std::fs::metadata(eight()?)?.len() as f64;
    ensure!(
        number(&text, "kinora_media_bytes")? == size
            && number(&text, "kinora_moved_bytes_total{flow=\"uploaded\"}")? == size
    );
    let worker = Worker::start(&place, "one", &hub.address, Duration::ZERO, &["--copy"])?;
    ensure!(hub.ends(waiting.id).await?.phase == JobPhase::Completed);
    let again = hub.client.submit(&job(media.clone()), None).await?;
    ensure!(hub.ends(again.id).await?.phase == JobPhase::Completed);
    let mut other = job(media.clone());
    other.recipe.chunks = ChunkRecipe { seconds: Some(4.0), ..ChunkRecipe::default() };
    let other = hub.client.submit(&NewJob { name: Some("p.mkv".to_owned()), ..other }, None).await?;
    ensure!(hub.ends(other.id).await?.phase == JobPhase::Completed);
    let out = place.at("o.mp4");
    let fetched = hub.client.fetch(again.id, &out).await? as f64;
    // The machine has looked at itself by then.
    let is_busy = || scrape(&hub).is_ok_and(|text| text.contains("kinora_node_cpu_busy_ratios{"));
    support::until("the machine to say how busy it is", is_busy)?;
    let text = scrape(&hub)?;
    for (line, wanted) in [
        ("kinora_jobs{phase=\"Completed\"}", 3.0),
        ("kinora_jobs_ended_total{phase=\"Completed\"}", 3.0),
        ("kinora_queue_tasks{kind=\"chunk\"}", 0.0),
        ("kinora_running_tasks{kind=\"chunk\"}", 0.0),
        ("kinora_task_attempts_total{kind=\"probe\",outcome=\"done\"}", 1.0),
        ("kinora_task_attempts_total{kind=\"chunk\",outcome=\"done\"}", 6.0),
        ("kinora_task_seconds_count{kind=\"chunk\"}", 6.0),
        ("kinora_chunks_total{from=\"earlier work\"}", 4.0),
        ("kinora_chunks_total{from=\"encoder\"}", 6.0),
        ("kinora_leases_lost_total", 0.0),
        ("kinora_sandbox_stops_total", 0.0),
        ("kinora_nodes{state=\"idle\"}", 1.0),
        ("kinora_websockets{kind=\"node\"}", 1.0),
        ("kinora_moved_bytes_total{flow=\"served\"}", fetched),
    ] {
        let found = number(&text, line)?;
        ensure!(found == wanted, "{line} is {found} and not {wanted} in\n{text}");
    }
    ensure!(number(&text, "kinora_moved_bytes_total{flow=\"work\"}")? > size);
    let route = "kinora_http_requests_total{method=\"POST\",route=\"/api/v1/jobs\",status=\"201\"}";
    ensure!(number(&text, route)? == 3.0, "{text}");
    is_asked_for(&names(&text))?;
    drop(worker);
    support::until("the node to be gone", || {
        scrape(&hub)
            .is_ok_and(|text| number(&text, "kinora_websockets{kind=\"node\"}").is_ok_and(|n| n == 0.0))
    })?;
    Ok(())
}

/// Dashboards and alerts ask for what is there, and for all of it.
fn is_asked_for(there: &BTreeSet<String>) -> Result<()> {
    let mut looked = BTreeSet::new();
    for folder in ["grafana", "prometheus"] {
        for name in support::names(&deploy(folder))? {
            let path = deploy(folder).join(&name);
            let text = std::fs::read_to_string(&path)?;
            if name.ends_with(".json") {
                let board: serde_json::Value = serde_json::from_str(&text)?;
                ensure!(board["panels"].as_array().is_some_and(|panels| panels.len() > 4), "{name}");
                ensure!(board["uid"].as_str() == name.strip_suffix(".json"), "{name}");
            }
            // Names of files are none of metrics.
            let wanted = asked(&text.replace("kinora.", ""));
            let missing: Vec<_> = wanted.difference(there).filter(|name| *name != OF_GPUS).collect();
            ensure!(missing.is_empty(), "{name} asks for {missing:?}; there are {there:#?}");
            looked.extend(wanted);
        }
    }
    // Sums of histograms are for others; all else is on a dashboard.
    let unseen: Vec<_> = there
        .difference(&looked)
        .filter(|name| {
            name.starts_with("kinora_") && !["_sum", "_count"].iter().any(|end| name.ends_with(end))
        })
        .collect();
    ensure!(unseen.is_empty(), "on no dashboard: {unseen:?}");
    check_rules()
}
