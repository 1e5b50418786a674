//! Connections: encrypted or not, with patience that ends, and not all of them for one address. What is asked over them is none of
//! its business.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

use super::activity::Activity;
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
    let guests = Arc::new(Guests::new(door.connections, door.per_address));
    let tls = door.tls.map(TlsAcceptor::from);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&door.listener) => accepted,
        };
        let Some((socket, from)) = accepted else { continue };
        let address = from.ip().to_canonical();
        let here =
            socket.local_addr().is_ok_and(|own| own.ip().to_canonical() == address) || address.is_loopback();
        let standing = match (here, trusted(address)) {
            (true, _) => Standing::Here,
            (_, true) => Standing::Proxy,
            _ => Standing::Stranger,
        };
        let Some(guest) = guests.let_in(address, standing) else { continue };
        let arrival = Arrival { from, here, encrypted: false };
        let connection = Connection { arrival, router: router.clone(), patience: door.patience };
        let (tls, watcher) = (tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            if let Err(error) = connection.run(socket, guest, tls, watcher).await {
                tracing::trace!("the connection from {from} ended: {error}");
            }
        });
    }
    drop(door.listener);
    graceful.shutdown().await;
    Ok(())
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
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

/// Who is connected.
struct Guests {
    most: usize,
    most_of_one: usize,
    here: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// How somebody stands to this hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is at this machine: always let in.
    Here,
    /// It stands for many.
    Proxy,
    /// Anybody.
    Stranger,
}

/// A place that is taken, for as long as the connection is there, whatever is spoken over it.
struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
    standing: Standing,
}

impl Guests {
    fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, here: Mutex::default() }
    }

    fn let_in(self: &Arc<Self>, address: IpAddr, standing: Standing) -> Option<Guest> {
        let address = network(address);
        let mut present = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if standing != Standing::Here && present.all >= self.most {
            tracing::warn!("{} connections: no more are taken", present.all);
            return None;
        }
        let of_one = present.by_address.entry(address).or_default();
        if standing == Standing::Stranger && *of_one >= self.most_of_one {
            tracing::debug!("{address} has {of_one} connections: no more are taken");
            return None;
        }
        *of_one += 1;
        present.all += usize::from(standing != Standing::Here);
        Some(Guest { guests: self.clone(), address, standing })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut present = self.guests.here.lock().unwrap_or_else(PoisonError::into_inner);
        present.all -= usize::from(self.standing != Standing::Here);
        if let Some(now) = present.by_address.get_mut(&self.address) {
            *now -= 1;
            if *now == 0 {
                present.by_address.remove(&self.address);
            }
        }
    }
}

/// What somebody has alone: of IPv6 a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
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
    async fn run(
        self,
        socket: TcpStream,
        guest: Guest,
        tls: Option<TlsAcceptor>,
        watcher: Watcher,
    ) -> Result<(), Broken> {
        let _ = socket.set_nodelay(true);
        let Patience { handshake, writes, .. } = self.patience;
        let Some(tls) = tls else {
            return self.answer(Stalling::new(socket, writes, guest), Spoken::One, watcher).await;
        };
        let mut first = [0];
        let peeked = timeout(handshake, socket.peek(&mut first)).await??;
        if peeked == 1 && first != [ENCRYPTED] {
            let socket = Stalling::new(socket, writes, guest);
            return match self.arrival.here {
                true => self.answer(socket, Spoken::One, watcher).await,
                false => {
                    let answer = service_fn(redirect::answer);
                    speak(socket, Spoken::One, self.patience, Activity::new(), watcher, answer).await
                }
            };
        }
        let socket = timeout(handshake, tls.accept(Stalling::new(socket, writes, guest))).await??;
        let spoken = match socket.get_ref().1.alpn_protocol() {
            None | Some(b"http/1.1") => Spoken::One,
            Some(b"h2") => Spoken::Two,
            // Somebody who only wanted to see the certificate.
            Some(_) => return Ok(()),
        };
        let arrival = Arrival { encrypted: true, ..self.arrival };
        Self { arrival, ..self }.answer(socket, spoken, watcher).await
    }

    async fn answer<S>(self, socket: S, spoken: Spoken, watcher: Watcher) -> Result<(), Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { arrival, patience, router } = self;
        let activity = Activity::new();
        let watching = activity.clone();
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            let (router, activity) = (router.clone(), watching.clone());
            async move {
                let _at_work = activity.begin();
                request.extensions_mut().insert(arrival);
                // HTTP/2 says the host in the address.
                let host = request.uri().authority().and_then(|host| host.as_str().parse().ok());
                if let (Some(host), false) = (host, request.headers().contains_key(header::HOST)) {
                    request.headers_mut().insert(header::HOST, host);
                }
                Ok(activity.watch(router.oneshot(request.map(Body::new)).await?))
            }
        });
        speak(socket, spoken, patience, activity, watcher, service).await
    }
}

