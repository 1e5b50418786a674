//! What follows a failed attempt.

use kinora_protocol::{ErrorCode, Failure};

/// How often a task is tried when nobody says otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Pause before the second try when nobody says otherwise, in milliseconds; it doubles with each further one.
pub const DEFAULT_DELAY_MS: i64 = 250;
/// It does not grow beyond this by doubling.
const MAX_DELAY_MS: i64 = 60_000;

/// How often a task is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Tries so far.
    pub made: u32,
    /// Tries that there are.
    pub most: u32,
    /// Pause before the second one, in milliseconds.
    pub delay_ms: i64,
}

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

/// Decides for a task that was tried and failed.
pub fn after(failure: &Failure, place: Where, tries: Tries) -> Then {
    let of_machine = matches!(failure.code, ErrorCode::Disk | ErrorCode::ToolMissing);
    let retryable = failure.code.is_retryable() || (of_machine && place == Where::Elsewhere);
    let Tries { made, most, delay_ms } = tries;
    if !retryable || made >= most {
        return Then::Never;
    }
    let doubled = delay_ms.saturating_mul(1 << made.saturating_sub(1).min(16));
    Then::Again { delay_ms: doubled.min(delay_ms.max(MAX_DELAY_MS)) }
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
        let tries = |made| Tries { made, most: 3, delay_ms: DEFAULT_DELAY_MS };
        for (code, made, then) in cases {
            assert_eq!(after(&Failure::new(code, "x"), Where::Here, tries(made)), then, "{code:?} {made}");
        }
        let full = Failure::new(ErrorCode::Disk, "x");
        assert_eq!(after(&full, Where::Elsewhere, tries(1)), Then::Again { delay_ms: 250 });
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let crash = Failure::new(ErrorCode::ToolFailed, "x");
        let delay = |made, delay_ms| after(&crash, Where::Here, Tries { made, most: 99, delay_ms });
        assert_eq!(delay(9, 250), Then::Again { delay_ms: 60_000 });
        assert_eq!(delay(1, 0), Then::Again { delay_ms: 0 });
        assert_eq!([delay(1, 300_000), delay(9, 300_000)], [Then::Again { delay_ms: 300_000 }; 2]);
    }
}
