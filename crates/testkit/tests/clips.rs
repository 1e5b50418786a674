//! Every generated clip has the trap that it is named for, as ffprobe and the bytes say.
//!
//! These tests must not know how a clip was made.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kinora_testkit::clips::{self, Clip, Container, Feature};
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::{
    AudioSlack, Decode, Packet, Tag, TagRules, audio_tracks, compare_tags, frames, packets, tags,
    video_time_base,
};

fn with(feature: Feature) -> Result<Vec<(Clip, Vec<Packet>)>> {
    let clips = clips::all()?.into_iter().filter(|clip| clip.has(feature));
    let clips: Vec<_> =
        clips.map(|clip| packets(&clip.path, "v:0").map(|packets| (clip, packets))).collect::<Result<_>>()?;
    ensure!(!clips.is_empty(), "no clip with {feature:?}");
    Ok(clips)
}

/// Packets that follow a key frame other than the first and are shown before it.
fn leading(packets: &[Packet]) -> usize {
    let first = packets.first().and_then(|p| p.pts);
    let mut key = None;
    let mut count = 0;
    for packet in packets {
        if packet.is_key() {
            key = packet.pts;
        } else if key > first && packet.pts < key {
            count += 1;
        }
    }
    count
}

/// Distances between shown frames, in ticks.
fn distances(packets: &[Packet]) -> BTreeSet<i64> {
    let mut times: Vec<i64> = packets.iter().filter_map(|p| p.pts).collect();
    times.sort_unstable();
    times.windows(2).map(|two| two[1] - two[0]).collect()
}

fn frame_entries(path: &Path, entry: &str) -> Result<Vec<String>> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", "v:0", "-show_entries", &format!("frame={entry}"), "-of", "json"]);
    let value = ffmpeg::json(command.arg(path))?;
    let frames = value["frames"].as_array().context("no frames")?;
    Ok(frames.iter().map(|frame| frame[entry].to_string().trim_matches('"').to_owned()).collect())
}

fn position(data: &[u8], what: &[u8]) -> Option<usize> {
    data.windows(what.len()).position(|window| window == what)
}

#[test]
fn every_class_is_there_and_every_frame_is_its_own() -> Result<()> {
    let clips = clips::all()?;
    let names: BTreeSet<_> = clips.iter().map(|clip| clip.name.clone()).collect();
    assert_eq!(names.len(), clips.len());
    for clip in clips.iter().filter(|clip| !clip.is_damaged()) {
        let frames = frames(&clip.path, &Decode::default())?;
        assert!((130..260).contains(&frames.len()), "{}: {} frames", clip.name, frames.len());
        let pictures: BTreeSet<_> = frames.iter().map(|frame| &frame.hash).collect();
        assert_eq!(pictures.len(), frames.len(), "{}: some pictures are the same", clip.name);
        assert!(frames.is_sorted_by_key(|frame| frame.pts_ticks), "{}: times go back", clip.name);
        assert!(std::fs::metadata(&clip.path)?.len() > 20_000);
    }
    Ok(())
}

#[test]
fn a_second_call_makes_nothing() -> Result<()> {
    let first: Vec<_> = clips::all()?.into_iter().map(|clip| clip.path).collect();
    let changed = std::fs::metadata(&first[0])?.modified()?;
    assert_eq!(clips::all()?.into_iter().map(|clip| clip.path).collect::<Vec<_>>(), first);
    assert_eq!(std::fs::metadata(&first[0])?.modified()?, changed);
    Ok(())
}

#[test]
fn open_gops_have_leading_pictures() -> Result<()> {
    for (clip, packets) in with(Feature::OpenGop)? {
        assert!(leading(&packets) >= 4, "{}: {} leading pictures", clip.name, leading(&packets));
    }
    Ok(())
}

#[test]
fn b_frames_are_reordered() -> Result<()> {
    for (clip, packets) in with(Feature::BFrames)? {
        let kinds = frame_entries(&clip.path, "pict_type")?;
        assert!(kinds.iter().any(|kind| kind == "B"), "{}", clip.name);
        if clip.container != Container::Avi {
            assert!(packets.windows(2).any(|two| two[1].pts < two[0].pts), "{}", clip.name);
        }
    }
    Ok(())
}

