//! What follows a failed attempt.

use kinora_protocol::{ErrorCode, Failure};

/// How often a task is tried when nobody says otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Pause before the second try, in milliseconds; it doubles with each further one.
const FIRST_DELAY_MS: i64 = 250;
const MAX_DELAY_MS: i64 = 60_000;

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Again, after so many milliseconds.
    Again {
        /// Pause.
        delay_ms: i64,
    },
    /// Never: the job fails with it.
    Never,
}

/// Where an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On the hub's machine: its disk is everybody's.
    Here,
    /// On a machine with a disk and programs of its own.
    Elsewhere,
}

/// Decides for a task that has been tried `tries` times.
pub fn after(failure: &Failure, place: Where, tries: u32, max_attempts: u32) -> Then {
    let of_machine = matches!(failure.code, ErrorCode::Disk | ErrorCode::ToolMissing);
    let retryable = failure.code.is_retryable() || (of_machine && place == Where::Elsewhere);
    if !retryable || tries >= max_attempts {
        return Then::Never;
    }
    let doubled = FIRST_DELAY_MS.saturating_mul(1 << tries.saturating_sub(1).min(16));
    Then::Again { delay_ms: doubled.min(MAX_DELAY_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        let cases = [
            (ErrorCode::ToolFailed, 1, Then::Again { delay_ms: 250 }),
            (ErrorCode::ToolFailed, 2, Then::Again { delay_ms: 500 }),
            (ErrorCode::ToolFailed, 3, Then::Never),
            (ErrorCode::NotExact, 1, Then::Again { delay_ms: 250 }),
            (ErrorCode::Disk, 1, Then::Never),
            (ErrorCode::BadInput, 1, Then::Never),
        ];
        for (code, tries, then) in cases {
            assert_eq!(after(&Failure::new(code, "x"), Where::Here, tries, 3), then, "{code:?} {tries}");
        }
        let full = Failure::new(ErrorCode::Disk, "x");
        assert_eq!(after(&full, Where::Elsewhere, 1, 3), Then::Again { delay_ms: 250 });
    }
}
