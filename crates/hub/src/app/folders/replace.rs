//! A result takes the place of its source. Each step can be done again after a crash in its middle, and at every moment the source or
//! its verified successor is there. It knows files only, no folders and no jobs.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};

use kinora_protocol::node::FileMark;
use kinora_protocol::{Digest, fault};
use tokio::fs;
use tokio::io::AsyncReadExt as _;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// What takes whose place.
#[derive(Debug, Clone)]
pub(super) struct Swap {
    /// The source.
    pub(super) source: PathBuf,
    /// What it was when it was taken up.
    pub(super) mark: FileMark,
    /// The result, under a name of its own.
    pub(super) made: PathBuf,
    /// BLAKE3 of the result.
    pub(super) digest: Digest,
    /// Where it belongs; the place of the source itself if that has the right extension.
    pub(super) place: PathBuf,
    /// Where the source is kept; nowhere when absent.
    pub(super) kept: Option<PathBuf>,
}

/// BLAKE3 of a file.
pub(super) async fn digest(path: &Path) -> IoResult<Digest> {
    let mut file = fs::File::open(path).await?;
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().as_bytes()));
        }
        hasher.update(&piece[..read]);
    }
}

async fn mark(path: &Path) -> IoResult<FileMark> {
    Ok(FileMark::from(&fs::metadata(path).await?))
}

/// Whether it is there and holds this.
async fn holds(path: &Path, wanted: &Digest) -> IoResult<bool> {
    match digest(path).await {
        Ok(found) => Ok(found == *wanted),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names in a folder have to survive a power cut.
async fn sync_folder(of: &Path) -> IoResult<()> {
    #[cfg(unix)]
    if let Some(folder) = of.parent() {
        fs::File::open(folder).await?.sync_all().await?;
    }
    #[cfg(not(unix))]
    let _ = of;
    Ok(())
}

async fn remove(path: &Path) -> IoResult<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => sync_folder(path).await,
    }
}

/// A second name for a file, never one that is taken. Where a file has one name only, it is a copy.
async fn link(from: &Path, to: &Path) -> IoResult<()> {
    match fs::hard_link(from, to).await {
        Ok(()) => sync_folder(to).await,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) => {
            let name = to.file_name().unwrap_or_default().to_string_lossy();
            let part = to.with_file_name(format!(".{name}.part"));
            let mut copy = fs::File::create(&part).await?;
            tokio::io::copy(&mut fs::File::open(from).await?, &mut copy).await?;
            copy.sync_all().await?;
            if fs::try_exists(to).await? {
                return Err(Error::from(ErrorKind::AlreadyExists));
            }
            fs::rename(&part, to).await?;
            sync_folder(to).await
        }
    }
}

impl Swap {
    /// Does it, or what is left to do of it.
    ///
    /// # Errors
    /// Why the source stays as it is, in words; or the disk fails.
    pub(super) async fn run(&self) -> IoResult<()> {
        let in_place = self.place == self.source;
        if fs::try_exists(&self.made).await? {
            self.check(in_place).await?;
            fault::point("replace.checked");
            if let Some(kept) = &self.kept {
                self.keep(kept).await?;
                fault::point("replace.kept");
            }
            if in_place {
                fs::rename(&self.made, &self.place).await?;
            } else {
                match link(&self.made, &self.place).await {
                    // From before a crash.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    outcome => outcome?,
                }
                fault::point("replace.linked");
                fs::remove_file(&self.made).await?;
            }
            sync_folder(&self.place).await?;
            fault::point("replace.placed");
        } else if !holds(&self.place, &self.digest).await? {
            return Err(Error::other(format!("its result {} is gone", self.made.display())));
        }
        // Whoever has written to the source meanwhile keeps what was written.
        if !in_place && mark(&self.source).await.is_ok_and(|now| now == self.mark) {
            remove(&self.source).await?;
        }
        Ok(())
    }

