//! Sources that were probed before, and are what they were: a job of one starts with its chunks.

use std::path::Path;

use kinora_protocol::JobId;
use kinora_protocol::event::Event;
use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::node::FileMark;
use kinora_protocol::task::{ProbeOutput, TaskOutput, TaskSpec};
use kinora_store::{Gate, Graph, MediaRow, NewTask};

use super::expand::{light, new_task};
use crate::{Hub, Result};

impl Hub {
    /// The cheap name of a file as it is now, where sources are remembered.
    fn fingerprint(&self, path: &Path) -> Option<(String, FileMark)> {
        if !self.inner.settings.remember_sources {
            return None;
        }
        let mark = self.mark_of(path)?;
        let FileMark { size, modified_ns } = mark;
        Some((format!("{size} {modified_ns} {}", path.display()), mark))
    }

    /// Keeps what a probe found, if the file is what it was when the probe began.
    pub(crate) async fn remember_source(
        &self,
        source: &Path,
        seen: Option<FileMark>,
        probe: &ProbeOutput,
    ) -> Result<()> {
        let Some((fingerprint, mark)) = self.fingerprint(source) else { return Ok(()) };
        if seen != Some(mark) || mark.size != probe.facts.size {
            return Ok(());
        }
        let ProbeOutput { media, facts, index } = probe.clone();
        Ok(self.store().put_media(&MediaRow { fingerprint, digest: media, facts, index }).await?)
    }

    /// All that a new job of a known source has to do, and what is told of it.
    pub(crate) async fn work_on_known(
        &self,
        job: JobId,
        request: &JobRequest,
    ) -> Result<Option<(Graph, Option<Event>)>> {
        if self.first_phase(request) == JobPhase::WaitingForNodes {
            // The plan is for the nodes that are there when it starts.
            return Ok(None);
        }
        let Some((fingerprint, _)) = self.fingerprint(&request.input) else { return Ok(None) };
        let (Some(known), Some(node)) =
            (self.store().find_media(&fingerprint).await?, self.inner.nodes.example(&request.tags))
        else {
            return Ok(None);
        };
        if !self.is_sound(&known.index).await {
            self.store().forget_media(&fingerprint).await?;
            return Ok(None);
        }
        let probe = ProbeOutput { media: known.digest, facts: known.facts, index: known.index };
        // What cannot be done fails as a job, in the usual way.
        let Ok((mut graph, event)) = self.after_probe(job, request, &probe, &node).await? else {
            return Ok(None);
        };
        self.admit(&probe).await?;
        let spec = TaskSpec::Probe { source: request.input.clone() };
        let done = Some(TaskOutput::Probe(Box::new(probe)));
        graph.tasks.push(NewTask { done, ..new_task(request, 0, light(request), spec, Gate::None) });
        Ok(Some((graph, event)))
    }
}
