//! How untrusted media is opened: the options that keep ffmpeg to files and to demuxers we take.
//! They were tried against hostile inputs; see docs/media.md.

use std::path::Path;

use super::Args;

/// Demuxers for sources. Playlists, `concat`, `dash`, `sdp`, subtitles as video and the like are not among them.
pub const FORMATS: &str = "mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,\
gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe";

/// Greatest number of samples in a picture.
const MAX_PIXELS: &str = "35651584";
/// Greatest single allocation in bytes.
pub(super) const MAX_ALLOC: &str = "536870912";
const MAX_STREAMS: &str = "64";

/// Asks nothing and says errors only.
pub(super) fn silent() -> Args {
    let mut args = Args::default();
    args.words(["-hide_banner", "-nostdin", "-v", "error", "-nostats"]);
    args
}

/// What every run of ffmpeg starts with whose standard output is its progress.
pub fn prologue() -> Args {
    let mut args = silent();
    args.words(["-progress", "pipe:1", "-stats_period", "0.5"]);
    args.option("-max_alloc", MAX_ALLOC);
    args
}

/// What stands before each source.
pub fn guard(args: &mut Args) -> &mut Args {
    args.option("-protocol_whitelist", "file")
        .option("-format_whitelist", FORMATS)
        .option("-max_streams", MAX_STREAMS)
}

/// A source with its guard.
pub fn source(args: &mut Args, path: &Path) {
    guard(args).words(["-i"]);
    args.file(path);
}

/// Limits on what a decoder may allocate; stands before a source that is decoded.
pub fn decode_limits(args: &mut Args) {
    args.option("-max_pixels", MAX_PIXELS);
}