    /// Everything is as it has to be.
    async fn check(&self, in_place: bool) -> IoResult<()> {
        let refused =
            |why: String| Err(Error::other(format!("{why}; its result is {}", self.made.display())));
        match mark(&self.source).await {
            Ok(now) if now == self.mark => {}
            Ok(_) => return refused("it changed while it was worked on".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return refused("it is gone".to_owned());
            }
            Err(error) => return Err(error),
        }
        if !in_place && fs::try_exists(&self.place).await? && !holds(&self.place, &self.digest).await? {
            return refused(format!("there is a {} already", self.place.display()));
        }
        if !holds(&self.made, &self.digest).await? {
            return refused("what is on the disk is not what was verified".to_owned());
        }
        // Who may read the source may read its successor.
        fs::set_permissions(&self.made, fs::metadata(&self.source).await?.permissions()).await
    }

    /// The source gets a second name elsewhere.
    async fn keep(&self, kept: &Path) -> IoResult<()> {
        if let Some(folder) = kept.parent() {
            fs::create_dir_all(folder).await?;
        }
        match link(&self.source, kept).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if holds(kept, &digest(&self.source).await?).await? {
                    return Ok(());
                }
                Err(Error::other(format!(
                    "there is another {} already; its result is {}",
                    kept.display(),
                    self.made.display()
                )))
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        folder: tempfile::TempDir,
        swap: Swap,
    }

    /// `a.mkv`, whose result belongs at `place`.
    async fn files(place: &str, keep: bool) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.mkv"), "source").unwrap();
        std::fs::write(at(".made"), "result").unwrap();
        let swap = Swap {
            source: at("a.mkv"),
            mark: mark(&at("a.mkv")).await.unwrap(),
            made: at(".made"),
            digest: digest(&at(".made")).await.unwrap(),
            place: at(place),
            kept: keep.then(|| at("kept/a.mkv")),
        };
        Files { folder, swap }
    }

    impl Files {
        fn all(&self) -> Vec<(String, String)> {
            let mut found = Vec::new();
            for place in ["", "kept"] {
                let Ok(entries) = std::fs::read_dir(self.folder.path().join(place)) else { continue };
                for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
                    let name = entry.path().strip_prefix(self.folder.path()).unwrap().display().to_string();
                    found.push((name, std::fs::read_to_string(entry.path()).unwrap()));
                }
            }
            found.sort();
            found
        }
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[tokio::test]
    async fn the_result_takes_the_place() {
        for (place, keep, left) in [
            ("a.mp4", false, named(&[("a.mp4", "result")])),
            ("a.mp4", true, named(&[("a.mp4", "result"), ("kept/a.mkv", "source")])),
            ("a.mkv", false, named(&[("a.mkv", "result")])),
            ("a.mkv", true, named(&[("a.mkv", "result"), ("kept/a.mkv", "source")])),
        ] {
            let files = files(place, keep).await;
            files.swap.run().await.unwrap();
            assert_eq!(files.all(), left);
            // Once more, as after a crash.
            files.swap.run().await.unwrap();
            assert_eq!(files.all(), left);
        }
    }

    #[tokio::test]
    async fn it_goes_on_in_the_middle() {
        let half = files("a.mp4", true).await;
        std::fs::create_dir(half.folder.path().join("kept")).unwrap();
        std::fs::hard_link(&half.swap.source, half.folder.path().join("kept/a.mkv")).unwrap();
        std::fs::hard_link(&half.swap.made, &half.swap.place).unwrap();
        half.swap.run().await.unwrap();
        assert_eq!(half.all(), named(&[("a.mp4", "result"), ("kept/a.mkv", "source")]));
    }

    #[tokio::test]
    async fn the_source_stays_when_anything_is_amiss() {
        let refused = async |files: &Files, why: &str| {
            let before = files.all();
            let error = files.swap.run().await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(files.all(), before);
        };
        let taken = files("a.mp4", false).await;
        std::fs::write(&taken.swap.place, "another").unwrap();
        refused(&taken, "already").await;
        let written = files("a.mkv", false).await;
        std::fs::write(&written.swap.source, "written again").unwrap();
        refused(&written, "changed").await;
        let damaged = files("a.mp4", false).await;
        std::fs::write(&damaged.swap.made, "rotten").unwrap();
        refused(&damaged, "verified").await;
        let gone = files("a.mp4", false).await;
        std::fs::remove_file(&gone.swap.made).unwrap();
        refused(&gone, "gone").await;
        let other = files("a.mp4", true).await;
        std::fs::create_dir(other.folder.path().join("kept")).unwrap();
        std::fs::write(other.folder.path().join("kept/a.mkv"), "another").unwrap();
        refused(&other, "another").await;
    }
}
