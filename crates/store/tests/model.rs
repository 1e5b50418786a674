//! Random calls, right and wrong ones, in random order: what must always hold is looked at after each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use std::collections::HashMap;

use kinora_protocol::job::JobPhase;
use kinora_protocol::node::Progress;
use kinora_protocol::{JobId, TaskId};
use kinora_store::{
    AfterFailure, Completion, Dep, FailOutcome, Gate, Graph, Lease, Reopen, Reopening, TaskRow, TaskState,
};
use proptest::prelude::*;
use support::*;

/// Numbers pick from what there is when their turn comes: leases from all that were ever handed out.
#[derive(Debug, Clone)]
enum Op {
    Claim { node: u8, join: bool },
    Complete { lease: usize },
    Fail { lease: usize, fatal: bool },
    Renew { lease: usize },
    Release { lease: usize },
    ReleaseNode { node: u8 },
    BackUp { task: usize, node: u8 },
    Expire { after_ms: i64 },
    Reopen { task: usize },
    OpenGate { task: usize },
    Pause,
    Resume,
    Cancel,
    Retry,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let lease = 0_usize..64;
    prop_oneof![
        12 => (0_u8..3, any::<bool>()).prop_map(|(node, join)| Op::Claim { node, join }),
        10 => lease.clone().prop_map(|lease| Op::Complete { lease }),
        4 => (lease.clone(), prop::bool::weighted(0.2)).prop_map(|(lease, fatal)| Op::Fail { lease, fatal }),
        2 => lease.clone().prop_map(|lease| Op::Renew { lease }),
        2 => lease.prop_map(|lease| Op::Release { lease }),
        1 => (0_u8..3).prop_map(|node| Op::ReleaseNode { node }),
        5 => (0_usize..8, 0_u8..3).prop_map(|(task, node)| Op::BackUp { task, node }),
        2 => (0_i64..20_000).prop_map(|after_ms| Op::Expire { after_ms }),
        4 => (0_usize..8).prop_map(|task| Op::Reopen { task }),
        4 => (0_usize..8).prop_map(|task| Op::OpenGate { task }),
        1 => Just(Op::Pause),
        2 => Just(Op::Resume),
        1 => Just(Op::Cancel),
        3 => Just(Op::Retry),
        1 => Just(Op::Restart),
    ]
}

/// Three parts into a gated join, and two joins into a last one: eight tasks with two levels.
fn graph() -> Graph {
    let mut tasks: Vec<_> = (0..5).map(part).chain((0..3).map(join)).collect();
    tasks[5].gate = Gate::Closed;
    let deps = [(0, 5), (1, 5), (2, 5), (3, 6), (4, 6), (5, 7), (6, 7)];
    Graph { tasks, deps: deps.iter().map(|(before, after)| Dep { before: *before, after: *after }).collect() }
}

struct Run {
    place: Place,
    job: JobId,
    now_ms: i64,
    leases: Vec<Lease>,
    rows: Vec<TaskRow>,
    /// How often each task was open, and how often a result of it was accepted.
    opened: HashMap<TaskId, u32>,
    accepted: HashMap<TaskId, u32>,
}

impl Run {
    async fn new() -> Self {
        let place = Place::new().await;
        let job = submit(&place.store, graph()).await;
        let rows = place.store.tasks(job).await.unwrap();
        let opened = rows.iter().map(|t| (t.id, 1)).collect();
        Self { place, job, now_ms: 0, leases: vec![], rows, opened, accepted: HashMap::new() }
    }

    fn lease(&self, index: usize) -> Option<Lease> {
        (!self.leases.is_empty()).then(|| self.leases[index % self.leases.len()].clone())
    }

    fn row(&self, lease: &Lease) -> &TaskRow {
        self.rows.iter().find(|t| t.id == lease.task).unwrap()
    }

