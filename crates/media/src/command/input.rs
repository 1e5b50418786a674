//! How untrusted media is opened: the options that keep ffmpeg to files and to demuxers we take.
//! They were tried against hostile inputs; see docs/media.md.

use std::path::Path;

use super::{Args, Limit};

/// Demuxers for sources. Playlists, `concat`, `dash`, `sdp`, subtitles as video and the like are not among them.
pub const FORMATS: &str = "mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,\
gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe";

/// Decoders for sources: those of codecs that people have films and sounds in. Rare ones are where holes stay open.
pub const DECODERS: &str = "h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,\
msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,\
rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,\
tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,\
libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,\
adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,\
pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,\
pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text";

/// Asks nothing and says errors only.
pub(super) fn silent() -> Args {
    let mut args = Args::default();
    args.words(["-hide_banner", "-nostdin", "-v", "error", "-nostats"]);
    args
}

/// What a run starts with that decodes and whose standard output is not its progress.
pub fn quiet() -> Args {
    let mut args = silent();
    args.limit("-max_alloc", Limit::Allocation);
    args
}

/// What every run of ffmpeg starts with whose standard output is its progress.
pub fn prologue() -> Args {
    let mut args = silent();
    args.words(["-progress", "pipe:1", "-stats_period", "0.5"]);
    args.limit("-max_alloc", Limit::Allocation);
    args
}

/// What stands before each source.
pub fn guard(args: &mut Args) -> &mut Args {
    args.option("-protocol_whitelist", "file")
        .option("-format_whitelist", FORMATS)
        .limit("-max_streams", Limit::Streams)
}

/// A source with its guard.
pub fn source(args: &mut Args, path: &Path) {
    guard(args).words(["-i"]);
    args.reads(path);
}

/// Which decoders there are and what they may allocate; stands before a source that is decoded. A look at what is in a file, and a
/// copy of its packets, take any: what is not decoded does no harm.
pub fn decode_limits(args: &mut Args) {
    args.limit("-max_pixels", Limit::Pixels).option("-codec_whitelist", DECODERS);
}
