//! Users that sign in elsewhere: with a provider of OpenID Connect of somebody else's, and what goes for a browser.

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::access::{AuditView, NewUser, Role, UserChange};
use serde_json::Value;
use support::cluster::Hub;
use support::{Place, clients, loud, run, wire};

/// It is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A provider, and a hub that knows it.
struct World {
    _provider: Running,
    place: Place,
    hub: Hub,
    script: std::path::PathBuf,
}

impl World {
    async fn open(secret: Option<&str>, flags: &[&str]) -> Result<Option<Self>> {
        let Some(script) = clients().map(|folder| folder.join("oidc.mjs")).filter(|path| path.exists())
        else {
            loud("SKIPPED: oidc-provider; `cargo xtask test` installs it");
            return Ok(None);
        };
        let (port, hub_port) = (free_port()?, free_port()?);
        let (issuer, url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{hub_port}"));
        let provider = serve(&script, port, &url, secret)?;
        let place = Place::new()?;
        let file = place.at("secret");
        std::fs::write(&file, format!("{}\n", secret.unwrap_or_default()))?;
        let (file, listen) = (file.display().to_string(), format!("127.0.0.1:{hub_port}"));
        let own = [
            "--local-worker",
            "off",
            "--listen",
            &listen,
            "--oidc-issuer",
            &issuer,
            "--oidc-client",
            "kinora hub",
            "--public-url",
            &url,
            "--oidc-name",
            "the studio",
            "--oidc-secret-file",
            &file,
        ];
        let hub = Hub::start_as(&place, &[&own, flags].concat())?;
        hub.client.new_user(&NewUser::new("root", Role::Admin, "drei große Bären")).await?;
        Ok(Some(Self { _provider: provider, place, hub, script }))
    }

    /// What a browser gets that signs in as somebody.
    fn login(&self, name: &str, trick: &str) -> Result<Value> {
        let said =
            run(Command::new("node").arg(&self.script).args(["login", &self.hub.address, name, trick]))?;
        ensure!(said.code == Some(0), "{said:?}");
        Ok(serde_json::from_str(&said.stdout)?)
    }

    fn me(&self, got: &Value) -> Result<Value> {
        let session = got["cookies"]["kinora"].as_str().with_context(|| format!("no session in {got}"))?;
        let cookie = format!("kinora={session}");
        let said = wire::ask(&self.hub.address, "GET", "/api/v1/auth/me", &[("cookie", &cookie)])?;
        Ok(serde_json::from_slice(&said.body)?)
    }
}

fn serve(script: &Path, port: u16, hub: &str, secret: Option<&str>) -> Result<Running> {
    let mut command = Command::new("node");
    command.arg(script).args(["serve", &port.to_string(), hub]).args(secret);
    let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let said = BufReader::new(running.0.stdout.take().context("no output")?);
    let ready = said.lines().map_while(Result::ok).any(|line| line == "ready");
    ensure!(ready, "the provider does not start");
    Ok(running)
}

#[track_caller]
fn refused(got: &Value, words: &str) -> Result<()> {
    let place = std::panic::Location::caller();
    let text = got["text"].as_str().unwrap_or_default();
    ensure!(got["status"] == 401 && text.contains(words), "at {place}: {got}");
    ensure!(got["cookies"]["kinora"].is_null(), "at {place}: a session in {got}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_known_elsewhere_comes_in() -> Result<()> {
    let Some(world) = World::open(Some("a secret: +%&"), &["--oidc-new-users", "editor"]).await? else {
        return Ok(());
    };
    let methods = wire::ask(&world.hub.address, "GET", "/api/v1/auth/methods", &[])?;
    let methods: Value = serde_json::from_slice(&methods.body)?;
    ensure!(methods["outside"]["name"] == "the studio" && methods["password"] == true, "{methods}");
    let got = world.login("ada", "")?;
    ensure!(got["status"] == 303 && got["place"] == "/health/live", "{got}");
    ensure!(got["cookies"]["kinora-login"].is_null(), "{got}");
    let me = world.me(&got)?;
    ensure!(
        me["user"]["name"] == "ada@example.org"
            && me["user"]["role"] == "editor"
            && me["user"]["outside"] == "ada",
        "{me}"
    );
    // Again it is the same one, also under another role.
    let viewer = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    world.hub.client.change_user("ada@example.org", &viewer).await?;
    let again = world.me(&world.login("ada", "")?)?;
    ensure!(again["user"]["id"] == me["user"]["id"] && again["user"]["role"] == "viewer", "{again}");
    // Somebody with a name that is taken here is not that one.
    let taken = NewUser::new("eve@example.org", Role::Viewer, "drei große Bären");
    world.hub.client.new_user(&taken).await?;
    refused(&world.login("eve", "")?, "there is another user")?;
    // One that is shut out stays out.
    let out = UserChange { disabled: Some(true), ..UserChange::default() };
    world.hub.client.change_user("ada@example.org", &out).await?;
    refused(&world.login("ada", "")?, "shut out")?;
    let record = world.hub.client.audit(0).await?.items;
    let logins =
        |outcome: &str| record.iter().filter(|e| e.action == "login" && e.outcome == outcome).count();
    ensure!((logins("done"), logins("denied")) == (2, 2), "{record:#?}");
    let made = |e: &&AuditView| e.action == "create user" && e.detail.contains("ada@example.org");
    ensure!(record.iter().filter(made).count() == 1, "{record:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_belongs_to_the_browser_that_began_it() -> Result<()> {
    let Some(world) = World::open(None, &["--oidc-new-users", "viewer"]).await? else { return Ok(()) };
    refused(&world.login("ada", "other-browser")?, "another browser")?;
    refused(&world.login("ada", "no-state")?, "another browser")?;
    // A code is good once; what it was good for stays.
    let twice = world.login("ada", "twice")?;
    ensure!(twice["status"] == 303 && twice["again"] == 401, "{twice}");
    ensure!(world.me(&twice)?["user"]["name"] == "ada@example.org");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leave_only_whom_an_admin_has_made() -> Result<()> {
    let Some(world) = World::open(Some("secret"), &[]).await? else { return Ok(()) };
    refused(&world.login("vera", "")?, "ask an admin to add you")?;
    let key = support::cluster::local_key(&world.place).context("no key")?;
    let mut add = support::kinora();
    add.args([
        "users",
        "add",
        "v",
        "--role",
        "viewer",
        "--oidc-subject",
        "vera",
        "--hub",
        &world.hub.address,
    ]);
    let added = run(add.env("KINORA_KEY", key))?;
    ensure!(added.code == Some(0), "{added:?}");
    let me = world.me(&world.login("vera", "")?)?;
    ensure!(me["user"]["name"] == "v" && me["user"]["outside"] == "vera", "{me}");
    // It has no password.
    let failure = world.hub.client.login("v", "drei große Bären").await.err().context("let in")?;
    ensure!(failure.message.contains("wrong"), "{failure}");
    Ok(())
}
