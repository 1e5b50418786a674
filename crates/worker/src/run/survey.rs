//! What the measures of all stretches come to.

use kinora_protocol::survey::Measured;
use kinora_protocol::task::{SurveySpec, TaskOutput};
use kinora_protocol::{ErrorCode, Failure};
use kinora_vision::survey;

use super::Attempt;
use crate::claim::disk;

pub(super) async fn run(attempt: &Attempt<'_>, spec: &SurveySpec) -> Result<TaskOutput, Failure> {
    let mut frames: Vec<Measured> = Vec::new();
    for (position, blob) in spec.measures.iter().enumerate() {
        let path = attempt.input(position, blob).await?;
        let text = std::fs::read(&path).map_err(|e| disk(&format!("cannot read {}", path.display()), &e))?;
        let part: Vec<Measured> = serde_json::from_slice(&text).map_err(|e| {
            Failure::new(
                ErrorCode::Internal,
                format!("what was measured of stretch {position} is garbled: {e}"),
            )
        })?;
        frames.extend(part);
    }
    let SurveySpec { hz, size, wanted, .. } = *spec;
    let made = tokio::task::spawn_blocking(move || survey::of(&frames, hz, size, wanted));
    let made =
        made.await.map_err(|e| Failure::new(ErrorCode::Internal, format!("the survey broke off: {e}")))?;
    Ok(TaskOutput::Survey { blob: attempt.write(&made).await? })
}
