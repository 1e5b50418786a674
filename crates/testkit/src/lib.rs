//! What the integration tests of every crate share: difficult clips, what a single ffmpeg makes of them, broken
//! ffmpegs, and faults at chosen moments.
//!
//! It must not know the product: it depends on none of its crates and spawns ffmpeg by itself, so that a mistake
//! in the product cannot hide in the yardstick that measures it.

pub mod clips;
pub mod fault;
pub mod ffmpeg;
mod notice;
pub mod reference;
pub mod stub;
