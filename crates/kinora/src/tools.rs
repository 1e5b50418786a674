//! The programs that open media on this machine, and what they are confined by.

use kinora_media::sandbox::Mode;
use kinora_media::{MediaError, Sandbox, Tools};
use kinora_protocol::machine::Machine;
use kinora_sandbox::{Limits, NoBranch, Room};
use kinora_worker::machine;

use crate::config::Config;

/// No program gets less address space than this: encoders of large pictures map four times what they use.
const LEAST_MEMORY: u64 = 8 << 30;
/// What each processor adds to that: threads' stacks and the allocator's arenas are mapped and hardly used.
const MEMORY_OF_A_CORE: u64 = 256 << 20;
/// Threads of one program: coders start some for each processor, filters and containers a few.
const LEAST_THREADS: u64 = 512;
const THREADS_OF_A_CORE: u64 = 64;

/// Looks for ffmpeg and for a sandbox to run it in.
pub async fn find(config: &Config) -> Result<Tools, MediaError> {
    let wanted = &config.sandbox;
    // Nothing is looked at for limits that nobody is held to.
    let machine = if wanted.mode == Mode::Off { Machine::default() } else { machine::examine() };
    let known = (machine.memory > 0).then_some(machine.memory);
    let mapped = known.map(|memory| memory.max(LEAST_MEMORY) + u64::from(machine.cores) * MEMORY_OF_A_CORE);
    let limits = Limits { memory: wanted.limits.memory.or(mapped), ..wanted.limits };
    let room = Room {
        memory: wanted.limits.memory.or(known.map(|memory| memory / 4 * 3)),
        threads: LEAST_THREADS.max(u64::from(machine.cores) * THREADS_OF_A_CORE),
    };
    let sandbox = Sandbox::find(wanted.mode, limits, &wanted.helper).await?;
    let sandbox = sandbox.ends_after(wanted.wall).reads(&wanted.read).grouped(room);
    match sandbox.groups() {
        Ok(()) => tracing::debug!(?room, "each ffmpeg has a control group"),
        Err(NoBranch::NotGiven(reason)) => tracing::debug!("ffmpeg has no control groups: {reason}"),
        Err(NoBranch::Failed(reason)) => tracing::warn!("ffmpeg has no control groups: {reason}"),
    }
    Tools::find(&config.ffmpeg, &config.ffprobe, sandbox, config.media).await
}
