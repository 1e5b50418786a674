//! What any store has to do, said once. Each case gets an empty store; a second backend adds one line at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test program")]

mod support;

use kinora_protocol::access::Sight;
use kinora_protocol::class::{Class, Tags};
use kinora_protocol::encode::Encoder;
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::node::{Capabilities, Progress, SlotClass, Slots};
use kinora_protocol::{Attempt, ErrorCode, Failure, JobId, NodeId, TaskId};
use kinora_store::{
    Accepted, AfterExpiry, AfterFailure, AttemptOutcome, Avoid, Completion, Counts, Dep, Expansion,
    FailOutcome, Gate, GateOpening, Graph, InUse, Lease, MediaRow, NewJob, NewTask, NodeRow, PhaseChange,
    RefusedReopen, Reopen, Reopening, Retried, Store, StoreError, Submitted, TaskState, Withheld,
};
use support::*;

const RETRY: AfterFailure = AfterFailure::Retry { not_before_ms: 0 };

async fn phase_of(store: &Store, job: JobId) -> JobPhase {
    store.job(job).await.unwrap().unwrap().phase
}

async fn states(store: &Store, job: JobId) -> Vec<TaskState> {
    store.tasks(job).await.unwrap().into_iter().map(|t| t.state).collect()
}

async fn complete(store: &Store, lease: &Lease) -> Completion {
    store.complete(lease, &part_output("part"), 1).await.unwrap()
}

// ---- jobs

async fn a_job_comes_back_as_it_was_submitted(store: Store) {
    let id = JobId::generate();
    let job = NewJob {
        owner: kinora_store::Owner::Nobody,
        phase: JobPhase::Queued,
        id,
        request: request(Some("key")),
        graph: fan_in(2),
    };
    assert_eq!(store.submit(job, 7).await.unwrap(), Submitted::Created(id));
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.id, row.phase, row.created_ms), (id, JobPhase::Queued, 7));
    assert_eq!((row.request, row.failure, row.finished_ms), (request(Some("key")), None, None));
    assert_eq!(states(&store, id).await, [TaskState::Ready, TaskState::Ready, TaskState::Waiting]);
    assert_eq!(store.open_jobs().await.unwrap().len(), 1);
    assert_eq!(store.job(JobId::generate()).await.unwrap(), None);
}

async fn fifty_identical_submissions_are_one_job(store: Store) {
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let job = NewJob {
                    owner: kinora_store::Owner::Nobody,
                    phase: JobPhase::Queued,
                    id: JobId::generate(),
                    request: request(Some("same")),
                    graph: parts(3),
                };
                store.submit(job, 0).await.unwrap()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|a| matches!(a, Submitted::Created(_))).count(), 1);
    assert!(answers.iter().all(|a| a.id() == answers[0].id()));
    assert_eq!(store.jobs(&Sight::All, None, 100).await.unwrap().len(), 1);
    assert_eq!(store.tasks(answers[0].id()).await.unwrap().len(), 3);
}

async fn a_taken_id_is_a_conflict(store: Store) {
    let id = submit(&store, parts(1)).await;
    let again = NewJob {
        owner: kinora_store::Owner::Nobody,
        phase: JobPhase::Queued,
        id,
        request: request(None),
        graph: parts(1),
    };
    assert!(matches!(store.submit(again, 0).await, Err(StoreError::Conflict { .. })));
}

async fn jobs_are_listed_newest_first_in_pages(store: Store) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(submit(&store, parts(1)).await);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let first: Vec<_> = store.jobs(&Sight::All, None, 2).await.unwrap().into_iter().map(|j| j.id).collect();
    let rest: Vec<_> =
        store.jobs(&Sight::All, Some(first[1]), 9).await.unwrap().into_iter().map(|j| j.id).collect();
    assert_eq!([first, rest].concat(), ids);
}

async fn phases_change_only_from_where_they_may(store: Store) {
    let job = submit(&store, parts(1)).await;
    let to = |to, from: &'static [JobPhase]| store.set_phase(job, to, from, None, 5);
    assert_eq!(
        to(JobPhase::Combining, &[JobPhase::Processing]).await.unwrap(),
        PhaseChange::Refused(JobPhase::Queued)
    );
    assert_eq!(
        to(JobPhase::Completed, &JobPhase::ALL).await.unwrap(),
        PhaseChange::Refused(JobPhase::Queued),
        "a task is undone"
    );
    let changed = PhaseChange::Changed { stopped: vec![] };
    assert_eq!(to(JobPhase::Processing, &[JobPhase::Queued]).await.unwrap(), changed);
    let lease = claim(&store, "n").await.unwrap().lease;
    complete(&store, &lease).await;
    assert_eq!(to(JobPhase::Completed, &[JobPhase::Processing]).await.unwrap(), changed);
    assert_eq!(store.job(job).await.unwrap().unwrap().finished_ms, Some(5));
    assert_eq!(
        to(JobPhase::Processing, &JobPhase::ALL).await.unwrap(),
        PhaseChange::Refused(JobPhase::Completed)
    );
    let unknown = store.cancel(JobId::generate(), 0).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
}

async fn a_paused_job_starts_nothing_and_keeps_what_runs(store: Store) {
    let job = submit(&store, fan_in(2)).await;
    let first = claim(&store, "n").await.unwrap();
    store.pause(job, 1).await.unwrap();
    assert_eq!(claim(&store, "n").await, None);
    assert!(matches!(complete(&store, &first.lease).await, Completion::Accepted(_)));
    assert_eq!(claim_join(&store, "n").await, None);
    assert_eq!(store.job(job).await.unwrap().unwrap().paused_from, Some(JobPhase::Processing));
    store.resume(job, 2).await.unwrap();
    assert_eq!(phase_of(&store, job).await, JobPhase::Processing);
    assert_eq!(store.resume(job, 2).await.unwrap(), PhaseChange::Refused(JobPhase::Processing));
    assert_eq!(claim(&store, "n").await.unwrap().ordinal, 1);
}

