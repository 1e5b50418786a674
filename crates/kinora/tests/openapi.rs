//! The document that is kept in the repository is that of what is served.
#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::routes::OPENAPI;
use serde_json::Value;
use support::cluster::{Hub, local_key};
use support::{Place, eight, finish, kinora, loud, run, wire};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

#[test]
fn the_document_is_that_of_this_version() -> Result<()> {
    let printed = run(kinora().arg("openapi"))?;
    let document: Value = serde_json::from_str(&printed.stdout).context("no JSON")?;
    let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(kept(), &text)?;
    }
    let there = std::fs::read_to_string(kept())?;
    ensure!(
        there == text,
        "docs/openapi.json is of another version: UPDATE_EXPECT=1 cargo test --test openapi"
    );
    Ok(())
}

#[test]
fn the_page_needs_nothing_from_elsewhere() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let served = wire::ask(&hub.address, "GET", "/api/openapi.json", &[])?;
    ensure!(served.status == 200, "{served:?}");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept())?)?;
    ensure!(serde_json::from_slice::<Value>(&served.body)? == kept);
    let page = wire::ask(&hub.address, "GET", "/api/docs/", &[])?;
    ensure!(page.status == 200 && page.text().contains("swagger-ui"), "{page:?}");
    for name in ["swagger-ui-bundle.js", "swagger-ui.css", "swagger-initializer.js"] {
        let part = wire::ask(&hub.address, "GET", &format!("/api/docs/{name}"), &[])?;
        ensure!(part.status == 200, "{name}: {part:?}");
        let asks_others =
            name.ends_with("initializer.js") && !part.text().contains("\"validatorUrl\": \"none\"");
        ensure!(!asks_others, "{}", part.text());
    }
    ensure!(!page.text().contains("https://"), "{}", page.text());
    Ok(())
}

/// Requests made up from the document, valid ones and others: no answer is a 5xx or other than the document says.
/// What lies with the hub's files.
fn key(place: &Place) -> Result<String> {
    local_key(place).context("no local.json")
}

#[test]
fn answers_are_as_the_document_says() -> Result<()> {
    let Some(folder) = support::clients() else {
        loud("SKIPPED: no schemathesis; `cargo xtask test` installs it");
        return Ok(());
    };
    let place = Place::new()?;
    // As many requests as it likes to make.
    let flags = ["--listen", "127.0.0.1:0", "--metadata", "auto", "--requests-per-second", "0"];
    let hub = Hub::start_as(&place, &flags)?;
    // With a user, so that who shows nothing is not let in, which is tried, too.
    let user = ["users", "add", "ada", "--role", "admin", "--password-stdin", "--hub", &hub.address];
    let mut user = kinora().args(user).stdin(Stdio::piped()).env("KINORA_KEY", key(&place)?).spawn()?;
    user.stdin.take().context("no input")?.write_all(b"ten characters")?;
    ensure!(finish(user)?.code == Some(0));
    let key = key(&place)?;
    run(kinora().env("KINORA_KEY", &key).arg("submit").arg(eight()?).args([
        "--hub",
        &hub.address,
        "--wait",
        "--json",
    ]))?
    .done()?;
    // 412 is what tus wants for a version that is not spoken.
    let config = "[checks]\nnegative_data_rejection.expected-statuses = [\"4XX\"]\nmissing_required_header.expected-statuses = [\"4XX\"]\n";
    let config = place.file("schemathesis.toml", config)?;
    let words = [
        "--seed",
        "20",
        "--max-examples",
        "15",
        "--checks",
        "all",
        "--exclude-checks",
        "positive_data_acceptance",
        "--no-color",
    ];
    let mut command = Command::new(folder.join("venv/bin/schemathesis"));
    command.arg("--config-file").arg(config).arg("run").arg(format!("{}{OPENAPI}", hub.address)).args(words);
    command.arg("--header").arg(format!("Authorization: Bearer {key}"));
    let ended = command.current_dir(place.path()).output().context("cannot start schemathesis")?;
    let said = String::from_utf8_lossy(&ended.stdout);
    ensure!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}
