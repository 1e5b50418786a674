//! What is said in the log: of what happens, each with the ids that it is about; and how much, which can be changed while the hub runs.

use std::fmt;

use kinora_protocol::NodeId;
use kinora_protocol::api::LogView;
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::ToNode;

use crate::Hub;
use crate::app::media::{Asked, bad};

/// The log of the process.
pub trait Log: fmt::Debug + Send + Sync {
    /// What is said, in the words of the log's own filter.
    fn filter(&self) -> String;

    /// What was said last, as far as it is kept, in order.
    fn lines(&self) -> Vec<String>;

    /// Whether it is a filter.
    ///
    /// # Errors
    /// Why it is none.
    fn check(&self, filter: &str) -> Result<(), String>;

    /// Says this from now on.
    ///
    /// # Errors
    /// Why it is no filter.
    fn change(&self, filter: &str) -> Result<(), String>;
}

/// Longest filter, in bytes.
const LONGEST: usize = 4096;

/// Says what happened.
pub(crate) fn tell(event: &Event) {
    match event {
        Event::Job { job, phase: JobPhase::Failed, failure } => {
            let why = failure.as_ref().map(|failure| line(&failure.message)).unwrap_or_default();
            tracing::warn!(%job, phase = "Failed", "a job failed: {why}");
        }
        Event::Job { job, phase, .. } => {
            tracing::info!(%job, phase = phase.name(), "a job is {}", phase.name())
        }
        Event::Planned { job, chunks, reused } => {
            tracing::info!(%job, chunks = chunks.len(), reused = reused.len(), "a job is planned");
        }
        Event::Task { job, task, kind, ordinal, change } => {
            let kind = kind.name();
            match change {
                TaskChange::Progress(_) => {}
                TaskChange::Leased { attempt } => {
                    tracing::debug!(%job, %task, %attempt, kind, ordinal, "a task is handed out");
                }
                TaskChange::Done => tracing::debug!(%job, %task, kind, ordinal, "a task is done"),
                TaskChange::Redo { .. } => {
                    tracing::info!(%job, %task, kind, ordinal, "a task is done once more, from further back");
                }
                TaskChange::Retry { failure } => {
                    tracing::warn!(%job, %task, kind, ordinal, "a task is tried again: {}", line(&failure.message));
                }
                TaskChange::Failed { failure } => {
                    tracing::warn!(%job, %task, kind, ordinal, "a task failed: {}", line(&failure.message));
                }
            }
        }
    }
}

/// What others say, on one line: nobody writes lines of his own into the log.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Hub {
    /// What the log says; nothing where that cannot be found out.
    pub(crate) fn log_view(&self) -> LogView {
        LogView { filter: self.inner.settings.log.as_ref().map(|log| log.filter()).unwrap_or_default() }
    }

    /// What the log said last, a line each.
    pub(crate) fn log_lines(&self) -> String {
        let lines = self.inner.settings.log.as_ref().map(|log| log.lines()).unwrap_or_default();
        lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
    }

    /// Changes what the log says; the error says why it is no filter.
    pub(crate) fn change_log(&self, view: &LogView) -> Asked<LogView> {
        let log = self.inner.settings.log.as_ref();
        let log = log.ok_or_else(|| bad("the log of this hub cannot be changed".to_owned()))?;
        short_enough(view)?;
        log.change(&view.filter).map_err(bad)?;
        tracing::info!("the log says {:?} from now on", view.filter);
        Ok(self.log_view())
    }

    /// Tells a node what to say in its log. Whether it is connected.
    pub(crate) fn change_log_of(&self, node: &NodeId, view: &LogView) -> Asked<bool> {
        if self.inner.settings.own_node.as_ref() == Some(node) {
            return Err(bad(format!(
                "node {node} is the hub's own, and its log the hub's: kinora log FILTER"
            )));
        }
        short_enough(view)?;
        if let Some(log) = &self.inner.settings.log {
            log.check(&view.filter).map_err(bad)?;
        }
        let filter = view.filter.clone();
        Ok(self.inner.nodes.with(node, |one| one.tell(ToNode::Log { filter })).is_some())
    }
}

fn short_enough(view: &LogView) -> Asked<()> {
    if view.filter.len() > LONGEST {
        return Err(bad(format!("a filter has {LONGEST} bytes at the most")));
    }
    Ok(())
}
