//! A process that dies by SIGKILL at each named point: what was accepted goes on, each chunk is accepted once, and the frames
//! are those of the source.

mod support;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use kinora_protocol::api::NewJob;
use kinora_protocol::fault::{HUB_POINTS, WORKER_POINTS};
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::ColorChange;
use kinora_protocol::{Digest, JobId};
use kinora_testkit::fault;
use libtest_mimic::{Arguments, Trial};
use support::cluster::{Hub, Worker, job, working};
use support::enhancing::Enhancer;
use support::{Place, eight, same_frames};

fn main() {
    if !cfg!(all(unix, debug_assertions)) {
        support::loud("NO FAULT POINTS IN THIS BUILD: DEATHS AT THEM ARE NOT TRIED");
        return;
    }
    let arguments = Arguments::from_args();
    let trial = |name: String, test: fn(&str) -> Result<()>, point: &'static str| {
        Trial::test(name, move || test(point).map_err(|error| format!("{error:#}").into()))
    };
    let hubs = HUB_POINTS.into_iter().map(|point| trial(format!("hub::{point}"), hub_dies, point));
    let workers =
        WORKER_POINTS.into_iter().map(|point| trial(format!("worker::{point}"), worker_dies, point));
    let surveys = SURVEYS.into_iter().map(|point| trial(format!("survey::{point}"), survey_dies, point));
    let measures = trial("measure::result.before".to_owned(), measure_dies, "result.before:2");
    libtest_mimic::run(&arguments, hubs.chain(workers).chain(surveys).chain([measures]).collect()).exit();
}

/// Points at which a hub first is when the measures of a film are put together.
const SURVEYS: [&str; 2] = ["gate.before", "gate.after"];

/// What has to be made of the source.
#[derive(Clone, Copy)]
enum Wanted {
    /// The same, without loss.
    Same,
    /// Its colours by scene, for which the whole of it is measured before.
    Graded,
}

impl Wanted {
    fn job(self, media: Digest) -> NewJob {
        let mut wanted = job(media);
        if let Self::Graded = self {
            wanted.recipe.enhance.color = Some(ColorChange::Auto);
        }
        wanted
    }

    /// The frames that come out of it.
    fn made(self, place: &Place) -> Result<PathBuf> {
        match self {
            Self::Same => eight(),
            Self::Graded => Enhancer::default().whole(place, &eight()?, &["--color", "auto"]),
        }
    }
}

fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

async fn check(place: &Place, hub: &Hub, id: JobId, wanted: Wanted) -> Result<()> {
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let tasks = hub.client.tasks(id).await?.items;
    for task in &tasks {
        let done = task.attempts.iter().filter(|a| a.outcome.as_deref() == Some("done")).count();
        ensure!(done == 1, "each is accepted once: {task:?}");
    }
    let out = place.at("o.mp4");
    hub.client.fetch(id, &out).await?;
    same_frames(&wanted.made(place)?, &out)?;
    let outputs = place.at("data").join("outputs").join(id.to_string());
    ensure!(support::names(&outputs)? == ["o.mp4"], "nothing is left beside the result");
    Ok(())
}

/// The hub and its own worker die at a point, and are started again.
fn hub_dies(point: &str) -> Result<()> {
    hub_dies_at(point, Wanted::Same)
}

fn survey_dies(point: &str) -> Result<()> {
    hub_dies_at(point, Wanted::Graded)
}

fn hub_dies_at(point: &str, wanted: Wanted) -> Result<()> {
    let place = Place::new()?;
    wait(async {
        let listen = ["--listen", "127.0.0.1:0"];
        // Its media are there before it has a fault.
        let media = Hub::start_as(&place, &listen)?.upload(&eight()?).await?;
        let mut hub = Hub::start_with(&place, &listen, &[("KINORA_FAULT", point)])?;
        let submitted = hub.client.submit(&wanted.job(media.clone()), Some("one")).await;
        support::until("its death", || hub.child.try_wait().is_ok_and(|status| status.is_some()))?;
        fault::expect_no_orphans(&working(&place), Duration::from_secs(10))?;
        let hub = Hub::start_as(&place, &listen)?;
        // Whoever got no answer asks again, by the same key.
        let id = match submitted {
            Ok(view) => view.id,
            Err(_) => hub.client.submit(&wanted.job(media), Some("one")).await?.id,
        };
        check(&place, &hub, id, wanted).await?;
        ensure!(hub.client.jobs(None, 10).await?.items.len() == 1, "it is one job");
        Ok(())
    })
}

/// A worker dies at a point at its second task of the kind, and another comes.
fn worker_dies(point: &str) -> Result<()> {
    worker_dies_at(&format!("{point}:3"), Wanted::Same)
}

fn measure_dies(fault: &str) -> Result<()> {
    worker_dies_at(fault, Wanted::Graded)
}

fn worker_dies_at(fault: &str, wanted: Wanted) -> Result<()> {
    let place = Place::new()?;
    wait(async {
        let hub = Hub::alone(&place, "127.0.0.1:0")?;
        let id = hub.client.submit(&wanted.job(hub.upload(&eight()?).await?), None).await?.id;
        let mut first =
            Worker::start_with(&place, "first", &hub.address, &["--copy"], &[("KINORA_FAULT", fault)])?;
        support::until("its death", || first.child.try_wait().is_ok_and(|status| status.is_some()))?;
        fault::expect_no_orphans(&first.working(), Duration::from_secs(10))?;
        // The same machine comes back: what it held is given to it again at once.
        let _again = Worker::start(&place, "first", &hub.address, Duration::ZERO, &["--copy"])?;
        check(&place, &hub, id, wanted).await
    })
}
