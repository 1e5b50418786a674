//! Recipes for clips in MPEG transport streams.
//!
//! It must not know where clips are kept or what tests ask of them.

use anyhow::Result;

use super::recipe::{AAC, Bench, Recipe, X264, pictures, sound};
use super::{Container, Feature, bytes};

/// Four seconds before 2^33 ticks of 1/90000 s; the muxer's own delay of 1.4 s comes on top.
const BEFORE_WRAP: &str = "-output_ts_offset 95438.3";

/// Two pictures of a faster source woven into one, top field first.
const WEAVE: &str = "-vf tinterlace=mode=interleave_top,setfield=tff -flags +ildct+ilme";

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "pts_wrap",
        container: Container::Ts,
        trap: "33-bit timestamps start again from 0 in the middle",
        expect: &[Feature::PtsWrap, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| plain(bench, BEFORE_WRAP),
    },
    Recipe {
        name: "start_5000s",
        container: Container::Ts,
        trap: "the first timestamp is 5000 s",
        expect: &[Feature::LateStart, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| plain(bench, "-output_ts_offset 5000"),
    },
    Recipe {
        name: "corrupt",
        container: Container::Ts,
        trap: "wrong bytes in the middle: broken packets and headers",
        expect: &[Feature::Corrupt, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| {
            plain(bench, "")?;
            bytes::corrupt_middle(&bench.out())
        },
    },
    Recipe {
        name: "interlaced_h264",
        container: Container::Ts,
        trap: "fields, top first, with open GOPs",
        expect: &[Feature::Interlaced, Feature::BFrames, Feature::OpenGop],
        needs: &["libx264", "mp2"],
        make: |bench| {
            let gop = "-g 28 -bf 3 -x264-params tff=1:open-gop=1:min-keyint=28:scenecut=0:b-adapt=0";
            bench.encode(&format!("{} {} {WEAVE} {X264} {gop} -c:a mp2", pictures("50", 7), sound(7)))
        },
    },
    Recipe {
        name: "interlaced_mpeg2",
        container: Container::Ts,
        trap: "fields, top first, in MPEG-2 with AC-3",
        expect: &[Feature::Interlaced, Feature::BFrames, Feature::OpenGop],
        needs: &["mpeg2video", "ac3"],
        make: |bench| {
            let codec = "-pix_fmt yuv420p -c:v mpeg2video -q:v 6 -g 15 -bf 2 -c:a ac3";
            bench.encode(&format!("{} {} {WEAVE} {codec}", pictures("50", 7), sound(7)))
        },
    },
];

fn plain(bench: &Bench, options: &str) -> Result<()> {
    bench.encode(&format!("{} {} {X264} -g 25 {AAC} {options}", pictures("25", 8), sound(8)))
}
