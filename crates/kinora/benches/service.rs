//! How fast a hub takes files in and gives them out, beside `cp` and `b3sum`, and beside nginx; and how soon it answers while jobs run.
//! Both sides of a pair run in turn on the same files. Run by `cargo xtask bench service`.
#![cfg(unix)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::recipe::Recipe;
use kinora_protocol::{Digest, routes};
use support::cluster::Hub;
use support::random::Random;
use support::{Place, cutting::Cutting, loud, wire};

/// Bytes of the file.
const SIZE: u64 = 1 << 30;
/// Pairs of runs.
const PAIRS: usize = 7;
/// Ranges whose bytes are looked at.
const RANGES: u64 = 10_000;
/// Clients that load at once.
const CLIENTS: u64 = 4;
/// Jobs that run while it is asked.
const JOBS: u64 = 8;
/// How long it is asked.
const ASKED: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "--list" || word == "--test") {
        return Ok(());
    }
    // All parts, or those that are named.
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let runtime = tokio::runtime::Runtime::new()?;
    if wanted("uploads") {
        runtime.block_on(uploads())?;
    }
    if wanted("downloads") {
        runtime.block_on(downloads())?;
    }
    if wanted("encrypted") {
        runtime.block_on(encrypted())?;
    }
    if wanted("answers") {
        runtime.block_on(answers())?;
    }
    Ok(())
}

/// A file in which no two blocks are alike.
fn file(place: &Place) -> Result<PathBuf> {
    let path = place.at("large.bin");
    let mut out = File::create(&path)?;
    let mut bytes = blake3::Hasher::new().finalize_xof();
    let mut piece = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        bytes.fill(&mut piece);
        out.write_all(&piece)?;
    }
    out.sync_all()?;
    Ok(path)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Megabytes a second, medians, and the median of the ratios pair by pair.
fn tell(what: &str, bytes: u64, pairs: &[(f64, f64)]) {
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    let side = |pick: fn(&(f64, f64)) -> f64| rate(median(&pairs.iter().map(pick).collect::<Vec<_>>()));
    let ratios: Vec<f64> = pairs.iter().map(|(ours, theirs)| theirs / ours).collect();
    let mut sorted: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    sorted.sort();
    let (ours, theirs) = (side(|pair| pair.0), side(|pair| pair.1));
    println!("{what}: {ours:.0} and {theirs:.0} MB/s, ratio {:.2} ({})", median(&ratios), sorted.join(", "));
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed().as_secs_f64()))
}

