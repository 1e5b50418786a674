//! What is found out about media besides its streams: pictures of it, colours, scenes, loudness. Each part is a task of its
//! own; its files lie end to end in one blob.

use serde::{Deserialize, Serialize};

use crate::survey::Highlight;
use crate::task::Blob;

/// The parts of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A poster and pictures from all over the video.
    Thumbnails,
    /// How often each value of red, green and blue is there.
    Histogram,
    /// Scenes, and small pictures in equal distances.
    Scenes,
    /// Loudness and waveform.
    Sound,
}

impl Part {
    /// All parts, those first that are done soonest.
    pub const ALL: [Self; 4] = [Self::Thumbnails, Self::Histogram, Self::Scenes, Self::Sound];

    /// The name in the store and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Thumbnails => "thumbnails",
            Self::Histogram => "histogram",
            Self::Scenes => "scenes",
            Self::Sound => "sound",
        }
    }

    /// Its place in a job.
    pub fn ordinal(self) -> u32 {
        match self {
            Self::Thumbnails => 0,
            Self::Histogram => 1,
            Self::Scenes => 2,
            Self::Sound => 3,
        }
    }
}

/// A picture's size in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Size {
    /// Samples in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// What a node is to find out. Times are in µs from the start of the media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum DescribeSpec {
    /// See [`Part::Thumbnails`].
    Thumbnails {
        /// Index of the video stream in the file.
        stream: u32,
        /// What the pictures are scaled to.
        size: Size,
        /// The poster is the most ordinary picture from here on.
        poster_us: i64,
        /// Where the others are taken.
        at_us: Vec<i64>,
    },
    /// See [`Part::Histogram`].
    Histogram {
        /// Index of the video stream in the file.
        stream: u32,
        /// Coded size.
        size: Size,
        /// Which frames are looked at.
        sampling: Sampling,
    },
    /// See [`Part::Scenes`].
    Scenes {
        /// Index of the video stream in the file.
        stream: u32,
        /// Frames that the index promises.
        frames: u64,
        /// What the small pictures are scaled to.
        tile: Size,
        /// Pictures in a line of a sheet, and lines of a sheet.
        grid: Size,
        /// From one to the next.
        every_us: i64,
    },
    /// See [`Part::Sound`].
    Sound {
        /// Index of the audio stream in the file.
        stream: u32,
        /// Samples per second.
        sample_rate: u32,
        /// Channels.
        channels: u32,
        /// ffmpeg's name for how they are laid out, where it is known.
        layout: Option<String>,
        /// Length of the sound, as far as it is known.
        duration_us: i64,
        /// Samples that one point of the waveform stands for.
        samples_per_point: u32,
    },
}

impl DescribeSpec {
    /// Which part it finds.
    pub fn part(&self) -> Part {
        match self {
            Self::Thumbnails { .. } => Part::Thumbnails,
            Self::Histogram { .. } => Part::Histogram,
            Self::Scenes { .. } => Part::Scenes,
            Self::Sound { .. } => Part::Sound,
        }
    }
}

/// Which frames a histogram counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Sampling {
    /// The first key frame and each so many after it: nothing else is decoded.
    KeyFrames {
        /// From one to the next.
        every: u64,
    },
    /// The first frame and each so many after it.
    Frames {
        /// From one to the next.
        every: u64,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DescribeOutput {
    /// The files of this part, end to end; none where there are none.
    pub blob: Option<Blob>,
    /// What they are, and what needs no file.
    pub found: Found,
}

/// What was found, by part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Found {
    /// See [`Part::Thumbnails`].
    Thumbnails {
        /// The poster, then the others by time.
        pictures: Vec<Picture>,
    },
    /// See [`Part::Histogram`].
    Histogram(Histogram),
    /// See [`Part::Scenes`].
    Scenes {
        /// First frame of each scene, in µs; the first is that of the video.
        starts_us: Vec<i64>,
        /// First frames of chapters, in µs; nothing where there is only one.
        #[serde(default)]
        chapters_us: Vec<i64>,
        /// What is worth to be seen first, in µs.
        #[serde(default)]
        highlights: Vec<Highlight>,
        /// The small pictures.
        sprites: Sprites,
    },
    /// It cannot be found out.
    Nothing {
        /// Which part.
        of: Part,
        /// Why.
        why: String,
    },
    /// See [`Part::Sound`].
    Sound {
        /// Loudness.
        loudness: Loudness,
        /// The waveform as JSON in the version 2 of `audiowaveform`'s data format.
        waveform: Piece,
    },
}

impl Found {
    /// Which part it is.
    pub fn part(&self) -> Part {
        match self {
            Self::Thumbnails { .. } => Part::Thumbnails,
            Self::Histogram(_) => Part::Histogram,
            Self::Scenes { .. } => Part::Scenes,
            Self::Sound { .. } => Part::Sound,
            Self::Nothing { of, .. } => *of,
        }
    }
}

/// A file in a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it begins.
    pub at: u64,
    /// Bytes.
    pub len: u64,
}

/// A JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Time of the frame, in µs; of the poster, where it was looked for.
    pub at_us: i64,
    /// The file.
    pub file: Piece,
}

/// How often each 8-bit value is there, in RGB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Histogram {
    /// Frames that were counted.
    pub frames: u64,
    /// 256 counts.
    pub red: Vec<u64>,
    /// 256 counts.
    pub green: Vec<u64>,
    /// 256 counts.
    pub blue: Vec<u64>,
}

/// Small pictures side by side in sheets, for a player's time line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sprites {
    /// Of one picture.
    pub tile: Size,
    /// Pictures in a line of a sheet, and lines.
    pub grid: Size,
    /// Time of the frame of each picture, in µs, in the order in which they fill the sheets.
    pub times_us: Vec<i64>,
    /// JPEGs.
    pub sheets: Vec<Piece>,
}

/// Loudness after EBU R 128; `None` where nothing is loud enough to be measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Loudness {
    /// Integrated loudness in LUFS.
    pub integrated_lufs: Option<f64>,
    /// Loudness range in LU.
    pub range_lu: Option<f64>,
    /// Greatest true peak of all channels in dBTP.
    pub true_peak_dbtp: Option<f64>,
}
