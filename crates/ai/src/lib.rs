//! Pictures in, pictures out: models with their facts, sessions that run them, tiles that keep memory small. It must not know
//! ffmpeg, hubs or where pictures come from.

pub mod check;
pub mod detect;
mod lanczos;
mod limit;
pub mod model;
pub mod onnx;
pub mod picture;
pub mod pool;
pub mod registry;
pub mod session;
pub mod tile;
