//! A part of a file as a stream. What the system has in memory is read at once, without a thread that would cost more than the
//! copy; what the disk has to give is waited for on another thread. Nothing waits in a thread for a slow client.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};
use kinora_vault::{Reader, Wait};
use prometheus_client::metrics::counter::Counter;

/// A file, and what counts its bytes that are sent.
pub(super) struct Served {
    pub(super) file: Reader,
    pub(super) sent: Counter,
}

/// Memory of pieces that were sent, for the next ones of the same stream.
type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

/// A piece whose memory is used again.
struct Piece {
    memory: Vec<u8>,
    here: Range<usize>,
    spare: Spare,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.here.clone()]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

async fn piece(served: &Arc<Served>, spare: &Spare, place: Range<u64>) -> IoResult<Bytes> {
    let memory = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut memory = memory.unwrap_or_default();
    let most = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
    let mut here = served.file.read(&mut memory, place.start, most, Wait::No)?;
    if here.is_empty() {
        let served = Arc::clone(served);
        let read = tokio::task::spawn_blocking(move || {
            let read = served.file.read(&mut memory, place.start, most, Wait::Yes);
            (memory, read)
        });
        let (back, read) = read.await.map_err(Error::other)?;
        (memory, here) = (back, read?);
    }
    if here.is_empty() {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the file ended early"));
    }
    served.sent.inc_by(here.len() as u64);
    Ok(Bytes::from_owner(Piece { memory, here, spare: Arc::clone(spare) }))
}

/// The bytes of a range.
pub(super) fn pieces(file: Arc<Served>, range: Range<u64>) -> impl Stream<Item = IoResult<Bytes>> + Send {
    let spare = Spare::default();
    stream::unfold(Some(range), move |left| {
        let (file, spare) = (Arc::clone(&file), Arc::clone(&spare));
        async move {
            let Range { start, end } = left.filter(|left| !left.is_empty())?;
            match piece(&file, &spare, start..end).await {
                Ok(piece) => {
                    let start = start + piece.len() as u64;
                    Some((Ok(piece), Some(start..end)))
                }
                Err(error) => {
                    // Whoever asked has his answer's head already: nobody else hears of it.
                    tracing::error!("{}: {error}", file.file.path().display());
                    Some((Err(error), None))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::TryStreamExt as _;
    use kinora_vault::Vault;

    use super::*;

    const PIECE: u64 = 128 << 10;

    fn open(file: &tempfile::NamedTempFile) -> Arc<Served> {
        let file = Vault::open_to_all().read(file.path()).unwrap();
        Arc::new(Served { file, sent: Counter::default() })
    }

    #[tokio::test]
    async fn ranges_have_their_bytes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let piece = PIECE;
        let all: Vec<u8> = (0..3 * piece + 100).map(|n| (n % 251) as u8).collect();
        file.write_all(&all).unwrap();
        let size = all.len() as u64;
        for range in [0..0, 0..1, 0..piece, 5..piece + 5, 7..size, 0..size, size - 1..size] {
            let got: Vec<Bytes> = pieces(open(&file), range.clone()).try_collect().await.unwrap();
            assert_eq!(got.concat(), all[range.start as usize..range.end as usize], "{range:?}");
        }
        let short: Result<Vec<Bytes>, _> = pieces(open(&file), 0..size + 1).try_collect().await;
        assert_eq!(short.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn memory_is_used_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 * PIECE).unwrap();
        let (file, spare) = (open(&file), Spare::default());
        for n in 0..10 {
            let at = n * PIECE;
            piece(&file, &spare, at..at + PIECE).await.unwrap();
        }
        assert_eq!(spare.lock().unwrap().len(), 1);
    }
}
