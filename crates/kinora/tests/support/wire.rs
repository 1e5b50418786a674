//! HTTP on a connection of its own, which can break anywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a hub answered.
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} and {} bytes", self.status, self.headers, self.body.len())
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Result<&str> {
        let value = self.headers.get(name).map(String::as_str);
        value.with_context(|| format!("no {name} in {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request's head; what follows is up to the caller. Headers without a value are left out; `host` is the hub's own and
/// `connection` is closed if they are not given.
pub fn open(hub: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<TcpStream> {
    // Whoever is on the hub's machine needs no encryption.
    let host = hub.trim_start_matches("http://").trim_start_matches("https://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let usual = [("host", host), ("connection", "close")];
    let usual = usual.iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    for (name, value) in usual.chain(headers).filter(|(_, value)| !value.is_empty()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    Ok(stream)
}

/// Reads the answer to its end.
pub fn read(mut stream: TcpStream) -> Result<Answer> {
    let mut bytes = Vec::new();
    // Who answers before all was sent hangs up with bytes unread, which may break what follows the answer.
    match stream.read_to_end(&mut bytes) {
        Err(error) if bytes.is_empty() => return Err(error.into()),
        _ => {}
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("there was no answer")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Ok(Answer { status, headers, body: bytes.split_off(end + 4) })
}

/// A request without a body.
pub fn ask(hub: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    read(open(hub, method, path, headers)?)
}

/// One request with a body over a connection of its own.
pub fn send(hub: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Answer> {
    let length = body.len().to_string();
    let mut stream = open(hub, method, path, &[("content-type", kind), ("content-length", &length)])?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(body)?;
    read(stream)
}

const BOUNDARY: &str = "----as-a-browser-has-it";

/// A form as browsers send it: values, and a file.
pub fn post_form(hub: &str, path: &str, values: &[(&str, &str)], file: Option<&Path>) -> Result<Answer> {
    let mut body = Vec::new();
    for (name, value) in values {
        write!(body, "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")?;
    }
    if let Some(file) = file {
        let head = "Content-Disposition: form-data; name=\"file\"; filename=\"my film.mp4\"\r\nContent-Type: video/mp4";
        write!(body, "--{BOUNDARY}\r\n{head}\r\n\r\n")?;
        body.extend(std::fs::read(file)?);
        body.extend(b"\r\n");
    }
    write!(body, "--{BOUNDARY}--\r\n")?;
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    send(hub, "POST", path, &kind, &body)
}
