//! A result gets its name, and perhaps its source goes. Each step can be done again after a crash in its middle; nobody else's file
//! is overwritten; at every moment the source or its verified successor is there. It knows files only, no folders and no jobs.

use std::fs::Metadata;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::path::{Path, PathBuf};

use kinora_protocol::node::FileMark;
use kinora_protocol::{Digest, fault};
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// A result that is to get its name.
#[derive(Debug, Clone)]
pub(super) struct Placing {
    /// The result, hidden beside its place.
    pub(super) made: PathBuf,
    /// BLAKE3 of the result.
    pub(super) digest: Digest,
    /// Where it belongs; the place of the source itself if that has the right extension.
    pub(super) place: PathBuf,
    /// What earlier results of ours there were: they may go.
    pub(super) former: Vec<Digest>,
    /// The source that goes when it is there.
    pub(super) source: Option<Leaving>,
}

/// A source that goes.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it was when it was taken up.
    pub(super) mark: FileMark,
    /// BLAKE3 of its content then.
    pub(super) digest: Digest,
    /// Where it is kept; nowhere when absent.
    pub(super) kept: Option<PathBuf>,
}

/// Why a result does not get its name. The source stays.
#[derive(Debug)]
pub(super) enum Unplaced {
    /// Something is in the way; when it is gone, it can be done.
    InTheWay(String),
    /// It will never be of use.
    Useless(String),
    /// The source is not where it was, through us: where it is now is said.
    Stranded(String),
    /// The disk fails.
    Disk(Error),
}

impl From<Error> for Unplaced {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}

fn in_the_way(path: &Path) -> Unplaced {
    Unplaced::InTheWay(format!("there is a {} already", path.display()))
}

/// BLAKE3 of a file of any length: unlike a thread that reads it, this ends when nobody waits for it.
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

/// What a regular file is now; a link is none.
pub(super) async fn mark(path: &Path) -> IoResult<FileMark> {
    let facts = fs::symlink_metadata(path).await?;
    if facts.is_file() { Ok(FileMark::from(&facts)) } else { Err(Error::other("it is no file any more")) }
}

/// What a file holds, if it is there.
async fn held(path: &Path) -> IoResult<Option<Digest>> {
    match digest(path).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names in a folder have to survive a power cut, where a file system can see to that.
async fn sync_folder(of: &Path) {
    #[cfg(unix)]
    if let Some(folder) = of.parent()
        && let Ok(folder) = fs::File::open(folder).await
    {
        let _ = folder.sync_all().await;
    }
    #[cfg(not(unix))]
    let _ = of;
}

/// Another name for a file, never one that is taken.
fn rename_to_new(from: &Path, to: &Path) -> IoResult<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(error) if !is_unsupported(error) => return Err(error.into()),
            Err(_) => {}
        }
    }
    rename_without_flags(from, to)
}

/// The same where a file system cannot do both at once: a second name is never one that is taken, either.
fn rename_without_flags(from: &Path, to: &Path) -> IoResult<()> {
    match std::fs::hard_link(from, to) {
        Ok(()) => return std::fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    if to.symlink_metadata().is_ok() {
        return Err(Error::from(ErrorKind::AlreadyExists));
    }
    std::fs::rename(from, to)
}

/// Removes a file that holds this, and no other.
pub(super) async fn remove_if(path: &Path, wanted: &Digest) {
    if held(path).await.is_ok_and(|held| held.as_ref() == Some(wanted)) {
        let _ = fs::remove_file(path).await;
    }
}

/// Two files take each other's place. `false` where a file system cannot do that.
fn exchange(one: &Path, other: &Path) -> IoResult<bool> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(error) if is_unsupported(error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (one, other);
        Ok(false)
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn is_unsupported(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP].contains(&error)
}

/// A second name was refused because of where the files are, not because of what they are.
fn wants_copy(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::CrossesDevices | ErrorKind::Unsupported | ErrorKind::TooManyLinks)
        // What file systems without such names say.
        || error.kind() == ErrorKind::PermissionDenied
}

