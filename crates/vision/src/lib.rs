//! What can be seen in pictures, and how they are moved and corrected, computed sample by sample: cuts, brightness and colour of scenes,
//! the camera's path. It must not know programs, files or models.

pub mod boxes;
pub mod cuts;
pub mod fit;
pub mod gray;
pub mod measure;
pub mod motion;
pub mod path;
pub mod samples;
pub mod story;
pub mod survey;
pub mod tones;
pub mod tracks;
pub mod warp;
