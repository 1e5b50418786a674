//! The comparisons find what they are for, and pass what is the same.
//!
//! These tests must not know the product; they compare ffmpeg's own outputs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kinora_testkit::clips::{self, Container};
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::{
    AudioRules, Decode, Difference, Frame, FrameTimes, Kind, Origin, Passthrough, Tag, TagRules, VideoRules,
    audio_tracks, compare_audio, compare_frames, compare_tags, compare_video, frames, passthrough, tags,
};

/// One ffmpeg run from a clip to a new file.
fn remake(clip: &Path, input: &[&str], output: &[&str], to: &Path) -> Result<PathBuf> {
    let mut command = ffmpeg::ffmpeg();
    ffmpeg::output(command.args(input).arg("-i").arg(clip).args(output).arg(to))?;
    Ok(to.to_owned())
}

const LOSSLESS: [&str; 12] = [
    "-map",
    "0:v",
    "-map",
    "0:a",
    "-c:v",
    "ffv1",
    "-fps_mode",
    "passthrough",
    "-enc_time_base:v",
    "1/12800",
    "-c:a",
    "flac",
];

fn kind(result: Result<(), Difference>) -> Option<Kind> {
    result.err().map(|difference| {
        eprintln!("{difference}");
        difference.kind
    })
}

fn base() -> Result<Vec<Frame>> {
    frames(&clips::named("open_gop_h264")?.path, &Decode::default())
}

#[test]
fn a_dropped_frame_is_found() -> Result<()> {
    let whole = base()?;
    let mut dropped = whole.clone();
    dropped.remove(77);
    let difference = compare_frames(&whole, &dropped, FrameTimes::Exact).err().context("not found")?;
    assert_eq!(difference.kind, Kind::FrameCount);
    assert!(difference.text.starts_with("frame 77 "), "{difference}");
    let mut cut = whole.clone();
    cut.pop();
    assert_eq!(kind(compare_frames(&whole, &cut, FrameTimes::Exact)), Some(Kind::FrameCount));
    Ok(())
}

#[test]
fn swapped_frames_are_found() -> Result<()> {
    let whole = base()?;
    let mut swapped = whole.clone();
    let hash = swapped[50].hash.clone();
    swapped[50].hash = std::mem::replace(&mut swapped[51].hash, hash);
    let difference = compare_frames(&whole, &swapped, FrameTimes::Exact).err().context("not found")?;
    assert_eq!(difference.kind, Kind::FramePicture);
    assert!(difference.text.contains("frame 50 ") && difference.text.contains("frame 51 "), "{difference}");
    Ok(())
}

#[test]
fn one_tick_is_found_and_tolerances_end_where_they_say() -> Result<()> {
    let whole = base()?;
    let shifted = |by: i64| {
        let mut frames = whole.clone();
        frames[30].pts_ticks += by;
        frames
    };
    assert_eq!(kind(compare_frames(&whole, &shifted(1), FrameTimes::Exact)), Some(Kind::FrameTime));
    // 1/12800 s: 12 ticks are 0.94 ms, 13 are 1.02 ms.
    assert_eq!(whole[0].time_base, (1, 12800));
    assert_eq!(kind(compare_frames(&whole, &shifted(12), FrameTimes::WithinMillis(1))), None);
    assert_eq!(
        kind(compare_frames(&whole, &shifted(-13), FrameTimes::WithinMillis(1))),
        Some(Kind::FrameTime)
    );
    assert_eq!(kind(compare_frames(&whole, &shifted(1), FrameTimes::WithinHalfTick)), Some(Kind::FrameTime));
    // The same moments in another time base are the same.
    let doubled = whole.iter().map(|frame| Frame {
        pts_ticks: frame.pts_ticks * 2,
        time_base: (1, 25600),
        ..frame.clone()
    });
    assert_eq!(kind(compare_frames(&whole, &doubled.collect::<Vec<_>>(), FrameTimes::Exact)), None);
    Ok(())
}

#[test]
fn files_with_changed_video_are_told_apart() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let clip = clips::named("open_gop_h264")?.path;
    let rules = VideoRules::same_container(Container::Mkv);
    let make = |name: &str, filter: &str| {
        let args = [&LOSSLESS[..], &["-vf", filter]].concat();
        remake(&clip, &[], &args, &temp.path().join(name))
    };
    let whole = make("whole.mkv", "null")?;
    let again = make("again.mkv", "null")?;
    assert_eq!(kind(compare_video(&whole, &again, &rules)), None);
    let dropped = make("dropped.mkv", "select=not(eq(n\\,60))")?;
    assert_eq!(kind(compare_video(&whole, &dropped, &rules)), Some(Kind::FrameCount));
    let later = make("later.mkv", "setpts=PTS+gte(N\\,60)*0.01/TB")?;
    assert_eq!(kind(compare_video(&whole, &later, &rules)), Some(Kind::FrameTime));
    let swapped = make("swapped.mkv", "shuffleframes=1 0")?;
    assert_eq!(kind(compare_video(&whole, &swapped, &rules)), Some(Kind::FramePicture));
    let bright = make("bright.mkv", "lutyuv=y=if(eq(val\\,100)\\,101\\,val)")?;
    assert_eq!(kind(compare_video(&whole, &bright, &rules)), Some(Kind::FramePicture));
    assert_eq!(kind(compare_video(&whole, Path::new("/no/such.mkv"), &rules)), Some(Kind::Unreadable));
    Ok(())
}

