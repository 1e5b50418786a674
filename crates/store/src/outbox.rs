//! Events written with the change they tell of, to be sent out at least once.

use kinora_protocol::JobId;
use kinora_protocol::event::Event;

/// One event that waits to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Position; rises, never repeats.
    pub seq: i64,
    /// Job.
    pub job: JobId,
    /// What happened. A failure comes without its detail, which is kept with the attempt and the job.
    pub event: Event,
}
