//! Facts of a plain film, for tests of what is decided by them.

use std::collections::BTreeMap;

use kinora_protocol::Rational;
use kinora_protocol::media::{Color, MediaFacts, Stream, StreamKind, VideoFacts};

/// A film of H.264 without sound.
pub(crate) fn facts(width: u32, height: u32, rotation: u16) -> MediaFacts {
    let video = VideoFacts {
        width,
        height,
        pix_fmt: "yuv420p".to_owned(),
        r_frame_rate: Rational::new(25, 1).unwrap(),
        avg_frame_rate: None,
        field_order: None,
        sample_aspect: None,
        rotation,
        color: Color::default(),
        hdr: None,
    };
    let stream = Stream {
        index: 0,
        codec: Some("h264".to_owned()),
        start_us: None,
        time_base: Rational::new(1, 12_800).unwrap(),
        tags: BTreeMap::new(),
        dispositions: Vec::new(),
        kind: StreamKind::Video(video),
    };
    MediaFacts {
        format: "mov,mp4".to_owned(),
        size: 1,
        start_us: None,
        duration_us: None,
        bit_rate: None,
        tags: BTreeMap::new(),
        streams: vec![stream],
        chapters: 0,
    }
}

/// The facts of its pictures, to be changed.
pub(crate) fn video(facts: &mut MediaFacts) -> &mut VideoFacts {
    match &mut facts.streams[0].kind {
        StreamKind::Video(video) => video,
        _ => unreachable!("the film has pictures"),
    }
}
