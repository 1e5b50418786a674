//! Recipes for clips in AVI, whose packets have no presentation times.
//!
//! It must not know where clips are kept or what tests ask of them.

use super::recipe::{Recipe, pictures, sound};
use super::{Container, Feature};

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "no_pts_msmpeg4",
        container: Container::Avi,
        trap: "no PTS, only a frame count",
        expect: &[Feature::MissingPts],
        needs: &["msmpeg4", "mp2"],
        make: |bench| {
            let codec = "-pix_fmt yuv420p -c:v msmpeg4 -q:v 6 -g 50 -c:a mp2";
            bench.encode(&format!("{} {} {codec}", pictures("30", 7), sound(7)))
        },
    },
    Recipe {
        name: "no_pts_asp_b",
        container: Container::Avi,
        trap: "no PTS and B-frames: display order is in no header",
        expect: &[Feature::MissingPts, Feature::BFrames],
        needs: &["mpeg4", "mp2"],
        make: |bench| {
            let codec = "-pix_fmt yuv420p -c:v mpeg4 -vtag XVID -q:v 5 -g 50 -bf 2 -c:a mp2";
            bench.encode(&format!("{} {} {codec}", pictures("25", 7), sound(7)))
        },
    },
];
