//! Uploads by tus 1.0, as any client says it, and as a form: byte by byte on a connection of its own, which can break anywhere.
#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use base64::Engine as _;
use kinora_protocol::api::UploadView;
use kinora_protocol::{Digest, routes};
use support::cluster::Hub;
use support::wire::{self, Answer};
use support::{Place, eight, signal};

/// As [`wire::ask`], in the version of the protocol that is spoken here unless `headers` say otherwise.
fn ask(hub: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    wire::read(open(hub, method, path, headers)?)
}

fn open(hub: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<TcpStream> {
    let version = [("tus-resumable", "1.0.0")];
    let said = headers.iter().any(|(name, _)| *name == "tus-resumable");
    wire::open(hub, method, path, &[if said { &[] } else { &version[..] }, headers].concat())
}

trait Tus: Sized {
    fn offset(&self) -> Result<u64>;
    fn is(self, status: u16) -> Result<Self>;
}

impl Tus for Answer {
    fn offset(&self) -> Result<u64> {
        Ok(self.header("upload-offset")?.parse()?)
    }

    fn is(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{status} was expected: {self:?} {}", self.text());
        ensure!(self.header("tus-resumable")? == "1.0.0");
        Ok(self)
    }
}

const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");

fn patch(hub: &str, path: &str, offset: u64, headers: &[(&str, &str)], bytes: &[u8]) -> Result<Answer> {
    let (offset, length) = (offset.to_string(), bytes.len().to_string());
    let own = [BYTES, ("upload-offset", &offset), ("content-length", &length)];
    let mut stream = open(hub, "PATCH", path, &[&own, headers].concat())?;
    stream.write_all(bytes)?;
    wire::read(stream)
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Begins an upload; gives its path.
fn begin(hub: &str, length: usize, headers: &[(&str, &str)]) -> Result<String> {
    let length = length.to_string();
    let name = format!("filename {}", base64("Grüße.MP4".as_bytes()));
    let own = [("upload-length", length.as_str()), ("upload-metadata", &name)];
    let begun = ask(hub, "POST", routes::UPLOADS, &[&own, headers].concat())?.is(201)?;
    ensure!(begun.header("upload-expires")?.ends_with("GMT"), "{begun:?}");
    Ok(begun.header("location")?.to_owned())
}

fn bytes() -> Result<Vec<u8>> {
    Ok(std::fs::read(eight()?)?)
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(blake3::hash(bytes).as_bytes())
}

/// A hub that is killed and started again at the same address.
fn again(place: &Place, mut hub: Hub, how: &str) -> Result<Hub> {
    let listen = hub.listen();
    signal(&hub.child, how)?;
    hub.child.wait()?;
    Hub::alone(place, &listen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_stops_and_goes_on() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let (address, bytes) = (hub.address.clone(), bytes()?);
    let options = ask(&address, "OPTIONS", routes::UPLOADS, &[("tus-resumable", "")])?.is(204)?;
    ensure!(options.header("tus-version")? == "1.0.0" && options.header("tus-max-size")? == "50000000000");
    for extension in ["creation", "checksum", "termination", "expiration", "concatenation"] {
        ensure!(options.header("tus-extension")?.split(',').any(|e| e == extension), "{options:?}");
    }
    let path = begin(&address, bytes.len(), &[])?;
    let third = bytes.len() / 3;
    let first = patch(&address, &path, 0, &[], &bytes[..third])?.is(204)?;
    ensure!(first.offset()? == third as u64);
    let head = ask(&address, "HEAD", &path, &[])?.is(200)?;
    ensure!(head.offset()? == third as u64 && head.header("cache-control")? == "no-store");
    ensure!(head.header("upload-length")? == bytes.len().to_string());
    patch(&address, &path, 5, &[], &bytes[5..])?.is(409)?;
    // A connection that breaks in the middle: what arrived is kept.
    let offset = third.to_string();
    let length = (bytes.len() - third).to_string();
    let headers = [BYTES, ("upload-offset", offset.as_str()), ("content-length", &length)];
    let mut broken = open(&address, "PATCH", &path, &headers)?;
    broken.write_all(&bytes[third..2 * third])?;
    broken.flush()?;
    drop(broken);
    // Shown, not asked for: who asks where to go on takes the upload over.
    let shown = || -> Result<u64> {
        let view: UploadView = serde_json::from_slice(&ask(&address, "GET", &path, &[])?.is(200)?.body)?;
        Ok(view.offset)
    };
    let started = Instant::now();
    while shown()? == third as u64 {
        ensure!(started.elapsed() < Duration::from_secs(20), "nothing of it was kept");
    }
    let at = ask(&address, "HEAD", &path, &[])?.is(200)?.offset()?;
    ensure!(at > third as u64 && at <= 2 * third as u64, "{at}");
    // Not even a killed hub loses what it acknowledged.
    let hub = again(&place, hub, "KILL")?;
    ensure!(ask(&address, "HEAD", &path, &[])?.is(200)?.offset()? == at);
    let done = patch(&address, &path, at, &[], &bytes[usize::try_from(at)?..])?.is(204)?;
    ensure!(done.header("x-kinora-media")? == digest(&bytes).as_str(), "{done:?}");
    let media = hub.client.media().await?.items;
    ensure!(
        media.len() == 1 && media[0].size == bytes.len() as u64 && media[0].name == "Grüße.MP4",
        "{media:?}"
    );
    ensure!(std::fs::read(place.at("data").join("media").join(format!("{}.mp4", digest(&bytes))))? == bytes);
    ensure!(support::names(&place.at("data").join("uploads"))?.is_empty());
    // Again by our own client, under another name: the same media.
    let copy = place.file("copy.mov", &bytes)?;
    ensure!(hub.client.upload(&copy, |_| ()).await?.id == digest(&bytes));
    ensure!(support::names(&place.at("data").join("media"))?.len() == 1);
    Ok(())
}

#[test]
fn what_comes_is_checked() -> Result<()> {
    let place = Place::new()?;
    let flags = "--local-worker off --listen 127.0.0.1:0 --max-upload 100M";
    let hub = Hub::start_as(&place, &flags.split(' ').collect::<Vec<_>>())?;
    let (address, bytes) = (hub.address.clone(), bytes()?);
    // tus-resumable missing, or of another version.
    let old = ask(&address, "POST", routes::UPLOADS, &[("tus-resumable", "0.2.2")])?.is(412)?;
    ensure!(old.header("tus-version")? == "1.0.0");
    for headers in [
        &[][..],
        &[("upload-length", "-1")],
        &[("upload-length", "ten")],
        &[("upload-defer-length", "2")],
        &[("upload-length", "5"), ("upload-defer-length", "1")],
        &[("upload-length", "5"), ("upload-concat", "half")],
    ] {
        ask(&address, "POST", routes::UPLOADS, headers)?.is(400)?;
    }
    let long = ask(&address, "POST", routes::UPLOADS, &[("upload-length", "100000001")])?.is(413)?;
    ensure!(long.text().contains("100000000 bytes"), "{long:?}");
    let path = begin(&address, 10, &[])?;
    patch(&address, &path, 0, &[], b"more than ten bytes")?.is(413)?;
    let sum = |text: &str| format!("sha256 {}", base64(&<[u8; 32]>::from(sha2_of(text))));
    patch(&address, &path, 0, &[("upload-checksum", &sum("other"))], b"hello")?.is(460)?;
    ensure!(ask(&address, "HEAD", &path, &[])?.offset()? == 0, "nothing of it was kept");
    patch(&address, &path, 0, &[("upload-checksum", "crc32 AAAA")], b"hello")?.is(400)?;
    ensure!(
        patch(&address, &path, 0, &[("upload-checksum", &sum("hello"))], b"hello")?.is(204)?.offset()? == 5
    );
    let plain = [("content-type", "text/plain"), ("upload-offset", "5"), ("content-length", "0")];
    ask(&address, "PATCH", &path, &plain)?.is(415)?;
    ask(&address, "PUT", &path, &[])?.is(405)?;
    ask(&address, "DELETE", &path, &[])?.is(204)?;
    ask(&address, "HEAD", &path, &[])?.is(404)?;
    ask(&address, "HEAD", &format!("{}/../../etc/passwd", routes::UPLOADS), &[])?;
    ask(&address, "HEAD", &format!("{}/nonsense", routes::UPLOADS), &[])?.is(404)?;
    ensure!(support::names(&place.at("data").join("uploads"))?.is_empty());
    // A length that is told later, and a method that a proxy would not let through.
    let begun = ask(&address, "POST", routes::UPLOADS, &[("upload-defer-length", "1")])?.is(201)?;
    let path = begun.header("location")?.to_owned();
    ensure!(ask(&address, "HEAD", &path, &[])?.header("upload-defer-length")? == "1");
    let length = bytes.len().to_string();
    let mut stream = open(
        &address,
        "POST",
        &path,
        &[
            BYTES,
            ("x-http-method-override", "PATCH"),
            ("upload-offset", "0"),
            ("upload-length", &length),
            ("content-length", &length),
        ],
    )?;
    stream.write_all(&bytes)?;
    ensure!(wire::read(stream)?.is(204)?.header("x-kinora-media")? == digest(&bytes).as_str());
    let empty = ask(&address, "POST", routes::UPLOADS, &[("upload-length", "0")])?.is(422)?;
    ensure!(empty.text().contains("empty"), "{empty:?}");
    Ok(())
}

fn sha2_of(text: &str) -> sha2::digest::Output<sha2::Sha256> {
    <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes())
}

#[test]
fn parts_become_one_file() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let (address, bytes) = (hub.address.clone(), bytes()?);
    let cuts = [0, bytes.len() / 4, bytes.len() / 2, bytes.len()];
    let mut paths = Vec::new();
    for pair in cuts.windows(2) {
        let part = &bytes[pair[0]..pair[1]];
        let path = begin(&address, part.len(), &[("upload-concat", "partial")])?;
        ensure!(!patch(&address, &path, 0, &[], part)?.is(204)?.headers.contains_key("x-kinora-media"));
        paths.push(format!("{address}{path}"));
    }
    let unfinished = begin(&address, 5, &[("upload-concat", "partial")])?;
    let concat = |paths: &[String]| {
        let value = format!("final;{}", paths.join(" "));
        ask(&address, "POST", routes::UPLOADS, &[("upload-concat", value.as_str())])
    };
    concat(&[paths[0].clone(), unfinished])?.is(403)?;
    let whole = concat(&paths)?.is(201)?;
    ensure!(whole.header("x-kinora-media")? == digest(&bytes).as_str(), "{whole:?}");
    let path = whole.header("location")?;
    let head = ask(&address, "HEAD", path, &[])?.is(200)?;
    ensure!(head.header("upload-concat")?.starts_with("final;") && head.offset()? == bytes.len() as u64);
    patch(&address, path, bytes.len() as u64, &[], b"")?.is(403)?;
    Ok(())
}

/// Our own client goes on by itself, also over a hub that is killed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_goes_on_by_itself() -> Result<()> {
    let place = Place::new()?;
    let mut hub = Hub::alone(&place, "127.0.0.1:0")?;
    let large: PathBuf = place.file("large.bin", large())?;
    let (client, path) = (hub.client.clone(), large.clone());
    let reached = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let at = std::sync::Arc::clone(&reached);
    let upload = tokio::spawn(async move {
        client.upload(&path, move |now| at.store(now, std::sync::atomic::Ordering::Relaxed)).await
    });
    for part in [20_u64 << 20, 50 << 20] {
        let started = Instant::now();
        while reached.load(std::sync::atomic::Ordering::Relaxed) < part {
            if upload.is_finished() || started.elapsed() > Duration::from_secs(60) {
                bail!("it did not come to {part}: {:?}", upload.await?);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hub = again(&place, hub, "KILL")?;
    }
    let media = upload.await??;
    ensure!(media.id == digest(&std::fs::read(&large)?) && media.size == 80 << 20, "{media:?}");
    ensure!(support::names(&place.at("data").join("uploads"))?.is_empty());
    drop(hub);
    Ok(())
}

/// 80 MiB in which no two blocks are alike.
fn large() -> Vec<u8> {
    let mut bytes = vec![0; 80 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Begins to send a form with one file, as a browser does, and announces `length` bytes of it.
fn form(hub: &str, bytes: &[u8], length: usize) -> Result<TcpStream> {
    const LINE: &str = "--------12345";
    let head = format!(
        "--{LINE}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a b.MP4\"\r\n\
         content-type: video/mp4\r\n\r\n"
    );
    let tail = format!("\r\n--{LINE}--\r\n");
    let kind = format!("multipart/form-data; boundary={LINE}");
    let announced = (head.len() + length + tail.len()).to_string();
    let headers = [("content-type", kind.as_str()), ("content-length", &announced)];
    let mut stream = wire::open(hub, "POST", routes::MEDIA, &headers)?;
    stream.write_all(head.as_bytes())?;
    // Who refuses may hang up before all of it is sent.
    let _ = stream.write_all(bytes);
    if bytes.len() == length {
        let _ = stream.write_all(tail.as_bytes());
    }
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_becomes_media_or_leaves_nothing() -> Result<()> {
    let place = Place::new()?;
    let hub =
        Hub::start_as(&place, &["--local-worker", "off", "--listen", "127.0.0.1:0", "--max-upload", "2M"])?;
    let bytes = bytes()?;
    let taken = wire::read(form(&hub.address, &bytes, bytes.len())?)?;
    ensure!(taken.status == 201, "{taken:?} {}", taken.text());
    let view: kinora_protocol::api::MediaView = serde_json::from_slice(&taken.body)?;
    ensure!(view.id == digest(&bytes) && view.name == "a b.MP4" && view.size == bytes.len() as u64);

    // Too long for sure is refused before it is sent, too long in fact when it shows.
    let long = vec![7; 2_500_000];
    for (sent, announced) in [(0, 40_000_000), (long.len(), long.len())] {
        let refused = wire::read(form(&hub.address, &long[..sent], announced)?)?;
        ensure!(
            refused.status == 413 && refused.text().contains("2000000"),
            "{refused:?} {}",
            refused.text()
        );
    }
    let empty = wire::read(form(&hub.address, &[], 0)?)?;
    ensure!(empty.status == 422, "{empty:?}");
    // A sender that breaks off.
    drop(form(&hub.address, &long[..1_000_000], 1_900_000)?);
    let media = place.at("data").join("media");
    support::until("nothing is left but the one file", || {
        support::names(&media).is_ok_and(|names| names == [format!("{}.mp4", view.id)])
    })?;
    ensure!(hub.client.media().await?.items.len() == 1);
    Ok(())
}
