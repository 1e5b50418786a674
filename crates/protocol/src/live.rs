//! What watchers are told over their WebSocket: they say what they want to see and get updates of it. An update holds what
//! happened since the last one and what is at work now, so that one that is missed does no harm.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::api::NodeView;
use crate::event::Event;
use crate::id::{JobId, NodeId};
use crate::node::Progress;
use crate::task::TaskKind;

/// Something that can be watched; in text `jobs`, `jobs/ID` or `nodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Topic {
    /// All jobs.
    Jobs,
    /// One job.
    Job(JobId),
    /// All nodes.
    Nodes,
}

/// Text that is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be watched: jobs, jobs/ID or nodes")]
pub struct BadTopic(String);

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs => f.write_str("jobs"),
            Self::Job(job) => write!(f, "jobs/{job}"),
            Self::Nodes => f.write_str("nodes"),
        }
    }
}

impl FromStr for Topic {
    type Err = BadTopic;
    fn from_str(text: &str) -> Result<Self, BadTopic> {
        let bad = || BadTopic(text.to_owned());
        match text {
            "jobs" => Ok(Self::Jobs),
            "nodes" => Ok(Self::Nodes),
            _ => {
                let job = text.strip_prefix("jobs/").ok_or_else(bad)?;
                Ok(Self::Job(job.parse().map_err(|_| bad())?))
            }
        }
    }
}

impl TryFrom<String> for Topic {
    type Error = BadTopic;
    fn try_from(text: String) -> Result<Self, BadTopic> {
        text.parse()
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.to_string()
    }
}

/// The first message of a watcher, and any later one that changes its mind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// What to see.
    pub subscribe: Vec<Topic>,
    /// The `seq` of the last update that was seen, over an earlier connection: what happened since comes first.
    #[serde(default)]
    pub after: Option<i64>,
}

/// What is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Position in what happened; goes on over restarts of the hub.
    pub seq: i64,
    /// Some of what happened since `after` is not kept any more: look at everything anew.
    pub missed: bool,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What is at work now, for each watched job where that has changed.
    pub running: Vec<RunningJob>,
    /// The nodes, if that was asked for and something has changed.
    pub nodes: Option<Vec<NodeView>>,
}

/// What is at work of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningJob {
    /// Job.
    pub job: JobId,
    /// Attempts in progress; none when nothing of it runs.
    pub tasks: Vec<RunningTask>,
}

/// An attempt in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningTask {
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// Who.
    pub node: NodeId,
    /// How far.
    pub progress: Progress,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_its_text() {
        let job = JobId::generate();
        for topic in [Topic::Jobs, Topic::Nodes, Topic::Job(job)] {
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        for text in ["", "job", "jobs/", "jobs/x", "uploads/1"] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }
}
