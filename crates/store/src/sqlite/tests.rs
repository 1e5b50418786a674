//! What only shows from inside: how commands share a commit, and which index a claim goes by.

use std::sync::mpsc;

use rusqlite::Connection;

use super::lease::FIRST;
use super::{Fault, Store};
use crate::error::StoreError;

async fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("kinora.db")).await.unwrap();
    (store, folder)
}

/// Keeps the writer busy until the sender goes, so that what is sent meanwhile becomes one batch.
fn hold_writer(store: &Store) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (began, begin) = mpsc::channel();
    let store = store.clone();
    tokio::spawn(async move {
        store
            .write(move |_| {
                began.send(()).unwrap();
                let _ = held.recv();
                Ok(())
            })
            .await
            .unwrap();
    });
    begin.recv().unwrap();
    release
}

fn put(conn: &Connection, key: &str, value: &str) -> Result<(), Fault> {
    conn.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", [key, value])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_share_one_commit() {
    let (store, _folder) = store().await;
    let release = hold_writer(&store);
    let before = store.stats();
    let calls: Vec<_> = (0..64)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.put_meta(&format!("k{i}"), "v").await })
        })
        .collect();
    while store.inner.writer.waiting() < 64 {
        tokio::task::yield_now().await;
    }
    drop(release);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let after = store.stats();
    assert_eq!(after.commands - before.commands, 65, "with the one that held it up");
    assert_eq!(after.commits - before.commits, 2);
    assert_eq!(store.meta("k63").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_command_does_not_spoil_its_batch() {
    let (store, _folder) = store().await;
    let release = hold_writer(&store);
    let calls: Vec<_> = (0..30)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write(move |conn| {
                        put(conn, &format!("k{i}"), "v")?;
                        match i % 3 {
                            0 => Ok(i),
                            // An error after a change, an error of SQLite's, and a bug.
                            1 => put(conn, &format!("k{i}"), "again").map(|()| i),
                            _ => panic!("on purpose"),
                        }
                    })
                    .await
            })
        })
        .collect();
    while store.inner.writer.waiting() < 30 {
        tokio::task::yield_now().await;
    }
    drop(release);
    for (i, call) in (0..).zip(calls) {
        let answer = call.await.unwrap();
        let kept = store.meta(&format!("k{i}")).await.unwrap().is_some();
        match i % 3 {
            0 => assert_eq!((answer, kept), (Ok(i), true)),
            _ => {
                assert!(matches!(answer, Err(StoreError::Internal { .. })), "{answer:?}");
                assert!(!kept, "k{i} was half done and must not be there");
            }
        }
    }
    assert_eq!(store.stats().commits, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_is_told_to_those_it_hits() {
    let (store, _folder) = store().await;
    let limit = |pages: i64| {
        store.write(move |conn| {
            Ok(conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?)
        })
    };
    let now = limit(1).await.unwrap();
    let release = hold_writer(&store);
    let send = |key: &'static str, bytes: usize| {
        let store = store.clone();
        tokio::spawn(async move { store.write(move |conn| put(conn, key, &"x".repeat(bytes))).await })
    };
    let (small, large) = (send("small", 10), send("large", 1_000_000));
    while store.inner.writer.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    drop(release);
    assert!(matches!(large.await.unwrap(), Err(StoreError::Full { .. })));
    // Whether SQLite gave up the whole transaction or only the statement, answer and content agree.
    let answer = small.await.unwrap();
    assert_eq!(answer.is_ok(), store.meta("small").await.unwrap().is_some(), "{answer:?}");
    assert_eq!(store.meta("large").await.unwrap(), None);
    limit(now + 10_000).await.unwrap();
    store.write(|conn| put(conn, "large", &"x".repeat(1_000_000))).await.unwrap();
}

