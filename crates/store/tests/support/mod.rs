//! Small jobs, tasks and results to fill a store with. They mean nothing; only their kinds and keys matter.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "shared by several test programs")]

use std::path::PathBuf;

use kinora_protocol::class::{Class, Tags};
use kinora_protocol::encode::AudioSettings;
use kinora_protocol::enhance::SoundEnhancements;
use kinora_protocol::job::JobRequest;
use kinora_protocol::node::SlotClass;
use kinora_protocol::recipe::{AudioCodec, Recipe};
use kinora_protocol::task::{AudioSpec, Blob, JoinSpec, SourceTask, TaskOutput, TaskSpec};
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, NodeId};
use kinora_store::{Avoid, Claimed, Dep, Gate, Graph, NewJob, NewTask, Store, Wanted};

/// A store in a folder that goes with it.
pub struct Place {
    pub store: Store,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("kinora.db")).await.unwrap();
        Self { store, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("kinora.db")
    }

    /// Ends the store and opens the file again.
    pub async fn again(self) -> Self {
        self.store.close().await.unwrap();
        let store = Store::open(&self.path()).await.unwrap();
        Self { store, folder: self.folder }
    }
}

pub fn node(name: &str) -> NodeId {
    NodeId::from(name.to_owned())
}

pub fn digest(text: &str) -> Digest {
    Digest::from_bytes(blake3::hash(text.as_bytes()).as_bytes())
}

pub fn request(key: Option<&str>) -> JobRequest {
    JobRequest {
        work: kinora_protocol::job::Work::Encode,
        input: "in.mp4".into(),
        output: "out.mp4".into(),
        recipe: Recipe::default(),
        idempotency_key: key.map(str::to_owned),
        priority: 0,
        required_nodes: 0,
        deadline_ms: None,
        tags: Tags::NONE,
    }
}

pub fn blob(text: &str) -> Blob {
    Blob { path: text.into(), size: 1000, digest: digest(text) }
}

/// The spec of a part: it stands in for any kind of which a job has many. `source` tells two specs apart.
pub fn part_spec(source: &str) -> TaskSpec {
    TaskSpec::Audio(SourceTask {
        source: source.into(),
        size: 1,
        work: AudioSpec {
            guard_seconds: 16,
            settings: AudioSettings {
                codec: AudioCodec::Aac,
                bitrate: None,
                enhance: SoundEnhancements::default(),
            },
            start_us: 0,
            streams: vec![],
            generate: false,
        },
    })
}

pub fn part_output(text: &str) -> TaskOutput {
    TaskOutput::Audio { blob: blob(text), cpu_seconds: 1.5 }
}

pub fn join_spec(chunks: &[&str]) -> TaskSpec {
    TaskSpec::Join(JoinSpec {
        chunks: chunks.iter().copied().map(blob).collect(),
        packets: vec![1; chunks.len()],
        parts: Vec::new(),
    })
}

pub fn join_output() -> TaskOutput {
    TaskOutput::Join { blob: blob("joined"), parts: Vec::new() }
}

fn task(ordinal: u32, class: SlotClass, spec: TaskSpec) -> NewTask {
    NewTask {
        ordinal,
        class: Class { slot: class, ..Class::light(Tags::NONE) },
        priority: 0,
        rank: f64::from(ordinal),
        max_attempts: 3,
        spec,
        done: None,
        cache_key: None,
        gate: Gate::None,
    }
}

/// The class of parts.
pub fn parts_class() -> Class {
    Class { slot: SlotClass::Chunk, ..Class::light(Tags::NONE) }
}

/// A task of which a job has many, in class `chunk`.
pub fn part(ordinal: u32) -> NewTask {
    task(ordinal, SlotClass::Chunk, part_spec("source"))
}

/// A task that waits for others, in class `other`.
pub fn join(ordinal: u32) -> NewTask {
    task(ordinal, SlotClass::Other, join_spec(&[]))
}

/// Parts, and one join that waits for all of them.
pub fn fan_in(parts: u32) -> Graph {
    let count = parts as usize;
    Graph {
        tasks: (0..parts).map(part).chain([join(0)]).collect(),
        deps: (0..count).map(|before| Dep { before, after: count }).collect(),
    }
}

/// Parts that wait for nothing.
pub fn parts(count: u32) -> Graph {
    Graph { tasks: (0..count).map(part).collect(), deps: Vec::new() }
}

pub async fn submit(store: &Store, graph: Graph) -> JobId {
    let job = NewJob {
        owner: kinora_store::Owner::Nobody,
        phase: kinora_protocol::job::JobPhase::Queued,
        id: JobId::generate(),
        request: request(None),
        graph,
    };
    store.submit(job, 0).await.unwrap().id()
}

pub async fn claim_at(store: &Store, name: &str, class: SlotClass, now_ms: i64) -> Option<Claimed> {
    let class = Class { slot: class, ..Class::light(Tags::NONE) };
    claim_any(store, name, vec![class], Avoid::Nothing, now_ms).await
}

pub async fn claim_any(
    store: &Store,
    name: &str,
    classes: Vec<Class>,
    avoid: Avoid,
    now_ms: i64,
) -> Option<Claimed> {
    let wanted = vec![Wanted { node: node(name), classes, avoid }];
    store.claim(wanted, now_ms, now_ms + 15_000).await.unwrap().pop().unwrap()
}

/// Claims a part.
pub async fn claim(store: &Store, name: &str) -> Option<Claimed> {
    claim_at(store, name, SlotClass::Chunk, 0).await
}

/// Claims a join.
pub async fn claim_join(store: &Store, name: &str) -> Option<Claimed> {
    claim_at(store, name, SlotClass::Other, 0).await
}

pub fn crash() -> Failure {
    Failure {
        code: ErrorCode::ToolFailed,
        message: "ffmpeg ended with status 1".to_owned(),
        detail: "a long tail".to_owned(),
    }
}
