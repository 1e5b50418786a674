//! Servers of somebody else's: one takes what a hub sends to others, and shows it to the test; one has files.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context as _, Result};

/// What a receiver was sent.
#[derive(Debug)]
pub struct Sent {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Takes one request and answers it.
fn take(mut stream: TcpStream, status: u16) -> Result<Sent> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut headers, mut line) = (BTreeMap::new(), String::new());
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).context("no path")?.to_owned();
    loop {
        line.clear();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.trim().split_once(": ").context("no header")?;
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse()?];
    reader.read_exact(&mut body)?;
    write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(Sent { path, headers, body })
}

/// A receiver that answers with these statuses in turn, then with `then` always.
pub fn receiver(statuses: &[u16], then: u16) -> Result<(String, Receiver<Sent>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}/told", listener.local_addr()?);
    let (tell, told) = channel();
    let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::io::Result::ok) {
            let Ok(sent) = take(stream, statuses.pop_front().unwrap_or(then)) else { return };
            if tell.send(sent).is_err() {
                return;
            }
        }
    });
    Ok((address, told))
}

/// A server that has these files, by their paths, and nothing else.
pub fn files(files: Vec<(String, Vec<u8>)>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::io::Result::ok) {
            // Who asks sees an error of its own when this fails.
            let _ = give(stream, &files);
        }
    });
    Ok(address)
}

fn give(mut stream: TcpStream, files: &[(String, Vec<u8>)]) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).context("no path")?;
    let (status, body) = match files.iter().find(|(known, _)| known == path) {
        Some((_, body)) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &[][..]),
    };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    Ok(stream.write_all(body)?)
}
