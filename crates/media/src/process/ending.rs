//! What it means that a program ended, in words for people.

use super::{Control, Invocation};
use crate::error::MediaError;
use crate::sandbox::Ended;

/// Why a program was stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    Cancelled,
    Stalled,
    TooLong,
}

pub(super) fn stopped(invocation: &Invocation, control: &Control, stop: Stop, tail: String) -> MediaError {
    match stop {
        Stop::Cancelled => MediaError::Cancelled { what: invocation.what.clone() },
        Stop::TooLong => MediaError::Sandbox {
            what: format!("{}: {}", invocation.what, invocation.program.display()),
            reason: "it ran longer than it may (--sandbox-wall)".to_owned(),
        },
        Stop::Stalled => MediaError::Stalled {
            what: invocation.what.clone(),
            program: invocation.program.display().to_string(),
            seconds: control.stall.as_secs(),
            tail,
        },
    }
}

pub(super) fn failed(invocation: &Invocation, ended: &Ended<'_>) -> MediaError {
    let (what, program) = (invocation.what.clone(), invocation.program.display().to_string());
    let refused = refused_codec(ended.tail)
        .map(|name| format!("{name} is not decoded here: its decoder is rare (docs/security.md)"));
    let reason = refused.or_else(|| invocation.sandbox.as_ref().and_then(|sandbox| sandbox.reason(ended)));
    match reason {
        Some(reason) if reason.contains("no such program") => MediaError::ToolMissing { program },
        Some(reason) => MediaError::Sandbox { what: format!("{what}: {program}"), reason },
        None => MediaError::ToolFailed {
            what,
            program,
            status: ended.status.to_string(),
            tail: ended.tail.to_owned(),
        },
    }
}

/// ffmpeg's word for a decoder that is not on the list that it was given.
fn refused_codec(tail: &str) -> Option<&str> {
    let line = tail.lines().find(|line| line.contains("not on whitelist"))?;
    line.split_once("Codec (")?.1.split_once(')').map(|(name, _)| name)
}

pub(super) fn unusable(invocation: &Invocation, reason: &str) -> MediaError {
    MediaError::ToolUnusable { program: invocation.program.display().to_string(), reason: reason.to_owned() }
}
