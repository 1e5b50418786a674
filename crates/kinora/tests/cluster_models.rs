//! Models in a cluster: only nodes that can run them get the chunks, together they make what one machine makes, and what models did is
//! told.
#![cfg(unix)]

mod support;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::{JobView, NewJob};
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::{Denoise, EnhanceRecipe, Recipe, VideoCodec};
use support::cluster::{Hub, Worker, job};
use support::enhancing::{Enhancer, with_cuts};
use support::{Place, kinora, run, same_frames, wire};

/// Without loss, with less noise by a model.
async fn wanted(hub: &Hub) -> Result<NewJob> {
    let mut recipe = Recipe {
        enhance: EnhanceRecipe { denoise: Some(Denoise::Neural), ..EnhanceRecipe::default() },
        ..Recipe::default()
    };
    recipe.video.codec = Some(VideoCodec::Ffv1);
    recipe.chunks.seconds = Some(1.0);
    recipe.container = Some(kinora_protocol::recipe::Container::Mkv);
    Ok(NewJob { recipe, ..job(hub.upload(&with_cuts()?).await?) })
}

async fn done(hub: &Hub) -> Result<JobView> {
    let id = hub.client.submit(&wanted(hub).await?, None).await?.id;
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_nodes_with_models_make_chunks_with_them() -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let library = enhancer.library()?;
    let environment = [("KINORA_ONNXRUNTIME", library.as_str())];
    let slots = ["--copy", "--slots", "1"];
    let _without = Worker::start(&place, "without", &hub.address, Duration::ZERO, &slots)?;
    let _one = Worker::start_with(&place, "one", &hub.address, &slots, &environment)?;
    let _two = Worker::start_with(&place, "two", &hub.address, &slots, &environment)?;
    hub.connected(3).await?;
    let ended = done(&hub).await?;
    let nodes = hub.client.nodes().await?.items;
    let without = nodes.iter().find(|node| node.name == "without").context("no such node")?;
    ensure!(without.capabilities.inference.models().is_empty(), "{without:?}");
    ensure!(
        !ended.shares.is_empty() && ended.shares.iter().all(|share| share.node != without.id),
        "{ended:?}"
    );
    let notes = hub.client.proof(ended.id).await?.notes;
    ensure!(notes.is_empty(), "{notes:?}");
    let result = place.at("result.mkv");
    let bytes = wire::ask(&hub.address, "GET", &format!("/api/v1/jobs/{}/output", ended.id), &[])?;
    std::fs::write(&result, &bytes.body)?;
    same_frames(&enhancer.whole(&place, &with_cuts()?, &["--denoise", "neural"])?, &result)?;
    // What they did is told a moment later.
    let counted = || async {
        let models = hub.client.models().await?.items;
        let found = models.into_iter().find(|model| model.network.name == "kinora-denoise3");
        anyhow::Ok(found.context("no model")?)
    };
    let frames = ended.frames;
    let mut model = counted().await?;
    for _ in 0..100 {
        if model.count.pictures >= frames {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        model = counted().await?;
    }
    let count = model.count;
    ensure!(model.nodes == 2 && count.pictures >= frames && count.failures == 0, "{model:?}");
    ensure!(count.loads >= 1 && count.hits + count.loads >= count.pictures && count.took_us > 0, "{count:?}");
    let text = wire::ask(&hub.address, "GET", "/metrics", &[])?.text();
    let pictures = "kinora_model_pictures_total{model=\"kinora-denoise3\",outcome=\"made\"}";
    ensure!(text.contains(pictures) && text.contains("kinora_model_seconds_total{model="), "{text}");
    let mut stats = kinora();
    stats.args(["models", "stats", "--hub", &hub.address]);
    stats.envs(support::cluster::local_key(&place).map(|key| ("KINORA_KEY", key)));
    let said = run(&mut stats)?.succeeded()?;
    ensure!(said.contains("kinora-denoise3"), "{said}");
    for (path, entry) in [("/api/ai/models", "kinora-denoise3"), ("/api/ai/stats", "inference_count")] {
        let told = wire::ask(&hub.address, "GET", path, &[])?;
        ensure!(told.status == 200 && told.text().contains(entry), "{path}: {told:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_node_with_models_filters_do_it() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let _worker = Worker::start(&place, "one", &hub.address, Duration::ZERO, &["--slots", "1"])?;
    hub.connected(1).await?;
    let ended = done(&hub).await?;
    let notes = hub.client.proof(ended.id).await?.notes;
    ensure!(notes.iter().any(|note| note.contains("as by denoise = strong")), "{notes:?}");
    Ok(())
}
