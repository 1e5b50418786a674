//! Who gets which work: which node can do a class, whether a slow node should take one of the last chunks, which running
//! chunks are worth a second attempt. Pure: speeds and progress come in, decisions go out.

use kinora_protocol::class::{Class, Tags};
use kinora_protocol::node::Capabilities;
use kinora_protocol::{NodeId, TaskId};

/// Hex digits of a build's short name.
const BUILD_DIGITS: usize = 16;

/// The short name of an ffmpeg build: chunks of one job are made by builds of one name.
pub fn build_name(ffmpeg: &str) -> String {
    let mut name = blake3::hash(ffmpeg.as_bytes()).to_hex().to_string();
    name.truncate(BUILD_DIGITS);
    name
}

/// Whether a node can do a class of work; `build` is the name of its ffmpeg build.
pub fn serves(class: &Class, capabilities: &Capabilities, build: &str, tags: &Tags) -> bool {
    class.tags.are_among(tags)
        && class.encoder.is_none_or(|encoder| capabilities.encoders.contains(&encoder))
        && class.build.as_deref().is_none_or(|wanted| wanted == build)
        && class
            .models
            .iter()
            .all(|key| capabilities.inference.models().iter().any(|model| model.key() == *key))
}

/// A chunk that a node works on.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Task.
    pub task: TaskId,
    /// Who has it.
    pub node: NodeId,
    /// Output frames that it makes.
    pub frames: u64,
    /// Those that are done.
    pub done: u64,
    /// Frames per second since it was started, or what the node is believed to make.
    pub fps: f64,
    /// Another node works on it, too.
    pub backed_up: bool,
}

impl Running {
    /// Seconds until it is done.
    pub fn remaining(&self) -> f64 {
        self.frames.saturating_sub(self.done) as f64 / self.fps.max(f64::MIN_POSITIVE)
    }
}

/// A node that has nothing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Idle {
    /// Who.
    pub node: NodeId,
    /// Frames per second that it makes of such chunks.
    pub fps: f64,
}

/// A second attempt has to be done in this part of the time that the first still needs, or it is not worth the power.
const WORTH: f64 = 0.75;
/// What a start costs, in seconds.
const START: f64 = 0.5;

/// Second attempts, when no chunk waits to be started: the slowest first, each to the fastest node that is idle.
pub fn backups(running: &[Running], idle: &[Idle]) -> Vec<(TaskId, NodeId)> {
    let mut open: Vec<&Running> = running.iter().filter(|r| !r.backed_up).collect();
    open.sort_by(|a, b| b.remaining().total_cmp(&a.remaining()));
    let mut idle: Vec<&Idle> = idle.iter().collect();
    idle.sort_by(|a, b| a.fps.total_cmp(&b.fps));
    let mut chosen = Vec::new();
    for first in open {
        let Some(fastest) = idle.last() else { break };
        if fastest.node == first.node {
            continue;
        }
        let again = START + first.frames as f64 / fastest.fps.max(f64::MIN_POSITIVE);
        if again < WORTH * first.remaining() {
            chosen.push((first.task, fastest.node.clone()));
            idle.pop();
        }
    }
    chosen
}

/// The work of one job that is left, and who does it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Frames that nobody has started.
    pub waiting: f64,
    /// Frames that other nodes are at and have not done.
    pub running: f64,
    /// Frames per second that other nodes make together.
    pub fps: f64,
}

