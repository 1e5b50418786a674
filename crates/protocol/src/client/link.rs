//! WebSockets as channels: whoever holds them sees messages, not frames. When a connection ends, for whatever reason, its
//! channels end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};

use super::trust::distrust;
use super::{Answer, CONNECT, Client};
use crate::api::Problem;
use crate::error::{ErrorCode, Failure};
use crate::live::{Subscribe, Update};
use crate::node::{ToHub, ToNode};
use crate::routes;

/// A hub that says nothing for so long is gone: it asks every 5 s whether the node is there.
const SILENCE: Duration = Duration::from_secs(15);
/// Messages that may wait.
const BACKLOG: usize = 256;
/// The longest message that a hub may send, in bytes: a chunk's spec holds what is known of its frames, and a chunk may be long.
const LARGEST: usize = 256 << 20;

/// The two directions.
pub type NodeLink = (mpsc::Sender<ToHub>, mpsc::UnboundedReceiver<ToNode>);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Client {
    /// Opens a node's connection. It ends when the sender is dropped.
    ///
    /// # Errors
    /// As all calls.
    pub async fn connect_node(&self) -> Answer<NodeLink> {
        let socket = self.open(routes::NODE_CONNECT).await?;
        let (to_hub, from_node) = mpsc::channel(BACKLOG);
        let (to_node, from_hub) = mpsc::unbounded_channel();
        tokio::spawn(carry(socket, from_node, to_node));
        Ok((to_hub, from_hub))
    }
}

impl Client {
    /// Watches something; updates come until the receiver is dropped or the connection ends.
    ///
    /// # Errors
    /// As all calls.
    pub async fn live(&self, what: &Subscribe) -> Answer<mpsc::Receiver<Update>> {
        let mut socket = self.open(routes::LIVE).await?;
        let text = serde_json::to_string(what)
            .map_err(|e| Failure::new(ErrorCode::Internal, format!("a message cannot be written: {e}")))?;
        let lost = |e: tungstenite::Error| self.lost(&e.to_string());
        socket.send(Message::text(text)).await.map_err(lost)?;
        let (updates, taken) = mpsc::channel(BACKLOG);
        tokio::spawn(async move {
            while let Ok(Some(Ok(message))) = timeout(2 * SILENCE, socket.next()).await {
                let Message::Text(text) = message else { continue };
                let Ok(update) = serde_json::from_str(&text) else { break };
                if updates.send(update).await.is_err() {
                    break;
                }
            }
        });
        Ok(taken)
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::new(ErrorCode::Unreachable, format!("the hub at {} cannot be reached: {why}", self.base))
    }

    async fn open(&self, path: &str) -> Answer<Socket> {
        let url = format!("{}{path}", self.base.replacen("http", "ws", 1));
        let mut request = url.into_client_request().map_err(|e| self.lost(&e.to_string()))?;
        if let Some(key) = self.shown() {
            let bearer = HeaderValue::from_str(&format!("Bearer {key}"));
            let bearer =
                bearer.map_err(|_| Failure::new(ErrorCode::BadInput, "the key has odd characters"))?;
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let tls = Some(Connector::Rustls(self.tls.clone()));
        let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
        let opening = tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, tls);
        let opened = timeout(CONNECT, opening).await;
        match opened {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tungstenite::Error::Http(answer))) => {
                let said = answer.body().as_deref().unwrap_or_default();
                if let Ok(problem) = serde_json::from_slice::<Problem>(said) {
                    return Err(Failure::new(problem.code, problem.detail));
                }
                let why = format!("{} answered {}, and not like a hub of Kinora", self.base, answer.status());
                Err(Failure::new(ErrorCode::BadInput, why))
            }
            Ok(Err(error)) => Err(distrust(&self.base, &error).unwrap_or_else(|| match error {
                tungstenite::Error::Io(error) => self.lost(&error.to_string()),
                other => self.lost(&other.to_string()),
            })),
            Err(_) => Err(self.lost(&format!("no answer within {} s", CONNECT.as_secs()))),
        }
    }
}

/// Carries messages until one side ends.
async fn carry(socket: Socket, mut from_node: mpsc::Receiver<ToHub>, to_node: mpsc::UnboundedSender<ToNode>) {
    let (mut out, mut incoming) = socket.split();
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            message = from_node.recv() => {
                let Some(message) = message else { break };
                let Ok(text) = serde_json::to_string(&message) else { break };
                // A connection that takes nothing more is as good as none.
                if !matches!(timeout(SILENCE, out.send(Message::text(text))).await, Ok(Ok(()))) {
                    return;
                }
            }
            message = incoming.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        let Ok(message) = serde_json::from_str(&text) else { break };
                        if to_node.send(message).is_err() {
                            break;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => break,
                }
            }
            () = sleep_until(heard + SILENCE) => return,
        }
    }
    // What was said last, before the other side of the channel was dropped.
    while let Ok(message) = from_node.try_recv() {
        let Ok(text) = serde_json::to_string(&message) else { break };
        if !matches!(timeout(SILENCE, out.send(Message::text(text))).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(SILENCE, out.close()).await;
}
