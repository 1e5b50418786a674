//! The programs that open media on this machine, and what they are confined by.

use kinora_media::{MediaError, Sandbox, Tools};
use kinora_sandbox::Limits;
use kinora_worker::machine;

use crate::config::Config;

/// No program gets less memory than this, or encoders of large pictures would fail on small machines that swap.
const LEAST_MEMORY: u64 = 4 << 30;

/// Looks for ffmpeg and for a sandbox to run it in.
pub async fn find(config: &Config) -> Result<Tools, MediaError> {
    let wanted = &config.sandbox;
    let memory = wanted.limits.memory.unwrap_or_else(|| match machine::examine().memory {
        0 => u64::MAX,
        all => (all / 4 * 3).max(LEAST_MEMORY),
    });
    let limits = Limits { memory: Some(memory).filter(|bytes| *bytes != u64::MAX), ..wanted.limits };
    let sandbox = Sandbox::find(wanted.mode, limits, &wanted.helper).await?;
    Tools::find(&config.ffmpeg, &config.ffprobe, sandbox, config.media).await
}