/// Whether a node should take a chunk of `frames` frames: not when the others are done with everything, this chunk
/// included, before it would be done with this one.
pub fn worth_taking(frames: u64, fps: f64, left: Left) -> bool {
    if left.fps <= 0.0 {
        return true;
    }
    let alone = frames as f64 / fps.max(f64::MIN_POSITIVE);
    let others = (left.waiting + left.running) / left.fps;
    // The others cannot share their last chunks, so they need a little longer than that.
    let last = frames as f64 / left.fps;
    alone <= others + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora_protocol::encode::Encoder;
    use kinora_protocol::inference::{Inference, ModelTask, Network};

    fn node(name: &str) -> NodeId {
        NodeId::from(name.to_owned())
    }

    fn running(task: i64, name: &str, done: u64, fps: f64) -> Running {
        Running { task: TaskId(task), node: node(name), frames: 100, done, fps, backed_up: false }
    }

    #[test]
    fn classes_ask_for_encoder_and_build() {
        let network = Network {
            name: "x".to_owned(),
            version: 1,
            sha256: "0".repeat(64),
            task: ModelTask::Denoise,
            frames: 3,
            scale: 1,
            limited: false,
            usual: true,
        };
        let can = Capabilities {
            ffmpeg: "one".to_owned(),
            encoders: vec![Encoder::X264],
            cores: 2,
            inference: Inference::Ready { runtime: "one".to_owned(), models: vec![network.clone()] },
            ..Capabilities::default()
        };
        let build = build_name(&can.ffmpeg);
        let tags = |words: &[&str]| Tags::try_from(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let mine = tags(&["attic", "gpu"]).expect("tags");
        let serves = |class: Class| serves(&class, &can, &build, &mine);
        assert!(serves(Class::light(Tags::NONE)));
        assert!(serves(Class::chunk(Encoder::X264, build.clone(), Tags::NONE)));
        assert!(!serves(Class::chunk(Encoder::X265, build.clone(), Tags::NONE)));
        assert!(!serves(Class::chunk(Encoder::X264, build_name("another"), Tags::NONE)));
        assert!(serves(Class::chunk(Encoder::X264, build.clone(), tags(&["gpu"]).expect("tags"))));
        assert!(!serves(Class::light(tags(&["cellar", "gpu"]).expect("tags"))));
        assert!(serves(Class::light(Tags::NONE).with_models([network.key()])));
        let another = Network { sha256: "1".repeat(64), ..network.clone() };
        assert!(!serves(Class::light(Tags::NONE).with_models([network.key(), another.key()])));
    }

    #[test]
    fn the_slowest_goes_to_the_fastest_that_is_idle() {
        let slow = [running(1, "a", 50, 1.0), running(2, "b", 10, 1.0), running(3, "c", 99, 1.0)];
        let idle = [Idle { node: node("x"), fps: 2.0 }, Idle { node: node("y"), fps: 10.0 }];
        assert_eq!(backups(&slow, &idle), [(TaskId(2), node("y"))], "50 s on x is no gain for the other");
        let quick = [Idle { node: node("x"), fps: 4.0 }, Idle { node: node("y"), fps: 10.0 }];
        assert_eq!(backups(&slow, &quick), [(TaskId(2), node("y")), (TaskId(1), node("x"))]);
    }

    #[test]
    fn what_runs_twice_or_is_about_to_end_is_left_alone() {
        let twice = Running { backed_up: true, ..running(1, "a", 0, 0.1) };
        let ending = running(2, "b", 99, 2.0);
        let idle = [Idle { node: node("x"), fps: 1000.0 }];
        assert_eq!(backups(&[twice, ending], &idle), []);
        // Stuck for good.
        assert_eq!(backups(&[running(3, "c", 99, 0.0)], &idle), [(TaskId(3), node("x"))]);
        assert_eq!(backups(&[running(3, "x", 0, 0.0)], &idle), [], "not by the node that has it");
    }

    #[test]
    fn a_slow_node_leaves_the_last_chunks_to_others() {
        let left = |waiting, running| Left { waiting, running, fps: 20.0 };
        assert!(worth_taking(100, 1.0, left(10_000.0, 100.0)), "there is enough for all");
        assert!(!worth_taking(100, 1.0, left(100.0, 100.0)), "100 s for what takes the others 10");
        assert!(worth_taking(100, 10.0, left(100.0, 100.0)));
        assert!(
            worth_taking(100, 0.1, Left { waiting: 100.0, running: 0.0, fps: 0.0 }),
            "there is nobody else"
        );
    }
}
