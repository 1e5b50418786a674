//! Media from addresses on the internet: fetched by the hub, which therefore goes only where anybody could go. A name is looked up
//! once, and what is connected to is what was looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use kinora_protocol::api::{Import, MediaView};
use kinora_protocol::{ErrorCode, Failure, UserId};
use reqwest::{Response, StatusCode, Url, header};

use super::outgoing::{self, innermost};
use super::uploads::Unfit;
use crate::Hub;

/// Addresses that are followed one to the next.
const MOST_REDIRECTS: usize = 5;
/// A server has to be there within this.
const CONNECT: Duration = Duration::from_secs(15);
/// Longest silence in the middle.
const SILENCE: Duration = Duration::from_secs(60);
/// After so many bytes it is looked whether there is still room.
const LOOK_EVERY: u64 = 16 << 20;
/// Longest name that is taken from an address.
const LONGEST_NAME: usize = 200;

/// Why something is not fetched.
#[derive(Debug)]
pub enum NotFetched {
    /// What was asked for makes no sense, or is not allowed.
    Refused(Failure),
    /// The other side does not give it.
    Unreachable(Failure),
    /// What it gives cannot be kept.
    Unfit(Unfit),
}

fn refused(why: impl Into<String>) -> NotFetched {
    NotFetched::Refused(Failure::new(ErrorCode::BadInput, why))
}

fn unreachable(url: &Url, why: impl std::fmt::Display) -> NotFetched {
    NotFetched::Unreachable(Failure::new(ErrorCode::Unreachable, format!("{url}: {why}")))
}

/// Whether an address is one of the whole internet, and of no network of somebody's own (IANA's registries of special addresses).
pub(crate) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => is_global_v4(four),
        IpAddr::V6(six) => is_global_v6(six),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network, private networks, loopback.
        (0 | 10 | 127, ..) | (172, 16..=31, _) | (192, 168, _) => true,
        // Carriers' own, link-local.
        (100, 64..=127, _) | (169, 254, _) => true,
        // Protocol assignments, documentation, relays, benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        // Multicast, reserved, broadcast.
        (224..=255, ..) => true,
        _ => false,
    };
    !special
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_global_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // IPv4 in other clothes: mapped, translated (RFC 6052), 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, ORCHID, documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // What is handed out for all to reach.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Where to connect to for an address, if that is allowed. All of what a name stands for has to be.
async fn resolve(url: &Url, allowed: &[String]) -> Result<(String, Vec<SocketAddr>), NotFetched> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("names and passwords do not belong into an address that is fetched"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused(format!("{url}: only http and https are fetched")));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(refused(format!("{url}: it names no host")));
    };
    let bare = |host: &str| host.trim_matches(['[', ']', '.']).to_ascii_lowercase();
    let plain = bare(host);
    let found = tokio::net::lookup_host((plain.as_str(), port)).await.map_err(|e| unreachable(url, e))?;
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() {
        return Err(unreachable(url, "its name stands for no address"));
    }
    let trusted = allowed.iter().any(|known| bare(known) == plain);
    if let Some(inside) = found.iter().find(|address| !trusted && !is_global(address.ip())) {
        let why =
            format!("{} is not on the internet; `kinora hub --import-from {plain}` allows it", inside.ip());
        return Err(refused(format!("{url}: {why}")));
    }
    Ok((host.to_owned(), found))
}

/// Asks for an address and goes where it is sent, looking at each place before.
async fn get(mut url: Url, allowed: &[String]) -> Result<Response, NotFetched> {
    for _ in 0..=MOST_REDIRECTS {
        let (host, addresses) = resolve(&url, allowed).await?;
        let client = outgoing::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .no_proxy()
            .resolve_to_addrs(&host, &addresses)
            .build()
            .map_err(|e| unreachable(&url, e))?;
        let answer = client.get(url.clone()).send().await.map_err(|e| unreachable(&url, innermost(&e)))?;
        match answer.status() {
            status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
                let to = to.ok_or_else(|| unreachable(&url, "it sends elsewhere and does not say where"))?;
                url = url.join(to).map_err(|e| unreachable(&url, e))?;
            }
            status if status.is_success() => return Ok(answer),
            status => return Err(unreachable(&url, format!("the server answered {status}"))),
        }
    }
    Err(unreachable(&url, "it was sent from one address to the next too often"))
}

/// The last part of an address, as a name for people.
fn name_of(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if name.is_empty() { url.host_str().unwrap_or("import").to_owned() } else { name }
}

impl Hub {
    /// Fetches media from the internet: nothing is kept unless all of it has come.
    ///
    /// # Errors
    /// See [`NotFetched`].
    pub async fn import(&self, owner: Option<UserId>, wanted: Import) -> Result<MediaView, NotFetched> {
        let url =
            Url::parse(&wanted.url).map_err(|e| refused(format!("{:?} is no address: {e}", wanted.url)))?;
        let answer = get(url.clone(), &self.inner.settings.import_from).await?;
        let name = wanted.name.unwrap_or_else(|| name_of(answer.url()));
        let announced = answer.content_length();
        let (mut come, mut looked) = (0_u64, 0_u64);
        let pieces = answer.bytes_stream().map(|piece| {
            let piece = piece.map_err(|e| innermost(&e))?;
            come += piece.len() as u64;
            // How much will come is not always said before.
            if come - looked >= LOOK_EVERY {
                looked = come;
                self.room_for(0).map_err(|_| "there is no room for more on the hub's disk".to_owned())?;
            }
            Ok(piece)
        });
        self.take_media(owner, &name, announced, Box::pin(pieces)).await.map_err(|unfit| match unfit {
            Unfit::Broken(why) => unreachable(&url, why),
            other => NotFetched::Unfit(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_internet() {
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.9",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3fff::1",
        ] {
            assert!(!is_global(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.255.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(is_global(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn names_for_people() {
        let name = |url: &str| name_of(&Url::parse(url).unwrap());
        assert_eq!(name("https://example.org/films/holiday.mp4?token=1"), "holiday.mp4");
        assert_eq!(name("https://example.org/"), "example.org");
    }
}
