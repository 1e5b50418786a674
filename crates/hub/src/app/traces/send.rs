//! Spans on their way to a collector (OTLP over HTTP). What it does not take for a while is kept for that while, and then lost: a
//! hub never waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::sync::mpsc;

use super::otlp;
use super::span::Span;
use crate::app::metrics::Spans;
use crate::app::outgoing::{self, innermost};

/// A collector has to answer within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waits before the second and later tries of a batch.
const AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// Longest wait that a collector may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Who collects traces.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where it takes them, such as `http://127.0.0.1:4318/v1/traces`.
    url: reqwest::Url,
    /// What it wants to be told with each request, such as a key.
    headers: HeaderMap,
    /// What is said of the hub, and as far as it holds for them, of all machines.
    attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Nothing is asked of it yet.
    ///
    /// # Errors
    /// Why it is no address, or what of the headers is none.
    pub fn new(
        url: &str,
        headers: &[(String, String)],
        attributes: BTreeMap<String, String>,
    ) -> Result<Self, String> {
        // It is not repeated: there may be a secret in it.
        let bad = |why: &str| format!("the collector's address is none such as http://127.0.0.1:4318: {why}");
        let parsed = reqwest::Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        if !["http", "https"].contains(&parsed.scheme()) || !parsed.has_host() {
            return Err(bad("it is neither http:// nor https://"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(bad("what shows who asks belongs into a header"));
        }
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let header =
                HeaderName::try_from(name).map_err(|_| format!("{name:?} is no name of a header"))?;
            // The value may be a secret.
            let bad = |_| format!("what is said for the header {name} cannot be sent");
            let mut value = HeaderValue::try_from(value).map_err(bad)?;
            value.set_sensitive(true);
            all.append(header, value);
        }
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        Ok(Self { url: parsed, headers: all, attributes })
    }

    /// Where it takes traces.
    pub fn address(&self) -> &str {
        self.url.as_str()
    }
}

/// What became of a try.
#[derive(Debug, PartialEq)]
enum Answer {
    /// But for so many spans.
    Taken {
        rejected: usize,
    },
    /// It may be taken later, not before so long.
    Later(Option<Duration>, String),
    Refused(String),
}

/// What an answer means (OpenTelemetry Protocol, "OTLP/HTTP Response").
fn judge(status: StatusCode, retry_after: Option<&str>) -> Answer {
    let why = format!("it answered {status}");
    match status.as_u16() {
        200..=299 => Answer::Taken { rejected: 0 },
        429 | 502..=504 => {
            let seconds = retry_after.and_then(|text| text.trim().parse().ok());
            Answer::Later(seconds.map(|s| Duration::from_secs(s).min(LONGEST_WAIT)), why)
        }
        _ => Answer::Refused(why),
    }
}

/// How many spans a collector that took a batch did not take, as far as it says so.
async fn rejected(answer: reqwest::Response) -> usize {
    if answer.content_length().is_none_or(|length| length > LONGEST_ANSWER) {
        return 0;
    }
    let Ok(body) = answer.bytes().await else { return 0 };
    otlp::rejected(&body)
}

pub(super) struct Sender {
    collector: Collector,
    count: Spans,
    /// Whether it was said that nothing gets through.
    is_told: bool,
}

impl Sender {
    pub(super) fn new(collector: Collector, count: Spans) -> Self {
        Self { collector, count, is_told: false }
    }

    /// Sends what comes, until nothing does.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Vec<Span>>) {
        let client = outgoing::client(PATIENCE);
        let Ok(client) = client.inspect_err(|error| tracing::error!("traces cannot be sent: {error}")) else {
            return;
        };
        while let Some(spans) = batches.recv().await {
            let count = spans.len();
            let body = otlp::request(spans, &self.collector.attributes);
            match self.deliver(&client, body.into()).await {
                Ok(rejected) => {
                    self.count.sent(count - rejected.min(count));
                    self.count.lost(rejected.min(count));
                    if std::mem::take(&mut self.is_told) {
                        tracing::info!("traces arrive again");
                    }
                }
                Err(why) => {
                    self.count.lost(count);
                    if !std::mem::replace(&mut self.is_told, true) {
                        let at = self.collector.url.origin().ascii_serialization();
                        tracing::warn!("traces do not arrive at {at}: {why}");
                    }
                }
            }
        }
    }

    async fn deliver(&self, client: &reqwest::Client, body: bytes::Bytes) -> Result<usize, String> {
        let mut waits = AGAIN.into_iter();
        loop {
            let (wait, why) = match self.post(client, body.clone()).await {
                Answer::Taken { rejected } => return Ok(rejected),
                Answer::Refused(why) => return Err(why),
                Answer::Later(wait, why) => (wait, why),
            };
            let Some(usual) = waits.next() else { return Err(why) };
            tokio::time::sleep(wait.unwrap_or(usual)).await;
        }
    }

    async fn post(&self, client: &reqwest::Client, body: bytes::Bytes) -> Answer {
        let asked =
            client.post(self.collector.url.clone()).headers(self.collector.headers.clone()).body(body);
        match asked.send().await {
            Ok(answer) => {
                let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                match judge(answer.status(), wait) {
                    Answer::Taken { .. } => Answer::Taken { rejected: rejected(answer).await },
                    other => other,
                }
            }
            Err(error) if error.is_timeout() => Answer::Later(None, "no answer in time".to_owned()),
            Err(error) => Answer::Later(None, innermost(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_protocol_says() {
        let of = |status: u16, wait| judge(StatusCode::from_u16(status).unwrap(), wait);
        assert_eq!(of(200, None), Answer::Taken { rejected: 0 });
        assert!(matches!(of(400, None), Answer::Refused(_)));
        assert!(matches!(of(401, Some("1")), Answer::Refused(_)));
        assert!(matches!(of(302, None), Answer::Refused(_)));
        assert!(matches!(of(503, None), Answer::Later(None, _)));
        assert!(matches!(of(429, Some("7")), Answer::Later(Some(wait), _) if wait.as_secs() == 7));
        assert!(matches!(of(429, Some("9999999")), Answer::Later(Some(LONGEST_WAIT), _)));
        assert!(matches!(of(504, Some("soon")), Answer::Later(None, _)));
    }

    #[test]
    fn collectors_are_taken_or_refused_and_keep_secrets() {
        let secret = [("api-key".to_owned(), "hush".to_owned())];
        let good = Collector::new("https://collector.example/v1/traces", &secret, BTreeMap::new()).unwrap();
        assert!(!format!("{good:?}").contains("hush"));
        for bad in [
            "collector:4318",
            "ftp://x/",
            "http://",
            "",
            "http://me:hush@x/",
            "http://me:hush@x:99999/",
            "ftp://me:hush@x/",
        ] {
            let why = Collector::new(bad, &[], BTreeMap::new()).unwrap_err();
            assert!(!why.contains("hush"), "{why}");
        }
        let broken = [("api-key".to_owned(), "hu\nsh".to_owned())];
        let why = Collector::new("http://x/", &broken, BTreeMap::new()).unwrap_err();
        assert!(why.contains("api-key") && !why.contains("hu"), "{why}");
    }
}
