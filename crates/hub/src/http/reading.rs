//! A part of a file as a stream. What the system has in memory is read at once, without a thread that would cost more than the
//! copy; what the disk has to give is waited for on another thread. Nothing waits in a thread for a slow client.

use std::fs::File;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};

/// Bytes of a piece. What is sent soon after it was read is still in the processor's cache then.
const PIECE: usize = 128 << 10;

/// Memory of pieces that were sent, for the next ones of the same stream.
type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

/// A piece whose memory is used again.
struct Piece {
    memory: Vec<u8>,
    length: usize,
    spare: Spare,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// Reads at a place, as much as is there at once.
#[cfg(unix)]
fn read_at(file: &File, memory: &mut [u8], at: u64) -> IoResult<usize> {
    std::os::unix::fs::FileExt::read_at(file, memory, at)
}

#[cfg(windows)]
fn read_at(file: &File, memory: &mut [u8], at: u64) -> IoResult<usize> {
    std::os::windows::fs::FileExt::seek_read(file, memory, at)
}

/// Reads what the system has in memory; nothing when that is not known or the disk would have to be asked.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, memory: &mut [u8], at: u64) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut slices = [std::io::IoSliceMut::new(memory)];
    preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

async fn piece(file: &Arc<File>, spare: &Spare, place: Range<u64>) -> IoResult<Bytes> {
    let memory = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut memory = memory.unwrap_or_else(|| vec![0; PIECE]);
    let wanted = usize::try_from(place.end - place.start).map_or(PIECE, |left| left.min(PIECE));
    let mut length = read_cached(file, &mut memory[..wanted], place.start);
    if length == 0 {
        let file = Arc::clone(file);
        let read = tokio::task::spawn_blocking(move || {
            let read = read_at(&file, &mut memory[..wanted], place.start);
            (memory, read)
        });
        let (back, read) = read.await.map_err(Error::other)?;
        (memory, length) = (back, read?);
    }
    if length == 0 {
        return Err(Error::new(ErrorKind::UnexpectedEof, "the file ended early"));
    }
    Ok(Bytes::from_owner(Piece { memory, length, spare: Arc::clone(spare) }))
}

/// The bytes of a range.
pub(super) fn pieces(file: File, range: Range<u64>) -> impl Stream<Item = IoResult<Bytes>> + Send {
    let (file, spare) = (Arc::new(file), Spare::default());
    stream::unfold(Some(range), move |left| {
        let (file, spare) = (Arc::clone(&file), Arc::clone(&spare));
        async move {
            let Range { start, end } = left.filter(|left| !left.is_empty())?;
            match piece(&file, &spare, start..end).await {
                Ok(piece) => {
                    let start = start + piece.len() as u64;
                    Some((Ok(piece), Some(start..end)))
                }
                Err(error) => Some((Err(error), None)),
            }
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
        let piece = PIECE as u64;
        let all: Vec<u8> = (0..3 * piece + 100).map(|n| (n % 251) as u8).collect();
        file.write_all(&all).unwrap();
        let size = all.len() as u64;
        for range in [0..0, 0..1, 0..piece, 5..piece + 5, 7..size, 0..size, size - 1..size] {
            let open = File::open(file.path()).unwrap();
            let got: Vec<Bytes> = pieces(open, range.clone()).try_collect().await.unwrap();
            assert_eq!(got.concat(), all[range.start as usize..range.end as usize], "{range:?}");
        }
        let short: Result<Vec<Bytes>, _> =
            pieces(File::open(file.path()).unwrap(), 0..size + 1).try_collect().await;
        assert_eq!(short.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn memory_is_used_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 * PIECE as u64).unwrap();
        let (file, spare) = (Arc::new(file.reopen().unwrap()), Spare::default());
        for n in 0..10 {
            let at = n * PIECE as u64;
            piece(&file, &spare, at..at + PIECE as u64).await.unwrap();
        }
        assert_eq!(spare.lock().unwrap().len(), 1);
    }
}
