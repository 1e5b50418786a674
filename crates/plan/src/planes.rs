//! Pictures that are worked on sample by sample: in which format they are for it. It must not know what is done with them.

use kinora_protocol::media::VideoFacts;
use kinora_protocol::planes::{By, Pass, Planar};

use crate::pixel::{Chroma, PixelFormat};

/// What is to be said of transparent pictures, which come out opaque.
pub(crate) fn opaque(video: &VideoFacts) -> Option<String> {
    let transparent = ["yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya8", "ya16"];
    let is = transparent.iter().any(|start| video.pix_fmt.starts_with(start));
    is.then(|| "transparency is left out: pictures are made opaque".to_owned())
}

/// Pictures as they are worked on sample by sample; the facts become those of the planes.
pub(crate) fn pass(by: By, video: &mut VideoFacts) -> Pass {
    let (format, halved, depth) = planes(&video.pix_fmt);
    let rgb = PixelFormat::parse(&video.pix_fmt).chroma == Chroma::Rgb;
    if rgb {
        video.color.space = Some("bt709".to_owned());
        video.color.range = Some("tv".to_owned());
    }
    if format.starts_with("yuvj") {
        video.color.range = Some("pc".to_owned());
    }
    video.pix_fmt.clone_from(&format);
    let picture = Planar {
        width: video.width,
        height: video.height,
        format,
        halved,
        depth,
        color: video.color.clone(),
        sample_aspect: video.sample_aspect.filter(|aspect| aspect.is_positive()),
    };
    Pass { picture, from_rgb: rgb, by }
}

/// The planar format with the chroma and the depth of another: its name, how often its chroma is halved, and its depth.
fn planes(pix_fmt: &str) -> (String, Option<[u32; 2]>, u32) {
    let PixelFormat { chroma, depth } = PixelFormat::parse(pix_fmt);
    let (name, halved) = match chroma {
        Chroma::Gray => ("gray", None),
        // Rare, and not there with more than 8 bits: nothing is lost with more chroma.
        Chroma::Yuv410 | Chroma::Yuv420 => ("yuv420p", Some([1, 1])),
        Chroma::Yuv411 | Chroma::Yuv422 => ("yuv422p", Some([1, 0])),
        Chroma::Yuv440 | Chroma::Yuv444 | Chroma::Rgb => ("yuv444p", Some([0, 0])),
    };
    match depth {
        // An old name says the range, and another name would change it.
        8 if matches!(pix_fmt, "yuvj420p" | "yuvj422p" | "yuvj444p") => (pix_fmt.to_owned(), halved, 8),
        8 => (name.to_owned(), halved, 8),
        // There is no gray of these.
        9 | 14 if halved.is_none() => (format!("{name}16le"), halved, 16),
        depth => (format!("{name}{depth}le"), halved, depth),
    }
}