async fn a_job_that_waits_for_nodes_starts_nothing(store: Store) {
    let job = submit(&store, parts(1)).await;
    store.set_phase(job, JobPhase::WaitingForNodes, &[JobPhase::Queued], None, 0).await.unwrap();
    assert_eq!(claim(&store, "n").await, None);
    store.set_phase(job, JobPhase::Processing, &[JobPhase::WaitingForNodes], None, 0).await.unwrap();
    assert!(claim(&store, "n").await.is_some());
}

async fn cancelling_ends_leases_at_once(store: Store) {
    let job = submit(&store, fan_in(3)).await;
    let held = claim(&store, "n").await.unwrap();
    let PhaseChange::Changed { stopped } = store.cancel(job, 3).await.unwrap() else { panic!() };
    assert_eq!(stopped.len(), 1);
    assert_eq!((&stopped[0].lease, stopped[0].job, stopped[0].ordinal), (&held.lease, job, 0));
    assert_eq!(complete(&store, &held.lease).await, Completion::LeaseLost);
    assert_eq!(store.renew(&[(held.lease.clone(), Progress::default())], 99).await.unwrap(), [false]);
    assert_eq!(states(&store, job).await, [TaskState::Cancelled; 4]);
    assert_eq!(store.attempts(held.lease.task).await.unwrap()[0].outcome, Some(AttemptOutcome::Cancelled));
    assert_eq!(store.cancel(job, 4).await.unwrap(), PhaseChange::Refused(JobPhase::Cancelled));
}

async fn retry_keeps_what_is_done(store: Store) {
    let job = submit(&store, fan_in(3)).await;
    let done = claim(&store, "n").await.unwrap().lease;
    complete(&store, &done).await;
    let bad = claim(&store, "n").await.unwrap().lease;
    store.fail(&bad, &crash(), AfterFailure::Fatal, 2).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().unwrap().failure, Some(crash()));
    assert_eq!(store.retry(job, 3).await.unwrap(), Retried::Changed { reopened: 3 });
    assert_eq!(store.retry(job, 3).await.unwrap(), Retried::Refused(JobPhase::Processing));
    let row = store.job(job).await.unwrap().unwrap();
    assert_eq!((row.phase, row.failure, row.finished_ms), (JobPhase::Processing, None, None));
    assert_eq!(
        states(&store, job).await,
        [TaskState::Done, TaskState::Ready, TaskState::Ready, TaskState::Waiting]
    );
    assert_eq!(store.tasks(job).await.unwrap()[3].pending_deps, 2);
    let again = claim(&store, "n").await.unwrap();
    assert_eq!((again.lease.task, again.lease.attempt, again.tries), (bad.task, Attempt(2), 1));
    complete(&store, &again.lease).await;
    let last = claim(&store, "n").await.unwrap();
    assert!(matches!(complete(&store, &last.lease).await, Completion::Accepted(Accepted { released, .. })
        if released.len() == 1));
    assert!(claim_join(&store, "n").await.is_some());
}

// ---- graphs

async fn a_probe_expands_its_job_once(store: Store) {
    let job = submit(&store, Graph { tasks: vec![join(9)], deps: vec![] }).await;
    let probe = claim_join(&store, "n").await.unwrap().lease;
    let expand = |lease: &Lease| {
        store.expand(job, Some((lease.clone(), join_output())), fan_in(3), Some(JobPhase::Processing), 4)
    };
    let stale = Lease { attempt: Attempt(9), ..probe.clone() };
    assert_eq!(expand(&stale).await.unwrap(), Expansion::LeaseLost);
    assert_eq!(store.tasks(job).await.unwrap().len(), 1, "nothing changed");
    let Expansion::Created { tasks } = expand(&probe).await.unwrap() else { panic!() };
    assert_eq!(tasks.len(), 4);
    assert_eq!(expand(&probe).await.unwrap(), Expansion::Already);
    let rows = store.tasks(job).await.unwrap();
    assert_eq!(rows[1..].iter().map(|t| t.id).collect::<Vec<_>>(), tasks);
    assert_eq!(rows[0].output, Some(join_output()));
    assert_eq!(rows[4].pending_deps, 3);
}