fn done(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// What a user does without a hub: a copy, and its BLAKE3.
fn copied(from: &Path, to: &Path) -> Result<()> {
    done(Command::new("cp").args(["--reflink=never", "--"]).arg(from).arg(to))?;
    done(Command::new("b3sum").arg("--").arg(to))
}

/// Sends the file as a form.
fn form(hub: &str, path: &Path) -> Result<()> {
    let head = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n";
    let tail = "\r\n--x--\r\n";
    let length = (SIZE + (head.len() + tail.len()) as u64).to_string();
    let kind = ("content-type", "multipart/form-data; boundary=x");
    let mut stream = wire::open(hub, "POST", routes::MEDIA, &[kind, ("content-length", &length)])?;
    stream.write_all(head.as_bytes())?;
    std::io::copy(&mut File::open(path)?, &mut stream)?;
    stream.write_all(tail.as_bytes())?;
    let answer = wire::read(stream)?;
    ensure!(answer.status == 201, "{answer:?} {}", answer.text());
    Ok(())
}

async fn forget_all(hub: &Hub) -> Result<()> {
    for media in hub.client.media().await?.items {
        let gone = wire::ask(&hub.address, "DELETE", &format!("{}/{}", routes::MEDIA, media.id), &[])?;
        ensure!(gone.status == 204, "{gone:?}");
    }
    Ok(())
}

async fn uploads() -> Result<()> {
    if Command::new("b3sum").arg("--version").output().is_err() {
        loud("SKIPPED: there is no b3sum to compare uploads with");
        return Ok(());
    }
    let place = Place::new()?;
    let path = file(&place)?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let copy = place.at("copy.bin");
    let (mut tus, mut forms) = (Vec::new(), Vec::new());
    // Once for nothing: pages come into memory.
    copied(&path, &copy)?;
    for _ in 0..PAIRS {
        std::fs::remove_file(&copy)?;
        let ((), base) = timed(|| copied(&path, &copy))?;
        let started = Instant::now();
        hub.client.upload(&path, |_| ()).await?;
        tus.push((started.elapsed().as_secs_f64(), base));
        forget_all(&hub).await?;
        let ((), ours) = timed(|| form(&hub.address, &path))?;
        forms.push((ours, base));
        forget_all(&hub).await?;
    }
    tell("tus, and cp with b3sum", SIZE, &tus);
    tell("form, and cp with b3sum", SIZE, &forms);
    // What breaks is sent again only as far as it was not safe.
    let way = Cutting::to(&hub.address, SIZE / 11, 10)?;
    let client = kinora_protocol::client::Client::new(&way.address)?;
    client.upload(&path, |_| ()).await?;
    let again = way.sent().saturating_sub(SIZE);
    println!("{} cuts: {:.1} MB of {:.0} sent again", way.cuts(), again as f64 / 1e6, SIZE as f64 / 1e6);
    Ok(())
}

/// A server of files beside ours.
struct Nginx {
    child: Child,
    address: String,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// One that serves a folder as Debian sets it up (`sendfile on`).
    fn start(place: &Place, root: &Path) -> Result<Option<Self>> {
        let name = ["nginx", "/usr/sbin/nginx"].into_iter();
        let Some(program) = name.into_iter().find(|name| Command::new(name).arg("-v").output().is_ok())
        else {
            loud("SKIPPED: there is no nginx to compare downloads with");
            return Ok(None);
        };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (folder, root) = (place.path().display(), root.display());
        let settings = format!(
            "daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root;\n\
             events {{ worker_connections 768; }}\n\
             http {{ access_log off; keepalive_requests 1000000; sendfile on; tcp_nopush on; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n\
             fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
        );
        let settings = place.file("nginx.conf", settings)?;
        let child = Command::new(program).arg("-c").arg(settings).spawn()?;
        let address = format!("127.0.0.1:{port}");
        support::until("nginx", || TcpStream::connect(&address).is_ok())?;
        Ok(Some(Self { child, address: format!("http://{address}") }))
    }
}

/// A connection that is used again and again.
struct Loader {
    stream: BufReader<TcpStream>,
    host: String,
    path: String,
}

impl Loader {
    fn to(address: &str, path: &str) -> Result<Self> {
        let host = address.trim_start_matches("http://").to_owned();
        let stream = BufReader::with_capacity(256 << 10, TcpStream::connect(&host)?);
        Ok(Self { stream, host, path: path.to_owned() })
    }

    /// Asks for a range, or for all; gives the status and reads the body into `into`, or past it.
    fn get(&mut self, range: Option<&str>, mut into: Option<&mut Vec<u8>>) -> Result<u16> {
        let range = range.map(|range| format!("range: {range}\r\n")).unwrap_or_default();
        let head = format!("GET {} HTTP/1.1\r\nhost: {}\r\n{range}\r\n", self.path, self.host);
        self.stream.get_mut().write_all(head.as_bytes())?;
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the server hung up");
            let (name, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
            if status == 0 {
                status = line.split(' ').nth(1).context("no status")?.parse()?;
            } else if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<u64>()?;
            } else if name.is_empty() {
                break;
            }
        }
        let mut body = self.stream.by_ref().take(length);
        match &mut into {
            Some(bytes) => {
                bytes.clear();
                body.read_to_end(bytes)?;
            }
            None => drop(std::io::copy(&mut body, &mut std::io::sink())?),
        }
        Ok(status)
    }
}

/// Ranges of `length` bytes, or the whole file, by some clients at once; gives bytes and seconds.
fn load(address: &str, path: &str, length: Option<u64>, count: u64) -> Result<(u64, f64)> {
    let bytes = Arc::new(AtomicU64::new(0));
    let ((), seconds) = timed(|| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|one| {
                let (bytes, mut loader) = (Arc::clone(&bytes), Loader::to(address, path)?);
                Ok(std::thread::spawn(move || -> Result<()> {
                    let mut random = Random(one);
                    for _ in 0..count {
                        let range = length.map(|length| {
                            let start = random.below(SIZE - length);
                            format!("bytes={start}-{}", start + length - 1)
                        });
                        let status = loader.get(range.as_deref(), None)?;
                        ensure!(status == if length.is_some() { 206 } else { 200 }, "{status}");
                        bytes.fetch_add(length.unwrap_or(SIZE), Ordering::Relaxed);
                    }
                    Ok(())
                }))
            })
            .collect::<Result<_>>()?;
        clients
            .into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok((bytes.load(Ordering::Relaxed), seconds))
}

/// Random ranges, from the beginning, to the end, beyond it: each has the bytes of the file.
fn ranges(address: &str, path: &str, file: &Path) -> Result<()> {
    let mut file = File::open(file)?;
    let (mut loader, mut random) = (Loader::to(address, path)?, Random(7));
    let (mut got, mut wanted, mut refused) = (Vec::new(), Vec::new(), 0);
    for one in 0..RANGES {
        let (start, length) = (random.below(SIZE), 1 + random.below(256 << 10));
        let (text, start, end) = match one % 4 {
            0 | 1 => (format!("bytes={start}-{}", start + length - 1), start, start + length),
            2 => (format!("bytes=-{length}"), SIZE - length, SIZE),
            _ if one % 8 == 3 => {
                let start = SIZE - length;
                (format!("bytes={start}-"), start, SIZE)
            }
            _ => {
                let status = loader.get(Some(&format!("bytes={}-", SIZE + start)), Some(&mut got))?;
                ensure!(status == 416, "{status} for a range behind the end");
                refused += 1;
                continue;
            }
        };
        let status = loader.get(Some(&text), Some(&mut got))?;
        let end = end.min(SIZE);
        file.seek(SeekFrom::Start(start))?;
        wanted.resize(usize::try_from(end - start)?, 0);
        file.read_exact(&mut wanted)?;
        ensure!(status == 206 && got == wanted, "{text}: {status}, {} bytes", got.len());
    }
    println!("{RANGES} random ranges: all bytes right, {refused} times 416 where due");
    Ok(())
}

