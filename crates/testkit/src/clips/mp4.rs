//! Recipes for clips in MP4 and MOV.
//!
//! It must not know where clips are kept or what tests ask of them.

use anyhow::Result;

use super::recipe::{AAC, Bench, Recipe, X264, fractal, pictures, sized_fractal, sound};
use super::{Container, Feature, bytes};

/// HDR10 colours, mastering display and light levels, as the encoders write them.
const HDR_COLOURS: &str = "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc -color_range tv";
const HDR_X265: &str = "hdr10=1:repeat-headers=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:\
    master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400:\
    range=limited:open-gop=1:keyint=28:min-keyint=28:scenecut=0:bframes=3:b-adapt=0:log-level=error";
const HDR_SVT: &str = "enable-hdr=1:keyint=25:mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)\
    WP(0.3127,0.329)L(1000.0,0.0001):content-light=1000,400";

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "open_gop_h264",
        container: Container::Mp4,
        trap: "frames before a key frame need the key frame before that",
        expect: &[Feature::OpenGop, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: open_gop_h264,
    },
    Recipe {
        name: "vfr",
        container: Container::Mp4,
        trap: "uneven times and a pause: frame numbers are no times",
        expect: &[Feature::Vfr, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: vfr,
    },
    Recipe {
        name: "fine_clock",
        container: Container::Mp4,
        trap: "uneven times on a clock finer than some encoders' own",
        expect: &[Feature::FineClock, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: fine_clock,
    },
    Recipe {
        name: "edit_list",
        container: Container::Mp4,
        trap: "packets before the edit list's start are decoded but not shown",
        expect: &[Feature::EditList, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: edit_list,
    },
    Recipe {
        name: "fragmented",
        container: Container::Mp4,
        trap: "no sample tables in moov, offsets relative to each moof",
        expect: &[Feature::Fragmented, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| plain(bench, "-g 30 -movflags +frag_keyframe+empty_moov+default_base_moof"),
    },
    Recipe {
        name: "single_gop",
        container: Container::Mp4,
        trap: "nothing to seek to but the start",
        expect: &[Feature::SingleGop, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| plain(bench, "-g 9999 -keyint_min 9999 -sc_threshold 0"),
    },
    Recipe {
        name: "intra_refresh",
        container: Container::Mp4,
        trap: "no whole intra picture after the first",
        expect: &[Feature::IntraRefresh],
        needs: &["libx264", "aac"],
        make: |bench| plain(bench, "-bf 0 -x264-params intra-refresh=1:keyint=40"),
    },
    Recipe {
        name: "odd_size",
        container: Container::Mp4,
        trap: "321x179: chroma is rounded up",
        expect: &[Feature::OddSize],
        needs: &["libvpx-vp9", "aac"],
        make: odd_size,
    },
    Recipe {
        name: "hdr10_hevc",
        container: Container::Mp4,
        trap: "ten bits, mastering display and light levels",
        expect: &[Feature::Hdr10, Feature::TenBit, Feature::OpenGop, Feature::BFrames, Feature::NoAudio],
        needs: &["libx265"],
        make: hdr10_hevc,
    },
    Recipe {
        name: "hdr10_av1",
        container: Container::Mp4,
        trap: "ten bits, HDR10 metadata in OBUs, hidden frames",
        expect: &[Feature::Hdr10, Feature::TenBit, Feature::NoAudio],
        needs: &["libsvtav1"],
        make: hdr10_av1,
    },
    Recipe {
        name: "rotated",
        container: Container::Mp4,
        trap: "turned by a display matrix: once, not twice and not never",
        expect: &[Feature::Rotated, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: rotated,
    },
    Recipe {
        name: "audio_longer",
        container: Container::Mp4,
        trap: "sound goes on for two seconds after the last picture",
        expect: &[Feature::AudioLonger, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| bench.encode(&format!("{} {} {X264} -g 25 {AAC}", pictures("25", 6), sound(8))),
    },
    Recipe {
        name: "audio_late",
        container: Container::Mp4,
        trap: "sound starts 0.7 s after the picture",
        expect: &[Feature::AudioLate, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| {
            bench.encode(&format!("{} -itsoffset 0.7 {} {X264} -g 25 {AAC}", pictures("25", 6), sound(5)))
        },
    },
    Recipe {
        name: "no_audio",
        container: Container::Mp4,
        trap: "no sound at all",
        expect: &[Feature::NoAudio, Feature::BFrames],
        needs: &["libx264"],
        make: |bench| bench.encode(&format!("{} {X264} -g 25", fractal("24", 6))),
    },
    Recipe {
        name: "first_pts_10s",
        container: Container::Mp4,
        trap: "the first picture and sound are at 10 s",
        expect: &[Feature::LateStart, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| plain(bench, "-g 25 -output_ts_offset 10"),
    },
    Recipe {
        name: "moov_at_end_2997",
        container: Container::Mp4,
        trap: "the index comes last; 30000/1001 frames a second",
        expect: &[Feature::MoovAtEnd, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: |bench| bench.encode(&format!("{} {} {X264} -g 30 {AAC}", fractal("30000/1001", 7), sound(7))),
    },
    Recipe {
        name: "prores",
        container: Container::Mov,
        trap: "every frame is a key frame; 4:2:2 of ten bits, PCM sound",
        expect: &[Feature::IntraOnly, Feature::TenBit],
        needs: &["prores_ks", "pcm_s16le"],
        make: prores,
    },
];

/// Seven seconds of 25 frames in H.264 with AAC.
fn plain(bench: &Bench, options: &str) -> Result<()> {
    bench.encode(&format!("{} {} {X264} {AAC} {options}", pictures("25", 7), sound(7)))
}

/// The distance of key frames is a multiple of that of P-frames: only then are B-frames left before each key frame.
fn open_gop_h264(bench: &Bench) -> Result<()> {
    let gop = "-g 28 -bf 3 -x264-params open-gop=1:min-keyint=28:scenecut=0:b-adapt=0:b-pyramid=normal";
    bench.encode(&format!("{} {} {X264} {gop} {AAC}", fractal("25", 8), sound(8)))
}

/// 25 frames a second, each up to 26 ms late by a pattern of 11, and a pause of 0.6 s in the middle.
fn vfr(bench: &Bench) -> Result<()> {
    let times = r"settb=1/90000,setpts=N*3600+mod(N*N*37\,11)*230+gt(N\,80)*54000";
    let timing = "-fps_mode passthrough -enc_time_base 1/90000 -video_track_timescale 90000";
    bench.encode(&format!("{} {} -vf {times} {timing} {X264} -g 40 {AAC}", pictures("25", 7), sound(7)))
}

fn fine_clock(bench: &Bench) -> Result<()> {
    let times = r"settb=1/23040000,setpts=N*767849+mod(N*N*37\,11)*2301";
    let timing = "-fps_mode passthrough -enc_time_base 1/23040000 -video_track_timescale 23040000";
    bench.encode(&format!("{} {} -vf {times} {timing} {X264} -g 40 {AAC}", pictures("30", 6), sound(6)))
}

/// A copied trim that starts between key frames.
fn edit_list(bench: &Bench) -> Result<()> {
    bench.encode_to(&format!("{} {} {X264} -g 50 {AAC}", pictures("25", 9), sound(9)), "whole.mp4")?;
    bench.encode("-ss 1.32 -i whole.mp4 -c copy")
}

fn odd_size(bench: &Bench) -> Result<()> {
    let vp9 = "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 0 -crf 40 -g 50";
    bench.encode(&format!("{} {} {vp9} {AAC}", sized_fractal("321x179", "25", 6), sound(6)))
}

fn hdr10_hevc(bench: &Bench) -> Result<()> {
    let codec = "-pix_fmt yuv420p10le -c:v libx265 -preset ultrafast -crf 30 -tag:v hvc1";
    bench.encode(&format!("{} {codec} {HDR_COLOURS} -x265-params {HDR_X265}", pictures("25", 6)))
}

fn hdr10_av1(bench: &Bench) -> Result<()> {
    let codec = "-pix_fmt yuv420p10le -c:v libsvtav1 -preset 12 -crf 45 -g 25";
    bench.encode(&format!("{} {codec} {HDR_COLOURS} -svtav1-params {HDR_SVT}", pictures("25", 6)))
}

fn rotated(bench: &Bench) -> Result<()> {
    plain(bench, "-g 25")?;
    bytes::rotate_90(&bench.out())
}

fn prores(bench: &Bench) -> Result<()> {
    let codec = "-pix_fmt yuv422p10le -c:v prores_ks -profile:v 0 -c:a pcm_s16le";
    bench.encode(&format!("{} {} {codec}", pictures("25", 6), sound(6)))
}