async fn an_expansion_repeated_or_half_there(store: Store) {
    let job = submit(&store, Graph::default()).await;
    let expand = |graph| store.expand(job, None, graph, None, 0);
    assert!(matches!(expand(parts(2)).await.unwrap(), Expansion::Created { .. }));
    assert_eq!(expand(parts(2)).await.unwrap(), Expansion::Already);
    assert!(matches!(expand(parts(3)).await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.tasks(job).await.unwrap().len(), 2, "not half of it");
    store.cancel(job, 0).await.unwrap();
    assert_eq!(
        expand(Graph { tasks: vec![join(0)], deps: vec![] }).await.unwrap(),
        Expansion::Ended(JobPhase::Cancelled)
    );
    let elsewhere = store.expand(JobId::generate(), None, parts(1), None, 0).await;
    assert!(matches!(elsewhere, Err(StoreError::NotFound { .. })));
}

async fn graphs_without_an_end_are_refused(store: Store) {
    let ring = |deps: &[(usize, usize)]| Graph {
        tasks: vec![part(0), part(1), join(0)],
        deps: deps.iter().map(|(before, after)| Dep { before: *before, after: *after }).collect(),
    };
    for deps in [&[(0, 0)][..], &[(0, 1), (1, 0)], &[(0, 1), (1, 2), (2, 1)], &[(0, 3)], &[(7, 1)]] {
        let job = NewJob {
            owner: kinora_store::Owner::Nobody,
            phase: JobPhase::Queued,
            id: JobId::generate(),
            request: request(None),
            graph: ring(deps),
        };
        let refused = store.submit(job, 0).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{deps:?}: {refused:?}");
    }
    let job = submit(&store, ring(&[(0, 2), (0, 2), (1, 2)])).await;
    assert_eq!(store.tasks(job).await.unwrap()[2].pending_deps, 2, "an edge named twice is one edge");
    let mut endless = part(0);
    endless.rank = f64::NAN;
    let endless = NewJob {
        owner: kinora_store::Owner::Nobody,
        phase: JobPhase::Queued,
        id: JobId::generate(),
        request: request(None),
        graph: Graph { tasks: vec![endless], deps: vec![] },
    };
    assert!(matches!(store.submit(endless, 0).await, Err(StoreError::Invalid { .. })));
}

async fn reused_results_are_done_from_the_start(store: Store) {
    let mut graph = fan_in(3);
    for task in &mut graph.tasks[..2] {
        task.done = Some(part_output("old"));
    }
    let job = submit(&store, graph).await;
    let rows = store.tasks(job).await.unwrap();
    assert_eq!((rows[0].state, &rows[0].output), (TaskState::Done, &Some(part_output("old"))));
    assert_eq!(rows[3].pending_deps, 1);
    let lease = claim(&store, "n").await.unwrap().lease;
    assert_eq!(lease.task, rows[2].id);
    let Completion::Accepted(accepted) = complete(&store, &lease).await else { panic!() };
    assert_eq!(accepted.released, [rows[3].id]);
    let mut all = parts(2);
    all.tasks.iter_mut().for_each(|t| t.done = Some(part_output("old")));
    all.tasks.push(join(0));
    all.deps = vec![Dep { before: 0, after: 2 }, Dep { before: 1, after: 2 }];
    let reused = submit(&store, all).await;
    assert_eq!(states(&store, reused).await[2], TaskState::Ready);
}

async fn a_paused_job_expands_and_stays_paused(store: Store) {
    let job = submit(&store, Graph { tasks: vec![join(9)], deps: vec![] }).await;
    let probe = claim_join(&store, "n").await.unwrap().lease;
    store.pause(job, 1).await.unwrap();
    let then = Some(JobPhase::Combining);
    store.expand(job, Some((probe, join_output())), parts(2), then, 2).await.unwrap();
    assert_eq!(phase_of(&store, job).await, JobPhase::Paused);
    assert_eq!(claim(&store, "n").await, None);
    store.resume(job, 3).await.unwrap();
    assert_eq!(phase_of(&store, job).await, JobPhase::Combining);
    assert!(claim(&store, "n").await.is_some());
}

// ---- leases

async fn claims_go_by_priority_then_rank_then_age(store: Store) {
    let with = |ordinal, priority, rank| {
        let mut task = part(ordinal);
        (task.priority, task.rank) = (priority, rank);
        task
    };
    let tasks = vec![with(0, 0, 2.0), with(1, 0, 1.0), with(2, 5, 9.0), with(3, 0, 1.0), with(4, -1, 0.0)];
    submit(&store, Graph { tasks, deps: vec![] }).await;
    let mut order = Vec::new();
    while let Some(claimed) = claim(&store, "n").await {
        order.push(claimed.ordinal);
    }
    assert_eq!(order, [2, 1, 3, 0, 4]);
}

async fn jobs_of_one_rank_take_turns(store: Store) {
    submit(&store, parts(4)).await;
    claim(&store, "n").await.unwrap();
    claim(&store, "n").await.unwrap();
    let base = store.least_rank(&parts_class(), 0).await.unwrap().unwrap();
    assert!((base - 2.0).abs() < 1e-9);
    let mut late = parts(2);
    late.tasks.iter_mut().for_each(|t| t.rank += base + 0.5);
    let late = submit(&store, late).await;
    let mut turns = Vec::new();
    while let Some(claimed) = claim(&store, "n").await {
        turns.push(claimed.job == late);
    }
    assert_eq!(turns, [false, true, false, true]);
    assert_eq!(store.least_rank(&parts_class(), 0).await.unwrap(), None);
}

async fn a_claim_carries_all_that_a_node_needs(store: Store) {
    let job = submit(&store, parts(1)).await;
    assert_eq!(claim_join(&store, "n").await, None, "another class");
    let claimed = claim_at(&store, "n", SlotClass::Chunk, 10).await.unwrap();
    assert_eq!((claimed.job, claimed.ordinal, claimed.tries, claimed.max_attempts), (job, 0, 1, 3));
    assert_eq!((claimed.lease.attempt, claimed.lease.node.clone()), (Attempt(1), node("n")));
    assert_eq!((claimed.spec, claimed.failed_on), (part_spec("source"), vec![]));
    assert_eq!(phase_of(&store, job).await, JobPhase::Processing, "the first claim starts the job");
    let row = store.task(claimed.lease.task).await.unwrap().unwrap();
    assert_eq!((row.state, row.node, row.lease_until_ms), (TaskState::Leased, Some(node("n")), Some(15_010)));
    let attempts = store.attempts(claimed.lease.task).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].started_ms, attempts[0].ended_ms), (1, 10, None));
}

async fn two_nodes_never_get_one_task(store: Store) {
    submit(&store, parts(40)).await;
    let nodes: Vec<_> = (0..8)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut got = Vec::new();
                while let Some(claimed) = claim(&store, &format!("n{i}")).await {
                    got.push(claimed.lease.task);
                }
                got
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in nodes {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 40);
}

async fn renewals_hold_leases_and_carry_progress(store: Store) {
    submit(&store, parts(2)).await;
    let a = claim(&store, "n").await.unwrap().lease;
    let b = claim(&store, "n").await.unwrap().lease;
    let stolen = Lease { node: node("thief"), ..a.clone() };
    let progress = Progress { frames: 12, fps: f32::NAN };
    let renewals = [(a.clone(), progress), (stolen, progress), (b.clone(), Progress::default())];
    assert_eq!(store.renew(&renewals, 50_000).await.unwrap(), [true, false, true]);
    let row = store.task(a.task).await.unwrap().unwrap();
    assert_eq!((row.lease_until_ms, row.progress), (Some(50_000), Progress { frames: 12, fps: 0.0 }));
    store.renew(&[(b.clone(), Progress::default())], 40_000).await.unwrap();
    let row = store.task(b.task).await.unwrap().unwrap();
    assert_eq!(row.lease_until_ms, Some(50_000), "a late renewal shortens nothing");
    assert_eq!(store.expire(49_999, 0).await.unwrap(), []);
}

