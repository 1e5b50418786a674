//! How the time of an attempt is told: what it waited for is noted, and the rest was work. It must not know what the work is.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kinora_protocol::step::{Step, StepKind};

/// Parts that are told of one attempt at the most; what comes later is part of the last one of its kind.
const MOST: usize = 16;
/// Shorter stretches between two parts are nothing.
const LEAST: Duration = Duration::from_millis(1);
/// What took less was not waited for: it was there.
const THERE: Duration = Duration::from_micros(50);

/// Where the time of an attempt goes.
#[derive(Debug)]
pub(crate) struct Steps {
    began: Instant,
    noted: Mutex<Vec<(StepKind, Duration, Duration)>>,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), noted: Mutex::default() }
    }

    /// Notes what something takes.
    pub(crate) async fn of<T>(&self, kind: StepKind, what: impl Future<Output = T>) -> T {
        let from = self.began.elapsed();
        let outcome = what.await;
        self.note(kind, from, self.began.elapsed());
        outcome
    }

    fn note(&self, kind: StepKind, from: Duration, to: Duration) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let full = noted.len() >= MOST;
        match noted.last_mut() {
            // A join fetches thousands of chunks: that is one part.
            Some(last) if full || (last.0 == kind && from.saturating_sub(last.2) < LEAST) => last.2 = to,
            _ => noted.push((kind, from, to)),
        }
    }

    /// All of it until now, in order.
    pub(crate) fn told(&self) -> Vec<Step> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        parts(&noted, self.began.elapsed())
    }
}

/// What was noted, with work in between.
fn parts(noted: &[(StepKind, Duration, Duration)], end: Duration) -> Vec<Step> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let mut told = Vec::new();
    let mut tell = |kind, from: Duration, to: Duration| {
        let took = to.saturating_sub(from);
        let least = if kind == StepKind::Work { LEAST } else { THERE };
        if took >= least {
            told.push(Step { kind, start_us: micros(from), us: micros(took) });
        }
    };
    let mut at = Duration::ZERO;
    for (kind, from, to) in noted {
        tell(StepKind::Work, at, *from);
        tell(*kind, *from, *to);
        at = *to;
    }
    tell(StepKind::Work, at, end);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_not_waited_for_is_work() {
        let noted = [(StepKind::Fetch, ms(0), ms(20)), (StepKind::HandIn, ms(90), ms(95))];
        let told: Vec<_> = parts(&noted, ms(95)).iter().map(|s| (s.kind, s.start_us, s.us)).collect();
        let wanted = [
            (StepKind::Fetch, 0, 20_000),
            (StepKind::Work, 20_000, 70_000),
            (StepKind::HandIn, 90_000, 5_000),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn work_that_fetches_nothing_is_all_work() {
        let told = parts(&[(StepKind::Fetch, ms(0), ms(0))], ms(7));
        assert_eq!(told, [Step { kind: StepKind::Work, start_us: 0, us: 7_000 }]);
    }

    #[test]
    fn thousands_of_fetches_are_one_part() {
        let steps = Steps::begin();
        for at in 0..5_000 {
            steps.note(StepKind::Fetch, ms(at), ms(at + 1));
        }
        assert_eq!(*steps.noted.lock().unwrap(), [(StepKind::Fetch, ms(0), ms(5_000))]);
    }

    #[test]
    fn however_often_it_changes_little_is_told() {
        let steps = Steps::begin();
        for at in 0..1_000 {
            let kind = if at % 2 == 0 { StepKind::Fetch } else { StepKind::HandIn };
            steps.note(kind, ms(at * 10), ms(at * 10 + 5));
        }
        let noted = steps.noted.lock().unwrap();
        assert!(parts(&noted, ms(10_000)).len() <= 2 * MOST + 1);
        assert_eq!(noted.last().unwrap().2, ms(9_995));
    }
}
