//! Encryption: by the hub's own authority, by files of the operator's, by an authority that is asked over the network; and proxies
//! that encrypt in the hub's place.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_protocol::access::{NewEnrollment, NewUser, Role};
use kinora_protocol::client::Client;
use kinora_protocol::live::{Subscribe, Topic};
use kinora_protocol::{ErrorCode, Failure};
use serde_json::{Value, json};
use support::cluster::{Hub, job, local_key};
use support::{Place, clients, eight, kinora, loud, run, wire};

/// A hub that signs for itself.
fn own(place: &Place, listen: &str) -> Result<Hub> {
    Hub::start_as(place, &["--local-worker", "off", "--listen", listen, "--tls", "own"])
}

fn authority(place: &Place) -> Result<String> {
    Ok(std::fs::read_to_string(place.at("data/tls/authority.pem"))?)
}

/// It is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn untrusted<T>(outcome: Result<T, Failure>) -> Result<String> {
    let place = std::panic::Location::caller();
    match outcome {
        Err(failure) if failure.code == ErrorCode::Untrusted => Ok(failure.message),
        Err(failure) => bail!("at {place}: {failure:?}"),
        Ok(_) => bail!("it was believed at {place}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_knows_the_authority_believes_the_hub() -> Result<()> {
    let place = Place::new()?;
    let hub = own(&place, "127.0.0.1:0")?;
    let key = local_key(&place);
    let client = Client::new(&hub.address)?.showing(key.clone());
    let said = untrusted(client.system().await)?;
    ensure!(said.contains("nobody that this machine trusts") && said.contains("kinora trust"), "{said}");
    untrusted(client.live(&Subscribe { subscribe: vec![Topic::Jobs], after: None }).await)?;
    // Another authority is no better than none.
    let other = Place::new()?;
    let _other = own(&other, "127.0.0.1:0")?;
    client.trust(Some(&authority(&other)?))?;
    untrusted(client.system().await)?;
    client.trust(Some(&authority(&place)?))?;
    client.system().await?;
    client.live(&Subscribe { subscribe: vec![Topic::Jobs], after: None }).await?;
    // The name counts, too.
    let by_name = Client::new(&hub.address.replace("127.0.0.1", "localhost"))?;
    by_name.trust(Some(&authority(&place)?))?;
    by_name.hub_identity("x").await?;
    let by_other = Client::new(&hub.address.replace("127.0.0.1", "127.0.0.2"))?;
    by_other.trust(Some(&authority(&place)?))?;
    let said = by_other.hub_identity("x").await;
    ensure!(said.is_err(), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_trusts_by_the_fingerprint() -> Result<()> {
    let Some(openssl) = program("openssl", "openssl") else { return Ok(()) };
    let place = Place::new()?;
    let hub = own(&place, "127.0.0.1:0")?;
    let home = place.at("home");
    let act = |words: &[&str]| {
        let mut command = kinora();
        command.args(words).args(["--hub", &hub.address]).env("XDG_CONFIG_HOME", &home);
        run(command.envs(local_key(&place).map(|key| ("KINORA_KEY", key))))
    };
    ensure!(act(&["whoami"])?.stderr.contains("kinora trust"), "it was believed");
    let asked = act(&["trust"])?;
    ensure!(asked.code == Some(1) && asked.stderr.contains("--fingerprint"), "{asked:?}");
    let wrong = act(&["trust", "--fingerprint", "00:11"])?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("another fingerprint"), "{wrong:?}");
    // What the hub prints is what openssl shows, and in any form.
    let pem = place.at("data/tls/authority.pem").display().to_string();
    let shown = run(Command::new(openssl).args(["x509", "-in", &pem, "-noout", "-fingerprint", "-sha256"]))?;
    let fingerprint = shown.stdout.split('=').nth(1).context("no fingerprint")?.trim().to_owned();
    let plain = fingerprint.replace(':', "").to_lowercase();
    let trusted = act(&["trust", "--fingerprint", &plain, "--json"])?;
    ensure!(trusted.code == Some(0) && trusted.stdout.contains(&fingerprint), "{trusted:?}");
    ensure!(act(&["whoami"])?.stdout.contains("you may do everything"), "it is not believed");
    ensure!(
        act(&["trust", "--forget"])?.code == Some(0) && act(&["whoami"])?.code == Some(1),
        "believed yet"
    );
    let by_file = run(kinora().args(["whoami", "--hub", &hub.address]).env("KINORA_CA", &pem))?;
    ensure!(by_file.code == Some(0), "{by_file:?}");
    Ok(())
}

/// What curl says: status, version and headers.
fn curl(args: &[&str]) -> Result<String> {
    let said =
        run(Command::new("curl").args(["-sS", "-D", "-", "-o", "/dev/null", "--max-time", "20"]).args(args))?;
    ensure!(said.code == Some(0), "{said:?}");
    Ok(said.stdout.to_lowercase())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_get_http2_and_cookies_that_stay_encrypted() -> Result<()> {
    if program("curl", "curl").is_none() {
        return Ok(());
    }
    let place = Place::new()?;
    let hub = own(&place, "127.0.0.1:0")?;
    hub.client.new_user(&NewUser::new("ada", Role::Admin, "drei große Bären")).await?;
    let pem = place.at("data/tls/authority.pem").display().to_string();
    let login = json!({ "name": "ada", "password": "drei große Bären", "cookie": true }).to_string();
    let login = ["-d", &login, "-H", "content-type: application/json"];
    let url = format!("{}/api/v1/auth/login", hub.address);
    for (version, http) in [("--http2", "http/2 204"), ("--http1.1", "http/1.1 204")] {
        let said = curl(&[&[version, "--cacert", &pem, &url], &login[..]].concat())?;
        ensure!(said.starts_with(http), "{said}");
        ensure!(said.contains("strict-transport-security: max-age="), "{said}");
        let cookie = said.lines().find(|line| line.starts_with("set-cookie")).context("no cookie")?;
        ensure!(cookie.contains("__host-kinora=") && cookie.contains("; secure"), "{cookie}");
        // As a browser does it: with the page's own origin, over either version.
        let name = cookie.split([' ', ';']).nth(1).context("no value")?.replace("__host-", "__Host-");
        let (cookie, origin) = (format!("cookie: {name}"), format!("origin: {}", hub.address));
        let ticket = format!("{}/api/v1/ws-ticket", hub.address);
        let post = [version, "--cacert", &pem, &ticket, "-X", "POST", "-H", &cookie];
        ensure!(curl(&[&post[..], &["-H", &origin]].concat())?.contains(" 201"), "its own page was refused");
        ensure!(
            curl(&[&post[..], &["-H", "origin: https://evil.example"]].concat())?.contains(" 403"),
            "forged"
        );
    }
    // Over what is not encrypted, the same cookie would be nobody's.
    let near = curl(&[&[url.replacen("https", "http", 1).as_str()], &login[..]].concat())?;
    ensure!(!near.contains("; secure") && !near.contains("strict-transport"), "{near}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_knows_the_hub_by_its_token_and_follows_a_new_authority() -> Result<()> {
    let place = Place::new()?;
    let hub = own(&place, "127.0.0.1:0")?;
    let wanted = NewEnrollment { name: None, expires_in: None };
    let token = hub.client.new_enrollment(&wanted).await?.token.context("no token")?;
    let mut command = kinora();
    command.args(["worker", "--hub", &hub.address, "--token", &token, "--benchmark-seconds", "0", "--copy"]);
    command.args(["--reconnect-delay", "0.2", "--work-dir"]).arg(place.at("work"));
    let known = certificate(&place.at("known"), &["127.0.0.1"])?;
    command.env("KINORA_CA", &known.0);
    let _worker = Running(command.spawn()?);
    hub.connected(1).await?;
    let source = eight()?;
    let media = hub.upload(&source).await?;
    let done = hub.ends(hub.client.submit(&job(media), None).await?.id).await?;
    hub.right(&place, &done, &source).await?;
    // The operator throws the authority away; the hub's key says that it is the same hub.
    let (before, listen) = (authority(&place)?, hub.listen());
    drop(hub);
    std::fs::remove_dir_all(place.at("data/tls"))?;
    let hub = own(&place, &listen)?;
    ensure!(authority(&place)? != before, "the authority is the same");
    hub.connected(1).await?;
    // From then on somebody signs whom the worker knows anyway.
    drop(hub);
    let (chain, key) = (known.0.display().to_string(), known.1.display().to_string());
    let flags = ["--local-worker", "off", "--listen", &listen, "--tls-cert", &chain, "--tls-key", &key];
    let hub = Hub::start_as(&place, &flags)?;
    hub.connected(1).await
}

/// A certificate with its key, in files.
fn certificate(folder: &Path, names: &[&str]) -> Result<(PathBuf, PathBuf)> {
    std::fs::create_dir_all(folder)?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names)?;
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((chain, key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_operator_are_read_again() -> Result<()> {
    let place = Place::new()?;
    let (chain, key) = certificate(&place.at("pem"), &["127.0.0.1"])?;
    let (chain_text, key_text) = (chain.display().to_string(), key.display().to_string());
    let files = ["--tls-cert", &chain_text, "--tls-key", &key_text, "--tls-authority", &chain_text];
    let hub =
        Hub::start_as(&place, &[&["--local-worker", "off", "--listen", "127.0.0.1:0"], &files[..]].concat())?;
    let believing = |pem: &Path| -> Result<Client> {
        let client = Client::new(&hub.address)?;
        client.trust(Some(&std::fs::read_to_string(pem)?))?;
        Ok(client)
    };
    let first = believing(&chain)?;
    ensure!(
        first.hub_identity("x").await?.authority == std::fs::read_to_string(&chain)?,
        "another authority"
    );
    // One that does not belong to its key is not taken, and the one before goes on.
    let (other, other_key) = certificate(&place.at("other"), &["127.0.0.1"])?;
    std::fs::copy(&other, &chain)?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    untrusted(believing(&other)?.hub_identity("x").await)?;
    std::fs::copy(&other_key, &key)?;
    let began = Instant::now();
    while believing(&other)?.hub_identity("x").await.is_err() {
        ensure!(began.elapsed() < Duration::from_secs(60), "the new certificate is not in use");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(hub);
    let wrong = run(kinora()
        .args(["hub", "--listen", "127.0.0.1:0", "--tls-cert", &chain_text, "--tls-key", &chain_text])
        .arg("--data")
        .arg(place.at("data")))?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("chain.pem: there is no key in it"), "{wrong:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_are_believed_when_they_are_trusted() -> Result<()> {
    for trusted in [false, true] {
        let place = Place::new()?;
        let flags: &[&str] = if trusted { &["--trusted-proxy", "127.0.0.0/8"] } else { &[] };
        let own = ["--local-worker", "off", "--listen", "127.0.0.1:0", "--allow-host", "studio.example"];
        let hub = Hub::start_as(&place, &[&own, flags].concat())?;
        let user = NewUser::new("ada", Role::Admin, "drei große Bären");
        hub.client.new_user(&user).await?;
        let login = json!({ "name": "ada", "password": "drei große Bären", "cookie": true }).to_string();
        let length = login.len().to_string();
        let headers = [
            ("host", "studio.example"),
            ("content-type", "application/json"),
            ("content-length", &length),
            ("x-forwarded-for", "1.2.3.4, 192.0.2.77"),
            ("x-forwarded-proto", "https"),
        ];
        let mut asking = wire::open(&hub.address, "POST", "/api/v1/auth/login", &headers)?;
        asking.write_all(login.as_bytes())?;
        let said = wire::read(asking)?;
        ensure!(said.status == 204, "{said:?}: {}", said.text());
        ensure!(said.header("set-cookie")?.contains("__Host-kinora=") == trusted, "{said:?}");
        ensure!(said.header("strict-transport-security").is_ok() == trusted, "{said:?}");
        let page = hub.client.audit(0).await?;
        let entry = page.items.iter().find(|entry| entry.action == "login").context("no login recorded")?;
        ensure!(entry.address == if trusted { "192.0.2.77" } else { "127.0.0.1" }, "{entry:?}");
    }
    Ok(())
}

/// A program of a package; the test is skipped, loudly, where it is not installed.
fn program<'a>(name: &'a str, package: &str) -> Option<&'a str> {
    let found = Command::new(name).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        loud(&format!("SKIPPED: there is no {name} (on Debian and Ubuntu: apt install {package})"));
    }
    found.then_some(name)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// An authority that speaks ACME, with a name service that says 127.0.0.1 to everything.
struct Pebble {
    _server: Running,
    _names: Running,
    directory: String,
    root: PathBuf,
}

impl Pebble {
    /// It looks for proofs at `port`; its certificates last for `seconds`.
    fn start(place: &Place, port: u16) -> Result<Option<Self>> {
        let (Some(pebble), Some(names)) =
            (program("pebble", "pebble"), program("pebble-challtestsrv", "pebble"))
        else {
            return Ok(None);
        };
        let (chain, key) = certificate(&place.at("pebble"), &["localhost"])?;
        let (listen, management, dns) = (free_port()?, free_port()?, free_port()?);
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": chain, "privateKey": key,
            "httpPort": 1, "tlsPort": port,
            "externalAccountBindingRequired": false,
        }});
        let path = place.at("pebble/config.json");
        std::fs::write(&path, config.to_string())?;
        let mut server = Command::new(pebble);
        server.arg("-config").arg(path).args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
        server.env("PEBBLE_VA_NOSLEEP", "1").stdout(Stdio::null()).stderr(Stdio::null());
        let mut resolver = Command::new(names);
        resolver.args(["-dns01", &format!("127.0.0.1:{dns}"), "-defaultIPv6", ""]);
        resolver.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "127.0.0.1:0"]);
        resolver.stdout(Stdio::null()).stderr(Stdio::null());
        let (server, names) = (Running(server.spawn()?), Running(resolver.spawn()?));
        let directory = format!("https://localhost:{listen}/dir");
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", listen)).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(20), "pebble does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(Self { _server: server, _names: names, directory, root: chain }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_gives_a_certificate_for_a_name_that_leads_here() -> Result<()> {
    let Some(openssl) = program("openssl", "openssl") else { return Ok(()) };
    let place = Place::new()?;
    let port = free_port()?;
    let Some(pebble) = Pebble::start(&place, port)? else { return Ok(()) };
    let (root, listen) = (pebble.root.display().to_string(), format!("127.0.0.1:{port}"));
    let acme =
        ["--acme", "studio.example.org", "--acme", "b.example.org", "--acme-contact", "ada@example.org"];
    let directory = pebble.directory.clone();
    let whom = ["--acme-directory", &directory, "--acme-root", &root];
    let own = ["--local-worker", "off", "--listen", &listen];
    let flags = [&own, &acme[..], &whom].concat();
    let hub = Hub::start_as(&place, &flags)?;
    let shown = || -> Result<String> {
        let connect = ["s_client", "-connect", &listen, "-servername", "studio.example.org"];
        let mut asks = Command::new(openssl);
        asks.args(connect).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut text = String::new();
        asks.spawn()?.stdout.context("no output")?.read_to_string(&mut text)?;
        Ok(text)
    };
    let began = Instant::now();
    let first = loop {
        let text = shown()?;
        if text.contains("BEGIN CERTIFICATE") {
            break text;
        }
        ensure!(began.elapsed() < Duration::from_secs(90), "there is no certificate: {text}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    ensure!(first.contains("Pebble Intermediate CA"), "{first}");
    let files: Vec<String> = std::fs::read_dir(place.at("data/tls"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    ensure!(files.len() == 3 && files.iter().all(|name| name.starts_with("acme-")), "{files:?}");
    // The next start has it, also without the authority.
    drop((hub, pebble));
    let _hub = Hub::start_as(&place, &flags)?;
    let own_part = |text: &str| text.split("-----").nth(2).map(str::to_owned);
    ensure!(own_part(&shown()?) == own_part(&first), "it is another certificate");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_authority_is_told() -> Result<()> {
    let place = Place::new()?;
    // Nothing listens where it looks.
    let Some(pebble) = Pebble::start(&place, free_port()?)? else { return Ok(()) };
    let root = pebble.root.display().to_string();
    let mut command = kinora();
    command.args(["hub", "--local-worker", "off", "--listen", "127.0.0.1:0", "--acme", "studio.example.org"]);
    command
        .args(["--acme-directory", &pebble.directory, "--acme-root", &root, "--data"])
        .arg(place.at("data"));
    let mut hub = Running(command.env("KINORA_LOG", "warn").stderr(Stdio::piped()).spawn()?);
    let said = BufReader::new(hub.0.stderr.take().context("no output")?);
    let line = said.lines().map_while(Result::ok).find(|line| line.contains("gives no certificate"));
    let line = line.context("it says nothing")?;
    ensure!(line.contains("studio.example.org") && line.contains("port 443"), "{line}");
    Ok(())
}

/// What a scanner finds wrong, of what browsers of the last years need (Mozilla's intermediate configuration).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_finds_nothing() -> Result<()> {
    let Some(scanner) = clients().map(|folder| folder.join("venv/bin/sslyze")).filter(|path| path.exists())
    else {
        loud("SKIPPED: sslyze; `cargo xtask test` installs it");
        return Ok(());
    };
    let place = Place::new()?;
    let hub = own(&place, "127.0.0.1:0")?;
    let port = hub.listen().rsplit_once(':').context("no port")?.1.to_owned();
    let report = place.at("report.json");
    let mut scan = Command::new(scanner);
    scan.args(["--mozilla_config=intermediate", "--json_out"]).arg(&report);
    scan.arg("--certinfo_ca_file").arg(place.at("data/tls/authority.pem")).arg(format!("localhost:{port}"));
    let said = run(&mut scan)?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
    println!("{}", said.stdout);
    ensure!(said.code == Some(0), "{}", said.stdout);
    let result = &report["server_scan_results"][0];
    ensure!(result["scan_status"] == "COMPLETED", "{result}");
    Ok(())
}
