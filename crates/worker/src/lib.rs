//! A node: takes leases, runs tasks, reports. It talks to a hub in messages (`protocol::node`) over two channels and must not
//! know how they are carried, what a store is, or why a task is wanted.

pub mod capability;
pub mod claim;
mod run;
pub mod scratch;

pub use claim::{Link, Worker};
pub use scratch::Folders;
