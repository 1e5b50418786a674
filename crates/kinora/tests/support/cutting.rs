//! A way to a hub that breaks: connections are cut after so many bytes went towards it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

/// The way.
pub struct Cutting {
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    hub: SocketAddr,
    sent: AtomicU64,
    cuts: AtomicU64,
    /// Bytes between two cuts.
    every: u64,
    /// Cuts at the most.
    most: u64,
}

impl Cutting {
    /// A way to `hub` that breaks `most` times, after `every` bytes each.
    pub fn to(hub: &str, every: u64, most: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let hub = hub.trim_start_matches("http://").parse()?;
        let (sent, cuts) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { hub, sent, cuts, every, most });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || {
                    // A hub that is away is a broken connection to the client as well.
                    let _ = shared.carry(client);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Bytes that went towards the hub.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How often it broke.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn carry(&self, mut client: TcpStream) -> Result<()> {
        let mut hub = TcpStream::connect_timeout(&self.hub, Duration::from_secs(2))?;
        let (mut from_hub, mut to_client) = (hub.try_clone()?, client.try_clone()?);
        let back = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_hub, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = client.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hub.write_all(&piece[..read])?;
            let sent = self.sent.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
            let cuts = self.cuts.load(Ordering::Relaxed);
            if cuts < self.most && sent >= (cuts + 1) * self.every {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                let _ = client.shutdown(Shutdown::Both);
                let _ = hub.shutdown(Shutdown::Both);
                break;
            }
        }
        let _ = hub.shutdown(Shutdown::Write);
        let _ = back.join();
        Ok(())
    }
}
