//! A node: takes leases, runs tasks, reports. It talks to a hub in messages (`protocol::node`) over two channels and must not
//! know what a store is or why a task is wanted. `remote` carries the messages over a network.

mod benchmark;
pub mod cache;
pub mod capability;
pub mod claim;
pub mod identity;
mod jitter;
mod load;
pub mod machine;
mod memory;
pub mod models;
mod ranges;
pub mod reach;
pub mod remote;
mod run;
pub mod scratch;
mod steps;

pub use claim::{Link, Signals, Worker};
pub use scratch::Folders;