async fn a_late_completion_is_fenced(store: Store) {
    let job = submit(&store, parts(1)).await;
    let slow = claim(&store, "slow").await.unwrap().lease;
    let expired = store.expire(20_000, 21_000).await.unwrap();
    assert_eq!((expired.len(), &expired[0].lease, expired[0].job), (1, &slow, job));
    assert_eq!(expired[0].then, AfterExpiry::Retrying { tries_left: 2 });
    assert_eq!(complete(&store, &slow).await, Completion::LeaseLost);
    assert_eq!(claim_at(&store, "fast", SlotClass::Chunk, 20_999).await, None, "not before its time");
    let fast = claim_at(&store, "fast", SlotClass::Chunk, 21_000).await.unwrap();
    assert_eq!((fast.lease.attempt, &fast.failed_on[..]), (Attempt(2), &[node("slow")][..]));
    assert_eq!(complete(&store, &slow).await, Completion::LeaseLost);
    assert_eq!(store.fail(&slow, &crash(), AfterFailure::Fatal, 0).await.unwrap(), FailOutcome::LeaseLost);
    let thief = Lease { node: node("thief"), ..fast.lease.clone() };
    assert_eq!(complete(&store, &thief).await, Completion::LeaseLost);
    assert!(matches!(complete(&store, &fast.lease).await, Completion::Accepted(_)));
    assert_eq!(complete(&store, &fast.lease).await, Completion::AlreadyDone);
    assert_eq!(complete(&store, &slow).await, Completion::LeaseLost);
    let nobody = Lease { task: TaskId(99), attempt: Attempt(1), node: node("n") };
    assert_eq!(complete(&store, &nobody).await, Completion::LeaseLost);
    let outcomes: Vec<_> =
        store.attempts(slow.task).await.unwrap().into_iter().map(|a| a.outcome.unwrap()).collect();
    assert_eq!(outcomes, [AttemptOutcome::Expired, AttemptOutcome::Done]);
}

async fn a_result_of_another_kind_is_refused(store: Store) {
    submit(&store, parts(1)).await;
    let lease = claim(&store, "n").await.unwrap().lease;
    let wrong = store.complete(&lease, &join_output(), 0).await;
    assert!(matches!(wrong, Err(StoreError::Invalid { .. })));
    assert!(matches!(complete(&store, &lease).await, Completion::Accepted(_)), "and spoiled nothing");
}

async fn tries_run_out(store: Store) {
    let job = submit(&store, fan_in(2)).await;
    for left in [2, 1] {
        let lease = claim(&store, "n").await.unwrap().lease;
        assert_eq!(
            store.fail(&lease, &crash(), RETRY, 5).await.unwrap(),
            FailOutcome::Retrying { tries_left: left }
        );
        assert_eq!(store.task(lease.task).await.unwrap().unwrap().failure, Some(crash()));
    }
    let last = claim(&store, "n").await.unwrap();
    assert_eq!((last.tries, &last.failed_on[..]), (3, &[node("n")][..]));
    let other = claim(&store, "m").await.unwrap().lease;
    let FailOutcome::TaskFailed { stopped } = store.fail(&last.lease, &crash(), RETRY, 6).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(stopped.iter().map(|s| s.lease.clone()).collect::<Vec<_>>(), [other]);
    assert_eq!(states(&store, job).await, [TaskState::Failed, TaskState::Cancelled, TaskState::Cancelled]);
    let row = store.job(job).await.unwrap().unwrap();
    assert_eq!((row.phase, row.failure, row.finished_ms), (JobPhase::Failed, Some(crash()), Some(6)));
    assert_eq!(claim(&store, "n").await, None);
}

async fn the_last_expiry_fails_the_job(store: Store) {
    let mut graph = parts(3);
    graph.tasks.iter_mut().for_each(|t| t.max_attempts = 1);
    let job = submit(&store, graph).await;
    for _ in 0..2 {
        claim(&store, "n").await.unwrap();
    }
    let expired = store.expire(20_000, 0).await.unwrap();
    assert_eq!(expired.len(), 1, "the second lease was stopped by the first one's failure");
    let AfterExpiry::TaskFailed { stopped } = &expired[0].then else { panic!() };
    assert_eq!(stopped.len(), 1);
    let row = store.job(job).await.unwrap().unwrap();
    assert_eq!((row.phase, row.failure.unwrap().code), (JobPhase::Failed, ErrorCode::LeaseLost));
    assert_eq!(states(&store, job).await, [TaskState::Failed, TaskState::Cancelled, TaskState::Cancelled]);
}

async fn what_a_dead_process_held_is_given_back_without_fault(store: Store) {
    submit(&store, parts(2)).await;
    let mine = claim(&store, "me").await.unwrap().lease;
    let theirs = claim(&store, "them").await.unwrap().lease;
    assert_eq!(store.release_node(&node("me"), 5).await.unwrap(), std::slice::from_ref(&mine));
    assert_eq!(complete(&store, &mine).await, Completion::LeaseLost);
    let again = claim(&store, "me").await.unwrap();
    assert_eq!((again.lease.attempt, again.tries, again.failed_on), (Attempt(2), 1, vec![]));
    assert_eq!(complete(&store, &mine).await, Completion::LeaseLost, "the same node, but an earlier attempt");
    assert_eq!(store.release(&[theirs.clone(), mine], 6).await.unwrap(), [true, false]);
    assert_eq!(store.release(&[theirs], 6).await.unwrap(), [false]);
    assert_eq!(store.release_node(&node("nobody"), 5).await.unwrap(), []);
}

async fn the_better_of_several_classes_is_claimed(store: Store) {
    let class = |build: &str| Class::chunk(Encoder::X264, build.to_owned(), Tags::NONE);
    let with =
        |ordinal, build, priority, rank| NewTask { class: class(build), priority, rank, ..part(ordinal) };
    let tasks = vec![with(0, "a", 0, 1.0), with(1, "b", 0, 0.0), with(2, "c", 9, 9.0), with(3, "a", 1, 5.0)];
    submit(&store, Graph { tasks, deps: vec![] }).await;
    let waiting = store.ready(0, 2).await.unwrap();
    assert_eq!(waiting, [(class("a"), 2), (class("b"), 1), (class("c"), 1)]);
    let mut order = Vec::new();
    let classes = || vec![class("a"), class("b"), class("never seen")];
    while let Some(claimed) = claim_any(&store, "n", classes(), Avoid::Nothing, 0).await {
        order.push(claimed.ordinal);
    }
    assert_eq!(order, [3, 1, 0]);
}

