//! Media from addresses: fetched from where that is allowed, and from nowhere else.
#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::Import;
use support::cluster::Hub;
use support::{Place, kinora, run, short};

/// A server of one film, and of answers that lead astray. Gives its address and how often it was asked.
fn server() -> Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let film = std::fs::read(short()?)?;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(std::io::Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            let Ok(copy) = stream.try_clone() else { return };
            let mut reader = BufReader::new(copy);
            let mut first = String::new();
            let mut line = String::new();
            let _ = reader.read_line(&mut first);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let path = first.split(' ').nth(1).unwrap_or_default();
            let plain = |head: &str| format!("HTTP/1.1 {head}\r\nconnection: close\r\n");
            let sent = match path {
                "/film.mp4" => {
                    let head = format!("{}content-length: {}\r\n\r\n", plain("200 OK"), film.len());
                    stream.write_all(&[head.as_bytes(), &film].concat())
                }
                "/cut.mp4" => {
                    let head = format!("{}content-length: {}\r\n\r\n", plain("200 OK"), film.len());
                    stream.write_all(&[head.as_bytes(), &film[..1000]].concat())
                }
                "/empty" => write!(stream, "{}content-length: 0\r\n\r\n", plain("200 OK")),
                "/endless" => write!(stream, "{}content-length: 99999999999999\r\n\r\n", plain("200 OK")),
                "/on" => write!(stream, "{}location: /film.mp4\r\n\r\n", plain("302 Found")),
                "/round" => write!(stream, "{}location: /round\r\n\r\n", plain("302 Found")),
                "/inside" => {
                    write!(stream, "{}location: http://127.0.0.2:{port}/film.mp4\r\n\r\n", plain("307 On"))
                }
                "/file" => write!(stream, "{}location: file:///etc/passwd\r\n\r\n", plain("302 Found")),
                _ => write!(stream, "{}\r\n", plain("404 Not Found")),
            };
            drop(sent);
        }
    });
    Ok((port, asked))
}

async fn refused(hub: &Hub, url: &str) -> Result<String> {
    let said = hub.client.import(&Import { url: url.to_owned(), name: None }).await;
    Ok(said.err().with_context(|| format!("{url} was taken"))?.message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_internet_only() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let (port, asked) = server()?;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let why = refused(&hub, &format!("http://{host}:{port}/film.mp4")).await?;
        ensure!(why.contains("not on the internet"), "{host}: {why}");
    }
    for (url, wanted) in [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/a", "only http and https"),
        ("http://me:secret@1.1.1.1/", "do not belong"),
        ("film.mp4", "is no address"),
    ] {
        let why = refused(&hub, url).await?;
        ensure!(why.contains(wanted) && !why.contains("secret"), "{url}: {why}");
    }
    ensure!(asked.load(Ordering::Relaxed) == 0, "somebody was asked");
    ensure!(hub.client.media().await?.items.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_host_that_is_allowed() -> Result<()> {
    let place = Place::new()?;
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--local-worker",
        "off",
        "--import-from",
        "127.0.0.1",
        "--max-upload",
        "1G",
    ];
    let hub = Hub::start_as(&place, &flags)?;
    let (port, _) = server()?;
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let said =
        run(kinora().args(["media", "import", &at("/on"), "--json", "--hub", &hub.address]))?.done()?;
    let film = std::fs::read(short()?)?;
    ensure!(said["name"] == "film.mp4" && said["size"] == film.len(), "{said}");
    ensure!(said["id"] == blake3::hash(&film).to_hex().as_str(), "{said}");
    for (path, wanted) in [
        ("/inside", "127.0.0.2 is not on the internet"),
        ("/file", "only http and https"),
        ("/round", "too often"),
        ("/none", "answered 404"),
        ("/cut.mp4", "was cut off"),
        ("/empty", "empty is empty"),
        ("/endless", "no more than 1000000000 bytes"),
    ] {
        let why = refused(&hub, &at(path)).await?;
        ensure!(why.contains(wanted), "{path}: {why}");
    }
    let kept = hub.client.media().await?.items;
    ensure!(kept.len() == 1, "{kept:?}");
    let left = support::names(&place.at("data/media"))?;
    ensure!(left.len() == 1, "something is left: {left:?}");
    Ok(())
}