#[tokio::test]
async fn a_lost_transaction_is_told_to_all_in_it() {
    let (store, _folder) = store().await;
    // As SQLite does by itself when it runs out of disk half way.
    let lost = store
        .write(|conn| -> Result<(), Fault> {
            put(conn, "lost", "v")?;
            conn.execute_batch("ROLLBACK")?;
            Err(Fault::Conflict("gave up".to_owned()))
        })
        .await;
    assert!(lost.is_err());
    let lost = store
        .write(|conn| {
            put(conn, "lost", "v")?;
            conn.execute_batch("ROLLBACK")?;
            Ok(())
        })
        .await;
    assert!(lost.is_err(), "it says that it is fine, but nothing was committed");
    store.put_meta("next", "v").await.unwrap();
    assert_eq!(store.meta("lost").await.unwrap(), None);
}

#[tokio::test]
async fn a_claim_goes_by_the_index_of_ready_tasks() {
    let (store, _folder) = store().await;
    let plan = |sql: String| {
        store.read(move |conn| {
            let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let lines = query.query_map([], |row| row.get::<_, String>("detail"))?;
            Ok(lines.collect::<rusqlite::Result<Vec<_>>>()?.join("\n"))
        })
    };
    let numbered = FIRST.replace("?1", "'chunk'").replace("?2", "0").replace("?3", "'n'").replace("?4", "1");
    let claim = plan(numbered).await.unwrap();
    assert!(claim.contains("tasks USING INDEX tasks_ready (class=?)"), "{claim}");
    assert!(!claim.contains("TEMP B-TREE") && !claim.contains("SCAN"), "{claim}");
    let unfinished = "SELECT 1 FROM tasks WHERE job_id = 'x' AND state <> 'done'";
    let unfinished = plan(unfinished.to_owned()).await.unwrap();
    assert!(unfinished.contains("tasks_unfinished"), "{unfinished}");
    let dependants = "UPDATE tasks SET pending_deps = 0 WHERE id IN (SELECT dst FROM deps WHERE src = 1)";
    let dependants = plan(dependants.to_owned()).await.unwrap();
    assert!(!dependants.contains("SCAN"), "{dependants}");
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_fails_its_job_and_blocks_nobody() {
    use kinora_protocol::class::{Class, Tags};
    use kinora_protocol::job::{JobPhase, JobRequest};
    use kinora_protocol::task::TaskSpec;
    use kinora_protocol::{JobId, NodeId};

    let (store, _folder) = store().await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let id = JobId::generate();
        let request = JobRequest {
            work: kinora_protocol::job::Work::Encode,
            input: "i".into(),
            output: "o".into(),
            recipe: Default::default(),
            idempotency_key: None,
            priority: 0,
            required_nodes: 0,
            deadline_ms: None,
            tags: Tags::NONE,
        };
        let task = crate::NewTask {
            ordinal: 0,
            class: Class::light(Tags::NONE),
            priority: 0,
            rank: 0.0,
            max_attempts: 1,
            spec: TaskSpec::Probe { source: "i".into() },
            done: None,
            cache_key: None,
            gate: crate::Gate::None,
        };
        let graph = crate::Graph { tasks: vec![task], deps: vec![] };
        store
            .submit(
                crate::NewJob { owner: crate::Owner::Nobody, phase: JobPhase::Queued, id, request, graph },
                0,
            )
            .await
            .unwrap();
        jobs.push(id);
    }
    store
        .write(|conn| {
            conn.execute(
                "UPDATE task_bodies SET spec = '{\"kind\":\"from the future\"}' WHERE task_id = 1",
                [],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    let node = NodeId::from("n".to_owned());
    let wanted =
        crate::Wanted { node, classes: vec![Class::light(Tags::NONE)], avoid: crate::Avoid::Nothing };
    let claimed = store.claim(vec![wanted.clone(), wanted], 0, 10).await.unwrap();
    let jobs_of: Vec<_> = claimed.iter().map(|c| c.as_ref().map(|c| c.job)).collect();
    assert_eq!(jobs_of, [None, Some(jobs[1])]);
    let failed = store.job(jobs[0]).await.unwrap().unwrap();
    assert_eq!(failed.phase, JobPhase::Failed);
    assert!(failed.failure.unwrap().message.contains("cannot read"));
}
