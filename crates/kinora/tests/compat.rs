//! Clients of other systems, played by what their documentation has them say.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use support::cluster::Hub;
use support::{PATIENCE, Place, eight, kinora, run, wire};
use tokio_tungstenite::tungstenite::Message;

/// One request over a connection of its own.
fn http(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
    let answer = wire::send(address, method, path, "application/json", body.as_bytes())?;
    Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
}

fn command(hub: &Hub, command: Value) -> Result<Value> {
    Ok(http(&hub.address, "POST", "/ws/command", &command.to_string())?.1)
}

fn until_status(hub: &Hub, job: &str, wanted: &str) -> Result<Value> {
    let started = Instant::now();
    loop {
        let answer = command(hub, json!({ "GetJobStatus": { "job_id": job } }))?;
        if answer["JobStatus"]["status"] == wanted {
            return Ok(answer["JobStatus"].clone());
        }
        ensure!(started.elapsed() < PATIENCE, "it does not become {wanted}: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_cluster() -> Result<()> {
    let place = Place::new()?;
    let films = place.at("films");
    std::fs::create_dir(&films)?;
    std::fs::copy(eight()?, films.join("test1.mp4"))?;
    let films = films.display().to_string();
    let hub = Hub::start_as(
        &place,
        &[
            "--listen",
            "127.0.0.1:0",
            "--local-worker",
            "off",
            "--allow-dir",
            &films,
            "--required-clients",
            "1",
            "--benchmark-duration",
            "10",
            "--ffmpeg-params",
            "-c:v libx264 -preset ultrafast",
            "--file-name-output",
            "output.mp4",
            "--exactly",
            "true",
            "--chunk-size",
            "1048576",
            "--max-retries",
            "3",
            "--retry-delay",
            "5",
        ],
    )?;
    let outside = command(&hub, json!({ "ProcessLocalFile": { "file_path": "/etc/passwd" } }))?;
    ensure!(outside["Error"]["code"] == "INVALID_FILE", "{outside}");
    let missing = command(&hub, json!({ "ProcessLocalFile": { "file_path": "none.mp4" } }))?;
    ensure!(missing["Error"]["message"].as_str().is_some_and(|m| m.contains("none.mp4")), "{missing}");
    let odd = command(&hub, json!({ "Nonsense": null }))?;
    ensure!(odd["Error"]["code"] == "INVALID_COMMAND", "{odd}");
    let created = command(&hub, json!({ "ProcessLocalFile": { "file_path": "test1.mp4" } }))?;
    let job = created["JobCreated"]["job_id"].as_str().with_context(|| created.to_string())?.to_owned();
    until_status(&hub, &job, "WaitingForClients")?;
    let port = hub.address.rsplit(':').next().context("no port")?;
    let mut worker = kinora();
    worker.args(["worker", "--server-ip", "127.0.0.1", "--server-port", port, "--benchmark-duration", "0"]);
    worker.args(["--reconnect-delay", "3", "--persistent", "true", "--work-dir"]).arg(place.at("work"));
    let mut worker = worker.spawn()?;
    let done = until_status(&hub, &job, "Completed")?;
    ensure!(done["progress"] == 100.0 && done["error"].is_null(), "{done}");
    let jobs = command(&hub, json!({ "ListJobs": null }))?;
    ensure!(
        jobs["JobsList"][0]["job_id"] == *job && jobs["JobsList"][0]["file_name"] == "output.mp4",
        "{jobs}"
    );
    let clients = command(&hub, json!({ "ListClients": null }))?;
    ensure!(clients["ClientsList"][0]["status"] == "Idle", "{clients}");
    // The same commands as messages.
    let url = format!("{}/ws/command", hub.address.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let mut ask = async |command: Value| -> Result<Value> {
        socket.send(Message::text(command.to_string())).await?;
        let answer = socket.next().await.context("no answer")??;
        Ok(serde_json::from_str(answer.to_text()?)?)
    };
    let cancelled = ask(json!({ "CancelJob": { "job_id": job } })).await?;
    ensure!(cancelled["JobStatus"]["status"] == "Completed", "what has ended stays as it is: {cancelled}");
    let unknown = ask(json!({ "GetJobStatus": { "job_id": "none" } })).await?;
    ensure!(unknown["Error"]["code"] == "JOB_NOT_FOUND", "{unknown}");
    let nobody = ask(json!({ "DisconnectClient": { "client_id": "nobody" } })).await?;
    ensure!(nobody["Error"]["code"] == "CLIENT_NOT_FOUND", "{nobody}");
    let client = clients["ClientsList"][0]["client_id"].clone();
    let gone = ask(json!({ "DisconnectClient": { "client_id": client } })).await?;
    ensure!(gone["ClientsList"].is_array(), "{gone}");
    // A client that only hands over a file.
    let sent = run(kinora()
        .args(["worker", "--server-ip", "127.0.0.1", "--server-port", port, "--upload-file"])
        .arg(eight()?))?;
    ensure!(sent.code == Some(0) && sent.stdout.contains("is job"), "{sent:?}");
    worker.kill()?;
    worker.wait()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_edge() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let said = json!({ "node_id": "edge-1", "name": "kitchen", "cpu_cores": 4, "gpu": null }).to_string();
    let (status, registered) = http(&hub.address, "POST", "/api/edge/nodes/register", &said)?;
    ensure!((status, &registered["node_id"]) == (201, &json!("edge-1")), "{registered}");
    let (status, _) = http(&hub.address, "POST", "/api/edge/nodes/edge-1/heartbeat", "{}")?;
    ensure!(status == 200);
    let (status, unknown) = http(&hub.address, "POST", "/api/edge/nodes/edge-2/heartbeat", "{}")?;
    ensure!(status == 404 && unknown["detail"].as_str().is_some_and(|d| d.contains("edge-2")), "{unknown}");
    let (_, nodes) = http(&hub.address, "GET", "/api/edge/nodes", "")?;
    ensure!(nodes["nodes"][0]["name"] == "kitchen" && nodes["nodes"][0]["status"] == "online", "{nodes}");
    let (_, cluster) = http(&hub.address, "GET", "/api/edge/cluster/status", "")?;
    ensure!((&cluster["total_nodes"], &cluster["online_nodes"]) == (&json!(1), &json!(1)), "{cluster}");
    Ok(())
}
