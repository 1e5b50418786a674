//! A hub and two workers on three addresses, in network namespaces of their own. One link is cut both ways and one in one
//! direction only, for longer than a lease, and mended: what was made meanwhile counts at the most once.
#![cfg(target_os = "linux")]

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::fault;
use serde_json::Value;
use support::cluster::slowed;
use support::{PATIENCE, Place, Run, eight, finish, kinora, loud, same_frames};

/// Longer than a lease.
const CUT: Duration = Duration::from_secs(18);

/// Namespaces with a link from the hub to each worker; they go when dropped.
struct Net {
    names: [String; 3],
    /// Where the hub is started, and asked.
    folder: PathBuf,
}

impl Net {
    /// `None`, said loudly, where this is not allowed.
    fn new(place: &Place) -> Option<Self> {
        let id = std::process::id();
        let names = ["hub", "one", "two"].map(|name| format!("kinora-{id}-{name}"));
        let net = Self { names, folder: place.path().to_owned() };
        match net.connect() {
            Ok(()) => Some(net),
            Err(error) => {
                loud(&format!("NO NETWORK NAMESPACES HERE: CUT LINKS ARE NOT TRIED ({error:#})"));
                None
            }
        }
    }

    fn connect(&self) -> Result<()> {
        let [hub, one, two] = &self.names;
        for name in &self.names {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        for (link, worker, number) in [("to-one", one, 1), ("to-two", two, 2)] {
            ip(&["-n", hub, "link", "add", link, "type", "veth", "peer", "name", "to-hub", "netns", worker])?;
            for (name, link, host) in [(hub, link, 1), (worker, "to-hub", 2)] {
                ip(&["-n", name, "addr", "add", &format!("10.77.{number}.{host}/24"), "dev", link])?;
                ip(&["-n", name, "link", "set", link, "up"])?;
            }
        }
        Ok(())
    }

    /// `kinora` in a namespace.
    fn kinora(&self, place: usize) -> Command {
        let program = kinora();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[place]]).arg(program.get_program());
        command.current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Asks the hub by the command line, from beside it: its key lies with its files.
    fn ask(&self, words: &[&str]) -> Result<Run> {
        let mut command = self.kinora(0);
        finish(command.args(words).args(["--hub", HUB]).spawn()?)
    }

    fn ask_json(&self, words: &[&str]) -> Result<Value> {
        let run = self.ask(&[words, &["--json"]].concat())?;
        ensure!(run.code == Some(0), "{run:?}");
        run.json()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// Its own namespace: any port is free.
const HUB: &str = "http://127.0.0.1:8000";

fn ip(words: &[&str]) -> Result<()> {
    let run = Command::new("ip").args(words).output().context("ip")?;
    ensure!(run.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&run.stderr).trim());
    Ok(())
}

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !holds()? {
        ensure!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn cut_links_lose_nothing() -> Result<()> {
    let place = Place::new()?;
    let Some(net) = Net::new(&place) else { return Ok(()) };
    let stub = slowed(Duration::from_millis(1500))?;
    let mut hub = net.kinora(0);
    hub.args(["hub", "--local-worker", "off", "--listen", "0.0.0.0:8000"]);
    let _hub = Process(hub.spawn()?);
    until("the hub", || Ok(net.ask(&["nodes", "ls"])?.code == Some(0)))?;
    // From elsewhere nobody gets anything that is not encrypted.
    let [_, one, _] = &net.names;
    let curl = ["netns", "exec", one, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"];
    if Command::new("curl").arg("--version").output().is_ok() {
        let mut asks = Command::new("ip");
        let open =
            finish(asks.args(curl).arg("http://10.77.1.1:8000/setup").stdout(Stdio::piped()).spawn()?)?;
        ensure!(open.stdout == "308 https://10.77.1.1:8000/setup", "{open:?}");
    }
    let mut workers = Vec::new();
    for (number, name) in [(1, "one"), (2, "two")] {
        let made = net.ask_json(&["tokens", "new", "--node"])?;
        let token = made["token"].as_str().context("no token")?;
        let mut worker = net.kinora(number);
        worker.args([
            "worker",
            "--copy",
            "--slots",
            "1",
            "--benchmark-seconds",
            "0",
            "--reconnect-delay",
            "0.2",
            "--token",
            token,
        ]);
        worker.args(["--hub", &format!("https://10.77.{number}.1:8000"), "--name", name, "--work-dir"]);
        workers.push(Process(
            worker.arg(place.at(name)).args(["--sandbox", "off", "--ffmpeg"]).arg(stub.ffmpeg()).spawn()?,
        ));
    }
    let nodes =
        || net.ask_json(&["nodes", "ls"]).map(|page| page["items"].as_array().cloned().unwrap_or_default());
    until("both workers", || Ok(nodes()?.iter().filter(|n| n["state"] == "Idle").count() == 2))?;
    let source = eight()?.display().to_string();
    let lossless = ["--quality", "lossless", "--preset", "ultrafast", "--chunk-seconds", "1"];
    let submitted = net.ask(&[&["submit", &source], &lossless[..]].concat())?;
    ensure!(submitted.code == Some(0), "{submitted:?}");
    let job = submitted.stdout.trim().to_owned();
    until("chunks on both", || {
        let busy =
            |n: &Value| n["running"].as_array().is_some_and(|r| r.iter().any(|r| r["kind"] == "chunk"));
        Ok(nodes()?.iter().filter(|n| busy(n)).count() == 2)
    })?;
    let [hub_net, _, two] = &net.names;
    ip(&["-n", hub_net, "link", "set", "to-one", "down"])?;
    // The hub still reaches the second worker; what that one says is lost.
    ip(&["-n", two, "route", "add", "blackhole", "10.77.2.1/32"])?;
    std::thread::sleep(CUT);
    ip(&["-n", hub_net, "link", "set", "to-one", "up"])?;
    ip(&["-n", two, "route", "del", "blackhole", "10.77.2.1/32"])?;
    until(
        "the end of the job",
        || Ok(net.ask_json(&["jobs", "show", &job])?["job"]["phase"] == "Completed"),
    )?;
    let out = place.at("o.mp4");
    let fetched = net.ask(&["jobs", "fetch", &job, "-o", &out.display().to_string()])?;
    ensure!(fetched.code == Some(0), "{fetched:?}");
    same_frames(&eight()?, &out)?;
    let shown = net.ask_json(&["jobs", "show", &job])?;
    let tasks = shown["tasks"].as_array().context("no tasks")?;
    let outcomes = |task: &Value, outcome: &str| {
        task["attempts"].as_array().map_or(0, |all| all.iter().filter(|a| a["outcome"] == outcome).count())
    };
    ensure!(tasks.iter().all(|task| outcomes(task, "done") == 1), "each is accepted once: {shown}");
    ensure!(
        tasks.iter().map(|task| outcomes(task, "expired")).sum::<usize>() >= 2,
        "leases ran out: {shown}"
    );
    for name in ["one", "two"] {
        fault::expect_no_orphans(
            &place.at(name).join("scratch").display().to_string(),
            Duration::from_secs(5),
        )?;
    }
    Ok(())
}
