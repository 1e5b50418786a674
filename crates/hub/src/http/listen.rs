//! Connections: encrypted or not, with patience that ends, and not all of them for one address. What is asked over them is none of
//! its business.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

use super::peer::Arrival;
use super::redirect;
use super::stall::Stalling;

/// Where a hub takes connections.
#[derive(Debug)]
pub struct Door {
    /// What listens.
    pub listener: TcpListener,
    /// How connections are encrypted; those from this machine need not be.
    pub tls: Option<Arc<ServerConfig>>,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address that is not this machine's and none of a proxy.
    pub per_address: usize,
    /// How long it waits for others.
    pub patience: Patience,
}

/// How long a hub waits for whoever is connected.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, and after an answer for the next.
    pub head: Duration,
    /// Until keys are agreed on.
    pub handshake: Duration,
    /// For a client that is sent something to take some of it.
    pub writes: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            writes: Duration::from_secs(60),
        }
    }
}

impl Door {
    /// With the usual limits.
    pub fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { listener, tls, connections: 16_384, per_address: 1_024, patience: Patience::default() }
    }
}

/// Between two questions whether a client of HTTP/2 is there yet.
const PINGS: Duration = Duration::from_secs(30);
/// Requests at once over one connection of HTTP/2.
const STREAMS: u32 = 128;
/// Longest head of a request, in bytes.
const LONGEST_HEAD: u32 = 64 * 1024;
/// The first byte of whoever wants to encrypt (RFC 8446, section 5.1).
const ENCRYPTED: u8 = 22;

/// Takes connections until `stop`; requests in progress are finished.
pub(super) async fn serve(
    door: Door,
    router: Router,
    trusted: impl Fn(IpAddr) -> bool,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(door.connections));
    let guests = Arc::new(Guests::default());
    let tls = door.tls.map(TlsAcceptor::from);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&door.listener, &room) => accepted,
        };
        let Some((socket, from, permit)) = accepted else { continue };
        let address = from.ip().to_canonical();
        let here =
            socket.local_addr().is_ok_and(|own| own.ip().to_canonical() == address) || address.is_loopback();
        let most = if here || trusted(address) { usize::MAX } else { door.per_address };
        let Some(guest) = guests.let_in(address, most) else { continue };
        let arrival = Arrival { from, here, encrypted: false };
        let connection = Connection { arrival, router: router.clone(), patience: door.patience };
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _held = (permit, guest);
            if let Err(error) = connection.run(socket, tls, watcher).await {
                tracing::trace!("the connection from {from} ended: {error}");
            }
        });
    }
    drop(door.listener);
    graceful.shutdown().await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, from)) => Some((socket, from, permit)),
        Err(error) => {
            let gone = [std::io::ErrorKind::ConnectionAborted, std::io::ErrorKind::ConnectionReset];
            if !gone.contains(&error.kind()) {
                // Out of files, mostly: those that end make room.
                tracing::warn!("a connection cannot be taken: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            None
        }
    }
}

/// Connections by address.
#[derive(Default)]
struct Guests(Mutex<HashMap<IpAddr, usize>>);

struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Guests {
    fn let_in(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Guest> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = all.entry(address).or_default();
        if *now >= most {
            tracing::debug!("{address} has {now} connections: no more");
            return None;
        }
        *now += 1;
        Some(Guest { guests: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = all.get_mut(&self.address) {
            *now -= 1;
            if *now == 0 {
                all.remove(&self.address);
            }
        }
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

/// One connection, before anything is asked over it.
struct Connection {
    arrival: Arrival,
    router: Router,
    patience: Patience,
}

impl Connection {
    async fn run(self, socket: TcpStream, tls: Option<TlsAcceptor>, watcher: Watcher) -> Result<(), Broken> {
        let _ = socket.set_nodelay(true);
        let Patience { head, handshake, writes } = self.patience;
        let Some(tls) = tls else { return self.answer(Stalling::new(socket, writes), watcher).await };
        let mut first = [0];
        let peeked = timeout(handshake, socket.peek(&mut first)).await??;
        if peeked == 1 && first != [ENCRYPTED] {
            let socket = Stalling::new(socket, writes);
            return match self.arrival.here {
                true => self.answer(socket, watcher).await,
                false => speak(socket, head, watcher, service_fn(redirect::answer)).await,
            };
        }
        let socket = timeout(handshake, tls.accept(Stalling::new(socket, writes))).await??;
        let spoken = socket.get_ref().1.alpn_protocol();
        if spoken.is_some_and(|spoken| spoken != b"h2" && spoken != b"http/1.1") {
            // Somebody who only wanted to see the certificate.
            return Ok(());
        }
        let arrival = Arrival { encrypted: true, ..self.arrival };
        Self { arrival, ..self }.answer(socket, watcher).await
    }

    async fn answer<S>(self, socket: S, watcher: Watcher) -> Result<(), Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { arrival, patience: Patience { head, .. }, .. } = self;
        let service = self.router.map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(arrival);
            // HTTP/2 says the host in the address.
            let host = request.uri().authority().and_then(|host| host.as_str().parse().ok());
            if let (Some(host), false) = (host, request.headers().contains_key(header::HOST)) {
                request.headers_mut().insert(header::HOST, host);
            }
            request.map(Body::new)
        });
        speak(socket, head, watcher, service).await
    }
}

async fn speak<S, A>(socket: S, head: Duration, watcher: Watcher, service: A) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: tower::Service<Request<hyper::body::Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    A::Future: Send,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PINGS)
        .keep_alive_timeout(PINGS)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD);
    let io = TokioIo::new(socket);
    let connection = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(service));
    let connection = pin!(watcher.watch(connection.into_owned()));
    connection.await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    /// A door, and what stops it.
    async fn open(change: impl FnOnce(&mut Door)) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door::new(listener, None);
        door.patience = Patience { head: SHORT, handshake: SHORT, writes: SHORT };
        change(&mut door);
        let stop = CancellationToken::new();
        let long = get(|| async { vec![0_u8; 64 << 20] });
        let router = Router::new().route("/", get(|| async { "here" })).route("/long", long);
        tokio::spawn(serve(door, router, |_| false, stop.clone()));
        (address, stop)
    }

    /// What comes until the other side closes, and after how long it does.
    async fn until_closed(socket: &mut TcpStream) -> (Vec<u8>, Duration) {
        let began = Instant::now();
        let mut all = Vec::new();
        let _ = timeout(Duration::from_secs(20), socket.read_to_end(&mut all)).await.unwrap();
        (all, began.elapsed())
    }

    #[tokio::test]
    async fn who_does_not_say_what_it_wants_is_sent_away() {
        let (address, _stop) = open(|_| ()).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        let (_, after) = until_closed(&mut slow).await;
        assert!(after >= SHORT / 2, "{after:?}");
        // One that asks is answered before.
        let mut asks = TcpStream::connect(address).await.unwrap();
        asks.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let (said, _) = until_closed(&mut asks).await;
        assert!(String::from_utf8_lossy(&said).ends_with("here"));
    }

    #[tokio::test]
    async fn who_agrees_on_no_keys_is_sent_away() {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        let (address, _stop) = open(|door| door.tls = Some(Arc::new(config))).await;
        for said in [&b""[..], &[ENCRYPTED, 3, 1]] {
            let mut silent = TcpStream::connect(address).await.unwrap();
            silent.write_all(said).await.unwrap();
            until_closed(&mut silent).await;
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_sent_away() {
        let (address, _stop) = open(|_| ()).await;
        let mut lazy = TcpStream::connect(address).await.unwrap();
        lazy.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(4 * SHORT).await;
        let (said, _) = until_closed(&mut lazy).await;
        assert!(said.len() < 64 << 20, "it was sent all");
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_and_no_more() {
        let (address, stop) = open(|door| door.connections = 2).await;
        let ask = async |socket: &mut TcpStream| {
            socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut said = [0; 12];
            timeout(SHORT / 2, socket.read_exact(&mut said)).await.is_ok()
        };
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(ask(&mut three[0]).await && ask(&mut three[1]).await);
        assert!(!ask(&mut three[2]).await);
        three.remove(0);
        let mut said = [0; 12];
        timeout(Duration::from_secs(10), three[1].read_exact(&mut said)).await.unwrap().unwrap();
        stop.cancel();
    }

    #[test]
    fn one_address_has_so_many_and_no_more() {
        let guests = Arc::new(Guests::default());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held: Vec<_> = (0..2).map(|_| guests.let_in(one, 2)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(guests.let_in(one, 2).is_none() && guests.let_in(other, 2).is_some());
        drop(held);
        assert!(guests.let_in(one, 2).is_some());
        assert!(guests.0.lock().unwrap().is_empty(), "nobody is here");
    }
}