#[test]
fn vfr_has_many_distances_and_a_pause() -> Result<()> {
    for (clip, packets) in with(Feature::Vfr)? {
        let distances = distances(&packets);
        assert!(distances.len() >= 5, "{}: {distances:?}", clip.name);
        let rate = video_time_base(&clip.path)?.1;
        assert!(distances.last().is_some_and(|longest| *longest > rate / 2), "{}", clip.name);
    }
    Ok(())
}

#[test]
fn fine_clocks_have_times_that_need_them() -> Result<()> {
    for (clip, packets) in with(Feature::FineClock)? {
        let rate = video_time_base(&clip.path)?.1;
        assert!(rate > 10_000_000, "{}: {rate}", clip.name);
        assert!(distances(&packets).iter().any(|d| (d * 10_000_000) % rate != 0), "{}", clip.name);
    }
    Ok(())
}

/// ffprobe unwraps times, so the raw ones are read from the bytes.
#[test]
fn wrap_is_in_the_middle() -> Result<()> {
    for (clip, _) in with(Feature::PtsWrap)? {
        let times = video_pes_times(&std::fs::read(&clip.path)?);
        let late = times.iter().filter(|time| **time > (1 << 33) - 10 * 90_000).count();
        let early = times.iter().filter(|time| **time < 10 * 90_000).count();
        assert_eq!(late + early, times.len());
        assert!(late > 25 && early > 25, "{}: {late} before, {early} after", clip.name);
    }
    Ok(())
}

/// PTS fields of the video PES headers in a transport stream.
fn video_pes_times(data: &[u8]) -> Vec<u64> {
    let payload = |packet: &[u8]| -> Option<u64> {
        let starts = packet[1] & 0x40 != 0;
        let skip = if packet[3] & 0x20 != 0 { 5 + packet[4] as usize } else { 4 };
        let pes = packet.get(skip..)?;
        let is_video = starts && pes.len() > 14 && pes[..3] == [0, 0, 1] && pes[3] & 0xf0 == 0xe0;
        (is_video && pes[7] & 0x80 != 0).then(|| {
            (u64::from(pes[9]) >> 1 & 7) << 30
                | u64::from(pes[10]) << 22
                | u64::from(pes[11]) >> 1 << 15
                | u64::from(pes[12]) << 7
                | u64::from(pes[13]) >> 1
        })
    };
    data.chunks_exact(188).filter_map(payload).collect()
}

#[test]
fn late_starts_are_late() -> Result<()> {
    for (clip, _) in with(Feature::LateStart)? {
        let start = frames(&clip.path, &Decode::default())?[0].seconds();
        let wanted = if clip.container == Container::Ts { 5000.0 } else { 10.0 };
        assert!((wanted..wanted + 2.0).contains(&start), "{}: {start}", clip.name);
    }
    Ok(())
}

#[test]
fn edit_list_hides_packets() -> Result<()> {
    for (clip, packets) in with(Feature::EditList)? {
        let hidden = packets.iter().filter(|p| p.is_discarded()).count();
        assert!(hidden >= 5, "{}: {hidden} discarded packets", clip.name);
        assert!(frames(&clip.path, &Decode::default())?.len() < packets.len());
    }
    Ok(())
}

#[test]
fn iso_layouts_are_as_said() -> Result<()> {
    for (clip, _) in with(Feature::Fragmented)? {
        let data = std::fs::read(&clip.path)?;
        assert!(position(&data, b"moof").is_some() && position(&data, b"mvex").is_some(), "{}", clip.name);
    }
    for (clip, _) in with(Feature::MoovAtEnd)? {
        let data = std::fs::read(&clip.path)?;
        assert!(position(&data, b"moov") > position(&data, b"mdat"), "{}", clip.name);
        assert_eq!(video_time_base(&clip.path)?, (1, 30000));
    }
    Ok(())
}

