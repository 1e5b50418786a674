//! What is gathered for somebody who helps: enough to see what is wrong, and nothing that lets anybody in.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::JobId;
use kinora_protocol::access::{NewKey, NewUser, Role};
use kinora_protocol::job::JobPhase;
use kinora_protocol::webhook::NewWebhook;
use support::cluster::{Hub, Worker, from_path, job, local_key};
use support::{Place, Run, eight, kinora, run};

/// All texts of a bundle by their names.
fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(path)?));
    let mut found = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.strip_prefix("kinora-support")?.display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        found.insert(name, text);
    }
    Ok(found)
}

fn bundle(place: &Place, hub: &Hub, key: &str, flags: &[&str]) -> Result<(Run, BTreeMap<String, String>)> {
    let out = place.at("bundle.tar.gz");
    let mut command = kinora();
    command.env("KINORA_KEY", key);
    command.args(["support-bundle", "--json", "--hub", &hub.address, "-o"]).arg(&out).args(flags);
    let made = run(&mut command)?;
    ensure!(made.code == Some(0), "{made:?}");
    let texts = read(&out)?;
    Ok((made, texts))
}

const NAME: &str = "Umm \"Kulthum\": Bob's 1962.mp4";
/// As keys of ours look.
const KEY_LIKE: &str =
    "kn_00112233445566778899aabbccddeeff_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A job that fails on the chunks of a worker whose ffmpeg crashes.
async fn failed_job(hub: &Hub, place: &Place) -> Result<JobId> {
    let source = place.at(NAME);
    std::fs::copy(eight()?, &source)?;
    let mut wanted = job(hub.upload(&source).await?);
    wanted.name = Some(format!("{KEY_LIKE} {}", NAME.replace("mp4", "mkv")));
    wanted.recipe.chunks.max_attempts = Some(1);
    let _bad = Worker::start_bad(place, "bad", &hub.address, &["--copy"])?;
    let id = hub.client.submit(&wanted, None).await?.id;
    ensure!(hub.ends(id).await?.phase == JobPhase::Failed);
    // It is no film, and named in why it failed.
    let broken = place.file("Secret \"Bob's\": film.mkv", b"nothing")?;
    let broken = hub.client.submit(&from_path(broken), None).await?.id;
    ensure!(hub.ends(broken).await?.phase == JobPhase::Failed);
    Ok(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_says_what_is_wrong_and_nothing_secret() -> Result<()> {
    let place = Place::new()?;
    let master = "5e".repeat(32);
    let environment = [
        ("KINORA_LOG", "info,kinora_hub=debug"),
        ("KINORA_MASTER_KEY", master.as_str()),
        ("KINORA_OIDC_SECRET", "oidc-hush"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9/?key=otlp-hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=header-hush"),
    ];
    let own =
        ["--listen", "127.0.0.1:0", "--local-worker", "off", "--encrypt-at-rest", "--log-format", "json"];
    let allowed = place.path().display().to_string();
    let flags = [&own[..], &["--allow-dir", &allowed]].concat();
    let mut hub = Hub::start_with(&place, &flags, &environment)?;
    // Nobody reads what it says.
    let mut stderr = hub.child.stderr.take().context("no stderr")?;
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    let failed = failed_job(&hub, &place).await?;
    let local = local_key(&place).context("no key")?;
    let password = "correct horse battery";
    hub.client.new_user(&NewUser::new("boss", Role::Admin, password)).await?;
    hub.client.new_user(&NewUser::new("guest", Role::Viewer, password)).await?;
    let key_for = async |user: &str| -> Result<String> {
        let wanted = NewKey { name: "test".into(), scopes: None, expires_in: None, user: None, login: false };
        let made = hub.client.new_key(Some(user), &wanted).await?;
        made.key.context("no key")
    };
    let (admin, guest) = (key_for("boss").await?, key_for("guest").await?);
    let address = "https://127.0.0.1:9/in?token=query-hush";
    let hook = NewWebhook { url: address.to_owned(), events: None, secret: None };
    let made = hub.client.new_webhook(&hook).await?;
    let hook_secret = made.secret.context("no secret")?;

    let (said, texts) = bundle(&place, &hub, &admin, &[])?;
    let all: String = texts.values().map(String::as_str).collect();
    for secret in [
        master.as_str(),
        "oidc-hush",
        "otlp-hush",
        "header-hush",
        "query-hush",
        &hook_secret,
        &local,
        &admin,
        &guest,
        password,
    ] {
        ensure!(!all.contains(secret), "{secret} is in it");
        ensure!(!said.stdout.contains(secret) && !said.stderr.contains(secret), "{secret} is said");
    }
    for (name, text) in &texts {
        for hidden in ["Kulthum", "1962", "Bob", "Secret", KEY_LIKE] {
            ensure!(!text.contains(hidden), "{hidden} is in {name}: {text}");
        }
    }
    ensure!(all.contains("[file "), "{texts:?}");
    for line in texts["hub/log.txt"].lines() {
        serde_json::from_str::<serde_json::Value>(line)
            .with_context(|| format!("it is no JSON any more: {line}"))?;
    }
    for (name, wanted) in [
        ("machine/doctor.json", "\"libx264\""),
        ("machine/program.txt", "kinora "),
        ("hub/health.json", "\"ready\": true"),
        ("hub/system.json", "\"node_protocol\""),
        ("hub/cluster.json", "{"),
        ("hub/nodes.json", "\"bad\""),
        ("hub/metrics.txt", "kinora_jobs_ended_total{phase=\"Failed\"} 2"),
        ("hub/log.txt", &failed.to_string()),
        ("hub/log-filter.json", "kinora_hub=debug"),
        ("hub/scrub.json", "{"),
        ("hub/jobs.json", &failed.to_string()),
        (&format!("hub/jobs/{failed}-tasks.json"), "SIGSEGV"),
        (&format!("hub/jobs/{failed}-events.json"), "Failed"),
    ] {
        let text = texts.get(name).with_context(|| format!("no {name} in {:?}", texts.keys()))?;
        ensure!(text.contains(wanted), "no {wanted} in {name}: {text}");
    }
    ensure!(texts["left-out.txt"].is_empty(), "{}", texts["left-out.txt"]);

    let (_, texts) = bundle(&place, &hub, &admin, &["--names"])?;
    let jobs = &texts["hub/jobs.json"];
    ensure!(jobs.contains("Kulthum") && jobs.contains("[secret]") && !jobs.contains(KEY_LIKE), "{jobs}");

    // The log is everybody's.
    let (_, texts) = bundle(&place, &hub, &guest, &[])?;
    ensure!(!texts.contains_key("hub/log.txt") && texts["left-out.txt"].contains("hub/log"), "{texts:?}");
    ensure!(!texts["hub/jobs.json"].contains(&failed.to_string()), "{texts:?}");
    Ok(())
}

#[test]
fn without_a_hub_it_is_about_this_machine() -> Result<()> {
    let place = Place::new()?;
    let out = place.at("bundle.tar.gz");
    let made = run(kinora().args(["support-bundle", "--hub", "http://127.0.0.1:1", "-o"]).arg(&out))?;
    ensure!(made.code == Some(0) && made.stderr.contains("left out: hub/health"), "{made:?}");
    let texts = read(&out)?;
    ensure!(
        texts.keys().map(String::as_str).eq(["left-out.txt", "machine/doctor.json", "machine/program.txt"]),
        "{texts:?}"
    );
    Ok(())
}
