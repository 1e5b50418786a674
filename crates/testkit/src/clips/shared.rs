//! Real clips from a folder outside the project, when there is one.
//!
//! It must not know how tests use them; only what each one's trap is.

use std::path::PathBuf;

use super::{Clip, Container, Feature, workspace};
use crate::notice;

/// Names the folder of real clips; without it, the one beside the workspace is looked for.
const FOLDER: &str = "KINORA_SHARED_MEDIA";

/// Where the real clips are expected.
pub fn shared_folder() -> PathBuf {
    match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("../shared/media"),
    }
}

/// Every `d*` clip of the folder, by name; `None`, and a loud line on stderr, when there is no such folder.
pub fn shared() -> Option<Vec<Clip>> {
    let folder = shared_folder();
    let Ok(entries) = std::fs::read_dir(&folder) else {
        notice::loud(&format!(
            "NO REAL CLIPS AT {}: TESTS WITH THEM DO NOTHING ({FOLDER})",
            folder.display()
        ));
        return None;
    };
    let mut clips: Vec<Clip> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let container = Container::of(&path)?;
            let name = path.file_stem()?.to_str()?.to_owned();
            let (trap, expect) = known(name.strip_prefix('d').is_some().then_some(name.as_str())?);
            Some(Clip { name, path, container, trap, expect })
        })
        .collect();
    clips.sort_by(|a, b| a.name.cmp(&b.name));
    if clips.is_empty() {
        notice::loud(&format!("{} HOLDS NO CLIP d*: TESTS WITH THEM DO NOTHING", folder.display()));
    }
    Some(clips)
}

/// Trap and features by the number that a clip's name starts with.
fn known(name: &str) -> (&'static str, &'static [Feature]) {
    let number = name.split('_').next().unwrap_or(name);
    TRAPS
        .iter()
        .find(|(known, ..)| number.starts_with(known))
        .map_or(("not described", &[]), |(_, trap, expect)| (*trap, *expect))
}

type Known = (&'static str, &'static str, &'static [Feature]);

const TRAPS: &[Known] = &[
    ("d01", "a real film", &[Feature::BFrames]),
    ("d02", "open-GOP H.264 with three B-frames", &[Feature::OpenGop, Feature::BFrames]),
    ("d03", "open-GOP HEVC in MKV", &[Feature::OpenGop, Feature::BFrames]),
    ("d04", "VP9 alt-ref with Opus", &[Feature::AltRef]),
    ("d05", "phone, variable frame rate, time base 1/23040000", &[Feature::Vfr]),
    ("d06", "strong VFR, turned by 90 degrees", &[Feature::Vfr, Feature::Rotated, Feature::BFrames]),
    (
        "d07",
        "AAC 5.1, a second sound, SRT, chapters",
        &[Feature::MultiAudio, Feature::Subtitles, Feature::Chapters, Feature::BFrames],
    ),
    (
        "d08",
        "HLG HEVC, rotation, edit list with discarded packets, data tracks",
        &[
            Feature::Hlg,
            Feature::TenBit,
            Feature::Rotated,
            Feature::EditList,
            Feature::Vfr,
            Feature::DataStreams,
        ],
    ),
    ("d09", "HDR10 AV1", &[Feature::Hdr10, Feature::TenBit]),
    (
        "d10",
        "HDR10 HEVC with open GOPs",
        &[Feature::Hdr10, Feature::TenBit, Feature::OpenGop, Feature::BFrames, Feature::DataStreams],
    ),
    (
        "d11",
        "H.264 576i, top field first, open GOP",
        &[Feature::Interlaced, Feature::OpenGop, Feature::BFrames],
    ),
    (
        "d12",
        "MPEG-2 576i that starts at 5000 s",
        &[Feature::Interlaced, Feature::LateStart, Feature::BFrames],
    ),
    ("d13", "641x359", &[Feature::OddSize]),
    ("d14", "33-bit timestamps wrap", &[Feature::PtsWrap, Feature::BFrames]),
    ("d15", "fragmented MP4", &[Feature::Fragmented]),
    ("d16", "index at the end, 30000/1001", &[Feature::MoovAtEnd]),
    ("d17", "no sound", &[Feature::NoAudio]),
    ("d18", "sound longer than the picture", &[Feature::AudioLonger]),
    ("d19", "truncated", &[Feature::Truncated]),
    ("d20", "wrong bytes", &[Feature::Corrupt]),
    ("d21", "first PTS at 10 s", &[Feature::LateStart, Feature::NoAudio]),
    ("d22", "MS-MPEG-4 without PTS", &[Feature::MissingPts]),
    ("d23", "one GOP of 40 s", &[Feature::SingleGop, Feature::NoAudio]),
    ("d24", "intra refresh", &[Feature::IntraRefresh]),
    ("d25", "MPEG-4 ASP with B-frames, no PTS", &[Feature::MissingPts, Feature::BFrames]),
];