    /// By what the store showed last, this lease is one in force.
    fn holds(&self, lease: &Lease) -> bool {
        let row = self.row(lease);
        (self.names(lease) && row.state == TaskState::Leased) || row.backup.as_ref() == Some(lease)
    }

    fn names(&self, lease: &Lease) -> bool {
        let row = self.row(lease);
        row.attempt == lease.attempt && row.node.as_ref() == Some(&lease.node)
    }

    async fn step(mut self, op: &Op) -> Self {
        let store = self.place.store.clone();
        let mut reopened = None;
        match op {
            Op::Claim { node, join } => {
                let name = format!("n{node}");
                let class = if *join {
                    kinora_protocol::node::SlotClass::Other
                } else {
                    kinora_protocol::node::SlotClass::Chunk
                };
                let claimed = claim_at(&store, &name, class, self.now_ms).await;
                if let Some(claimed) = claimed {
                    let row = self.row(&claimed.lease);
                    assert_eq!((row.state, row.pending_deps), (TaskState::Ready, 0));
                    assert!(claimed.lease.attempt > row.attempt);
                    assert!(claimed.tries <= claimed.max_attempts);
                    self.leases.push(claimed.lease);
                }
            }
            Op::Complete { lease } => self.complete(*lease).await,
            Op::Fail { lease, fatal } => {
                let Some(lease) = self.lease(*lease) else { return self };
                let then = match fatal {
                    true => AfterFailure::Fatal,
                    false => AfterFailure::Retry { not_before_ms: self.now_ms + 10 },
                };
                let outcome = store.fail(&lease, &crash(), then, self.now_ms).await.unwrap();
                assert_eq!(outcome == FailOutcome::LeaseLost, !self.holds(&lease), "{outcome:?}");
            }
            Op::Renew { lease } => {
                let Some(lease) = self.lease(*lease) else { return self };
                let renewal = [(lease.clone(), Progress::default())];
                let held = store.renew(&renewal, self.now_ms + 15_000).await.unwrap();
                assert_eq!(held, [self.holds(&lease)]);
            }
            Op::Release { lease } => {
                let Some(lease) = self.lease(*lease) else { return self };
                let released = store.release(std::slice::from_ref(&lease), self.now_ms).await.unwrap();
                assert_eq!(released, [self.holds(&lease)]);
            }
            Op::ReleaseNode { node: name } => {
                let released = store.release_node(&node(&format!("n{name}")), self.now_ms).await.unwrap();
                assert!(released.iter().all(|lease| self.holds(lease)));
            }
            Op::BackUp { task, node: name } => {
                let name = node(&format!("n{name}"));
                let row = self.rows[*task].clone();
                let backup = store.back_up(row.id, &name, self.now_ms, self.now_ms + 15_000).await.unwrap();
                let running = !store.job(self.job).await.unwrap().unwrap().phase.is_final();
                if let Some(backup) = backup {
                    assert!(running && row.state == TaskState::Leased && row.backup.is_none());
                    assert!(row.node != Some(name) && backup.lease.attempt > row.attempt);
                    self.leases.push(backup.lease);
                }
            }
            Op::Expire { after_ms } => {
                self.now_ms += after_ms;
                let expired = store.expire(self.now_ms, self.now_ms + 5).await.unwrap();
                assert!(expired.iter().all(|e| self.holds(&e.lease)));
            }
            Op::Reopen { task } => {
                let task = self.rows[*task].id;
                let again = Reopen { task, spec: self.spec_for(task), cache_key: None };
                if let Reopening::Reopened { .. } = store.reopen(&[again]).await.unwrap() {
                    *self.opened.get_mut(&task).unwrap() += 1;
                    reopened = Some(task);
                }
            }
            Op::OpenGate { task } => {
                store.open_gate(self.rows[*task].id, None).await.unwrap();
            }
            Op::Pause => drop(store.pause(self.job, self.now_ms).await.unwrap()),
            Op::Resume => drop(store.resume(self.job, self.now_ms).await.unwrap()),
            Op::Cancel => drop(store.cancel(self.job, self.now_ms).await.unwrap()),
            Op::Retry => drop(store.retry(self.job, self.now_ms).await.unwrap()),
            Op::Restart => self.place = self.place.again().await,
        }
        self.check(reopened).await;
        self
    }