async fn a_node_does_not_get_what_it_failed_at(store: Store) {
    submit(&store, parts(2)).await;
    let first = claim(&store, "n").await.unwrap();
    store.fail(&first.lease, &crash(), RETRY, 1).await.unwrap();
    let avoiding = || claim_any(&store, "n", vec![parts_class()], Avoid::OwnFailures, 2);
    assert_eq!(avoiding().await.unwrap().ordinal, 1);
    assert_eq!(avoiding().await, None);
    let other = claim(&store, "m").await.unwrap();
    assert_eq!((other.ordinal, other.failed_on), (0, vec![node("n")]));
    store.fail(&other.lease, &crash(), RETRY, 3).await.unwrap();
    assert_eq!(claim(&store, "n").await.unwrap().ordinal, 0, "alone, it may try again");
}

/// One part on `slow`, with a backup on `fast`.
async fn backed_up(store: &Store) -> (JobId, Lease, Lease) {
    let job = submit(store, fan_in(1)).await;
    let slow = claim(store, "slow").await.unwrap().lease;
    assert_eq!(store.back_up(slow.task, &node("slow"), 1, 15_000).await.unwrap(), None, "its own node");
    let fast = store.back_up(slow.task, &node("fast"), 1, 15_000).await.unwrap().unwrap();
    assert_eq!((fast.ordinal, &fast.spec, fast.lease.attempt), (0, &part_spec("source"), Attempt(2)));
    assert_eq!(store.back_up(slow.task, &node("third"), 1, 15_000).await.unwrap(), None, "one is enough");
    assert_eq!(
        store
            .renew(&[(slow.clone(), Progress::default()), (fast.lease.clone(), Progress::default())], 20_000)
            .await,
        Ok(vec![true, true])
    );
    (job, slow, fast.lease)
}

async fn outcomes(store: &Store, task: TaskId) -> Vec<Option<AttemptOutcome>> {
    store.attempts(task).await.unwrap().into_iter().map(|a| a.outcome).collect()
}

async fn a_backup_that_is_first_wins(store: Store) {
    let (_, slow, fast) = backed_up(&store).await;
    let Completion::Accepted(accepted) = complete(&store, &fast).await else { panic!() };
    assert_eq!((accepted.beaten, accepted.released.len()), (Some(slow.clone()), 1));
    assert_eq!(complete(&store, &slow).await, Completion::LeaseLost);
    assert_eq!(complete(&store, &fast).await, Completion::AlreadyDone);
    assert_eq!(
        outcomes(&store, fast.task).await,
        [Some(AttemptOutcome::Cancelled), Some(AttemptOutcome::Done)]
    );
    assert_eq!(store.task(fast.task).await.unwrap().unwrap().node, Some(node("fast")));
}

async fn a_first_attempt_that_is_first_wins(store: Store) {
    let (_, slow, fast) = backed_up(&store).await;
    let Completion::Accepted(accepted) = complete(&store, &slow).await else { panic!() };
    assert_eq!(accepted.beaten, Some(fast.clone()));
    assert_eq!(complete(&store, &fast).await, Completion::LeaseLost);
    assert_eq!(store.fail(&fast, &crash(), RETRY, 1).await.unwrap(), FailOutcome::LeaseLost);
    assert_eq!(
        outcomes(&store, fast.task).await,
        [Some(AttemptOutcome::Done), Some(AttemptOutcome::Cancelled)]
    );
}

async fn a_backup_takes_over_from_a_lost_attempt(store: Store) {
    let (job, slow, fast) = backed_up(&store).await;
    assert_eq!(store.fail(&slow, &crash(), RETRY, 1).await.unwrap(), FailOutcome::StillRunning);
    let row = store.task(fast.task).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.attempt, row.node, row.backup),
        (TaskState::Leased, fast.attempt, Some(fast.node.clone()), None)
    );
    assert_eq!(store.back_up(fast.task, &node("slow"), 1, 10_000).await.unwrap(), None, "it has failed it");
    let third = store.back_up(fast.task, &node("third"), 1, 10_000).await.unwrap().unwrap().lease;
    assert_eq!(third.attempt, Attempt(3));
    // The first runs on, the backup falls silent.
    store.renew(&[(fast.clone(), Progress::default())], 30_000).await.unwrap();
    let expired = store.expire(12_000, 12_000).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!((&expired[0].lease, &expired[0].then), (&third, &AfterExpiry::StillRunning));
    assert_eq!(store.release(std::slice::from_ref(&fast), 2).await.unwrap(), [true]);
    assert_eq!(states(&store, job).await, [TaskState::Ready, TaskState::Waiting]);
    assert_eq!(claim(&store, "fast").await.unwrap().lease.attempt, Attempt(4), "no number twice");
}

async fn a_cancelled_job_ends_its_backups(store: Store) {
    let (job, slow, fast) = backed_up(&store).await;
    let PhaseChange::Changed { stopped } = store.cancel(job, 1).await.unwrap() else { panic!() };
    let ended: Vec<_> = stopped.into_iter().map(|s| s.lease).collect();
    assert_eq!(ended, [slow, fast.clone()]);
    assert_eq!(complete(&store, &fast).await, Completion::LeaseLost);
    assert_eq!(store.release_node(&fast.node, 1).await.unwrap(), []);
}

