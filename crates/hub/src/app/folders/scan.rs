//! What is in a folder, and which of its files nobody writes to any more. Decided from what was seen at two times: a network share
//! tells nobody of changes, so that looking again is the only way that works everywhere.

use std::collections::BTreeMap;
use std::path::Path;

use kinora_protocol::node::FileMark;

/// Folders within folders that are followed.
const DEEPEST: usize = 32;

/// A file, by its path below the folder with `/` between names.
pub(super) type Seen = BTreeMap<String, FileMark>;

/// All files below a folder that may be taken up: regular ones with one of the extensions, neither hidden nor in hidden folders.
/// Symbolic links are not followed.
///
/// # Errors
/// When the folder itself cannot be read. What cannot be read below it is left out.
pub(super) fn files(folder: &Path, extensions: &[String]) -> std::io::Result<Seen> {
    let mut found = Seen::new();
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((path, below, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(error),
            Err(error) => {
                tracing::warn!("{}: {error}", path.display());
                continue;
            }
        };
        for entry in entries.flatten() {
            // A name that is no text cannot be kept, nor told to anybody.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let place = format!("{below}{name}");
            if kind.is_dir() && depth < DEEPEST {
                folders.push((entry.path(), format!("{place}/"), depth + 1));
            } else if kind.is_file() && is_wanted(&name, extensions) {
                let Ok(facts) = entry.metadata() else { continue };
                found.insert(place, FileMark::from(&facts));
            }
        }
    }
    Ok(found)
}

fn is_wanted(name: &str, extensions: &[String]) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("");
    extensions.iter().any(|wanted| wanted.eq_ignore_ascii_case(extension))
}

/// Files that were seen and not dealt with: since when they are what they are, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Sightings(BTreeMap<String, (FileMark, i64)>);

impl Sightings {
    /// Takes note of what is there now and was not dealt with; gives those files that stayed as they are for so long. Empty ones
    /// are still to be written.
    pub(super) fn settled(&mut self, there: &Seen, now_ms: i64, settle_ms: i64) -> Vec<(String, FileMark)> {
        self.0.retain(|name, (mark, _)| there.get(name) == Some(mark));
        let mut settled = Vec::new();
        for (name, mark) in there {
            let (_, since) = self.0.entry(name.clone()).or_insert((*mark, now_ms));
            if mark.size > 0 && now_ms - *since >= settle_ms {
                settled.push((name.clone(), *mark));
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(files: &[(&str, u64, u64)]) -> Seen {
        files
            .iter()
            .map(|(name, size, modified_ns)| {
                ((*name).to_owned(), FileMark { size: *size, modified_ns: *modified_ns })
            })
            .collect()
    }

    fn names(settled: Vec<(String, FileMark)>) -> Vec<String> {
        settled.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn files_settle_when_nobody_writes_to_them() {
        let mut seen = Sightings::default();
        assert!(seen.settled(&there(&[("a", 5, 1), ("b", 5, 1), ("empty", 0, 1)]), 0, 10).is_empty());
        // One grows, one is written to in place.
        assert!(seen.settled(&there(&[("a", 6, 1), ("b", 5, 2), ("empty", 0, 1)]), 9, 10).is_empty());
        assert!(seen.settled(&there(&[("a", 6, 1), ("b", 5, 2), ("empty", 0, 1)]), 18, 10).is_empty());
        assert_eq!(
            names(seen.settled(&there(&[("a", 6, 1), ("b", 5, 2), ("empty", 0, 1)]), 19, 10)),
            ["a", "b"]
        );
        // One that was away for a while begins anew.
        assert_eq!(names(seen.settled(&there(&[("b", 5, 2)]), 20, 10)), ["b"]);
        assert_eq!(names(seen.settled(&there(&[("a", 6, 1), ("b", 5, 2)]), 40, 10)), ["b"]);
    }

    #[test]
    fn only_what_may_be_taken_up_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for below in ["deep/er", ".hidden"] {
            std::fs::create_dir_all(at(below)).unwrap();
        }
        for name in ["a.MP4", "deep/er/b.mkv", "notes.txt", "c.mp4.part", ".d.mp4", ".hidden/e.mp4", "mp4"] {
            std::fs::write(at(name), name).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("a.MP4"), at("link.mp4")).unwrap();
            std::os::unix::fs::symlink(folder.path(), at("deep/again")).unwrap();
        }
        let wanted = ["mp4".to_owned(), "mkv".to_owned()];
        let seen = files(folder.path(), &wanted).unwrap();
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["a.MP4", "deep/er/b.mkv"]);
        assert!(files(&at("gone"), &wanted).is_err());
    }
}
