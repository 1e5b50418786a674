//! Uploads that survive broken connections and a hub that is started again: tus 1.0, as far as a hub of ours needs it.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use futures_util::TryStreamExt as _;
use reqwest::{Method, RequestBuilder, Response};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::{Answer, Client};
use crate::api::MediaView;
use crate::error::{ErrorCode, Failure};
use crate::id::Digest;
use crate::routes;

/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// Tries without any progress before it is given up: about a minute and a half.
const TRIES: u32 = 12;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A file on its way.
struct Upload<'a> {
    client: &'a Client,
    /// The path of its resource.
    place: String,
    path: PathBuf,
    size: u64,
}

/// How an upload stands at the hub.
struct Standing {
    offset: u64,
    media: Option<Digest>,
}

impl Client {
    /// Gives the hub a file to keep; broken connections are taken up where they broke. `at` hears how many bytes of it are out.
    ///
    /// # Errors
    /// The file cannot be read, the hub stays away, or as all calls.
    pub async fn upload(
        &self,
        path: &Path,
        at: impl Fn(u64) + Clone + Send + Sync + 'static,
    ) -> Answer<MediaView> {
        let unreadable = |e: std::io::Error| unreadable(path, &e);
        let facts = tokio::fs::metadata(path).await.map_err(unreadable)?;
        if !facts.is_file() {
            let why = format!("{}: it is not a regular file", path.display());
            return Err(Failure::new(ErrorCode::BadInput, why));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = base64::engine::general_purpose::STANDARD.encode(name.as_bytes());
        let begin = self
            .tus(Method::POST, routes::UPLOADS)
            .header("upload-length", facts.len())
            .header("upload-metadata", format!("filename {name}"));
        let begun = self.send(begin).await?;
        let place = header(&begun, "location").filter(|place| place.starts_with(routes::UPLOADS));
        let place = place.map(str::to_owned).ok_or_else(|| self.odd("names no place for the upload"))?;
        let upload = Upload { client: self, place, path: path.to_owned(), size: facts.len() };
        let media = upload.run(&at).await?;
        self.get(&routes::media(&media)).await
    }

    fn tus(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("tus-resumable", "1.0.0")
    }

    fn odd(&self, what: &str) -> Failure {
        Failure::new(ErrorCode::Internal, format!("the hub at {} {what}", self.base))
    }
}

impl Upload<'_> {
    async fn run(&self, at: &(impl Fn(u64) + Clone + Send + Sync + 'static)) -> Answer<Digest> {
        let (mut offset, mut tries) = (0, 0);
        loop {
            let failure = match self.send_from(offset, at.clone()).await {
                Ok(Standing { media: Some(media), .. }) => return Ok(media),
                Ok(_) => self.client.odd("does not say what became of the upload"),
                Err(failure) => failure,
            };
            let passes =
                [ErrorCode::Unreachable, ErrorCode::Busy, ErrorCode::TooMany].contains(&failure.code);
            if !passes || tries == TRIES {
                return Err(failure);
            }
            tokio::time::sleep((FIRST_WAIT * 2_u32.pow(tries)).min(LONGEST_WAIT)).await;
            tries += 1;
            match self.look().await {
                Ok(now) => {
                    tries = if now.offset > offset { 0 } else { tries };
                    offset = now.offset;
                }
                Err(away) if [ErrorCode::Unreachable, ErrorCode::TooMany].contains(&away.code) => {}
                Err(other) => return Err(other),
            }
        }
    }

    async fn look(&self) -> Answer<Standing> {
        let answer = self.client.send(self.client.tus(Method::HEAD, &self.place)).await?;
        self.standing(&answer)
    }

    fn standing(&self, answer: &Response) -> Answer<Standing> {
        let offset = header(answer, "upload-offset").and_then(|text| text.parse().ok());
        let media = header(answer, "x-kinora-media").and_then(|text| Digest::try_from(text.to_owned()).ok());
        let offset = offset.ok_or_else(|| self.client.odd("does not say how far the upload is"))?;
        Ok(Standing { offset, media })
    }

    /// Sends all that is left.
    async fn send_from(&self, offset: u64, at: impl Fn(u64) + Send + Sync + 'static) -> Answer<Standing> {
        let open = async || {
            let mut file = tokio::fs::File::open(&self.path).await?;
            file.seek(SeekFrom::Start(offset)).await?;
            std::io::Result::Ok(file.take(self.size - offset))
        };
        let file = open().await.map_err(|e| unreadable(&self.path, &e))?;
        let mut out = offset;
        let pieces = ReaderStream::with_capacity(file, PIECE).inspect_ok(move |piece| {
            out += piece.len() as u64;
            at(out);
        });
        let request = self
            .client
            .tus(Method::PATCH, &self.place)
            .header("upload-offset", offset)
            .header("content-type", "application/offset+octet-stream")
            .header("content-length", self.size - offset)
            .body(reqwest::Body::wrap_stream(pieces));
        let answer = self.client.send(request).await?;
        self.standing(&answer)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::BadInput, format!("{}: {error}", path.display()))
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}
