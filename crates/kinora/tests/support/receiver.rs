//! A server that takes what a hub sends to others, and shows it to the test.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
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