/// A copy that is checked before it gets its name, with the source's times and permissions.
async fn copy(from: &Path, to: &Path, wanted: &Digest) -> IoResult<()> {
    let part = to.with_file_name(format!(".kinora-{}.part", &wanted.as_str()[..16]));
    let _ = fs::remove_file(&part).await;
    let copied = async {
        let facts: Metadata = fs::metadata(from).await?;
        let mut out = fs::OpenOptions::new().write(true).create_new(true).open(&part).await?;
        tokio::io::copy(&mut fs::File::open(from).await?, &mut out).await?;
        out.flush().await?;
        let out = out.into_std().await;
        out.set_permissions(facts.permissions())?;
        if let Ok(time) = facts.modified() {
            out.set_modified(time)?;
        }
        out.sync_all()?;
        if digest(&part).await? != *wanted {
            return Err(Error::other("its copy is not what it was when it was taken up"));
        }
        rename_to_new(&part, to)
    };
    let outcome = copied.await;
    if outcome.is_err() {
        let _ = fs::remove_file(&part).await;
    }
    outcome
}

impl Placing {
    /// Does it, or what is left to do of it.
    ///
    /// # Errors
    /// Why the result is not where it belongs and the source stays as it is.
    pub(super) async fn run(&self) -> Result<(), Unplaced> {
        let made = held(&self.made).await?;
        if made.as_ref() == Some(&self.digest) {
            self.check().await?;
            fault::point("replace.checked");
            if let Some(source) = &self.source {
                source.keep().await?;
            }
            fault::point("replace.kept");
            self.put().await?;
            sync_folder(&self.place).await;
            fault::point("replace.placed");
        } else if held(&self.place).await?.as_ref() != Some(&self.digest) {
            if let Some(source) = self.source.as_ref().filter(|source| made.as_ref() == Some(&source.digest))
            {
                return Err(self.bring_back(source));
            }
            return Err(Unplaced::Useless(match made {
                Some(_) => "what is on the disk is not what was verified".to_owned(),
                None => format!("its result {} is gone", self.made.display()),
            }));
        }
        // It is there.
        if let Some(source) = &self.source {
            // Where the two were exchanged, the source is where the result was.
            let left = if self.in_place() { &self.made } else { &source.path };
            // Whoever has written to it meanwhile keeps what was written.
            match mark(left).await {
                Ok(now) if now == source.mark => {
                    fs::remove_file(left).await?;
                    sync_folder(left).await;
                }
                Ok(_) if self.in_place() => {
                    let why =
                        format!("the source was written to at the last moment: it is {}", left.display());
                    return Err(Unplaced::Stranded(why));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The two were exchanged, and what was put in the place of the source is not there any more: the source goes back.
    fn bring_back(&self, source: &Leaving) -> Unplaced {
        match rename_to_new(&self.made, &source.path) {
            Ok(()) => Unplaced::Useless("its result is gone".to_owned()),
            Err(_) => Unplaced::Stranded(format!(
                "{} is not its result any more; the source is {}",
                self.place.display(),
                self.made.display()
            )),
        }
    }

    /// Drops the result, unless another file is there.
    pub(super) async fn drop_made(&self) {
        remove_if(&self.made, &self.digest).await;
    }

    fn in_place(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.path == self.place)
    }

    /// Everything is as it has to be.
    async fn check(&self) -> Result<(), Unplaced> {
        if let Some(source) = &self.source {
            source.check().await?;
            // Who may read the source may read its successor.
            fs::set_permissions(&self.made, fs::metadata(&source.path).await?.permissions()).await?;
        }
        if !self.in_place()
            && let Some(there) = held(&self.place).await?
            && there != self.digest
            && !self.former.contains(&there)
        {
            return Err(in_the_way(&self.place));
        }
        Ok(())
    }

    /// The result gets its name.
    async fn put(&self) -> Result<(), Unplaced> {
        if let Some(source) = self.source.as_ref().filter(|_| self.in_place()) {
            if !exchange(&self.made, &self.place)? {
                source.check().await?;
                return Ok(fs::rename(&self.made, &self.place).await?);
            }
            // What came out is looked at: nothing can be written to it by its name any more.
            if mark(&self.made).await.is_ok_and(|now| now == source.mark) {
                return Ok(());
            }
            exchange(&self.made, &self.place)?;
            return source.check().await;
        }
        match rename_to_new(&self.made, &self.place) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = held(&self.place).await?;
                if there.is_some_and(|there| there == self.digest || self.former.contains(&there)) {
                    return Ok(fs::rename(&self.made, &self.place).await?);
                }
                Err(in_the_way(&self.place))
            }
            outcome => Ok(outcome?),
        }
    }
}

impl Leaving {
    /// It is what it was.
    async fn check(&self) -> Result<(), Unplaced> {
        match mark(&self.path).await {
            Ok(now) if now == self.mark => Ok(()),
            Ok(_) => Err(Unplaced::Useless("it changed while it was worked on".to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Unplaced::Useless("it is gone".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// It gets a second name elsewhere.
    async fn keep(&self) -> Result<(), Unplaced> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let linked = match fs::hard_link(&self.path, kept).await {
            Err(error) if wants_copy(&error) => copy(&self.path, kept, &self.digest).await,
            outcome => outcome,
        };
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if held(kept).await?.as_ref() != Some(&self.digest) {
                    return Err(in_the_way(kept));
                }
            }
            outcome => outcome?,
        }
        sync_folder(kept).await;
        self.check().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        folder: tempfile::TempDir,
        placing: Placing,
    }

    /// `a.mkv`, whose result belongs at `place`.
    async fn files(place: &str, keep: bool) -> Files {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("kept")).unwrap();
        std::fs::write(at("a.mkv"), "source").unwrap();
        std::fs::write(at(".made"), "result").unwrap();
        let source = Leaving {
            path: at("a.mkv"),
            mark: mark(&at("a.mkv")).await.unwrap(),
            digest: digest(&at("a.mkv")).await.unwrap(),
            kept: keep.then(|| at("kept/a.mkv")),
        };
        let placing = Placing {
            made: at(".made"),
            digest: digest(&at(".made")).await.unwrap(),
            place: at(place),
            former: Vec::new(),
            source: Some(source),
        };
        Files { folder, placing }
    }

    impl Files {
        fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn all(&self) -> Vec<(String, String)> {
            let mut found = Vec::new();
            for place in ["", "kept"] {
                for entry in std::fs::read_dir(self.at(place)).unwrap().flatten() {
                    if !entry.path().is_file() {
                        continue;
                    }
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
            files.placing.run().await.unwrap();
            assert_eq!(files.all(), left);
            // Once more, as after a crash.
            files.placing.run().await.unwrap();
            assert_eq!(files.all(), left);
        }
    }

    #[tokio::test]
    async fn it_goes_on_in_the_middle() {
        let half = files("a.mp4", true).await;
        std::fs::hard_link(half.at("a.mkv"), half.at("kept/a.mkv")).unwrap();
        std::fs::rename(half.at(".made"), half.at("a.mp4")).unwrap();
        half.placing.run().await.unwrap();
        assert_eq!(half.all(), named(&[("a.mp4", "result"), ("kept/a.mkv", "source")]));
        // Exchanged, and no further.
        let half = files("a.mkv", false).await;
        exchange(&half.at(".made"), &half.at("a.mkv")).unwrap();
        half.placing.run().await.unwrap();
        assert_eq!(half.all(), named(&[("a.mkv", "result")]));
    }

    #[tokio::test]
    async fn a_source_that_was_exchanged_comes_back() {
        // Somebody takes the result away before the source went; somebody writes another file there.
        for (another, left) in [
            (None, named(&[("a.mkv", "source")])),
            (Some("another"), named(&[(".made", "source"), ("a.mkv", "another")])),
        ] {
            let half = files("a.mkv", false).await;
            exchange(&half.at(".made"), &half.at("a.mkv")).unwrap();
            std::fs::remove_file(half.at("a.mkv")).unwrap();
            if let Some(text) = another {
                std::fs::write(half.at("a.mkv"), text).unwrap();
            }
            half.placing.run().await.unwrap_err();
            half.placing.drop_made().await;
            assert_eq!(half.all(), left);
        }
    }

    #[test]
    fn names_are_never_taken_without_flags_either() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        std::fs::write(at("b"), "b").unwrap();
        let taken = rename_without_flags(&at("a"), &at("b")).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        rename_without_flags(&at("a"), &at("c")).unwrap();
        assert!(!at("a").exists() && std::fs::read(at("c")).unwrap() == b"a");
    }

    #[tokio::test]
    async fn without_a_source_it_only_gets_its_name() {
        let files = files("made.mp4", false).await;
        let placing = Placing { source: None, ..files.placing.clone() };
        placing.run().await.unwrap();
        assert_eq!(files.all(), named(&[("a.mkv", "source"), ("made.mp4", "result")]));
        // An earlier result of ours goes, nobody else's.
        std::fs::write(files.at(".made"), "newer").unwrap();
        let newer = Placing { digest: digest(&files.at(".made")).await.unwrap(), ..placing.clone() };
        assert!(matches!(newer.run().await, Err(Unplaced::InTheWay(_))));
        Placing { former: vec![placing.digest], ..newer }.run().await.unwrap();
        assert_eq!(files.all(), named(&[("a.mkv", "source"), ("made.mp4", "newer")]));
    }

    #[tokio::test]
    async fn a_copy_is_what_it_was_copied_from() {
        let files = files("a.mp4", false).await;
        let (from, to) = (files.at("a.mkv"), files.at("kept/a.mkv"));
        std::fs::write(files.at("kept/.a.mkv.part"), "somebody else's").unwrap();
        copy(&from, &to, &digest(&from).await.unwrap()).await.unwrap();
        assert_eq!(mark(&from).await.unwrap(), mark(&to).await.unwrap());
        let other = copy(&from, &files.at("kept/b.mkv"), &files.placing.digest).await;
        assert!(other.unwrap_err().to_string().contains("not what it was"));
        let taken = copy(&from, &to, &digest(&from).await.unwrap()).await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let left: Vec<_> = files.all().into_iter().filter(|(name, _)| name.starts_with("kept")).collect();
        assert_eq!(left, named(&[("kept/.a.mkv.part", "somebody else's"), ("kept/a.mkv", "source")]));
    }

    #[tokio::test]
    async fn the_source_stays_when_anything_is_amiss() {
        let refused = async |files: &Files, why: &str| {
            let before = files.all();
            let error = format!("{:?}", files.placing.run().await.unwrap_err());
            assert!(error.contains(why), "{error}");
            assert_eq!(files.all(), before);
        };
        let taken = files("a.mp4", false).await;
        std::fs::write(taken.at("a.mp4"), "another").unwrap();
        refused(&taken, "InTheWay").await;
        // It came after everything was checked.
        let error = taken.placing.put().await.unwrap_err();
        assert!(matches!(error, Unplaced::InTheWay(_)), "{error:?}");
        assert_eq!(taken.all().len(), 3);
        for place in ["a.mkv", "a.mp4"] {
            let written = files(place, true).await;
            std::fs::write(written.at("a.mkv"), "written again").unwrap();
            refused(&written, "changed").await;
        }
        let late = files("a.mkv", false).await;
        std::fs::write(late.at("a.mkv"), "written after the check").unwrap();
        assert!(matches!(late.placing.put().await, Err(Unplaced::Useless(_))));
        assert_eq!(late.all(), named(&[(".made", "result"), ("a.mkv", "written after the check")]));
        let damaged = files("a.mp4", false).await;
        std::fs::write(damaged.at(".made"), "rotten").unwrap();
        refused(&damaged, "verified").await;
        let gone = files("a.mp4", false).await;
        std::fs::remove_file(gone.at(".made")).unwrap();
        refused(&gone, "gone").await;
        let other = files("a.mp4", true).await;
        std::fs::write(other.at("kept/a.mkv"), "another").unwrap();
        refused(&other, "InTheWay").await;
    }
}
