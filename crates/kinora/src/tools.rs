//! The programs that open media on this machine, and what they are confined by.

use kinora_media::sandbox::Mode;
use kinora_media::{MediaError, Sandbox, Tools};
use kinora_protocol::machine::Machine;
use kinora_sandbox::Limits;
use kinora_worker::machine;

use crate::config::Config;

/// No program gets less address space than this: encoders of large pictures map four times what they use.
const LEAST_MEMORY: u64 = 8 << 30;
/// What each processor adds to that: threads' stacks and the allocator's arenas are mapped and hardly used.
const MEMORY_OF_A_CORE: u64 = 256 << 20;

/// Looks for ffmpeg and for a sandbox to run it in.
pub async fn find(config: &Config) -> Result<Tools, MediaError> {
    let wanted = &config.sandbox;
    let memory = wanted.limits.memory.or_else(|| {
        // Nothing is looked at for a limit that nobody is held to.
        let Machine { memory, cores, .. } = (wanted.mode != Mode::Off).then(machine::examine)?;
        (memory > 0).then(|| memory.max(LEAST_MEMORY) + u64::from(cores) * MEMORY_OF_A_CORE)
    });
    let limits = Limits { memory, ..wanted.limits };
    let sandbox =
        Sandbox::find(wanted.mode, limits, &wanted.helper).await?.ends_after(wanted.wall).reads(&wanted.read);
    Tools::find(&config.ffmpeg, &config.ffprobe, sandbox, config.media).await
}