#[test]
fn damaged_clips_are_damaged() -> Result<()> {
    for (clip, _) in with(Feature::Truncated)? {
        let data = std::fs::read(&clip.path)?;
        // The segment's size was written when the file was whole.
        let segment = position(&data, &[0x18, 0x53, 0x80, 0x67]).context("no segment")?;
        let size = u64::from_be_bytes(data[segment + 4..segment + 12].try_into()?) & 0x00ff_ffff_ffff_ffff;
        assert!(size > data.len() as u64, "{}", clip.name);
    }
    for (clip, packets) in with(Feature::Corrupt)? {
        let mut command = ffmpeg::ffmpeg();
        command.args(["-i"]).arg(&clip.path).args(["-map", "0:v:0", "-f", "null", "-"]);
        let stderr = command.output()?.stderr;
        assert!(!stderr.is_empty(), "{}: decodes without a complaint", clip.name);
        assert!(packets.len() > 100, "{}: only {} packets left", clip.name, packets.len());
    }
    Ok(())
}

#[test]
fn key_frames_are_where_they_should_be() -> Result<()> {
    let keys = |packets: &[Packet]| packets.iter().filter(|p| p.is_key()).count();
    for (clip, packets) in with(Feature::SingleGop)? {
        assert_eq!(keys(&packets), 1, "{}", clip.name);
    }
    for (clip, _) in with(Feature::IntraRefresh)? {
        let kinds = frame_entries(&clip.path, "pict_type")?;
        assert_eq!(kinds.iter().filter(|kind| *kind == "I").count(), 1, "{}", clip.name);
    }
    for (clip, packets) in with(Feature::IntraOnly)? {
        assert_eq!(keys(&packets), packets.len(), "{}", clip.name);
    }
    Ok(())
}

#[test]
fn avi_has_no_presentation_times() -> Result<()> {
    for (clip, packets) in with(Feature::MissingPts)? {
        assert_eq!(clip.container, Container::Avi);
        let missing = packets.iter().any(|p| p.pts.is_none());
        assert_eq!(missing, clip.has(Feature::BFrames), "{}", clip.name);
    }
    Ok(())
}

#[test]
fn pictures_are_as_said() -> Result<()> {
    for (clip, _) in with(Feature::OddSize)? {
        let facts = tags(&clip.path)?;
        assert_eq!(facts.get(Tag::Picture, "v:0 width"), Some("321"), "{}", clip.name);
        assert_eq!(facts.get(Tag::Picture, "v:0 height"), Some("179"), "{}", clip.name);
    }
    for (clip, _) in with(Feature::Interlaced)? {
        let interlaced = frame_entries(&clip.path, "interlaced_frame")?;
        let top = frame_entries(&clip.path, "top_field_first")?;
        assert!(interlaced.iter().chain(&top).all(|flag| flag == "1"), "{}", clip.name);
        assert_eq!(tags(&clip.path)?.get(Tag::FieldOrder, "v:0"), Some("tt"), "{}", clip.name);
    }
    for (clip, _) in with(Feature::Rotated)? {
        let facts = tags(&clip.path)?;
        let rotation = facts.get(Tag::Rotation, "v:0 Display Matrix rotation").context("no rotation")?;
        assert!(matches!(rotation, "90" | "-90"), "{}: {rotation}", clip.name);
    }
    Ok(())
}

#[test]
fn hdr_is_complete() -> Result<()> {
    for (clip, _) in with(Feature::Hdr10)? {
        let facts = tags(&clip.path)?;
        assert_eq!(facts.get(Tag::Colour, "v:0 color_transfer"), Some("smpte2084"), "{}", clip.name);
        assert_eq!(facts.get(Tag::Colour, "v:0 color_primaries"), Some("bt2020"), "{}", clip.name);
        assert_eq!(facts.get(Tag::Colour, "v:0 color_space"), Some("bt2020nc"), "{}", clip.name);
        assert_eq!(facts.get(Tag::Picture, "v:0 pix_fmt"), Some("yuv420p10le"), "{}", clip.name);
        let hdr = facts.group(Tag::Hdr);
        let has = |what: &str| hdr.iter().any(|(name, _)| name.contains(what));
        assert!(has("red_x") && has("max_luminance") && has("max_content"), "{}: {hdr:?}", clip.name);
        assert!(hdr.contains(&("v:0 Content light level metadata max_content".into(), "1000".into())));
    }
    Ok(())
}

