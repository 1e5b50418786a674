//! The heart: which frames go into which chunk, which bytes a chunk needs, and what must come out. Everything here is
//! pure and exact: integer ticks, no clock, no disk, no network, no ffmpeg.

pub mod chunk;
pub mod digest;
pub mod encoder;
mod enhance;
mod filters;
pub mod index;
mod ladder;
pub mod layout;
#[cfg(test)]
mod made;
mod network;
pub mod params;
pub mod pixel;
mod planes;
pub mod presets;
pub mod proxy;
pub mod settle;
pub mod sizing;
mod sound;
pub mod streams;
pub mod time;
pub mod window;
