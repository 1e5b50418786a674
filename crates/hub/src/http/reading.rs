//! A part of a file as a stream: the next piece is read while one is sent. Nothing waits in a thread for a slow client.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result as IoResult, Seek as _, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::task::JoinHandle;

/// Bytes of a piece: two of them are in memory for each client.
const PIECE: u64 = 256 << 10;

/// A piece that is being read, with the file for the one after it.
type Next = JoinHandle<IoResult<(File, Bytes)>>;

fn read(mut file: File, from: Option<u64>, length: u64) -> Next {
    tokio::task::spawn_blocking(move || {
        if let Some(from) = from {
            file.seek(SeekFrom::Start(from))?;
        }
        let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let read = (&mut file).take(length).read_to_end(&mut piece)?;
        if (read as u64) < length {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the file ended early"));
        }
        Ok((file, Bytes::from(piece)))
    })
}

/// The bytes of a range.
pub(super) fn pieces(file: File, range: Range<u64>) -> impl Stream<Item = IoResult<Bytes>> + Send {
    let of = |left: u64| left.min(PIECE);
    let left = range.end - range.start;
    let first = (left > 0).then(|| (read(file, Some(range.start), of(left)), left - of(left)));
    stream::unfold(first, move |next| async move {
        let (reading, left) = next?;
        let outcome = reading.await.map_err(Error::other).flatten();
        match outcome {
            Ok((file, piece)) => {
                let after = (left > 0).then(|| (read(file, None, of(left)), left - of(left)));
                Some((Ok(piece), after))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn ranges_have_their_bytes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let all: Vec<u8> = (0..3 * PIECE + 100).map(|n| (n % 251) as u8).collect();
        file.write_all(&all).unwrap();
        let size = all.len() as u64;
        for range in [0..0, 0..1, 0..PIECE, 5..PIECE + 5, 7..size, 0..size, size - 1..size] {
            let open = File::open(file.path()).unwrap();
            let got: Vec<Bytes> = pieces(open, range.clone()).try_collect().await.unwrap();
            assert_eq!(got.concat(), all[range.start as usize..range.end as usize], "{range:?}");
        }
        let short: Result<Vec<Bytes>, _> =
            pieces(File::open(file.path()).unwrap(), 0..size + 1).try_collect().await;
        assert_eq!(short.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
