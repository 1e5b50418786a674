//! What clients of other systems say, translated onto the same use cases; nothing is decided here. One file for each system.

pub(super) mod cluster;
pub(super) mod edge;
mod form;
pub(super) mod inference;
mod progress;
pub(super) mod render;
pub(super) mod service;
pub(super) mod video;