async fn downloads() -> Result<()> {
    let place = Place::new()?;
    let path = file(&place)?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let media = hub.upload(&path).await?;
    let ours = format!("{}/{media}/content", routes::MEDIA);
    ranges(&hub.address, &ours, &path)?;
    let Some(nginx) = Nginx::start(&place, place.path())? else { return Ok(()) };
    for (what, length, count) in [("whole file", None, 1), ("4 MiB", Some(4 << 20), 250)] {
        let (mut pairs, mut moved) = (Vec::new(), 0);
        for pair in 0..=PAIRS {
            let (bytes, ours) = load(&hub.address, &ours, length, count)?;
            let (_, theirs) = load(&nginx.address, "/large.bin", length, count)?;
            moved = bytes;
            // The first is for nothing: pages come into memory.
            if pair > 0 {
                pairs.push((ours, theirs));
            }
        }
        tell(&format!("{what}, {CLIENTS} clients, and nginx"), moved, &pairs);
    }
    Ok(())
}

/// A hub that encrypts what it keeps, beside one that does not.
async fn encrypted() -> Result<()> {
    let (place, beside) = (Place::new()?, Place::new()?);
    let path = file(&place)?;
    let key = place.file("key", "5e".repeat(32))?.display().to_string();
    let flags =
        ["--local-worker", "off", "--listen", "127.0.0.1:0", "--encrypt-at-rest", "--master-key-file", &key];
    let hubs = [Hub::start_as(&place, &flags)?, Hub::alone(&beside, "127.0.0.1:0")?];
    let mut sent = Vec::new();
    for pair in 0..=PAIRS {
        let mut took = Vec::new();
        for hub in &hubs {
            forget_all(hub).await?;
            let started = Instant::now();
            hub.client.upload(&path, |_| ()).await?;
            took.push(started.elapsed().as_secs_f64());
        }
        if pair > 0 {
            sent.push((took[0], took[1]));
        }
    }
    tell("tus, encrypted and not", SIZE, &sent);
    let media = hubs[0].client.media().await?.items.remove(0).id;
    let content = format!("{}/{media}/content", routes::MEDIA);
    ranges(&hubs[0].address, &content, &path)?;
    for (what, length, count) in [("whole file", None, 1), ("4 MiB", Some(4 << 20), 250)] {
        let (mut pairs, mut moved) = (Vec::new(), 0);
        for pair in 0..=PAIRS {
            let (bytes, ours) = load(&hubs[0].address, &content, length, count)?;
            let (_, theirs) = load(&hubs[1].address, &content, length, count)?;
            moved = bytes;
            if pair > 0 {
                pairs.push((ours, theirs));
            }
        }
        tell(&format!("{what}, {CLIENTS} clients, encrypted and not"), moved, &pairs);
    }
    Ok(())
}

/// Asks for lists and single things, one after the other, while jobs run.
async fn answers() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    hub.connected(1).await?;
    let clip = support::clip(
        "film.mp4",
        "-f lavfi -i testsrc2=s=1280x720:r=25:d=240 -c:v libx264 -preset ultrafast -g 50",
    )?;
    let media: Digest = hub.upload(&clip).await?;
    let mut jobs = Vec::new();
    for one in 0..JOBS {
        let mut recipe = Recipe::default();
        // Each of them has work of its own to do.
        recipe.video.crf = Some(20.0 + one as f64);
        let job = NewJob { recipe, ..NewJob::of(Source::Media(media.clone())) };
        jobs.push(hub.client.submit(&job, None).await?.id);
    }
    hub.until(jobs[0], |view| view.chunks.done > 0).await?;
    let asked = [
        "/api/v1/jobs".to_owned(),
        format!("/api/v1/jobs/{}", jobs[1]),
        format!("/api/v1/jobs/{}/tasks", jobs[0]),
    ];
    let asked =
        [&asked[..], &["/api/v1/nodes".to_owned(), "/api/v1/system".to_owned(), "/api/v1/media".to_owned()]]
            .concat();
    let mut loaders: Vec<_> =
        asked.iter().map(|path| Loader::to(&hub.address, path)).collect::<Result<_>>()?;
    let (mut times, started, mut body) = (Vec::new(), Instant::now(), Vec::new());
    while started.elapsed() < ASKED {
        for loader in &mut loaders {
            let (status, seconds) = timed(|| loader.get(None, Some(&mut body)))?;
            ensure!(status == 200, "{}: {status}", loader.path);
            times.push(seconds * 1e3);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut running = 0;
    for job in jobs {
        running += usize::from(!hub.client.job(job).await?.phase.is_final());
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{} answers while {running} of {JOBS} jobs ran: median {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
