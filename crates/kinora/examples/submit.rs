//! Uploads a file, encodes it with a preset, and keeps the result:
//! `cargo run --example submit -- http://127.0.0.1:8000 holiday.mov holiday.mp4`. A hub with users wants an API key
//! (`kinora keys new`), which is taken from `KINORA_KEY`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::client::Client;
use kinora_protocol::job::JobPhase;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [hub, input, output] = words.as_slice() else { bail!("submit HUB INPUT OUTPUT") };
    let hub = Client::new(hub)?.showing(std::env::var("KINORA_KEY").ok());
    let media = hub.upload(Path::new(input), |_sent| ()).await?;
    let job = NewJob { preset: Some("web".to_owned()), ..NewJob::of(Source::Media(media.id)) };
    let mut job = hub.submit(&job, None).await?;
    while !job.phase.is_final() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        job = hub.job(job.id).await?;
    }
    if job.phase != JobPhase::Completed {
        bail!("{}", job.failure.context("it was cancelled")?);
    }
    hub.fetch(job.id, Path::new(output)).await?;
    Ok(())
}
