//! From where a request is: whoever connected, or, where that is a proxy of the operator's, whom that names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// How a connection came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Whoever connected.
    pub from: SocketAddr,
    /// That is this machine itself.
    pub here: bool,
    /// What goes over it is encrypted.
    pub encrypted: bool,
}

/// From where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// It was encrypted all the way, as far as that is known.
    pub secure: bool,
    /// It is from this machine, and nobody stands between.
    pub near: bool,
}

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who sends one of these is not who sits at the hub's machine, but stands between it and somebody else.
const FORWARDED: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    FOR,
    HeaderName::from_static("x-forwarded-host"),
    PROTO,
    HeaderName::from_static("x-real-ip"),
];

impl Peer {
    /// As a request shows it. Words about others are believed to none but to trusted proxies.
    pub(super) fn of(parts: &Parts, trusted: &[IpNet]) -> Self {
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let arrival = parts.extensions.get::<Arrival>().copied();
        let arrival = arrival.unwrap_or(Arrival { from: unknown, here: false, encrypted: false });
        let between = FORWARDED.iter().any(|name| parts.headers.contains_key(name));
        let direct = arrival.from.ip().to_canonical();
        let plain = Self { address: direct, secure: arrival.encrypted, near: arrival.here && !between };
        if !between || !is_in(direct, trusted) {
            return plain;
        }
        let secure = last(&parts.headers, &PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        Self { address: first_stranger(&parts.headers, direct, trusted), secure, near: false }
    }
}

pub(super) fn is_in(address: IpAddr, nets: &[IpNet]) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// All words of a header that is a list, as if it stood there once.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a str> {
    let all: Vec<&str> =
        headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("")).collect();
    all.into_iter().flat_map(|value| value.split(',')).map(str::trim)
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    words(headers, name).next_back()
}

/// Each proxy writes down at the end whom it was called by: the last that is none of ours is who it is. What stands before that may
/// be made up.
fn first_stranger(headers: &HeaderMap, direct: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut known = direct;
    for word in words(headers, &FOR).rev() {
        let Some(address) = address(word) else { break };
        known = address;
        if !is_in(address, trusted) {
            break;
        }
    }
    known
}

/// An address, some write it with a port.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    let address = bare.parse().or_else(|_| word.parse::<SocketAddr>().map(|with| with.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn peer(from: [u8; 4], headers: &[(&str, &str)]) -> Peer {
        let request = Request::builder();
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let from = SocketAddr::from((from, 4242));
        parts.extensions.insert(Arrival { from, here: from.ip().is_loopback(), encrypted: false });
        Peer::of(&parts, &["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()])
    }

    #[test]
    fn words_about_others_are_believed_to_proxies_alone() {
        let said = [("x-forwarded-for", "1.2.3.4, 192.0.2.9"), ("x-forwarded-proto", "https")];
        let stranger = peer([203, 0, 113, 5], &said);
        assert_eq!((stranger.address, stranger.secure), (IpAddr::from([203, 0, 113, 5]), false));
        let proxied = peer([10, 0, 0, 2], &said);
        // The first of them may be made up.
        assert_eq!((proxied.address, proxied.secure), (IpAddr::from([192, 0, 2, 9]), true));
        let two = peer(
            [10, 0, 0, 2],
            &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "192.0.2.9:81,10.0.0.3")],
        );
        assert_eq!(two.address, IpAddr::from([192, 0, 2, 9]));
        let odd = peer([10, 0, 0, 2], &[("x-forwarded-for", "1.2.3.4, nonsense")]);
        assert_eq!(odd.address, IpAddr::from([10, 0, 0, 2]));
        let six = peer([10, 0, 0, 2], &[("x-forwarded-for", "[2001:db8::1]:443")]);
        assert_eq!(six.address, "2001:db8::1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn near_is_who_sits_here_and_nobody_behind_a_proxy() {
        assert!(peer([127, 0, 0, 1], &[]).near);
        assert!(!peer([10, 0, 0, 2], &[]).near);
        for header in
            ["x-forwarded-for", "via", "forwarded", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"]
        {
            let proxied = peer([127, 0, 0, 1], &[(header, "127.0.0.1")]);
            assert!(!proxied.near, "{header}");
        }
        assert!(!peer([127, 0, 0, 1], &[("x-forwarded-proto", "http")]).secure);
    }
}
