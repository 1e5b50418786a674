//! Decisions about jobs: legal states, which tasks a job comes to, whether a result is right, what follows a failure.
//! Pure: no clock, no disk, no network, no store. The hub asks, and carries out the answer.

pub mod admission;
pub mod describe;
pub mod expand;
pub mod judge;
pub mod key;
pub mod objects;
pub mod proof;
pub mod retry;
pub mod schedule;
pub mod state;