/// The version of HTTP that was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    One,
    Two,
}

async fn speak<S, A>(
    socket: S,
    spoken: Spoken,
    patience: Patience,
    activity: Activity,
    watcher: Watcher,
    service: A,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: tower::Service<Request<hyper::body::Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    A::Future: Send,
{
    let builder = Builder::new(TokioExecutor::new());
    // What is spoken is known: to find it out, one would have to wait for it.
    let mut builder = if spoken == Spoken::One { builder.http1_only() } else { builder.http2_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.head);
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
    tokio::select! {
        ended = connection => ended,
        () = activity.is_over(patience.head) => Err("nothing happens on it".into()),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_millis(800);

    /// A door, and what stops it.
    async fn open(change: impl FnOnce(&mut Door)) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door::new(listener, None);
        door.patience = Patience { head: SHORT, handshake: SHORT, writes: SHORT };
        change(&mut door);
        let stop = CancellationToken::new();
        let long = get(|| async { vec![0_u8; 64 << 20] });
        let socket = get(|upgrade: axum::extract::ws::WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move { while socket.recv().await.is_some() {} })
        });
        let router = Router::new().route("/", get(|| async { "here" })).route("/long", long);
        let router = router.route("/socket", socket);
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
    async fn who_says_nothing_is_sent_away_and_websockets_are_not() {
        let (address, _stop) = open(|_| ()).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        until_closed(&mut silent).await;
        // It was asked to speak another language.
        let mut upgraded = TcpStream::connect(address).await.unwrap();
        let ask = b"GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        upgraded.write_all(ask).await.unwrap();
        let mut said = [0; 12];
        upgraded.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 101");
        let ends = timeout(4 * SHORT, async {
            let mut rest = Vec::new();
            upgraded.read_to_end(&mut rest).await
        });
        assert!(ends.await.is_err(), "it was closed");
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let guests = Arc::new(Guests::new(3, 2));
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let held: Vec<_> = (0..2).map(|_| guests.let_in(one, Standing::Stranger)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(guests.let_in(one, Standing::Stranger).is_none(), "one address has two");
        let third = guests.let_in(one, Standing::Proxy);
        assert!(third.is_some(), "a proxy stands for many");
        assert!(guests.let_in(other, Standing::Stranger).is_none(), "all together are three");
        assert!(guests.let_in(one, Standing::Here).is_some(), "who is here comes in");
        drop((held, third));
        assert!(guests.let_in(other, Standing::Stranger).is_some());
        let present = guests.here.lock().unwrap();
        assert!(present.by_address.is_empty() && present.all == 0, "nobody is here");
    }

    #[test]
    fn one_network_is_one_person() {
        let six = |text: &str| network(text.parse().unwrap());
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:1"));
        assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
        assert_ne!(six("192.0.2.1"), six("192.0.2.2"));
    }

    #[test]
    fn a_place_is_taken_for_as_long_as_the_connection_is_there() {
        let guests = Arc::new(Guests::new(1, 1));
        let address = IpAddr::from([192, 0, 2, 1]);
        let guest = guests.let_in(address, Standing::Stranger).unwrap();
        let socket = Stalling::new(tokio::io::empty(), SHORT, guest);
        assert!(guests.let_in(address, Standing::Stranger).is_none());
        drop(socket);
        assert!(guests.let_in(address, Standing::Stranger).is_some());
    }
}