#[test]
fn shifted_sound_is_found() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let clip = clips::named("many_streams")?.path;
    let rules = AudioRules::same_container(Container::Mp4);
    let make = |name: &str, filter: &str| {
        let output =
            ["-map", "0:a", "-c:a", "alac", "-movie_timescale", "48000", "-filter:a:1", filter, "-f", "mp4"];
        remake(&clip, &[], &output, &temp.path().join(name))
    };
    let whole = make("whole.mp4", "anull")?;
    assert_eq!(kind(compare_audio(&whole, &make("again.mp4", "anull")?, &rules)), None);
    // Ten samples cut from the front, times kept: the sound is early.
    let early = make("early.mp4", "atrim=start_sample=10,asetpts=PTS-STARTPTS")?;
    assert_eq!(kind(compare_audio(&whole, &early, &rules)), Some(Kind::AudioSamples));
    // The same samples, ten later.
    let late = make("late.mp4", "asetpts=PTS+10")?;
    assert_eq!(kind(compare_audio(&whole, &late, &rules)), Some(Kind::AudioStart));
    let short = make("short.mp4", "atrim=end_sample=300000")?;
    assert_eq!(kind(compare_audio(&whole, &short, &rules)), Some(Kind::AudioLength));
    let gap = make("gap.mp4", "asetpts=PTS+gte(N\\,100)*480")?;
    assert_eq!(kind(compare_audio(&whole, &gap, &rules)), Some(Kind::AudioStart));
    let one = remake(&whole, &[], &["-map", "0:a:0", "-c", "copy"], &temp.path().join("one.mp4"))?;
    assert_eq!(kind(compare_audio(&whole, &one, &rules)), Some(Kind::AudioStreams));
    Ok(())
}

#[test]
fn changed_tags_are_found_one_by_one() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let clip = clips::named("many_streams")?.path;
    let all = ["-map", "0", "-c", "copy"];
    let make = |name: &str, options: &[&str]| {
        remake(&clip, &[], &[&all[..], options].concat(), &temp.path().join(name))
    };
    let whole = make("whole.mkv", &[])?;
    let none = TagRules::default();
    assert_eq!(kind(compare_tags(&clip, &whole, &none)), None);
    for (tag, options) in [
        (Tag::Language, &["-metadata:s:a:1", "language=ita"][..]),
        (Tag::Disposition, &["-disposition:s:1", "0"]),
        (Tag::Chapters, &["-map_chapters", "-1"]),
        (Tag::StreamTitle, &["-metadata:s:a:1", "title="]),
        (Tag::Attachments, &["-metadata:s:t:0", "filename=other.ttf"]),
        (Tag::FileTags, &["-metadata", "title=Other"]),
    ] {
        let other = make("other.mkv", options)?;
        let difference =
            compare_tags(&whole, &other, &none).err().with_context(|| format!("{tag:?} was not found"))?;
        let lines: Vec<_> = difference.text.lines().collect();
        assert!(lines.iter().all(|line| line.starts_with(&format!("{tag:?} "))), "{tag:?}: {lines:?}");
        let rules = TagRules { ignored: [tag].into(), ..TagRules::default() };
        assert_eq!(kind(compare_tags(&whole, &other, &rules)), None);
    }
    Ok(())
}

#[test]
fn subtitle_times_and_their_tolerance() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let clip = clips::named("many_streams")?.path;
    let only = ["-map", "0:s:0", "-c", "copy"];
    let on_time = remake(&clip, &[], &only, &temp.path().join("a.mkv"))?;
    let late = remake(&clip, &["-itsoffset", "0.003"], &only, &temp.path().join("b.mkv"))?;
    let rules = |time_slack_millis| TagRules { time_slack_millis, ..TagRules::default() };
    assert_eq!(kind(compare_tags(&on_time, &late, &rules(2))), Some(Kind::Tags));
    assert_eq!(kind(compare_tags(&on_time, &late, &rules(3))), None);
    Ok(())
}

/// The yardstick itself keeps every picture and time of every clip that is not damaged.
fn passthrough_keeps_every_frame(of: fn(Container) -> bool, into: &[Container]) -> Result<()> {
    let temp = tempfile::tempdir()?;
    let mut failed = Vec::new();
    for clip in clips::all()?.into_iter().filter(|clip| !clip.is_damaged() && of(clip.container)) {
        for container in into.iter().copied() {
            let out = passthrough(&clip.path, temp.path(), &Passthrough::lossless(&clip.path, container)?)
                .with_context(|| clip.name.clone())?;
            let mut rules = VideoRules::same_container(container);
            // Matroska moves everything by the priming of the sound; what ends up at 0 is another test's matter.
            rules.origin = Origin::FirstFrame;
            audio_tracks(&out, AudioRules::same_container(container).joint)?;
            tags(&out)?;
            if let Err(difference) = compare_video(&clip.path, &out, &rules) {
                failed.push(format!("{} in {container:?}: {difference}", clip.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn passthrough_keeps_iso_clips() -> Result<()> {
    passthrough_keeps_every_frame(Container::is_iso, &[Container::Mp4])
}

#[test]
fn passthrough_keeps_matroska_clips() -> Result<()> {
    passthrough_keeps_every_frame(|of| of == Container::Mkv, &[Container::Mkv])?;
    passthrough_keeps_every_frame(|of| of == Container::Webm, &[Container::Webm])
}

#[test]
fn passthrough_keeps_clips_of_other_containers() -> Result<()> {
    let other = |of| matches!(of, Container::Ts | Container::Avi);
    passthrough_keeps_every_frame(other, &[Container::Mp4, Container::Mkv])
}