async fn who_waits_long_goes_first(store: Store) {
    let waiting = submit(&store, parts(2)).await;
    let busy = parts(3).tasks.into_iter().map(|t| NewTask { priority: 1, ..t }).collect();
    let busy = submit(&store, Graph { tasks: busy, deps: vec![] }).await;
    let at = |now_ms| claim_at(&store, "n", SlotClass::Chunk, now_ms);
    assert_eq!(at(50_000).await.unwrap().job, busy);
    // The busy one was served just now.
    assert_eq!(store.age(60_000, 30_000, 2).await.unwrap(), 2);
    assert_eq!(store.age(60_001, 30_000, 2).await.unwrap(), 0, "not again at once");
    assert_eq!(at(60_002).await.unwrap().job, waiting, "equal now, and of less rank");
    assert_eq!(store.age(95_000, 30_000, 2).await.unwrap(), 1 + 2);
    assert_eq!(store.age(130_000, 30_000, 2).await.unwrap(), 0, "both are as high as they get");
}

async fn a_returning_node_finds_its_leases(store: Store) {
    let (_, slow, fast) = backed_up(&store).await;
    let held = store.leases_of(&fast.node).await.unwrap();
    assert_eq!(held.iter().map(|c| &c.lease).collect::<Vec<_>>(), [&fast]);
    assert_eq!(held[0].spec, part_spec("source"));
    assert_eq!(store.leases_of(&slow.node).await.unwrap()[0].lease, slow);
    store.extend_leases(90_000).await.unwrap();
    assert_eq!(store.expire(89_999, 0).await.unwrap(), []);
    assert_eq!(store.expire(90_000, 0).await.unwrap().len(), 2);
}

async fn dependants_are_released_once_under_concurrent_completions(store: Store) {
    let job = submit(&store, fan_in(32)).await;
    let mut leases = Vec::new();
    while let Some(claimed) = claim(&store, "n").await {
        leases.push(claimed.lease);
    }
    let calls: Vec<_> = leases
        .into_iter()
        .flat_map(|lease| [lease.clone(), lease.clone(), lease])
        .map(|lease| {
            let store = store.clone();
            tokio::spawn(async move { complete(&store, &lease).await })
        })
        .collect();
    let (mut accepted, mut repeated, mut released) = (0, 0, Vec::new());
    for call in calls {
        match call.await.unwrap() {
            Completion::Accepted(one) => {
                accepted += 1;
                released.extend(one.released);
            }
            Completion::AlreadyDone => repeated += 1,
            Completion::LeaseLost => panic!("no lease was lost"),
        }
    }
    assert_eq!((accepted, repeated, released.len()), (32, 64, 1));
    let join = store.tasks(job).await.unwrap().pop().unwrap();
    assert_eq!((join.state, join.pending_deps, join.id), (TaskState::Ready, 0, released[0]));
}

async fn the_last_task_completes_its_job(store: Store) {
    let job = submit(&store, fan_in(1)).await;
    let part = claim(&store, "n").await.unwrap().lease;
    let early = store.complete_job(&part, &part_output("p"), None, 1).await;
    assert!(matches!(early, Err(StoreError::Conflict { .. })));
    assert_eq!(store.task(part.task).await.unwrap().unwrap().state, TaskState::Leased, "nothing changed");
    assert!(matches!(complete(&store, &part).await, Completion::Accepted(a) if !a.last));
    let join = claim_join(&store, "n").await.unwrap().lease;
    let done = store.complete_job(&join, &join_output(), None, 9).await.unwrap();
    assert!(matches!(done, Completion::Accepted(a) if a.last && a.job == job));
    assert_eq!(phase_of(&store, job).await, JobPhase::Completed);
    assert_eq!(store.complete_job(&join, &join_output(), None, 9).await.unwrap(), Completion::AlreadyDone);
    assert!(store.open_jobs().await.unwrap().is_empty());
}

// ---- gates and second looks

async fn a_gate_holds_until_it_is_opened(store: Store) {
    let mut graph = fan_in(2);
    graph.tasks[2].gate = Gate::Closed;
    let job = submit(&store, graph).await;
    let join = store.tasks(job).await.unwrap()[2].id;
    let early = store.open_gate(join, None).await.unwrap();
    assert_eq!(early, GateOpening::Refused(TaskState::Waiting));
    let first = claim(&store, "n").await.unwrap().lease;
    let second = claim(&store, "n").await.unwrap().lease;
    complete(&store, &first).await;
    assert_eq!(store.at_gate().await.unwrap(), []);
    let Completion::Accepted(accepted) = complete(&store, &second).await else { panic!() };
    assert_eq!((accepted.released, accepted.gated), (vec![], vec![join]));
    assert_eq!(store.at_gate().await.unwrap(), [(job, join)]);
    assert_eq!(claim_join(&store, "n").await, None);
    let wrong = store.open_gate(join, Some(&part_spec("x"))).await;
    assert!(matches!(wrong, Err(StoreError::Invalid { .. })));
    let spec = join_spec(&["a", "b"]);
    assert_eq!(store.open_gate(join, Some(&spec)).await.unwrap(), GateOpening::Opened);
    assert_eq!(store.open_gate(join, Some(&spec)).await.unwrap(), GateOpening::AlreadyOpen);
    assert_eq!(claim_join(&store, "n").await.unwrap().spec, spec);
    let unknown = store.open_gate(TaskId(99), None).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
}

