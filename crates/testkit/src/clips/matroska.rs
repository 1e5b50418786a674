//! Recipes for clips in Matroska and WebM.
//!
//! It must not know where clips are kept or what tests ask of them.

use anyhow::Result;

use super::recipe::{AAC, Bench, Recipe, X264, fractal, gliding_sound, pictures, sound};
use super::{Container, Feature, bytes};

pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "open_gop_hevc",
        container: Container::Mkv,
        trap: "RASL pictures after a CRA, times rounded to milliseconds",
        expect: &[Feature::OpenGop, Feature::BFrames],
        needs: &["libx265", "libopus"],
        make: open_gop_hevc,
    },
    Recipe {
        name: "truncated",
        container: Container::Mkv,
        trap: "ends in the middle of a packet, without cues",
        expect: &[Feature::Truncated, Feature::BFrames],
        needs: &["libx264", "aac"],
        make: truncated,
    },
    Recipe {
        name: "many_streams",
        container: Container::Mkv,
        trap: "two sounds, two subtitles, chapters, an attachment, languages and dispositions",
        expect: &[
            Feature::MultiAudio,
            Feature::Subtitles,
            Feature::Chapters,
            Feature::Attachment,
            Feature::BFrames,
        ],
        needs: &["libx264", "aac", "libopus", "ass"],
        make: many_streams,
    },
    Recipe {
        name: "ffv1",
        container: Container::Mkv,
        trap: "every frame is a key frame, in a codec that MP4 cannot hold",
        expect: &[Feature::IntraOnly],
        needs: &["ffv1", "flac"],
        make: |bench| {
            let codec = "-pix_fmt yuv420p -c:v ffv1 -level 3 -g 1 -c:a flac";
            bench.encode(&format!("{} {} {codec}", pictures("25", 6), sound(6)))
        },
    },
    Recipe {
        name: "vp9_alt_ref",
        container: Container::Webm,
        trap: "more coded frames than packets; Opus starts before 0",
        expect: &[Feature::AltRef],
        needs: &["libvpx-vp9", "libopus"],
        make: vp9_alt_ref,
    },
];

fn open_gop_hevc(bench: &Bench) -> Result<()> {
    let gop = "open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=4:b-adapt=0:log-level=error";
    let codec = format!("-c:v libx265 -preset ultrafast -crf 30 -pix_fmt yuv420p -x265-params {gop}");
    bench.encode(&format!("{} {} {codec} -c:a libopus -b:a 64k", fractal("25", 7), sound(7)))
}

fn truncated(bench: &Bench) -> Result<()> {
    bench.encode(&format!("{} {} {X264} -g 25 {AAC}", pictures("25", 9), sound(9)))?;
    bytes::truncate(&bench.out(), 7, 10)
}

fn vp9_alt_ref(bench: &Bench) -> Result<()> {
    let codec = "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline good -cpu-used 5 -b:v 200k -g 50 \
        -auto-alt-ref 1 -lag-in-frames 25 -row-mt 1 -tile-columns 1";
    // The encoder makes hidden frames only when it has seen the whole clip before.
    bench.encode_to(&format!("{} {codec} -pass 1 -f null", pictures("25", 6)), "first-pass")?;
    bench.encode(&format!("{} {} {codec} -pass 2 -c:a libopus -b:a 64k", pictures("25", 6), sound(6)))
}

const CHAPTERS: &str = ";FFMETADATA1
title=Kinora test
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2500
title=First
[CHAPTER]
TIMEBASE=1/1000
START=2500
END=7000
title=Second
";

const SPOKEN: &str = "1
00:00:00,500 --> 00:00:01,900
One

2
00:00:02,040 --> 00:00:04,321
Two

3
00:00:05,000 --> 00:00:06,800
Three
";

const SIGNS: &str = "1
00:00:01,111 --> 00:00:03,222
[music]

2
00:00:04,000 --> 00:00:05,000
[rain]
";

fn many_streams(bench: &Bench) -> Result<()> {
    std::fs::write(bench.path("chapters.txt"), CHAPTERS)?;
    std::fs::write(bench.path("spoken.srt"), SPOKEN)?;
    std::fs::write(bench.path("signs.srt"), SIGNS)?;
    // Nothing reads it as a font: it only has to come out with the bytes that went in.
    std::fs::write(bench.path("kinora.ttf"), (0..2048u32).map(|n| (n * 7 % 251) as u8).collect::<Vec<_>>())?;
    let inputs = format!(
        "{} {} {} -i spoken.srt -i signs.srt -i chapters.txt",
        fractal("24000/1001", 7),
        sound(7),
        gliding_sound(500, 7)
    );
    let maps = "-map 0:v -map 1:a -map 2:a -map 3:s -map 4:s -map_metadata 5 -map_chapters 5";
    let codecs = format!("{X264} -g 24 -c:a:0 aac -b:a 64k -c:a:1 libopus -c:s:0 subrip -c:s:1 ass");
    let languages = "-metadata:s:a:0 language=eng -metadata:s:a:1 language=deu \
        -metadata:s:s:0 language=eng -metadata:s:s:1 language=fra -metadata:s:a:1 title=Kommentar";
    let dispositions = "-disposition:a:0 default -disposition:a:1 comment \
        -disposition:s:0 default+forced -disposition:s:1 hearing_impaired";
    let attachment = "-attach kinora.ttf -metadata:s:t:0 mimetype=application/x-truetype-font";
    bench.encode(&format!("{inputs} {maps} {codecs} {languages} {dispositions} {attachment}"))
}
