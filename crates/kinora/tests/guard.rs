//! What a browser is kept from: calling a hub by a stranger's name, and doing with answers what they are not for.

mod support;

use anyhow::{Result, ensure};
use kinora_protocol::routes;
use support::cluster::{Hub, local_key};
use support::{Place, short, wire};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_name_leads_nowhere() -> Result<()> {
    let place = Place::new()?;
    let flags = ["--local-worker", "off", "--listen", "127.0.0.1:0", "--allow-host", "studio.example"];
    let hub = Hub::start_as(&place, &flags)?;
    let key = format!("Bearer {}", local_key(&place).unwrap_or_default());
    let ask = |method: &str, path: &str, host: &str| {
        wire::ask(&hub.address, method, path, &[("host", host), ("authorization", &key)])
    };
    for host in
        ["localhost", "localhost:8000", "127.0.0.1", "[::1]:80", "studio.example", "STUDIO.example:443"]
    {
        let answer = ask("GET", routes::MEDIA, host)?;
        ensure!(answer.status == 200, "{host}: {answer:?}");
    }
    for host in ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"] {
        for (method, path) in
            [("GET", routes::MEDIA), ("POST", routes::UPLOADS), ("GET", "/api/docs/"), ("GET", "/api/health")]
        {
            let answer = ask(method, path, host)?;
            ensure!(
                answer.status == 421 && answer.text().contains("--allow-host"),
                "{host} {path}: {answer:?}"
            );
        }
        let upgrade = [("host", host), ("upgrade", "websocket"), ("origin", "http://evil.example")];
        let answer = wire::ask(&hub.address, "GET", routes::LIVE, &upgrade)?;
        ensure!(answer.status == 421, "{host}: {answer:?}");
    }
    Ok(())
}

/// Somebody who listens for others cannot know by which names they call.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_for_others_has_any_name() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--local-worker", "off", "--listen", "0.0.0.0:0"])?;
    let address = hub.address.replace("0.0.0.0", "127.0.0.1");
    let answer = wire::ask(&address, "GET", routes::HEALTH_LIVE, &[("host", "media.lan")])?;
    ensure!(answer.status == 204, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_answers_say_what_browsers_may_do_with_them() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let media = hub.upload(&short()?).await?;
    let content = format!("/api/v1/media/{media}/content");
    for (path, status) in [
        (routes::MEDIA, 200),
        ("/api/v1/nothing", 404),
        ("/api/docs/", 200),
        (routes::OPENAPI, 200),
        (&content, 200),
    ] {
        let answer = wire::ask(&hub.address, "GET", path, &[])?;
        ensure!(answer.status == status, "{path}: {answer:?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            ensure!(answer.header(name)? == value, "{path}: {answer:?}");
        }
        let policy = answer.header("content-security-policy")?;
        // What people bring runs nothing, even when it is opened by itself.
        let wanted = if path == content { "sandbox; default-src 'none'" } else { "default-src 'self'" };
        ensure!(policy.starts_with(wanted), "{path}: {policy}");
    }
    Ok(())
}