async fn flagged_results_are_made_again(store: Store) {
    let mut graph = fan_in(2);
    graph.tasks[2].gate = Gate::Closed;
    graph.tasks[0].cache_key = Some(digest("old"));
    let job = submit(&store, graph).await;
    let [a, b] = [claim(&store, "n").await.unwrap().lease, claim(&store, "n").await.unwrap().lease];
    let again = |lease: &Lease| Reopen {
        task: lease.task,
        spec: part_spec("deeper"),
        cache_key: Some(digest("new")),
    };
    complete(&store, &a).await;
    assert_eq!(
        store.reopen(&[again(&a), again(&b)]).await.unwrap(),
        Reopening::Refused(b.task, RefusedReopen::NotDone(TaskState::Leased))
    );
    assert_eq!(store.task(a.task).await.unwrap().unwrap().state, TaskState::Done, "all or nothing");
    complete(&store, &b).await;
    let join = store.tasks(job).await.unwrap()[2].id;
    store.open_gate(join, None).await.unwrap();
    assert_eq!(store.cached_chunks(&[digest("old")]).await.unwrap().len(), 1);
    assert_eq!(store.reopen(&[again(&a)]).await.unwrap(), Reopening::Reopened { waiting: vec![join] });
    assert_eq!(store.cached_chunks(&[digest("old")]).await.unwrap().len(), 0, "not to be used again");
    assert_eq!(claim_join(&store, "n").await, None);
    let row = store.task(join).await.unwrap().unwrap();
    assert_eq!((row.state, row.pending_deps, row.gate), (TaskState::Waiting, 1, Gate::Closed));
    assert_eq!(complete(&store, &a).await, Completion::LeaseLost, "the old result is not taken twice");
    let redo = claim(&store, "n").await.unwrap();
    assert_eq!((redo.lease.attempt, redo.tries, redo.spec), (Attempt(2), 1, part_spec("deeper")));
    complete(&store, &redo.lease).await;
    store.open_gate(join, None).await.unwrap();
    let held = claim_join(&store, "n").await.unwrap().lease;
    assert_eq!(
        store.reopen(&[again(&b)]).await.unwrap(),
        Reopening::Refused(b.task, RefusedReopen::Used(join))
    );
    store.complete_job(&held, &join_output(), None, 1).await.unwrap();
    assert_eq!(
        store.reopen(&[again(&b)]).await.unwrap(),
        Reopening::Refused(b.task, RefusedReopen::JobEnded(JobPhase::Completed))
    );
}

async fn reopening_nonsense_is_refused(store: Store) {
    submit(&store, parts(1)).await;
    let lease = claim(&store, "n").await.unwrap().lease;
    complete(&store, &lease).await;
    let again = Reopen { task: lease.task, spec: part_spec("d"), cache_key: None };
    let twice = store.reopen(&[again.clone(), again.clone()]).await;
    assert!(matches!(twice, Err(StoreError::Invalid { .. })), "{twice:?}");
    let other_kind = store.reopen(&[Reopen { spec: join_spec(&[]), ..again.clone() }]).await;
    assert!(matches!(other_kind, Err(StoreError::Invalid { .. })));
    let unknown = store.reopen(&[Reopen { task: TaskId(99), ..again }]).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    assert_eq!(store.task(lease.task).await.unwrap().unwrap().state, TaskState::Done);
}

// ---- what is kept beside

async fn results_are_kept_for_other_jobs(store: Store) {
    let mut graph = parts(2);
    graph.tasks[0].cache_key = Some(digest("k"));
    let job = submit(&store, graph).await;
    while let Some(claimed) = claim(&store, "n").await {
        store.complete(&claimed.lease, &part_output("made"), 5).await.unwrap();
    }
    let found = store.cached_chunks(&[digest("k"), digest("absent")]).await.unwrap();
    assert_eq!(found.len(), 1);
    let kept = &found[&digest("k")];
    assert_eq!((&kept.output, kept.bytes, kept.used_ms), (&part_output("made"), 1000, 5));
    assert_eq!(store.cached_bytes().await.unwrap(), 1000);
    assert_eq!(store.oldest_chunks(9).await.unwrap(), [], "its job may need it");
    store.set_phase(job, JobPhase::Completed, &JobPhase::ALL, None, 6).await.unwrap();
    assert_eq!(store.oldest_chunks(9).await.unwrap().len(), 1);
    let mut reuse = part(0);
    (reuse.cache_key, reuse.done) = (Some(digest("k")), Some(kept.output.clone()));
    let job = NewJob {
        owner: kinora_store::Owner::Nobody,
        phase: JobPhase::Queued,
        id: JobId::generate(),
        request: request(None),
        graph: Graph { tasks: vec![reuse], deps: vec![] },
    };
    store.submit(job, 77).await.unwrap();
    assert_eq!(store.cached_chunks(&[digest("k")]).await.unwrap()[&digest("k")].used_ms, 77);
    assert!(store.forget_chunk(&digest("k")).await.unwrap());
    assert!(!store.forget_chunk(&digest("k")).await.unwrap());
}

async fn blobs_of_what_is_undone_or_kept_are_in_use(store: Store) {
    let mut keyed = parts(3);
    keyed.tasks[0].cache_key = Some(digest("key"));
    let job = submit(&store, keyed).await;
    for name in ["kept", "plain"] {
        let lease = claim(&store, "n").await.unwrap().lease;
        store.complete(&lease, &part_output(name), 1).await.unwrap();
    }
    let running = claim(&store, "n").await.unwrap().lease;
    let backup = store.back_up(running.task, &node("m"), 1, 9).await.unwrap().unwrap().lease;
    let in_use = store.blobs_in_use().await.unwrap();
    assert_eq!(in_use.paths, ["kept".to_owned(), "plain".to_owned()].into());
    assert_eq!(in_use.attempts, [(running.task, running.attempt), (backup.task, backup.attempt)].into());
    store.complete(&running, &part_output("last"), 1).await.unwrap();
    store.set_phase(job, JobPhase::Completed, &JobPhase::ALL, None, 2).await.unwrap();
    let in_use = store.blobs_in_use().await.unwrap();
    assert_eq!(in_use, InUse { paths: ["kept".to_owned()].into(), ..InUse::default() });
}

