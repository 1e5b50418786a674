//! ffmpeg: facts in, argument lists out, files checked. Nothing here decides what to do with media (that is `plan` and
//! `jobs`), and nothing here knows a hub, a store or a lease.

pub mod audio;
pub mod command;
pub mod describe;
pub mod encode;
pub mod error;
pub mod fragments;
pub mod hash;
mod hls;
pub mod index;
pub mod inspect;
pub mod join;
pub mod layout;
mod loudness;
pub mod measure;
pub mod nut;
pub mod package;
pub mod pictures;
pub mod probe;
pub mod process;
mod samples;
pub mod sandbox;
pub mod scene;
mod sound;
pub mod tools;
pub mod trial;
pub mod window;

pub use error::MediaError;
pub use process::Control;
pub use sandbox::Sandbox;
pub use tools::Tools;
