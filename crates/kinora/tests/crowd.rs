//! Many who upload at once over connections that break, and one who wants to upload too much: no byte is wrong, and the hub needs
//! little memory.
#![cfg(target_os = "linux")]

mod support;

use std::io::Write as _;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_protocol::{Digest, routes};
use support::cluster::Hub;
use support::random::Random;
use support::wire::{self, Answer};
use support::{PATIENCE, Place};

/// Who uploads at once.
const CROWD: usize = 200;
/// Bytes of each upload.
const SIZE: usize = 3 << 20;
/// How often each connection breaks.
const DROPS: usize = 4;
/// What the hub may have needed at its peak, in KiB: 200 MB.
const MOST_MEMORY: u64 = 200_000_000 / 1024;

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

fn bytes_of(one: usize) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    blake3::Hasher::new().update(&one.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn memory(hub: &Hub) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.child.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}

fn begin(hub: &str, length: u64) -> Result<Answer> {
    let length = length.to_string();
    let headers = [TUS, ("upload-length", length.as_str()), ("content-length", "0")];
    wire::ask(hub, "POST", routes::UPLOADS, &headers)
}

/// Uploads `bytes` over connections that break; gives the id of the media.
fn upload(hub: &str, bytes: &[u8], random: &mut Random) -> Result<String> {
    let begun = begin(hub, bytes.len() as u64)?;
    ensure!(begun.status == 201, "{begun:?}");
    let path = begun.header("location")?.to_owned();
    let (mut drops_left, started) = (DROPS, Instant::now());
    while started.elapsed() < PATIENCE {
        let head = wire::ask(hub, "HEAD", &path, &[TUS])?;
        ensure!(head.status == 200, "{head:?}");
        let at: usize = head.header("upload-offset")?.parse()?;
        let rest = bytes.get(at..).context("an offset beyond the end")?;
        let (offset, length) = (at.to_string(), rest.len().to_string());
        let kind = ("content-type", "application/offset+octet-stream");
        let headers = [TUS, kind, ("upload-offset", &offset), ("content-length", &length)];
        let mut stream = wire::open(hub, "PATCH", &path, &headers)?;
        if drops_left > 0 {
            stream.write_all(&rest[..usize::try_from(random.below(rest.len().max(1) as u64))?])?;
            drops_left -= 1;
            continue;
        }
        stream.write_all(rest)?;
        let done = wire::read(stream)?;
        if [409, 423].contains(&done.status) {
            // What the broken connection had brought was still on its way to the disk, or is still.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        ensure!(done.status == 204, "{done:?} {}", done.text());
        return Ok(done.header("x-kinora-media")?.to_owned());
    }
    bail!("it never ended")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let start = Arc::new(Barrier::new(CROWD));
    let crowd: Vec<_> = (0..CROWD)
        .map(|one| {
            let (start, address) = (Arc::clone(&start), hub.address.clone());
            std::thread::spawn(move || -> Result<()> {
                let bytes = bytes_of(one);
                let wanted = Digest::from_bytes(blake3::hash(&bytes).as_bytes());
                start.wait();
                let media = upload(&address, &bytes, &mut Random(one as u64))?;
                ensure!(media == wanted.as_str(), "upload {one} became other bytes");
                Ok(())
            })
        })
        .collect();
    for one in crowd {
        one.join().map_err(|_| anyhow::anyhow!("an upload panicked"))??;
    }
    let media = hub.client.media().await?.items;
    ensure!(media.len() == CROWD && media.iter().all(|media| media.size == SIZE as u64), "{}", media.len());
    for one in (0..CROWD).step_by(20) {
        let (bytes, folder) = (bytes_of(one), place.at("data").join("media"));
        let name = Digest::from_bytes(blake3::hash(&bytes).as_bytes());
        ensure!(std::fs::read(folder.join(name.as_str()))? == bytes, "{one}");
    }
    ensure!(support::names(&place.at("data").join("uploads"))?.is_empty());
    let peak = memory(&hub)?;
    println!("{peak} KiB at the peak");
    ensure!(peak <= MOST_MEMORY, "{peak} KiB at the peak");
    Ok(())
}

#[test]
fn sixty_gigabytes_are_too_much_or_not() -> Result<()> {
    const HUGE: u64 = 60_000_000_000;
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let before = memory(&hub)?;
    let refused = begin(&hub.address, HUGE)?;
    ensure!(
        refused.status == 413 && refused.text().contains("50000000000"),
        "{refused:?} {}",
        refused.text()
    );
    // One that does not say how long it is comes until it is too long; that is tried with a smaller limit below.
    let length = HUGE.to_string();
    let kind = "multipart/form-data; boundary=x";
    let headers = [("content-type", kind), ("content-length", length.as_str())];
    let mut form = wire::open(&hub.address, "POST", routes::MEDIA, &headers)?;
    form.write_all(b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n")?;
    let refused = wire::read(form)?;
    ensure!(refused.status == 413, "{refused:?}");
    ensure!(memory(&hub)? < before + 32 * 1024, "{before} {}", memory(&hub)?);
    drop(hub);

    let flags = ["--local-worker", "off", "--listen", "127.0.0.1:0", "--max-upload", "8T"];
    let hub = Hub::start_as(&place, &flags)?;
    let begun = begin(&hub.address, HUGE)?;
    let free = rustix::fs::statvfs(place.path())?;
    let fits = free.f_bavail * free.f_frsize > HUGE * 2;
    // It is not written yet: only the room for it counts.
    ensure!(begun.status == 201 || (!fits && begun.status == 507), "{begun:?} {}", begun.text());
    ensure!(begin(&hub.address, 8_000_000_000_001)?.status == 413);
    drop(hub);

    let flags = ["--local-worker", "off", "--listen", "127.0.0.1:0", "--max-upload", "300M"];
    let hub = Hub::start_as(&place, &flags)?;
    let headers = [TUS, ("upload-defer-length", "1"), ("content-length", "0")];
    let begun = wire::ask(&hub.address, "POST", routes::UPLOADS, &headers)?;
    ensure!(begun.status == 201, "{begun:?}");
    let kind = ("content-type", "application/offset+octet-stream");
    let headers = [TUS, kind, ("upload-offset", "0"), ("transfer-encoding", "chunked")];
    let mut stream = wire::open(&hub.address, "PATCH", begun.header("location")?, &headers)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Nothing but zeros, as a sparse file has them; the hub hangs up in the middle.
    let piece = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![0; 1 << 20], b"\r\n".to_vec()].concat();
    let sent = (0..600).take_while(|_| stream.write_all(&piece).is_ok()).count();
    ensure!((280..600).contains(&sent), "{sent} MiB were sent");
    let peak = memory(&hub)?;
    println!("{peak} KiB at the peak");
    ensure!(peak <= MOST_MEMORY, "{peak} KiB at the peak");
    Ok(())
}