async fn media_nodes_and_names_are_kept(store: Store) {
    let facts = MediaFacts {
        format: "mov".into(),
        size: 5,
        start_us: None,
        duration_us: Some(1),
        bit_rate: None,
        tags: Default::default(),
        streams: vec![],
        chapters: 0,
    };
    let mut media = MediaRow { fingerprint: "f".into(), digest: digest("m"), facts, index: blob("index") };
    store.put_media(&media).await.unwrap();
    media.digest = digest("changed");
    store.put_media(&media).await.unwrap();
    assert_eq!(store.find_media("f").await.unwrap(), Some(media));
    assert!(store.forget_media("f").await.unwrap());
    assert_eq!(store.find_media("f").await.unwrap(), None);

    let mut row = NodeRow {
        name: "kitchen".to_owned(),
        id: NodeId::generate(),
        capabilities: Capabilities { ffmpeg: "5.1".into(), cores: 2, ..Default::default() },
        slots: Slots { chunks: 1, other: 2 },
        last_seen_ms: 1,
        withheld: None,
    };
    store.put_node(&row).await.unwrap();
    row.last_seen_ms = 2;
    store.put_node(&row).await.unwrap();
    assert_eq!(store.nodes().await.unwrap(), std::slice::from_ref(&row));
    let withheld = Withheld::Quarantine { why: "it fails".to_owned() };
    store.withhold(&row.id, Some(&withheld)).await.unwrap();
    store.put_node(&row).await.unwrap();
    row.withheld = Some(withheld);
    assert_eq!(store.nodes().await.unwrap(), std::slice::from_ref(&row), "a hello does not give it work");
    store.withhold(&row.id, None).await.unwrap();
    row.withheld = None;
    assert_eq!(store.nodes().await.unwrap(), [row]);

    store.put_meta("hub", "a").await.unwrap();
    store.put_meta("hub", "b").await.unwrap();
    assert_eq!(store.meta("hub").await.unwrap().as_deref(), Some("b"));
    assert_eq!(store.meta("none").await.unwrap(), None);
}

async fn every_change_has_its_event(store: Store) {
    let job = submit(&store, parts(1)).await;
    let first = claim(&store, "n").await.unwrap().lease;
    store.fail(&first, &crash(), RETRY, 1).await.unwrap();
    let second = claim(&store, "n").await.unwrap().lease;
    store.complete_job(&second, &part_output("p"), None, 2).await.unwrap();
    let rows = store.outbox_after(0, 100).await.unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| match &row.event {
            Event::Job { phase, .. } => phase.name(),
            Event::Task { change: TaskChange::Retry { failure }, .. } => {
                assert_eq!(failure, &Failure::new(crash().code, crash().message), "without the detail");
                "retry"
            }
            Event::Task { change: TaskChange::Done, .. } => "done",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["Queued", "Processing", "retry", "done", "Completed"]);
    assert!(rows.iter().all(|row| row.job == job));
    assert!(rows.windows(2).all(|w| w[0].seq < w[1].seq));
    assert_eq!(store.outbox_after(rows[1].seq, 2).await.unwrap(), rows[2..4]);
    let other = submit(&store, parts(1)).await;
    assert_eq!(store.outbox_of(job, rows[0].seq, 2).await.unwrap(), rows[1..3]);
    assert_eq!(store.outbox_of(other, 0, 9).await.unwrap().len(), 1);
    assert_eq!(store.trim_outbox(rows[4].seq).await.unwrap(), 5);
    store.cancel(submit(&store, parts(1)).await, 0).await.unwrap();
    assert!(store.outbox_after(0, 9).await.unwrap()[0].seq > rows[4].seq, "a position never repeats");
}

async fn counts_are_by_kind_and_state(store: Store) {
    let job = submit(&store, fan_in(4)).await;
    let done = claim(&store, "n").await.unwrap().lease;
    complete(&store, &done).await;
    claim(&store, "n").await.unwrap();
    let counts = store.counts(job).await.unwrap();
    let kinds: Vec<_> = counts.values().copied().collect();
    assert_eq!(
        kinds,
        [
            Counts { done: 1, leased: 1, ready: 2, ..Counts::default() },
            Counts { waiting: 1, ..Counts::default() }
        ]
    );
    assert_eq!(kinds[0].total(), 4);
}

async fn what_a_job_waits_for_and_what_it_moved(store: Store) {
    let job = submit(&store, fan_in(2)).await;
    assert_eq!(store.ready_classes(job).await.unwrap(), [parts_class()]);
    store.pause(job, 1).await.unwrap();
    assert_eq!(store.ready_classes(job).await.unwrap(), [], "nothing is to run");
    let other = submit(&store, parts(1)).await;
    store.add_moved(vec![(job, 5), (other, 1)]).await.unwrap();
    store.add_moved(vec![(job, 7)]).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().unwrap().moved_bytes, 12);
    assert_eq!(store.job(other).await.unwrap().unwrap().moved_bytes, 1);
}

macro_rules! conformance {
    ($backend:ident, $open:expr; $($case:ident)*) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let place = $open.await;
                    super::$case(place.store.clone()).await;
                }
            )*
        }
    };
}

conformance! { sqlite, Place::new();
    a_job_comes_back_as_it_was_submitted
    fifty_identical_submissions_are_one_job
    a_taken_id_is_a_conflict
    jobs_are_listed_newest_first_in_pages
    phases_change_only_from_where_they_may
    a_paused_job_starts_nothing_and_keeps_what_runs
    a_job_that_waits_for_nodes_starts_nothing
    cancelling_ends_leases_at_once
    retry_keeps_what_is_done
    a_probe_expands_its_job_once
    an_expansion_repeated_or_half_there
    graphs_without_an_end_are_refused
    reused_results_are_done_from_the_start
    a_paused_job_expands_and_stays_paused
    claims_go_by_priority_then_rank_then_age
    jobs_of_one_rank_take_turns
    a_claim_carries_all_that_a_node_needs
    two_nodes_never_get_one_task
    renewals_hold_leases_and_carry_progress
    a_late_completion_is_fenced
    a_result_of_another_kind_is_refused
    tries_run_out
    the_last_expiry_fails_the_job
    what_a_dead_process_held_is_given_back_without_fault
    the_better_of_several_classes_is_claimed
    a_node_does_not_get_what_it_failed_at
    a_backup_that_is_first_wins
    a_first_attempt_that_is_first_wins
    a_backup_takes_over_from_a_lost_attempt
    a_cancelled_job_ends_its_backups
    who_waits_long_goes_first
    a_returning_node_finds_its_leases
    dependants_are_released_once_under_concurrent_completions
    the_last_task_completes_its_job
    a_gate_holds_until_it_is_opened
    flagged_results_are_made_again
    reopening_nonsense_is_refused
    results_are_kept_for_other_jobs
    blobs_of_what_is_undone_or_kept_are_in_use
    media_nodes_and_names_are_kept
    every_change_has_its_event
    counts_are_by_kind_and_state
    what_a_job_waits_for_and_what_it_moved
}