#[test]
fn streams_are_as_said() -> Result<()> {
    for (clip, _) in with(Feature::Attachment)? {
        let facts = tags(&clip.path)?;
        let order = facts.get(Tag::Streams, "order").context("no streams")?;
        assert!(
            order.starts_with("video/h264 audio/aac audio/opus subtitle/subrip subtitle/ass attachment/")
        );
        let languages: Vec<_> = facts.group(Tag::Language).into_iter().map(|(_, word)| word).collect();
        assert_eq!(languages, ["eng", "deu", "eng", "fra"]);
        assert_eq!(facts.get(Tag::Disposition, "a:1"), Some("comment"));
        assert_eq!(facts.get(Tag::Disposition, "s:0"), Some("default+forced"));
        assert_eq!(facts.get(Tag::Disposition, "s:1"), Some("hearing_impaired"));
        assert_eq!(facts.get(Tag::Chapters, "001 title"), Some("Second"));
        assert_eq!(facts.get(Tag::Attachments, "t:0 filename"), Some("kinora.ttf"));
        assert!(facts.get(Tag::Attachments, "t:0 bytes").is_some());
        assert!(facts.group(Tag::Subtitles).len() >= 15);
        assert_eq!(video_time_base(&clip.path)?, (1, 1000));
        compare_tags(&clip.path, &clip.path, &TagRules::default())?;
    }
    for (clip, _) in with(Feature::NoAudio)? {
        assert!(audio_tracks(&clip.path, AudioSlack::Samples(1))?.is_empty(), "{}", clip.name);
    }
    Ok(())
}

#[test]
fn sound_is_late_or_longer_where_said() -> Result<()> {
    for (clip, _) in with(Feature::AudioLonger)? {
        let pictures = frames(&clip.path, &Decode::default())?;
        let track = &audio_tracks(&clip.path, AudioSlack::Samples(1))?[0];
        let end: i64 = track.segments.iter().map(|part| part.start + part.samples).max().unwrap_or(0);
        let last = pictures.last().context("no frames")?.seconds();
        assert!(end as f64 / track.rate as f64 > last + 1.5, "{}", clip.name);
    }
    for (clip, _) in with(Feature::AudioLate)? {
        let first = frames(&clip.path, &Decode::default())?[0].seconds();
        let track = &audio_tracks(&clip.path, AudioSlack::Samples(1))?[0];
        let start = track.segments[0].start as f64 / track.rate as f64;
        assert!((0.65..0.75).contains(&(start - first)), "{}: {start} against {first}", clip.name);
    }
    Ok(())
}

/// Split into coded frames, there are more of them than packets.
#[test]
fn alt_ref_frames_are_hidden_in_packets() -> Result<()> {
    for (clip, packets) in with(Feature::AltRef)? {
        let mut command = ffmpeg::ffmpeg();
        command.arg("-i").arg(&clip.path).args(["-map", "0:v:0", "-c", "copy"]);
        command.args(["-bsf:v", "vp9_superframe_split", "-f", "framecrc", "-"]);
        let split = String::from_utf8(ffmpeg::output(&mut command)?)?;
        let coded = split.lines().filter(|line| !line.starts_with('#')).count();
        assert!(coded > packets.len(), "{}: {coded} coded, {} packets", clip.name, packets.len());
    }
    Ok(())
}

#[test]
fn real_clips_are_described_when_they_are_there() -> Result<()> {
    for clip in clips::shared().into_iter().flatten() {
        assert!(!clip.expect.is_empty() && clip.path.is_file(), "{}", clip.name);
        assert_eq!(Some(clip.container), Container::of(&clip.path));
        assert!(!packets(&clip.path, "v:0")?.is_empty(), "{}", clip.name);
    }
    Ok(())
}
