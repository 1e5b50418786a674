//! What is left after a process was killed, a disk was full, or the wrong file was named.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kinora_protocol::access::Sight;
use kinora_protocol::job::JobPhase;
use kinora_protocol::{Attempt, JobId};
use kinora_store::{Completion, Lease, NewJob, Store, StoreError, TaskState};
use support::*;

/// The part of the killed process. Run alone it does nothing: nobody tells it where to write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by a_killed_process_loses_nothing_that_it_acknowledged"]
async fn writes_until_it_is_killed() {
    let mut path = String::new();
    std::io::stdin().read_line(&mut path).unwrap();
    if path.trim().is_empty() {
        return;
    }
    let store = Store::open(Path::new(path.trim())).await.unwrap();
    let callers: Vec<_> = (0..8).map(|caller| tokio::spawn(write_forever(store.clone(), caller))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn write_forever(store: Store, caller: u32) {
    let name = format!("n{caller}");
    loop {
        let job = submit(&store, parts(2)).await;
        acknowledge(&format!("job {job}"));
        let Some(claimed) = claim(&store, &name).await else { continue };
        let Lease { task, attempt, .. } = claimed.lease.clone();
        acknowledge(&format!("claim {} {task} {attempt}", claimed.job));
        let done = store.complete(&claimed.lease, &part_output("part"), 1).await.unwrap();
        assert!(matches!(done, Completion::Accepted(_)));
        acknowledge(&format!("done {} {task} {attempt}", claimed.job));
    }
}

/// One whole line at once, past the test harness's own output.
fn acknowledge(line: &str) {
    let mut out = std::io::stderr().lock();
    out.write_all(format!("ack {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn start_writer(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "writes_until_it_is_killed", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", path.display()).unwrap();
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kinora.db");
    for enough in [1, 40, 300] {
        let mut child = start_writer(&path);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        while acknowledged.len() < enough {
            let line = lines.next().expect("the writer ended by itself").unwrap();
            acknowledged.extend(line.strip_prefix("ack ").map(str::to_owned));
        }
        // SIGKILL on Unix.
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had written to the pipe before it died counts too; the last line may be cut.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| {
            let words = line.strip_prefix("ack ")?;
            let whole =
                if words.starts_with("job") { words.len() == 40 } else { words.split(' ').count() == 4 };
            whole.then(|| words.to_owned())
        }));
        acknowledged_is_there(&path, &acknowledged).await;
    }
}

async fn acknowledged_is_there(path: &Path, acknowledged: &[String]) {
    let store = Store::open(path).await.unwrap();
    for line in acknowledged {
        let words: Vec<&str> = line.split(' ').collect();
        let job: JobId = words[1].parse().unwrap();
        let tasks = store.tasks(job).await.unwrap();
        assert_eq!(tasks.len(), 2, "{line}");
        if let [what, _, task, attempt] = words[..] {
            let row = tasks.iter().find(|t| t.id.to_string() == task).unwrap();
            assert_eq!(row.attempt, Attempt(attempt.parse().unwrap()), "{line}");
            assert!(what == "claim" || row.state == TaskState::Done, "{line}: {:?}", row.state);
        }
    }
    let mut leased = 0;
    for caller in 0..8 {
        leased += store.release_node(&node(&format!("n{caller}")), 2).await.unwrap().len();
    }
    assert!(leased <= 8, "each caller had one lease at most");
    store.close().await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let place = Place::new().await;
    let job = submit(&place.store, fan_in(2)).await;
    let lease = claim(&place.store, "n").await.unwrap().lease;
    let before = (place.store.tasks(job).await.unwrap(), place.store.job(job).await.unwrap());
    let place = place.again().await;
    assert_eq!((place.store.tasks(job).await.unwrap(), place.store.job(job).await.unwrap()), before);
    let done = place.store.complete(&lease, &part_output("part"), 1).await.unwrap();
    assert!(matches!(done, Completion::Accepted(_)));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let place = Place::new().await;
    let clone = place.store.clone();
    submit(&clone, parts(1)).await;
    place.store.close().await.unwrap();
    place.store.close().await.unwrap();
    let late = NewJob {
        owner: kinora_store::Owner::Nobody,
        phase: kinora_protocol::job::JobPhase::Queued,
        id: JobId::generate(),
        request: request(None),
        graph: parts(1),
    };
    assert!(matches!(clone.submit(late, 0).await, Err(StoreError::Closed { .. })));
    assert!(matches!(clone.jobs(&Sight::All, None, 1).await, Err(StoreError::Closed { .. })));
    let names: Vec<_> =
        std::fs::read_dir(place.folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().ends_with("-wal")), "the log is folded in: {names:?}");
}

