//! What one ffmpeg makes of a file without splitting it, and how closely another file comes to that.
//!
//! It must not know how the other file was made. Nothing is tolerated unless a rule by name says so.

mod audio;
mod difference;
mod frames;
mod passthrough;
mod probe;
mod tags;
mod video;

pub use audio::{AudioRules, AudioSlack, AudioTrack, Segment, audio_tracks, compare_audio};
pub use difference::{Difference, Kind};
pub use frames::{Decode, Frame, Origin, Rotation, frames};
pub use passthrough::{Passthrough, lossless, passthrough};
pub use probe::{Packet, TimeBase, frame_count, packets, video_time_base};
pub use tags::{Facts, Tag, TagRules, compare_tags, tags};
pub use video::{FrameTimes, VideoRules, compare_frames, compare_video};
