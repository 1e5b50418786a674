//! Clients of `service`, `render` and `edge` that bring videos, played by what their documentation has them say.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::cluster::Hub;
use support::wire::{self, Answer, post_form};
use support::{PATIENCE, Place, decoded, kinora, run, short, video_entry};

fn value(answer: &Answer) -> Result<Value> {
    serde_json::from_slice(&answer.body).with_context(|| format!("{answer:?}"))
}

fn get(hub: &Hub, path: &str) -> Result<Value> {
    let answer = wire::ask(&hub.address, "GET", path, &[])?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    value(&answer)
}

fn post(hub: &Hub, path: &str, said: &Value) -> Result<(u16, Value)> {
    let answer = wire::send(&hub.address, "POST", path, "application/json", said.to_string().as_bytes())?;
    Ok((answer.status, value(&answer)?))
}

fn until(hub: &Hub, path: &str, status: &str) -> Result<Value> {
    let started = Instant::now();
    loop {
        let found = get(hub, path)?;
        if found["status"] == status {
            return Ok(found);
        }
        ensure!(
            found["status"] != "failed" && started.elapsed() < PATIENCE,
            "it does not become {status}: {found}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The bytes of a result are a video of as many frames as the source.
fn is_whole(place: &Place, bytes: &[u8], codec: &str) -> Result<()> {
    let path = place.file("result.mp4", bytes)?;
    let (frames, wanted) = (decoded(&path)?.len(), decoded(&short()?)?.len());
    ensure!(frames == wanted, "{frames} frames of {wanted}");
    let found = video_entry(&path, "codec_name")?;
    ensure!(found == codec, "{found}");
    Ok(())
}

fn hub(place: &Place) -> Result<Hub> {
    Hub::start_as(place, &["--listen", "127.0.0.1:0"])
}

/// Messages of a socket until one of them says that a job has ended.
async fn told(hub: &Hub, path: &str) -> Result<tokio::task::JoinHandle<Result<Vec<Value>>>> {
    let url = format!("{}{path}", hub.address.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    Ok(tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, socket.next()).await?.context("it was closed")??;
            let Ok(message) = serde_json::from_str::<Value>(message.to_text()?) else { continue };
            let ended = message["status"] == "completed";
            seen.push(message);
            if ended {
                return Ok(seen);
            }
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_service() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place)?;
    let listening = told(&hub, "/ws/client-7").await?;
    let uploaded = post_form(&hub.address, "/upload", &[], Some(&short()?))?;
    ensure!(uploaded.status == 200, "{uploaded:?}");
    let file = value(&uploaded)?["file_id"].as_str().context("no file_id")?.to_owned();
    let done = until(&hub, &format!("/internal/video-enhancement-status/{file}"), "completed")?;
    ensure!(done["file_id"] == *file && done["progress"] == 100.0 && done["error"].is_null(), "{done}");
    until(&hub, &format!("/internal/metadata-extraction-status/{file}"), "completed")?;
    let processed = format!("/processed_videos/{file}");
    let whole = wire::ask(&hub.address, "GET", &processed, &[])?;
    ensure!(whole.status == 200 && whole.header("content-type")? == "video/mp4", "{whole:?}");
    is_whole(&place, &whole.body, "h264")?;
    let part = wire::ask(&hub.address, "GET", &processed, &[("range", "bytes=4-7")])?;
    ensure!(part.status == 206 && part.body == b"ftyp", "{part:?}");
    let known = get(&hub, &format!("/metadata/{file}.json"))?;
    ensure!(known["verdict"]["admitted"]["streams"][0]["codec"] == "h264", "{known}");
    ensure!(known["histogram"].is_object() && known["thumbnails"].is_array(), "{known}");
    let seen = listening.await??;
    let fits = |message: &Value| message["client_id"] == "client-7" && message["file_id"] == *file;
    ensure!(seen.iter().all(fits), "{seen:?}");
    for path in [
        "/processed_videos/none",
        "/metadata/none.json",
        "/metadata/none",
        "/internal/video-enhancement-status/none",
    ] {
        let missing = wire::ask(&hub.address, "GET", path, &[])?;
        ensure!(missing.status == 404, "{path}: {missing:?}");
    }
    let nothing = post_form(&hub.address, "/upload", &[("other", "x")], None)?;
    ensure!(nothing.status == 400 && nothing.text().contains("no file"), "{nothing:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_render() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place)?;
    let health = get(&hub, "/api/health")?;
    ensure!(
        health["status"] == "healthy" && health["active_jobs"] == 0 && health["version"].is_string(),
        "{health}"
    );
    ensure!(health["timestamp"].as_i64().is_some_and(|seconds| seconds > 1_700_000_000), "{health}");
    let info = get(&hub, "/api/system-info")?;
    let tiers = ["low", "medium", "high", "ultra"];
    ensure!(info["hardware_tier"].as_str().is_some_and(|tier| tiers.contains(&tier)), "{info}");
    ensure!(
        info["total_ram_gb"].as_f64().is_some_and(|gb| gb > 0.1) && info["available_cores"].is_u64(),
        "{info}"
    );
    ensure!(info["gpu_acceleration"].is_boolean() && info["supported_formats"][0] == "mp4", "{info}");
    for (wish, why) in [("object_detection", "not available"), ("magic", "there is no enhancement")] {
        let refused = post_form(&hub.address, "/api/upload", &[("enhancements", wish)], Some(&short()?))?;
        ensure!(refused.status == 422 && refused.text().contains(why), "{refused:?}");
    }
    let listening = told(&hub, "/ws/progress").await?;
    let uploaded = post_form(
        &hub.address,
        "/api/upload",
        &[("enhancements", "upscaling, color_enhancement, scene_analysis")],
        Some(&short()?),
    )?;
    ensure!(uploaded.status == 200, "{uploaded:?}");
    let job = value(&uploaded)?["job_id"].as_str().context("no job_id")?.to_owned();
    let path = format!("/api/jobs/{job}/status");
    let done = until(&hub, &path, "completed")?;
    ensure!(done["job_id"] == *job && done["progress"] == 100.0, "{done}");
    ensure!(done["processing_stats"]["frames"] == 50 && done["metadata"].is_object(), "{done}");
    let seen = listening.await??;
    ensure!(seen.iter().all(|message| message["job_id"] == *job), "{seen:?}");
    let started = Instant::now();
    while get(&hub, &path)?["metadata"]["scenes"].is_null() {
        ensure!(started.elapsed() < PATIENCE, "no scenes are found");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let result = wire::ask(&hub.address, "GET", &format!("/api/jobs/{job}/download"), &[])?;
    ensure!(
        result.status == 200 && result.header("content-disposition")?.starts_with("attachment"),
        "{result:?}"
    );
    is_whole(&place, &result.body, "h264")?;
    ensure!(video_entry(&place.at("result.mp4"), "width")? == "640", "twice as large");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn videos_of_edge() -> Result<()> {
    let place = Place::new()?;
    let hub = hub(&place)?;
    let uploaded = post_form(&hub.address, "/api/video/upload", &[], Some(&short()?))?;
    let file = value(&uploaded)?["file_path"].as_str().with_context(|| format!("{uploaded:?}"))?.to_owned();
    let process = |operation: &str, parameters: Value| {
        let said = json!({ "operation": operation, "input_file": file, "parameters": parameters, "distributed": true });
        post(&hub, "/api/video/process", &said)
    };
    let parameters =
        json!({ "codec": "hevc", "preset": "ultrafast", "resolution": "90", "bitrate": 300_000 });
    let (status, made) = process("transcode", parameters)?;
    ensure!(status == 202, "{made}");
    let task = made["task_id"].as_str().context("no task_id")?.to_owned();
    let done = until(&hub, &format!("/api/video/tasks/{task}/status"), "completed")?;
    ensure!(done["task_id"] == *task && done["progress"] == 100.0, "{done}");
    let result = wire::ask(&hub.address, "GET", &format!("/api/video/download/{task}"), &[])?;
    is_whole(&place, &result.body, "hevc")?;
    ensure!(video_entry(&place.at("result.mp4"), "height")? == "90");
    let (_, enhanced) = process("enhance", json!({ "contrast": 1.3 }))?;
    let enhanced = enhanced["task_id"].as_str().context("no task_id")?.to_owned();
    until(&hub, &format!("/api/video/tasks/{enhanced}/status"), "completed")?;
    let (_, analyzed) = process("analyze", json!({}))?;
    let analyzed = analyzed["task_id"].as_str().context("no task_id")?.to_owned();
    until(&hub, &format!("/api/video/tasks/{analyzed}/status"), "completed")?;
    for (operation, parameters, status, why) in [
        ("render", json!({}), 422, "timeline"),
        ("transcode", json!({ "codec": "betamax" }), 422, "parameters.codec"),
        ("transcode", json!({ "crf": 99 }), 202, ""),
    ] {
        let (found, said) = process(operation, parameters)?;
        ensure!(found == status && said.to_string().contains(why), "{operation}: {found} {said}");
    }
    let (status, said) =
        post(&hub, "/api/video/process", &json!({ "operation": "enhance", "input_file": "../x" }))?;
    ensure!(status == 404, "{said}");
    inference_of_edge(&place, &hub, &file)?;
    let gpus = get(&hub, "/api/video/gpu/status")?;
    ensure!(gpus["gpu_available"].is_boolean() && gpus["gpus"].is_array(), "{gpus}");
    Ok(())
}

/// Its AI calls: enhancements that are there become jobs, the others are refused by name.
fn inference_of_edge(place: &Place, hub: &Hub, file: &str) -> Result<()> {
    let infer = |model: &str, parameters: Value| {
        post(hub, "/api/ai/inference", &json!({ "model": model, "input": file, "parameters": parameters }))
    };
    let (status, made) = infer("video_enhancement", json!({ "scale": 2, "denoise": "light" }))?;
    ensure!(status == 202 && made["model"] == "video_enhancement", "{made}");
    let task = made["task_id"].as_str().context("no task_id")?.to_owned();
    until(hub, &format!("/api/video/tasks/{task}/status"), "completed")?;
    let result = wire::ask(&hub.address, "GET", &format!("/api/video/download/{task}"), &[])?;
    is_whole(place, &result.body, "h264")?;
    ensure!(video_entry(&place.at("result.mp4"), "width")? == "640");
    let (status, _) = infer("audio_enhancement", json!({ "loudness": -18.0 }))?;
    ensure!(status == 202);
    for (model, parameters, why) in [
        ("style_transfer", json!({}), "not available"),
        ("oracle", json!({}), "there is no model"),
        ("video_enhancement", json!({ "magic": 1 }), "magic"),
    ] {
        let (status, said) = infer(model, parameters)?;
        ensure!(status == 422 && said.to_string().contains(why), "{model}: {status} {said}");
    }
    let models = get(hub, "/api/ai/models")?;
    ensure!(models["operations"] == json!(["video_enhancement", "audio_enhancement"]), "{models}");
    ensure!(get(hub, "/api/ai/stats")?["models"].is_object());
    Ok(())
}

#[test]
fn the_environment_of_other_systems() -> Result<()> {
    let place = Place::new()?;
    let listen = ["--local-worker", "off", "--listen", "127.0.0.1:0"];
    let set =
        [("MAX_FILE_SIZE_MB", "1"), ("ALLOWED_ORIGINS", "https://studio.example"), ("RABBITMQ_URL", "x")];
    let longest = |hub: &Hub| -> Result<String> {
        let told = wire::ask(&hub.address, "OPTIONS", "/api/v1/uploads", &[])?;
        Ok(told.header("tus-max-size")?.to_owned())
    };
    // It is anybody's environment until somebody says whose it is.
    let hub = Hub::start_with(&place, &listen, &set)?;
    ensure!(longest(&hub)? == "50000000000");
    drop(hub);
    let hub = Hub::start_with(&place, &[&listen[..], &["--environment-of", "service"]].concat(), &set)?;
    ensure!(longest(&hub)? == (1 << 20).to_string());
    let origin = [("origin", "https://studio.example")];
    let permitted = wire::ask(&hub.address, "GET", "/api/v1/system", &origin)?;
    ensure!(permitted.header("access-control-allow-origin")? == "https://studio.example", "{permitted:?}");
    drop(hub);
    let flags = [&listen[..], &["--environment-of", "service", "--max-upload", "7M"]].concat();
    ensure!(longest(&Hub::start_with(&place, &flags, &set)?)? == "7000000", "a flag goes over it");
    let wrong = run(kinora()
        .args(["hub", "--environment-of", "service,edge", "--data"])
        .arg(place.at("data"))
        .env("EDGE_VIDEO_CHUNK_SIZE", "long"))?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("EDGE_VIDEO_CHUNK_SIZE is \"long\""), "{wrong:?}");
    Ok(())
}
