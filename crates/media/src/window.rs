//! Writes a planned window to disk. It must not know why these bytes were chosen.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use kinora_protocol::task::{Patch, Segment, Window};

/// Writes `window` of `source` to `out` as a sparse file. What was at `out` is lost; on an error `out` is incomplete
/// and the caller removes it.
///
/// # Errors
/// When a file cannot be read or written, or when the plan asks for bytes that the source does not have; the message
/// names the file.
pub fn build(source: &Path, window: &Window, out: &Path) -> io::Result<()> {
    let mut from = File::open(source).map_err(|error| named(source, "cannot open", &error))?;
    let mut to = File::create(out).map_err(|error| named(out, "cannot create", &error))?;
    to.set_len(window.length).map_err(|error| named(out, "cannot set the length of", &error))?;
    for segment in &window.segments {
        inside(out, segment.at, segment.len, window.length)?;
        from.seek(SeekFrom::Start(segment.from)).map_err(|error| named(source, "cannot seek in", &error))?;
        to.seek(SeekFrom::Start(segment.at)).map_err(|error| named(out, "cannot seek in", &error))?;
        copy(&from, &mut to, segment)
            .map_err(|error| named(out, &format!("cannot copy from {} to", source.display()), &error))?;
    }
    for Patch { at, bytes } in &window.patches {
        inside(out, *at, bytes.len() as u64, window.length)?;
        to.seek(SeekFrom::Start(*at))
            .and_then(|_| to.write_all(bytes))
            .map_err(|error| named(out, "cannot write to", &error))?;
    }
    Ok(())
}

/// Between two files, the standard library copies within the kernel, or shares the blocks where the file system can.
fn copy(from: &File, to: &mut File, segment: &Segment) -> io::Result<()> {
    let copied = io::copy(&mut from.take(segment.len), to)?;
    if copied == segment.len {
        return Ok(());
    }
    let wanted = segment.from.saturating_add(segment.len);
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the source ends at byte {}, before {wanted}", segment.from.saturating_add(copied)),
    ))
}

fn inside(out: &Path, at: u64, len: u64, length: u64) -> io::Result<()> {
    if at.checked_add(len).is_some_and(|end| end <= length) {
        return Ok(());
    }
    let error = io::Error::new(io::ErrorKind::InvalidInput, "the plan puts bytes past its end");
    Err(named(out, "cannot write", &error))
}

fn named(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(length: u64, segments: &[(u64, u64, u64)], patch: (u64, &[u8])) -> Window {
        let segments = segments.iter().map(|&(at, from, len)| Segment { at, from, len }).collect();
        Window { length, segments, patches: vec![Patch { at: patch.0, bytes: patch.1.to_vec() }], seek: None }
    }

    #[test]
    fn segments_and_patches_land_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (folder.path().join("source"), folder.path().join("out"));
        std::fs::write(&source, b"0123456789").unwrap();
        std::fs::write(&out, b"something longer that was here before").unwrap();
        build(&source, &planned(12, &[(0, 8, 2), (5, 0, 4)], (10, b"xy")), &out).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"89\0\0\x000123\0xy");
    }

    #[test]
    fn a_plan_that_does_not_fit_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (folder.path().join("source"), folder.path().join("out"));
        std::fs::write(&source, b"0123456789").unwrap();
        for (plan, kind) in [
            (planned(20, &[(0, 5, 6)], (0, b"")), io::ErrorKind::UnexpectedEof),
            (planned(4, &[(0, 0, 5)], (0, b"")), io::ErrorKind::InvalidInput),
            (planned(4, &[(u64::MAX, 0, 5)], (0, b"")), io::ErrorKind::InvalidInput),
            (planned(4, &[], (3, b"ab")), io::ErrorKind::InvalidInput),
        ] {
            let error = build(&source, &plan, &out).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("out"), "{error}");
        }
        let error = build(&folder.path().join("none"), &planned(0, &[], (0, b"")), &out).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