#[tokio::test]
async fn a_store_is_open_once() {
    let place = Place::new().await;
    let second = Store::open(&place.path()).await.unwrap_err();
    assert_eq!(second, StoreError::Busy { path: place.path() });
    drop(place.store);
    Store::open(&place.folder.path().join("kinora.db")).await.unwrap();
}

#[tokio::test]
async fn files_that_are_no_store_of_ours_are_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(
        at("text.db"),
        "a text that somebody needs, longer than a header of a database".repeat(20),
    )
    .unwrap();
    let before = std::fs::read(at("text.db")).unwrap();
    let error = Store::open(&at("text.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert_eq!(std::fs::read(at("text.db")).unwrap(), before);

    let other = rusqlite::Connection::open(at("other.db")).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = std::fs::read(at("other.db")).unwrap();
    let error = Store::open(&at("other.db")).await.unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(std::fs::read(at("other.db")).unwrap(), before);

    let error = Store::open(&at("no/such/folder.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Disk { .. }), "{error:?}");
    assert!(error.to_string().contains("no/such/folder.db"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new().await;
    place.store.close().await.unwrap();
    let raw = rusqlite::Connection::open(place.path()).unwrap();
    let now: i64 = raw.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    raw.pragma_update(None, "user_version", now + 1).unwrap();
    drop(raw);
    let error = Store::open(&place.path()).await.unwrap_err();
    assert_eq!(error, StoreError::Newer { path: place.path(), found: now + 1, supported: now });
}

/// A small disk, unmounted when it goes.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "kinora-test"])
            .arg(folder.path())
            .output()
            .is_ok_and(|o| o.status.success());
        mounted.then_some(Self { folder })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.at("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_got_over() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: a_full_disk_is_told_and_got_over needs the right to mount a tmpfs");
        return;
    };
    let path = disk.at("kinora.db");
    let store = Store::open(&path).await.unwrap();
    let kept = submit(&store, fan_in(3)).await;
    let lease = claim(&store, "n").await.unwrap().lease;
    disk.fill();
    let mut refused = 0;
    let mut stored = vec![kept];
    for _ in 0..40 {
        let id = JobId::generate();
        match store
            .submit(
                NewJob {
                    owner: kinora_store::Owner::Nobody,
                    phase: kinora_protocol::job::JobPhase::Queued,
                    id,
                    request: request(None),
                    graph: parts(20),
                },
                0,
            )
            .await
        {
            Ok(_) => stored.push(id),
            Err(error) => {
                assert_eq!(error, StoreError::Full { path: path.clone() });
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the disk was not full");
    assert_eq!(store.job(kept).await.unwrap().unwrap().phase, JobPhase::Processing, "reading goes on");
    std::fs::remove_file(disk.at("filler")).unwrap();
    let done = store.complete(&lease, &part_output("part"), 1).await.unwrap();
    assert!(matches!(done, Completion::Accepted(_)), "and so does writing, once there is room");
    store.close().await.unwrap();
    let store = Store::open(&path).await.unwrap();
    let found = store.jobs(&Sight::All, None, 1000).await.unwrap().len();
    assert_eq!(found, stored.len(), "what was accepted is there, what was refused is not");
    store.close().await.unwrap();
}

/// Keys are in it.
#[cfg(unix)]
#[tokio::test]
async fn nobody_else_on_the_machine_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    let store = Store::open(&path).await.unwrap();
    store.put_meta("a", "b").await.unwrap();
    assert_eq!((mode("store.db"), mode("store.db-wal"), mode("store.db-shm")), (0o600, 0o600, 0o600));
    drop(store);
    // One of an older version.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path).await.unwrap();
    store.put_meta("a", "c").await.unwrap();
    assert_eq!((mode("store.db"), mode("store.db-wal")), (0o600, 0o600));
}
