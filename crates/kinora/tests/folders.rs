//! Folders that are watched: what settles becomes a job, once; what takes the place of its source was verified, and a hub that is
//! killed in between loses neither.
#![cfg(unix)]

mod support;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_protocol::FolderId;
use kinora_protocol::fault::FOLDER_POINTS;
use kinora_protocol::folder::{Delivery, FileState, FolderFile, FolderVerb, FolderView, NewFolder};
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::{Container, Verify};
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, recipe};
use support::{PATIENCE, Place, eight, kinora, run, same_frames, short};

/// A folder in `place`, for a hub that allows all of it.
fn folder(place: &Place, result: Delivery) -> Result<NewFolder> {
    let path = place.at("films");
    std::fs::create_dir_all(&path)?;
    let recipe = kinora_protocol::recipe::Recipe { container: Some(Container::Mp4), ..recipe() };
    Ok(NewFolder { recipe, result, settle_seconds: Some(1), ..NewFolder::of(path) })
}

fn start(place: &Place, environment: &[(&str, &str)]) -> Result<Hub> {
    let allowed = place.path().display().to_string();
    Hub::start_with(place, &["--listen", "127.0.0.1:0", "--allow-dir", &allowed], environment)
}

/// Waits until something holds for a folder.
async fn until(hub: &Hub, id: FolderId, holds: impl Fn(&FolderView) -> bool) -> Result<FolderView> {
    let started = Instant::now();
    loop {
        let folders = hub.client.folders().await?.items;
        let view = folders.into_iter().find(|view| view.id == id).context("it is gone")?;
        if holds(&view) {
            return Ok(view);
        }
        if started.elapsed() > PATIENCE {
            bail!("waited in vain: {view:?} {:?}", hub.client.folder_files(id).await?.items);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until nothing waits or is worked on, and so many files are done and have failed.
async fn quiet(hub: &Hub, id: FolderId, done: u64, failed: u64) -> Result<Vec<FolderFile>> {
    until(hub, id, |view| {
        let files = view.files;
        (files.waiting, files.working, files.done, files.failed) == (0, 0, done, failed)
    })
    .await?;
    Ok(hub.client.folder_files(id).await?.items)
}

async fn jobs(hub: &Hub) -> Result<usize> {
    Ok(hub.client.jobs(None, 100).await?.items.len())
}

/// All files below a folder, hidden ones too.
fn all(folder: &Path) -> Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(one) = folders.pop() {
        for entry in std::fs::read_dir(one)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.display().to_string());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is(path: &Path, original: &Path) -> Result<bool> {
    Ok(std::fs::read(path)? == std::fs::read(original)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_settles_becomes_a_job_and_nothing_twice() -> Result<()> {
    let place = Place::new()?;
    let hub = start(&place, &[])?;
    let wanted = folder(&place, Delivery::Folder { path: place.at("made") })?;
    // Longer than a busy machine keeps a writer waiting.
    let wanted = NewFolder { settle_seconds: Some(3), ..wanted };
    let view = hub.client.new_folder(&wanted).await?;
    // It comes slowly, as over a network: more than one look sees only a part of it.
    let bytes = std::fs::read(short()?)?;
    let inside = wanted.path.join("of/summer");
    std::fs::create_dir_all(&inside)?;
    let mut growing = OpenOptions::new().create(true).append(true).open(inside.join("a.mov"))?;
    for piece in bytes.chunks(bytes.len().div_ceil(12)) {
        growing.write_all(piece)?;
        tokio::time::sleep(Duration::from_millis(350)).await;
        ensure!(jobs(&hub).await? == 0, "it was taken up before it was whole");
    }
    drop(growing);
    std::fs::write(wanted.path.join("notes.txt"), "no video")?;
    let files = quiet(&hub, view.id, 1, 0).await?;
    ensure!(files[0].name == "of/summer/a.mov" && files[0].state == FileState::Done, "{files:?}");
    let result = place.at("made/of/summer/a.mp4");
    ensure!(files[0].result.as_deref() == Some(result.canonicalize()?.as_path()), "{files:?}");
    same_frames(&short()?, &result)?;
    ensure!(is(&inside.join("a.mov"), &short()?)?, "the source is as it was");

    // The same under another name, and touched: nothing new.
    std::fs::copy(short()?, wanted.path.join("again.mp4"))?;
    std::fs::File::options().append(true).open(inside.join("a.mov"))?.set_modified(SystemTime::now())?;
    until(&hub, view.id, |view| view.files.waiting == 2).await?;
    ensure!(quiet(&hub, view.id, 1, 0).await?.len() == 1 && jobs(&hub).await? == 1);
    // Other content under a known name, and another hub in the place of this one.
    drop(hub);
    let hub = start(&place, &[])?;
    std::fs::copy(eight()?, wanted.path.join("again.mp4"))?;
    quiet(&hub, view.id, 2, 0).await?;
    same_frames(&eight()?, &place.at("made/again.mp4"))?;
    ensure!(jobs(&hub).await? == 2);
    // It takes the place of our own result of before; nobody else's is overwritten.
    std::fs::copy(support::other_eight()?, wanted.path.join("again.mp4"))?;
    quiet(&hub, view.id, 3, 0).await?;
    same_frames(&support::other_eight()?, &place.at("made/again.mp4"))?;
    std::fs::write(place.at("made/late.mp4"), "somebody else's")?;
    // Another folder with the same names, whose results go to the same place.
    let other = NewFolder { path: place.at("films2"), ..wanted.clone() };
    std::fs::create_dir(&other.path)?;
    std::fs::copy(support::long_gops()?, other.path.join("again.mp4"))?;
    let second = hub.client.new_folder(&other).await?;
    let files = quiet(&hub, second.id, 0, 1).await?;
    ensure!(files[0].error.as_ref().is_some_and(|why| why.contains("again.mp4 already")), "{files:?}");
    same_frames(&support::other_eight()?, &place.at("made/again.mp4"))?;
    hub.client.delete_folder(second.id).await?;
    // Nothing is taken up while it may not be.
    hub.client.tell_folder(view.id, FolderVerb::Disable).await?;
    std::fs::copy(support::long_gops()?, wanted.path.join("late.mp4"))?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(jobs(&hub).await? == 3);
    hub.client.tell_folder(view.id, FolderVerb::Enable).await?;
    quiet(&hub, view.id, 3, 1).await?;
    ensure!(
        all(&place.at("made"))? == ["again.mp4", "late.mp4", "of/summer/a.mp4"],
        "{:?}",
        all(&place.at("made"))?
    );
    ensure!(std::fs::read_to_string(place.at("made/late.mp4"))? == "somebody else's");
    // The hub knows where the result of a job is, though it was moved.
    let job = hub
        .client
        .folder_files(view.id)
        .await?
        .items
        .into_iter()
        .find_map(|file| file.job)
        .context("no job")?;
    hub.client.fetch(job, &place.at("fetched.mp4")).await?;
    hub.client.delete_folder(view.id).await?;
    ensure!(hub.client.folders().await?.items.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_take_the_place_of_their_sources() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new()?;
    let hub = start(&place, &[])?;
    let wanted = folder(&place, Delivery::Replace { originals: Some(place.at("originals")) })?;
    std::fs::create_dir(wanted.path.join("sub"))?;
    let (same, other) = (wanted.path.join("same.mp4"), wanted.path.join("sub/other.m4v"));
    std::fs::copy(eight()?, &same)?;
    std::fs::copy(short()?, &other)?;
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o604))?;
    let view = hub.client.new_folder(&wanted).await?;
    ensure!(view.folder.recipe.verify == Verify::Full, "{view:?}");
    let files = quiet(&hub, view.id, 2, 0).await?;
    for file in &files {
        let proof = hub.client.proof(file.job.context("no job")?).await?;
        ensure!(proof.verified && proof.verify == Verify::Full, "{proof:?}");
    }
    ensure!(all(&wanted.path)? == ["same.mp4", "sub/other.mp4"], "{:?}", all(&wanted.path)?);
    ensure!(all(&place.at("originals"))? == ["same.mp4", "sub/other.m4v"]);
    ensure!(is(&place.at("originals/same.mp4"), &eight()?)? && !is(&same, &eight()?)?);
    ensure!(is(&place.at("originals/sub/other.m4v"), &short()?)?);
    same_frames(&eight()?, &same)?;
    same_frames(&short()?, &wanted.path.join("sub/other.mp4"))?;
    let mode = std::fs::metadata(wanted.path.join("sub/other.mp4"))?.permissions().mode();
    ensure!(mode & 0o777 == 0o604, "{mode:o}");
    // The results are no sources: now, after a new start, and when the folder is watched anew.
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(hub);
    let hub = start(&place, &[])?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(quiet(&hub, view.id, 2, 0).await?.len() == 2 && jobs(&hub).await? == 2);
    hub.client.delete_folder(view.id).await?;
    let view = hub.client.new_folder(&wanted).await?;
    until(&hub, view.id, |view| view.files.waiting == 2).await?;
    ensure!(quiet(&hub, view.id, 0, 0).await?.is_empty() && jobs(&hub).await? == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_leaves_its_source() -> Result<()> {
    let place = Place::new()?;
    let hub = start(&place, &[])?;
    let extensions = Some(vec!["mov".to_owned(), "mkv".to_owned()]);
    let wanted = NewFolder { extensions, ..folder(&place, Delivery::Replace { originals: None })? };
    let at = |name: &str| wanted.path.join(name);
    std::fs::write(at("none.mov"), "this is no video")?;
    // A source that is damaged in its middle is not deleted, whatever is made of it.
    let mut damaged = std::fs::read(eight()?)?;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20_000].fill(0x55);
    std::fs::write(at("damaged.mov"), damaged)?;
    std::fs::copy(short()?, at("taken.mov"))?;
    std::fs::write(at("taken.mp4"), "somebody else's")?;
    let mut attached = ffmpeg::ffmpeg();
    attached.arg("-i").arg(short()?).arg("-attach").arg(place.file("words.txt", "carried along")?);
    let attached = attached.args(["-metadata:s:t", "mimetype=text/plain", "-c", "copy"]).arg(at("more.mkv"));
    ensure!(attached.status()?.success());
    let view = hub.client.new_folder(&wanted).await?;
    let files = quiet(&hub, view.id, 0, 4).await?;
    let error = |files: &[FolderFile], name: &str| -> Result<String> {
        let file = files.iter().find(|file| file.name == name).context("no such file")?;
        file.error.clone().context("no error")
    };
    ensure!(error(&files, "taken.mov")?.contains("taken.mp4 already"), "{files:?}");
    let kept = error(&files, "damaged.mov")?;
    ensure!(kept.contains("not verified") || kept.contains("not all of it"), "{kept}");
    // An MP4 does not hold what is attached: without originals it would be lost.
    ensure!(error(&files, "more.mkv")?.contains("1 attachments are left out"), "{files:?}");
    let hidden =
        |files: Vec<String>| files.into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
    let here = || Ok::<_, anyhow::Error>(hidden(all(&wanted.path)?));
    ensure!(here()? == ["damaged.mov", "more.mkv", "none.mov", "taken.mov", "taken.mp4"], "{:?}", here()?);
    ensure!(std::fs::read_to_string(at("taken.mp4"))? == "somebody else's");
    // What is in the way goes: it can be done. What is no video stays none.
    std::fs::remove_file(at("taken.mp4"))?;
    hub.client.tell_folder(view.id, FolderVerb::Retry).await?;
    let files = quiet(&hub, view.id, 1, 3).await?;
    ensure!(!error(&files, "none.mov")?.is_empty(), "{files:?}");
    ensure!(here()? == ["damaged.mov", "more.mkv", "none.mov", "taken.mp4"], "{:?}", here()?);
    same_frames(&short()?, &at("taken.mp4"))?;
    // Another source of the same stem: the result that is there is all there is of the first.
    std::fs::copy(eight()?, at("taken.mkv"))?;
    let files = quiet(&hub, view.id, 1, 4).await?;
    ensure!(error(&files, "taken.mkv")?.contains("taken.mp4 already"), "{files:?}");
    same_frames(&short()?, &at("taken.mp4"))?;
    std::fs::remove_file(at("taken.mkv"))?;
    // Nothing hidden is left when it is not watched any more.
    hub.client.delete_folder(view.id).await?;
    ensure!(all(&wanted.path)? == here()?, "{:?}", all(&wanted.path)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_written_to_meanwhile_stays() -> Result<()> {
    let place = Place::new()?;
    let allowed = place.path().display().to_string();
    let (hub, _stub) = Hub::start(&place, Duration::from_secs(2), &["--allow-dir", &allowed])?;
    let wanted = folder(&place, Delivery::Replace { originals: None })?;
    let source = wanted.path.join("a.mp4");
    std::fs::copy(eight()?, &source)?;
    let view = hub.client.new_folder(&wanted).await?;
    let started = Instant::now();
    let job = loop {
        ensure!(started.elapsed() < PATIENCE, "there is no job");
        // It is noted a moment before it has one.
        let files = hub.client.folder_files(view.id).await?.items;
        if let Some(job) = files.first().and_then(|file| file.job) {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    hub.until(job, |job| job.chunks.running > 0).await?;
    // Whoever notices, the newer content wins: it is taken up by itself.
    std::fs::copy(short()?, &source)?;
    let files = quiet(&hub, view.id, 1, 1).await?;
    ensure!(files.iter().any(|file| file.state == FileState::Failed && file.error.is_some()), "{files:?}");
    same_frames(&short()?, &source)?;
    Ok(())
}

/// The hub dies at a point, and another goes on: the source or its successor is there at every moment, and at the end it is the
/// successor.
async fn dies_at(point: &str, in_place: bool) -> Result<()> {
    let place = Place::new()?;
    let originals = (!in_place).then(|| place.at("originals"));
    let wanted = folder(&place, Delivery::Replace { originals })?;
    let source = wanted.path.join(if in_place { "a.mp4" } else { "a.m4v" });
    let result = wanted.path.join("a.mp4");
    let mut hub = start(&place, &[("KINORA_FAULT", point)])?;
    let view = hub.client.new_folder(&wanted).await?;
    std::fs::copy(short()?, &source)?;
    support::until("its death", || hub.child.try_wait().is_ok_and(|status| status.is_some()))?;
    let whole = source.exists() && is(&source, &short()?)?;
    ensure!(whole || same_frames(&short()?, &result).is_ok(), "{point}: {:?}", all(&wanted.path)?);
    let hub = start(&place, &[])?;
    quiet(&hub, view.id, 1, 0).await?;
    ensure!(all(&wanted.path)? == ["a.mp4"], "{point}: {:?}", all(&wanted.path)?);
    same_frames(&short()?, &result)?;
    ensure!(in_place || is(&place.at("originals/a.m4v"), &short()?)?, "{point}");
    ensure!(!is(&result, &short()?)? && jobs(&hub).await? == 1, "{point}");
    Ok(())
}

async fn dies_at_all(in_place: bool) -> Result<()> {
    if !cfg!(debug_assertions) {
        support::loud("NO FAULT POINTS IN THIS BUILD: DEATHS AT THEM ARE NOT TRIED");
        return Ok(());
    }
    for point in FOLDER_POINTS {
        dies_at(point, in_place).await.with_context(|| point.to_owned())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_killed_loses_nothing() -> Result<()> {
    dies_at_all(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_when_the_names_are_the_same() -> Result<()> {
    dies_at_all(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_and_what_is_refused() -> Result<()> {
    let place = Place::new()?;
    let hub = start(&place, &[])?;
    let films = place.at("films");
    std::fs::create_dir(&films)?;
    let folders = |words: &[&str]| run(kinora().arg("folders").args(words).args(["--hub", &hub.address]));
    let said = |path: &Path| path.display().to_string();
    let refused = |words: &[&str], why: &str| -> Result<()> {
        let ended = folders(words)?;
        ensure!(ended.code == Some(1) && ended.stderr.contains(why), "{words:?}: {ended:?}");
        Ok(())
    };
    let here = said(&films);
    refused(&["add", "/etc"], "not below an allowed folder")?;
    refused(&["add", &said(&place.at("gone"))], "gone")?;
    refused(&["add", &here, "--into", &said(&films.join("made"))], "taken for sources")?;
    refused(&["add", &said(place.path())], "the hub's own files")?;
    refused(&["add", &here, "--into", &said(&place.at("data/made"))], "the hub's own files")?;
    refused(&["add", &here, "--into", "/etc/made"], "not below an allowed folder")?;
    refused(&["add", &here, "--into", &said(&place.at("data/../made"))], "..")?;
    refused(&["add", &here, "--replace", "--keep-originals", &here], "taken up again")?;
    refused(&["add", &here, "--replace", "--recipe", "ladder"], "take the place")?;
    refused(&["add", &here, "--replace", "--verify", "off"], "not verified")?;
    refused(&["add", &here, "--extensions", ".mp4"], "without dots")?;
    refused(&["files", "0"], "there is no folder")?;

    std::fs::copy(short()?, films.join("a.mov"))?;
    let add = ["add", &here, "--recipe", "proxy", "--settle", "1s", "--at-once", "1", "--json"];
    let view: FolderView = serde_json::from_value(folders(&add)?.done()?)?;
    let id = view.id.to_string();
    ensure!(view.folder.recipe.container == Some(Container::Mp4) && view.folder.jobs == Some(1), "{view:?}");
    refused(&["add", &said(&place.at("films"))], "already")?;
    let files = quiet(&hub, view.id, 1, 0).await?;
    let job = hub.client.job(files[0].job.context("no job")?).await?;
    ensure!(job.phase == JobPhase::Completed && files[0].result.is_none(), "{job:?}");
    let list = folders(&["ls"])?;
    ensure!(
        list.code == Some(0) && list.stdout.contains("0 waiting, 0 working, 1 done, 0 failed"),
        "{list:?}"
    );
    let list = folders(&["files", &id])?;
    ensure!(list.stdout.starts_with("done    a.mov  job "), "{list:?}");
    ensure!(folders(&["disable", &id])?.stdout.contains("disabled"));
    // A folder that cannot be read says so.
    folders(&["enable", &id])?;
    let away: PathBuf = place.at("away");
    std::fs::rename(&films, &away)?;
    let view = until(&hub, view.id, |view| view.error.is_some()).await?;
    ensure!(view.error.is_some_and(|why| why.contains("No such file")));
    std::fs::rename(&away, &films)?;
    until(&hub, view.id, |view| view.error.is_none()).await?;
    ensure!(jobs(&hub).await? == 1, "what was there before is no news");
    ensure!(folders(&["rm", &id])?.code == Some(0) && folders(&["ls"])?.stdout.is_empty());
    Ok(())
}