    fn spec_for(&self, task: TaskId) -> kinora_protocol::task::TaskSpec {
        self.rows.iter().find(|t| t.id == task).unwrap().spec.clone()
    }

    async fn complete(&mut self, index: usize) {
        let Some(lease) = self.lease(index) else { return };
        let join = self.row(&lease).class.slot == kinora_protocol::node::SlotClass::Other;
        let output = if join { join_output() } else { part_output("part") };
        let completion = self.place.store.complete(&lease, &output, self.now_ms).await.unwrap();
        match completion {
            Completion::Accepted(_) => {
                assert!(self.holds(&lease), "accepted without a lease");
                let accepted = self.accepted.entry(lease.task).or_default();
                *accepted += 1;
                assert!(*accepted <= self.opened[&lease.task], "accepted twice");
            }
            Completion::AlreadyDone => {
                assert!(self.names(&lease) && self.row(&lease).state == TaskState::Done);
            }
            Completion::LeaseLost => assert!(!self.holds(&lease), "a lease in force was refused"),
        }
    }

    async fn check(&mut self, reopened: Option<TaskId>) {
        let store = &self.place.store;
        let rows = store.tasks(self.job).await.unwrap();
        let phase = store.job(self.job).await.unwrap().unwrap().phase;
        for (old, new) in self.rows.iter().zip(&rows) {
            assert!(new.attempt >= old.attempt, "an attempt went back");
            if old.state == TaskState::Done && reopened != Some(old.id) {
                assert_eq!((new.state, new.attempt), (TaskState::Done, old.attempt), "a done task moved");
            }
            assert_eq!(new.output.is_some(), new.state == TaskState::Done);
            assert_eq!(new.lease_until_ms.is_some(), new.state == TaskState::Leased);
            assert!(new.tries <= new.max_attempts);
            let attempts = store.attempts(new.id).await.unwrap();
            assert!(
                attempts.last().is_none_or(|a| a.lease.attempt >= new.attempt),
                "an attempt without a record"
            );
            assert!(attempts.windows(2).all(|a| a[0].lease.attempt < a[1].lease.attempt));
            let running = attempts.iter().filter(|a| a.ended_ms.is_none()).count();
            let leases = usize::from(new.state == TaskState::Leased) + usize::from(new.backup.is_some());
            assert_eq!(running, leases, "{attempts:?}");
            assert!(new.backup.is_none() || new.state == TaskState::Leased, "a backup without a first");
        }
        for Dep { after, .. } in graph().deps {
            let before = graph().deps.into_iter().filter(|d| d.after == after).map(|d| d.before);
            let undone = before.filter(|i| rows[*i].state != TaskState::Done).count();
            assert_eq!(rows[after].pending_deps as usize, undone, "task {after}");
        }
        for row in &rows {
            let free = row.pending_deps == 0 && row.gate != Gate::Closed;
            match row.state {
                TaskState::Waiting => assert!(!free, "a free task was forgotten"),
                TaskState::Ready | TaskState::Leased => assert!(free, "a task runs too early"),
                TaskState::Done => {}
                TaskState::Failed | TaskState::Cancelled => {
                    assert!(
                        matches!(phase, JobPhase::Failed | JobPhase::Cancelled),
                        "left behind in {phase:?}"
                    );
                }
            }
            if phase.is_final() {
                assert_ne!(row.state, TaskState::Leased, "a lease outlived its job");
            }
        }
        self.rows = rows;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_whatever_is_called(ops in prop::collection::vec(op(), 1..90)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for op in &ops {
                run = run.step(op).await;
            }
        });
    }
}
