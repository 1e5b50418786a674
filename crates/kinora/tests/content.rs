//! The bytes of media over HTTP: whole, in parts, and not again when the client has them.
#![cfg(unix)]

mod support;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::{Digest, routes};
use support::cluster::Hub;
use support::wire::{Answer, ask};
use support::{Place, eight};

struct Shown {
    hub: Hub,
    path: String,
    bytes: Vec<u8>,
    digest: Digest,
    _place: Place,
}

impl Shown {
    async fn new(name: &str) -> Result<Self> {
        let place = Place::new()?;
        let hub = Hub::alone(&place, "127.0.0.1:0")?;
        let bytes = std::fs::read(eight()?)?;
        let digest = hub.upload(&place.file(name, &bytes)?).await?;
        let path = format!("{}/content", routes::media(&digest));
        Ok(Self { hub, path, bytes, digest, _place: place })
    }

    fn get(&self, headers: &[(&str, &str)]) -> Result<Answer> {
        ask(&self.hub.address, "GET", &self.path, headers)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_and_in_parts() -> Result<()> {
    let shown = Shown::new("Grüße \"1\".mp4").await?;
    let size = shown.bytes.len();
    let whole = shown.get(&[])?;
    ensure!(whole.status == 200 && whole.body == shown.bytes, "{whole:?}");
    let tag = format!("\"{}\"", shown.digest);
    for (name, value) in [
        ("content-type", "video/mp4"),
        ("accept-ranges", "bytes"),
        ("etag", &tag),
        ("content-length", &size.to_string()),
        ("x-content-type-options", "nosniff"),
        (
            "content-disposition",
            "inline; filename=\"Gr__e _1_.mp4\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22.mp4",
        ),
    ] {
        ensure!(whole.header(name)? == value, "{name}: {whole:?}");
    }
    let kept = ask(&shown.hub.address, "GET", &format!("{}?download=true", shown.path), &[])?;
    ensure!(kept.header("content-disposition")?.starts_with("attachment;"), "{kept:?}");
    let head = ask(&shown.hub.address, "HEAD", &shown.path, &[])?;
    ensure!(head.status == 200 && head.body.is_empty() && head.header("content-length")? == size.to_string());
    let unknown = format!("{}/content", routes::media(&Digest::from_bytes(&[7; 32])));
    ensure!(ask(&shown.hub.address, "GET", &unknown, &[])?.status == 404);
    // Any range is what the file has there.
    let mut random = blake3::Hasher::new().finalize_xof();
    let mut number = || {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) as usize % size
    };
    for _ in 0..300 {
        let (a, b) = (number(), number());
        let (first, last) = (a.min(b), a.max(b));
        let part = shown.get(&[("range", &format!("bytes={first}-{last}"))])?;
        ensure!(part.status == 206 && part.body == shown.bytes[first..=last], "{first}-{last}: {part:?}");
        ensure!(part.header("content-range")? == format!("bytes {first}-{last}/{size}"));
    }
    let tail = shown.get(&[("range", "bytes=-100")])?;
    ensure!(tail.status == 206 && tail.body == shown.bytes[size - 100..]);
    let beyond = shown.get(&[("range", &format!("bytes={size}-"))])?;
    ensure!(
        beyond.status == 416 && beyond.header("content-range")? == format!("bytes */{size}"),
        "{beyond:?}"
    );
    ensure!(shown.get(&[("range", "bytes=9-3")])?.body == shown.bytes, "a range that is none is not heard");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_parts_and_conditions() -> Result<()> {
    let shown = Shown::new("film.mkv").await?;
    let size = shown.bytes.len();
    let several = shown.get(&[("range", "bytes=0-9,100-199,-5")])?;
    let kind = several.header("content-type")?;
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").context("no boundary")?.to_owned();
    ensure!(several.status == 206 && several.header("content-length")? == several.body.len().to_string());
    let mut expected = Vec::new();
    for range in [0..10, 100..200, size - 5..size] {
        let last = range.end - 1;
        let head = format!(
            "\r\n--{boundary}\r\ncontent-type: video/x-matroska\r\ncontent-range: bytes {}-{last}/{size}\r\n\r\n",
            range.start
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&shown.bytes[range]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    ensure!(several.body == expected, "{}", several.text());
    let tag = format!("\"{}\"", shown.digest);
    let fresh = shown.get(&[("if-none-match", &tag)])?;
    ensure!(fresh.status == 304 && fresh.body.is_empty() && fresh.header("etag")? == tag, "{fresh:?}");
    let date = shown.get(&[])?.header("last-modified")?.to_owned();
    ensure!(shown.get(&[("if-modified-since", &date)])?.status == 304);
    ensure!(shown.get(&[("if-match", "\"other\"")])?.status == 412);
    ensure!(shown.get(&[("range", "bytes=0-0"), ("if-range", &tag)])?.status == 206);
    ensure!(shown.get(&[("range", "bytes=0-0"), ("if-range", "\"other\"")])?.status == 200, "it has changed");
    Ok(())
}

/// Pages of other origins may talk to the hub where that is allowed, and read what they need; others get no permission.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_need_a_permission() -> Result<()> {
    let place = Place::new()?;
    let own = "https://studio.example";
    let hub =
        Hub::start_as(&place, &["--local-worker", "off", "--listen", "127.0.0.1:0", "--allow-origin", own])?;
    let media = hub.upload(&eight()?).await?;
    let content = format!("/api/v1/media/{media}/content");
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| ask(&hub.address, method, path, headers);
    let read = send("GET", &content, &[("origin", own), ("range", "bytes=0-9")])?;
    ensure!(read.status == 206 && read.header("access-control-allow-origin")? == own, "{read:?}");
    ensure!(read.header("access-control-expose-headers")?.contains("content-range"), "{read:?}");
    ensure!(read.header("vary")?.contains("origin"), "{read:?}");
    let asked = [
        ("origin", own),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "tus-resumable, upload-offset"),
    ];
    let permitted = send("OPTIONS", "/api/v1/uploads", &asked)?;
    ensure!(permitted.status == 204 && permitted.header("access-control-allow-methods")?.contains("PATCH"));
    ensure!(permitted.header("access-control-allow-headers")?.contains("upload-offset"), "{permitted:?}");
    // What tus says of itself is said to those who ask for that.
    let tus = send("OPTIONS", "/api/v1/uploads", &[("origin", own)])?;
    ensure!(tus.header("tus-version")? == "1.0.0" && tus.header("access-control-allow-origin")? == own);
    for other in ["https://studio.example.evil.example", "http://studio.example", "null"] {
        let stranger = send("GET", &content, &[("origin", other)])?;
        ensure!(stranger.header("access-control-allow-origin").is_err(), "{other}: {stranger:?}");
    }
    let wrong = support::run(support::kinora().args(["hub", "--allow-origin", "studio"]))?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("https://HOST"), "{wrong:?}");
    Ok(())
}
