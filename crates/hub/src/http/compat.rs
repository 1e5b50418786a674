//! What clients of other systems say, translated onto the same use cases; nothing is decided here. One file for each system.

pub(super) mod cluster;
pub(super) mod edge;
