//! Every command line that Kinora runs, as one line each: a change of an option shows here first. It must not know why an
//! option is there; that stands in docs/media.md.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use kinora_protocol::encode::{
    AudioSettings, EncodeSettings, Encoder, ExpertParam, Ladder, PictureFilters, Rate, Rendition, Scan,
    Settled, VideoSettings, VideoWork,
};
use kinora_protocol::enhance::{Colors, Enhancement, Matrix, Primaries, SoundEnhancements, Transfer};
use kinora_protocol::inference::{ModelTask, Network};
use kinora_protocol::media::{
    AudioFacts, Color, ContentLight, HdrStatic, Mastering, MediaFacts, Stream, StreamKind, VideoFacts,
};
use kinora_protocol::planes::{By, Pass, Planar};
use kinora_protocol::recipe::{AudioCodec, Container, Verify};
use kinora_protocol::task::{
    AudioSpec, ChunkSpec, Clock, Context, FrameRange, PackageSpec, Preroll, Resample, Stretch, Window,
};
use kinora_protocol::task::{Blob, Expect as Planned};
use kinora_protocol::{Digest, Rational};

use super::chunk::{ChunkPaths, Programs, Through};
use super::package::PackagePaths;
use super::{Line, audio, chunk, encoder, hls, inspect, package, scene, shown};

const PASSTHROUGH: [&str; 2] = ["-fps_mode", "passthrough"];

/// Options stand in lines of their own, so that a difference is easy to read.
fn check(args: &[OsString], expected: Expect) {
    let mut text = String::new();
    for arg in args {
        let arg = arg.to_string_lossy();
        let is_option = arg.starts_with('-') && arg[1..].starts_with(char::is_alphabetic);
        text.push_str(if text.is_empty() {
            ""
        } else if is_option {
            "\n"
        } else {
            " "
        });
        text.push_str(&arg);
    }
    expected.assert_eq(&(text + "\n"));
}

fn ratio(num: i64, den: i64) -> Rational {
    Rational::new(num, den).unwrap()
}

fn digest() -> Digest {
    kinora_plan::digest::bytes(b"")
}

fn clock() -> Clock {
    Clock { source: ratio(1, 12_800), hz: 12_800, start_us: 0, wraps: false, generate: false }
}

fn transport() -> Clock {
    Clock { source: ratio(1, 90_000), hz: 90_000, start_us: 1_400_000, wraps: true, generate: false }
}

fn settings(encoder: Encoder) -> EncodeSettings {
    EncodeSettings {
        encoder,
        rate: Rate::Quality(2350),
        preset: Some("fast".to_owned()),
        pix_fmt: "yuv420p".to_owned(),
        nominal_rate: ratio(25, 1),
        scan: Scan::Progressive,
        color: Color::default(),
        hdr: None,
        params: Vec::new(),
    }
}

fn chunk_spec() -> ChunkSpec {
    ChunkSpec {
        ordinal: 1,
        stream: 0,
        frames: FrameRange { start: 50, end: 100 },
        a: 25_600,
        b: 51_200,
        seam_end: 54_272,
        shift: 204_800,
        clock: clock(),
        window: Window { seek: Some(12_800), ..Window::whole(1000) },
        preroll: Preroll::Normal,
        encode: settings(Encoder::X264),
        enhance: Vec::new(),
        context: None,
        filters: PictureFilters::default(),
        resample: None,
        ladder: None,
        expect: Planned { source_frames: 50, source_times: digest(), frames: 50, times: digest() },
        verify: Verify::Fast,
        threads: None,
    }
}

fn chunk_command(spec: &ChunkSpec) -> Line {
    let (input, chunk, frames) =
        (Path::new("/w/in.mp4"), Path::new("/b/chunk.mp4"), Path::new("/w/frames.crc"));
    let others = [PathBuf::from("/w/rendition1"), PathBuf::from("/w/rendition2")];
    let programs = chunk::encode(spec, PASSTHROUGH, ChunkPaths { input, chunk, others: &others, frames });
    assert!(programs.rest.is_empty());
    programs.first
}

/// All enhancements, of a chunk with frames around it.
fn enhanced_spec() -> ChunkSpec {
    let from = Colors {
        matrix: Matrix::Bt601,
        transfer: Transfer::Bt709,
        primaries: Primaries::Smpte170,
        full_range: false,
        odd: true,
    };
    ChunkSpec {
        enhance: vec![
            Enhancement::Deinterlace,
            Enhancement::DenoiseLight,
            Enhancement::DenoiseStrong { deep: false },
            Enhancement::Upscale { width: 1280, height: 720 },
            Enhancement::Expand { from, format: "yuv444p10le".to_owned() },
        ],
        context: Some(Context { from: 23_552, before: 4, to: 53_248 }),
        ..chunk_spec()
    }
}

#[test]
fn enhanced_chunk() {
    check(
        &chunk_command(&enhanced_spec()),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=23552:end_pts=53248,setpts=PTS+(204800),bwdif=mode=send_frame:parity=auto:deint=all,settb=1/12800,hqdn3d=4:3:0.0001:0.0001,atadenoise=0a=0.06:0b=0.12:1a=0.06:1b=0.12:2a=0.06:2b=0.12:s=5,trim=start_pts=230400:end_pts=256000,nlmeans=s=4:p=5:r=9,scale=1280:720:flags=lanczos+accurate_rnd+full_chroma_int,cas=strength=0.4:planes=1,format=yuv444p|yuv444p10le|yuv444p12le,setparams=range=limited:color_primaries=smpte170m:color_trc=bt709:colorspace=smpte170m,zscale=t=linear:npl=203:threads=1,format=gbrpf32le,zscale=p=bt2020:t=smpte2084:m=bt2020nc:r=limited:npl=203:threads=1,format=yuv444p10le,format=yuv420p[v];[y]trim=start_pts=23552:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v libx264
            -crf 23.50
            -preset fast
            -x264-params fps=25/1
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn enhanced_chunk_whose_clock_wraps() {
    let clock = Clock { wraps: true, hz: 90_000, source: Rational::new(1, 90_000).unwrap(), ..clock() };
    let from = Colors {
        matrix: Matrix::Bt2020,
        transfer: Transfer::Pq,
        primaries: Primaries::Bt2020,
        full_range: false,
        odd: false,
    };
    let tone = Enhancement::ToneMap { from, peak: 1000, format: "yuv420p".to_owned() };
    let enhance = vec![Enhancement::DenoiseStrong { deep: true }, tone];
    check(
        &chunk_command(&ChunkSpec { clock, enhance, ..enhanced_spec() }),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 0.142722
            -threads 1
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]setpts=mod(PTS-(25600)+21474836480\,8589934592),split[x][y];[x]trim=start_pts=4294965248:end_pts=4294994944,setpts=PTS+(-4294736896),trim=start_pts=230400:end_pts=256000,vaguedenoiser=threshold=10,setparams=range=limited:color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc,zscale=t=linear:npl=203:threads=1,format=gbrpf32le,zscale=p=bt709:threads=1,tonemap=tonemap=mobius:param=0.3:desat=0:peak=4.9261,zscale=t=bt709:m=bt709:r=limited:d=error_diffusion:threads=1,format=yuv420p,format=yuv420p[v];[y]trim=start_pts=4294965248:end_pts=4294995968,setpts=PTS+(-4294941696)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/90000
            -c:v libx264
            -crf 23.50
            -preset fast
            -x264-params fps=25/1
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 90000
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/90000
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn interpolated_chunk() {
    let rate = Rational::new(60_000, 1001).unwrap();
    let resample = Some(Resample { rate, frames: FrameRange { start: 120, end: 240 }, origin: 0 });
    let enhance = vec![
        Enhancement::DenoiseLight,
        Enhancement::Interpolate,
        Enhancement::Upscale { width: 64, height: 64 },
    ];
    check(
        &chunk_command(&ChunkSpec { resample, enhance, ..enhanced_spec() }),
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -progress pipe:1
        -stats_period 0.5
        -max_alloc 536870912
        -y
        -max_error_rate 1
        -copyts
        -noaccurate_seek
        -seek_timestamp 1
        -ss 1.000500
        -max_pixels 35651584
        -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
        -protocol_whitelist file
        -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
        -max_streams 64
        -i file:/w/in.mp4
        -filter_complex [0:0]split[x][y];[x]trim=start_pts=23552:end_pts=53248,setpts=PTS+(0),hqdn3d=4:3:0.0001:0.0001,atadenoise=0a=0.06:0b=0.12:1a=0.06:1b=0.12:2a=0.06:2b=0.12:s=5,minterpolate=fps=60000/1001:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:me=hexbs:scd=fdiff:scd_threshold=10,trim=start_pts=120:end_pts=240,tpad=stop=-1:stop_mode=clone,trim=end_frame=120,settb=1/60000,setpts=1080120+N*1001,scale=64:64:flags=lanczos+accurate_rnd+full_chroma_int,cas=strength=0.4:planes=1,format=yuv420p[v];[y]trim=start_pts=23552:end_pts=54272,setpts=PTS+(0)[h]
        -map [v]
        -fps_mode passthrough
        -enc_time_base 1/60000
        -c:v libx264
        -crf 23.50
        -preset fast
        -x264-params fps=25/1
        -map_metadata -1
        -map_chapters -1
        -write_tmcd 0
        -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
        -use_editlist 0
        -avoid_negative_ts disabled
        -video_track_timescale 60000
        -f mp4 file:/b/chunk.mp4
        -map [h]
        -fps_mode passthrough
        -enc_time_base 1/12800
        -f framecrc file:/w/frames.crc
    "#]],
    );
}

#[test]
fn chunk_of_an_mp4() {
    check(
        &chunk_command(&chunk_spec()),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),format=yuv420p[v];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v libx264
            -crf 23.50
            -preset fast
            -x264-params fps=25/1
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_on_a_clock_finer_than_the_encoders() {
    let rate = Rate::Bitrate(1_000_000);
    let spec = ChunkSpec {
        clock: Clock { hz: 23_040_000, source: ratio(1, 23_040_000), ..clock() },
        encode: EncodeSettings { rate, preset: None, ..settings(Encoder::Vp9) },
        ..chunk_spec()
    };
    check(
        &chunk_command(&spec),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 0.001056
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),format=yuv420p,settb=1/23040000,setpts=PTS*5,settb=5/23040000[v];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 5/23040000
            -c:v libvpx-vp9
            -b:v 200000
            -deadline good
            -cpu-used 4
            -row-mt 1
            -bsf:v setts=time_base=1/23040000,setts=ts=TS/5:duration=DURATION/5
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 23040000
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/23040000
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_of_a_transport_stream_that_wraps() {
    let spec = ChunkSpec {
        a: 8_589_900_000,
        b: 8_590_080_000,
        seam_end: 8_590_101_600,
        shift: -8_588_460_000,
        clock: transport(),
        window: Window { seek: None, ..Window::whole(1000) },
        ..chunk_spec()
    };
    check(
        &chunk_command(&spec),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -threads 1
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]setpts=mod(PTS-(8589900000)+21474836480\,8589934592),split[x][y];[x]trim=start_pts=4294967296:end_pts=4295147296,setpts=PTS+(-4293527296),format=yuv420p[v];[y]trim=start_pts=4294967296:end_pts=4295168896,setpts=PTS+(4294932704)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/90000
            -c:v libx264
            -crf 23.50
            -preset fast
            -x264-params fps=25/1
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 90000
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/90000
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_in_three_sizes() {
    let rendition = |height: u32| Rendition {
        encode: EncodeSettings { rate: Rate::Bitrate(500_000), ..settings(Encoder::X264) },
        filters: PictureFilters { scale: Some((height * 2, height)), ..PictureFilters::default() },
    };
    let ladder = Ladder { segment_ms: 2500, others: vec![rendition(90), rendition(64)] };
    check(
        &chunk_command(&ChunkSpec { ladder: Some(ladder), ..chunk_spec() }),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),split=3[p][p1][p2];[p]null,format=yuv420p[v];[p1]null,scale=180:90:interl=0:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p[v1];[p2]null,scale=128:64:interl=0:flags=bicubic+accurate_rnd+full_chroma_int,format=yuv420p[v2];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v libx264
            -crf 23.50
            -preset fast
            -x264-params fps=25/1
            -force_key_frames expr:if(isnan(prev_forced_t),1,gte(t-prev_forced_t,2.5))
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/b/chunk.mp4
            -map [v1]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v libx264
            -b:v 500000
            -preset fast
            -x264-params fps=25/1
            -force_key_frames expr:if(isnan(prev_forced_t),1,gte(t-prev_forced_t,2.5))
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/w/rendition1
            -map [v2]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v libx264
            -b:v 500000
            -preset fast
            -x264-params fps=25/1
            -force_key_frames expr:if(isnan(prev_forced_t),1,gte(t-prev_forced_t,2.5))
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/w/rendition2
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_at_another_frame_rate() {
    let resample =
        Resample { rate: ratio(30_000, 1001), frames: FrameRange { start: 60, end: 120 }, origin: 0 };
    check(
        &chunk_command(&ChunkSpec { resample: Some(resample), ..chunk_spec() }),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(0),fps=fps=30000/1001:round=near,tpad=stop=-1:stop_mode=clone,trim=end_frame=60,settb=1/30000,setpts=540060+N*1001,format=yuv420p[v];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/30000
            -c:v libx264
            -crf 23.50
            -preset fast
            -x264-params fps=25/1
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 30000
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_of_interlaced_pictures_in_another_size() {
    let filters = PictureFilters {
        scale: Some((640, 360)),
        sample_aspect: Some(ratio(16, 15)),
        contrast: Some(1250),
        sharpen: Some(600),
    };
    let encode = EncodeSettings { scan: Scan::TopFirst, ..settings(Encoder::X264) };
    check(
        &chunk_command(&ChunkSpec { filters, encode, threads: Some(2), ..chunk_spec() }),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),scale=640:360:interl=1:flags=bicubic+accurate_rnd+full_chroma_int,setsar=16/15,format=yuv420p,lutyuv=y=clip((val-125.5)*1.25+126\,16\,235),unsharp=5:5:0.6:5:5:0,format=yuv420p[v];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v libx264
            -crf 23.50
            -preset fast
            -threads 2
            -flags:v +ildct+ilme
            -top 1
            -x264-params fps=25/1
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_without_timestamps_into_prores() {
    let clock = Clock { source: ratio(2, 50), hz: 50, generate: true, ..clock() };
    let encode = EncodeSettings { pix_fmt: "yuv422p10le".to_owned(), ..settings(Encoder::Prores) };
    check(
        &chunk_command(&ChunkSpec { clock, encode, ..chunk_spec() }),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -fflags +genpts
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 256.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),format=yuv422p10le[v];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/50
            -c:v prores_ks
            -profile:v 23.50
            -preset fast
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 50
            -f mov file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/50
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn chunk_on_vaapi() {
    let encode = EncodeSettings { pix_fmt: "nv12".to_owned(), ..settings(Encoder::H264Vaapi) };
    check(
        &chunk_command(&ChunkSpec { encode, ..chunk_spec() }),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -vaapi_device /dev/dri/renderD128
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),format=nv12,hwupload[v];[y]trim=start_pts=25600:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -c:v h264_vaapi
            -qp 23.50
            -preset fast
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
            -use_editlist 0
            -avoid_negative_ts disabled
            -video_track_timescale 12800
            -f mp4 file:/b/chunk.mp4
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

fn options(settings: &EncodeSettings) -> String {
    shown(&encoder::options(settings, None, 1).finish())
}

#[test]
fn every_encoder_by_quality() {
    let lines: Vec<String> = Encoder::ALL.into_iter().map(|e| options(&settings(e))).collect();
    expect![[r#"
        -c:v libx264 -crf 23.50 -preset fast -x264-params fps=25/1
        -c:v libx265 -crf 23.50 -preset fast -x265-params fps=25/1:log-level=error -tag:v hvc1
        -c:v libsvtav1 -crf 23.50 -preset fast
        -c:v libaom-av1 -crf 23.50 -b:v 0 -cpu-used fast -row-mt 1
        -c:v libvpx-vp9 -crf 23.50 -b:v 0 -deadline good -cpu-used fast -row-mt 1
        -c:v ffv1 -level 3 -slicecrc 1
        -c:v prores_ks -profile:v 23.50 -preset fast
        -c:v h264_nvenc -rc vbr -cq 23.50 -b:v 0 -preset fast
        -c:v hevc_nvenc -rc vbr -cq 23.50 -b:v 0 -preset fast -tag:v hvc1
        -c:v av1_nvenc -rc vbr -cq 23.50 -b:v 0 -preset fast
        -c:v h264_qsv -global_quality 23.50 -preset fast
        -c:v hevc_qsv -global_quality 23.50 -preset fast -tag:v hvc1
        -c:v av1_qsv -global_quality 23.50 -preset fast
        -c:v h264_amf -rc cqp -qp_i 23.50 -qp_p 23.50 -preset fast
        -c:v hevc_amf -rc cqp -qp_i 23.50 -qp_p 23.50 -preset fast -tag:v hvc1
        -c:v h264_videotoolbox -q:v 23.50 -preset fast
        -c:v hevc_videotoolbox -q:v 23.50 -preset fast -tag:v hvc1
        -c:v h264_vaapi -qp 23.50 -preset fast
        -c:v hevc_vaapi -qp 23.50 -preset fast -tag:v hvc1
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn every_encoder_by_bit_rate_without_preset() {
    let settings = |e| EncodeSettings { rate: Rate::Bitrate(2_500_000), preset: None, ..settings(e) };
    let lines: Vec<String> = Encoder::ALL.into_iter().map(|e| options(&settings(e))).collect();
    expect![[r#"
        -c:v libx264 -b:v 2500000 -x264-params fps=25/1
        -c:v libx265 -b:v 2500000 -x265-params fps=25/1:log-level=error -tag:v hvc1
        -c:v libsvtav1 -b:v 2500000
        -c:v libaom-av1 -b:v 2500000 -cpu-used 6 -row-mt 1
        -c:v libvpx-vp9 -b:v 2500000 -deadline good -cpu-used 4 -row-mt 1
        -c:v ffv1 -b:v 2500000 -level 3 -slicecrc 1
        -c:v prores_ks -b:v 2500000
        -c:v h264_nvenc -b:v 2500000
        -c:v hevc_nvenc -b:v 2500000 -tag:v hvc1
        -c:v av1_nvenc -b:v 2500000
        -c:v h264_qsv -b:v 2500000
        -c:v hevc_qsv -b:v 2500000 -tag:v hvc1
        -c:v av1_qsv -b:v 2500000
        -c:v h264_amf -b:v 2500000
        -c:v hevc_amf -b:v 2500000 -tag:v hvc1
        -c:v h264_videotoolbox -b:v 2500000
        -c:v hevc_videotoolbox -b:v 2500000 -tag:v hvc1
        -c:v h264_vaapi -b:v 2500000
        -c:v hevc_vaapi -b:v 2500000 -tag:v hvc1
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn every_lossless_encoder() {
    let able = Encoder::ALL.into_iter().filter(|e| kinora_plan::encoder::has_lossless(*e));
    let settings = |e| EncodeSettings { rate: Rate::Lossless, preset: None, ..settings(e) };
    let lines: Vec<String> = able.map(|e| options(&settings(e))).collect();
    expect![[r#"
        -c:v libx264 -qp 0 -x264-params fps=25/1
        -c:v libx265 -x265-params fps=25/1:log-level=error:lossless=1 -tag:v hvc1
        -c:v libvpx-vp9 -lossless 1 -deadline good -cpu-used 4 -row-mt 1
        -c:v ffv1 -level 3 -slicecrc 1
        -c:v h264_nvenc -tune lossless
        -c:v hevc_nvenc -tune lossless -tag:v hvc1
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn expert_parameters_join_our_own() {
    let param =
        |option: &str, value: &str| ExpertParam { option: option.to_owned(), value: value.to_owned() };
    let mut settings = settings(Encoder::X265);
    settings.params = vec![param("x265-params", "keyint=48:me=3"), param("tune", "grain"), param("bf", "4")];
    settings.scan = Scan::BottomFirst;
    expect!["-c:v libx265 -crf 23.50 -preset fast -tune grain -bf 4 -x265-params fps=25/1:log-level=error:keyint=48:me=3 -tag:v hvc1"].assert_eq(&options(&settings));
}

/// The P3 display of the HDR10 examples, in the units that ffprobe prints.
fn hdr() -> HdrStatic {
    let point = |n: i64| ratio(n, 50_000);
    HdrStatic {
        mastering: Some(Mastering {
            chromaticity: [34_000, 16_000, 13_250, 34_500, 7_500, 3_000, 15_635, 16_450].map(point),
            min_luminance: ratio(1, 10_000),
            max_luminance: ratio(1000, 1),
        }),
        light: Some(ContentLight { max_content: 1000, max_average: 400 }),
    }
}

fn hdr_color() -> Color {
    let word = |text: &str| Some(text.to_owned());
    Color {
        range: word("tv"),
        space: word("bt2020nc"),
        transfer: word("smpte2084"),
        primaries: word("bt2020"),
        chroma_location: word("topleft"),
    }
}

#[test]
fn hdr10() {
    let encode = |encoder, preset: &str| EncodeSettings {
        preset: Some(preset.to_owned()),
        pix_fmt: "yuv420p10le".to_owned(),
        color: hdr_color(),
        hdr: Some(hdr()),
        ..settings(encoder)
    };
    let lines = [
        options(&encode(Encoder::X265, "medium")),
        options(&encode(Encoder::SvtAv1, "8")),
        options(&encode(Encoder::Vp9, "4")),
    ];
    expect![[r#"
        -c:v libx265 -crf 23.50 -preset medium -x265-params fps=25/1:log-level=error:hdr10=1:repeat-headers=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400 -color_range tv -colorspace bt2020nc -color_trc smpte2084 -color_primaries bt2020 -chroma_sample_location topleft -tag:v hvc1
        -c:v libsvtav1 -crf 23.50 -preset 8 -svtav1-params enable-hdr=1:mastering-display=G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)WP(0.31270,0.32900)L(1000.0000,0.0001):content-light=1000,400 -color_range tv -colorspace bt2020nc -color_trc smpte2084 -color_primaries bt2020 -chroma_sample_location topleft
        -c:v libvpx-vp9 -crf 23.50 -b:v 0 -deadline good -cpu-used 4 -row-mt 1 -color_range tv -colorspace bt2020nc -color_trc smpte2084 -color_primaries bt2020 -chroma_sample_location topleft
    "#]].assert_eq(&(lines.join("\n") + "\n"));
}

/// Names out of a file are words or nothing.
#[test]
fn colours_that_are_no_words_are_left_out() {
    let mut settings = settings(Encoder::X264);
    settings.color = Color { space: Some("bt709 -y /etc/passwd".to_owned()), ..Color::default() };
    expect!["-c:v libx264 -crf 23.50 -preset fast -x264-params fps=25/1"].assert_eq(&options(&settings));
}

fn audio_spec(codec: AudioCodec, bitrate: Option<u32>) -> AudioSpec {
    let stream = |channels, layout: &str| AudioFacts {
        sample_rate: 48_000,
        channels,
        layout: Some(layout.to_owned()),
    };
    AudioSpec {
        settings: AudioSettings { codec, bitrate, enhance: SoundEnhancements::default() },
        start_us: 1_400_000,
        guard_seconds: 16,
        streams: vec![stream(2, "stereo"), stream(6, "5.1(side)")],
        generate: false,
    }
}

/// All that is done to a stream before it is encoded.
#[test]
fn enhanced_sound() {
    let enhance = SoundEnhancements { hum: Some(60), denoise: true, speech: true, loudness: Some(-140) };
    let plain = audio_spec(AudioCodec::Aac, None);
    let mut spec = AudioSpec { settings: AudioSettings { enhance, ..plain.settings.clone() }, ..plain };
    spec.streams[0].sample_rate = 44_100;
    let surround = spec.streams[1].clone();
    check(
        &audio::samples(&spec, 1, &surround, Path::new("/in.ts")),
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -max_alloc 536870912
        -max_error_rate 1
        -copyts
        -max_pixels 35651584
        -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
        -protocol_whitelist file
        -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
        -max_streams 64
        -i file:/in.ts
        -map 0:a:1
        -af aresample=48000:async=1:first_pts=67200,bandreject=f=60:width_type=h:w=4,bandreject=f=120:width_type=h:w=4,bandreject=f=180:width_type=h:w=4,bandreject=f=240:width_type=h:w=4,bandreject=f=300:width_type=h:w=4,bandreject=f=360:width_type=h:w=4,bandreject=f=420:width_type=h:w=4,bandreject=f=480:width_type=h:w=4
        -ac 6
        -c:a pcm_f32le
        -f f32le pipe:1
    "#]],
    );
    check(
        &audio::keep(&surround, true, Path::new("/w/sound1.wav")),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -protocol_whitelist pipe
            -f f32le
            -ar 48000
            -ac 6
            -i pipe:0
            -af aformat=channel_layouts=5.1(side),speechnorm=e=12.5:r=0.0001:l=1
            -c:a pcm_f32le
            -rf64 auto
            -f wav file:/w/sound1.wav
        "#]],
    );
    let streams = [PathBuf::from("/w/sound0.wav"), PathBuf::from("/w/sound1.wav")];
    check(
        &audio::encode_prepared(&spec, &streams, Path::new("/b/audio.mp4")),
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -progress pipe:1
        -stats_period 0.5
        -max_alloc 536870912
        -y
        -copyts
        -itsoffset 16.000000
        -protocol_whitelist file
        -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
        -max_streams 64
        -i file:/w/sound0.wav
        -itsoffset 16.000000
        -protocol_whitelist file
        -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
        -max_streams 64
        -i file:/w/sound1.wav
        -map 0:a
        -map 1:a
        -c:a aac
        -filter:a:0 aformat=sample_rates=44100
        -filter:a:1 aformat=channel_layouts=5.1
        -map_metadata -1
        -map_chapters -1
        -movflags +empty_moov+default_base_moof+frag_discont
        -frag_duration 10000000
        -use_editlist 0
        -avoid_negative_ts disabled
        -f mp4 file:/b/audio.mp4
    "#]],
    );
}

#[test]
fn sound() {
    let command = |spec: &AudioSpec| audio::encode(spec, Path::new("/in.ts"), Path::new("/b/audio.mp4"));
    check(
        &command(&audio_spec(AudioCodec::Aac, Some(160_000))),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -itsoffset 14.600000
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.ts
            -map 0:a
            -c:a aac
            -b:a 160000
            -map_metadata -1
            -map_chapters -1
            -movflags +empty_moov+default_base_moof+frag_discont
            -frag_duration 10000000
            -use_editlist 0
            -avoid_negative_ts disabled
            -f mp4 file:/b/audio.mp4
        "#]],
    );
    let generated = AudioSpec { generate: true, ..audio_spec(AudioCodec::Opus, None) };
    check(
        &command(&generated),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -fflags +genpts
            -copyts
            -itsoffset 14.600000
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.ts
            -map 0:a
            -c:a libopus
            -filter:a:1 aformat=channel_layouts=5.1
            -map_metadata -1
            -map_chapters -1
            -movflags +empty_moov+default_base_moof+frag_discont
            -frag_duration 10000000
            -use_editlist 0
            -avoid_negative_ts disabled
            -f mp4 file:/b/audio.mp4
        "#]],
    );
}

fn stream(index: u32, codec: &str, kind: StreamKind) -> Stream {
    Stream {
        index,
        codec: Some(codec.to_owned()),
        start_us: Some(0),
        time_base: ratio(1, 12_800),
        tags: BTreeMap::new(),
        dispositions: if index == 0 {
            vec!["default".to_owned(), "attached_pic".to_owned()]
        } else {
            Vec::new()
        },
        kind,
    }
}

fn facts() -> MediaFacts {
    let video = VideoFacts {
        width: 640,
        height: 360,
        pix_fmt: "yuv420p".to_owned(),
        r_frame_rate: ratio(25, 1),
        avg_frame_rate: None,
        field_order: None,
        sample_aspect: None,
        rotation: 0,
        color: hdr_color(),
        hdr: None,
    };
    let audio = AudioFacts { sample_rate: 48_000, channels: 2, layout: None };
    MediaFacts {
        format: "matroska,webm".to_owned(),
        size: 1000,
        start_us: Some(0),
        duration_us: None,
        bit_rate: None,
        tags: BTreeMap::new(),
        streams: vec![
            stream(0, "h264", StreamKind::Video(video)),
            stream(1, "aac", StreamKind::Audio(audio)),
            stream(2, "ass", StreamKind::Subtitle),
            stream(3, "hdmv_pgs_subtitle", StreamKind::Subtitle),
            stream(4, "ttf", StreamKind::Attachment),
        ],
        chapters: 2,
    }
}

fn blob(name: &str) -> Option<Blob> {
    Some(Blob { path: PathBuf::from(name), size: 1, digest: digest() })
}

fn package_spec(container: Container, codec: AudioCodec, video: VideoWork) -> PackageSpec {
    PackageSpec {
        video: video.encoded().and_then(|_| blob("join.mp4")),
        parts: Vec::new(),
        audio_guard: 16,
        audio: if matches!(codec, AudioCodec::Aac | AudioCodec::Opus) { blob("audio.mp4") } else { None },
        settled: Settled {
            video,
            audio: AudioSettings { codec, bitrate: None, enhance: SoundEnhancements::default() },
            container,
            verify: Verify::Fast,
            chapters: false,
            detect: None,
        },
        facts: facts(),
        clock: Clock { start_us: 20_000, ..clock() },
        frames: 200,
        indexed_frames: 200,
        build: String::new(),
        notes: Vec::new(),
        chapters: Vec::new(),
        chunks: Vec::new(),
        output: PathBuf::from("/o"),
    }
}

fn mux(spec: &PackageSpec) -> Line {
    let paths = PackagePaths {
        video: spec.video.as_ref().map(|_| Path::new("/b/join.mp4")),
        audio: spec.audio.as_ref().map(|_| Path::new("/b/audio.mp4")),
        source: Path::new("/in.mkv"),
        chapters: (!spec.chapters.is_empty()).then(|| Path::new("/s/chapters")),
        out: Path::new("/.o.kinora.part"),
    };
    package::mux(spec, paths, (5, 1))
}

fn encoded(encoder: Encoder, fps: Option<Rational>) -> VideoWork {
    let (encode, filters) = (settings(encoder), PictureFilters::default());
    VideoWork::Encode(Box::new(VideoSettings { encode, filters, fps, enhance: Vec::new(), ladder: None }))
}

#[test]
fn chapters_of_ones_own() {
    let spec = PackageSpec {
        chapters: vec![-20, 4_000_000],
        ..package_spec(Container::Mkv, AudioCodec::Copy, encoded(Encoder::X264, None))
    };
    let words: Vec<_> = mux(&spec).iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let text = words.join(" ");
    assert!(text.contains("-protocol_whitelist file -f ffmetadata -i file:/s/chapters"), "{text}");
    assert!(text.contains("-map_metadata 1 -map_chapters 2"), "{text}");
    assert_eq!(
        package::chapters(&spec.chapters, 9_000_000),
        ";FFMETADATA1\n\
         [CHAPTER]\nTIMEBASE=1/1000000\nSTART=0\nEND=4000000\ntitle=Chapter 1\n\
         [CHAPTER]\nTIMEBASE=1/1000000\nSTART=4000000\nEND=9000000\ntitle=Chapter 2\n"
    );
}

#[test]
fn sound_alone_in_m4a() {
    check(
        &mux(&package_spec(Container::M4a, AudioCodec::Aac, VideoWork::None)),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/audio.mp4
            -itsoffset -0.020000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.mkv
            -map 0:a
            -c:a copy
            -bsf:a setts=duration=if(gt(DURATION\,0)\,DURATION\,1024/SR/TB)
            -map_metadata 1
            -map_chapters 1
            -map_metadata:s:a:0 1:s:1
            -disposition:a:0 0
            -movie_timescale 90000
            -movflags +faststart-write_colr
            -write_tmcd 0
            -f ipod file:/.o.kinora.part
        "#]],
    );
}

#[test]
fn result_in_mp4() {
    let video = encoded(Encoder::X264, Some(ratio(30_000, 1001)));
    check(
        &mux(&package_spec(Container::Mp4, AudioCodec::Aac, video)),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/join.mp4
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/audio.mp4
            -itsoffset -0.020000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.mkv
            -map 0:v:0
            -c:v copy
            -bsf:v setts=pts=PTS:dts=if(eq(N\,0)\,DTS\,max(DTS\,PREV_OUTDTS+1))
            -map 1:a
            -c:a copy
            -bsf:a setts=duration=if(gt(DURATION\,0)\,DURATION\,1024/SR/TB)
            -map 2:2
            -c:s:0 mov_text
            -map_metadata 2
            -map_chapters 2
            -map_metadata:s:v:0 2:s:0
            -disposition:v:0 default
            -map_metadata:s:a:0 2:s:1
            -disposition:a:0 0
            -map_metadata:s:s:0 2:s:2
            -disposition:s:0 0
            -video_track_timescale 30000
            -movie_timescale 90000
            -movflags +faststart+write_colr
            -write_tmcd 0
            -f mp4 file:/.o.kinora.part
        "#]],
    );
}

#[test]
fn result_in_matroska_keeps_subtitles_and_attachments() {
    let video = encoded(Encoder::X264, None);
    check(
        &mux(&package_spec(Container::Mkv, AudioCodec::Copy, video)),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/join.mp4
            -itsoffset -0.020000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.mkv
            -map 0:v:0
            -c:v copy
            -bsf:v setts=pts=PTS:dts=if(eq(N\,0)\,DTS\,max(DTS\,PREV_OUTDTS+1))
            -map 1:a?
            -c:a copy
            -map 1:2
            -c:s:0 copy
            -map 1:3
            -c:s:1 copy
            -map 1:t?
            -c:t copy
            -map_metadata 1
            -map_chapters 1
            -map_metadata:s:v:0 1:s:0
            -disposition:v:0 default
            -map_metadata:s:a:0 1:s:1
            -disposition:a:0 0
            -map_metadata:s:s:0 1:s:2
            -disposition:s:0 0
            -map_metadata:s:s:1 1:s:3
            -disposition:s:1 0
            -map_metadata:s:t:0 1:s:4
            -f matroska file:/.o.kinora.part
        "#]],
    );
}

#[test]
fn result_in_webm() {
    let video = encoded(Encoder::Vp9, None);
    check(
        &mux(&package_spec(Container::Webm, AudioCodec::Opus, video)),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/join.mp4
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/audio.mp4
            -itsoffset -0.020000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.mkv
            -map 0:v:0
            -c:v copy
            -bsf:v setts=pts=PTS:dts=if(eq(N\,0)\,DTS\,max(DTS\,PREV_OUTDTS+1))
            -map 1:a
            -c:a copy
            -map 2:2
            -c:s:0 webvtt
            -map_metadata 2
            -map_chapters 2
            -map_metadata:s:v:0 2:s:0
            -disposition:v:0 default
            -map_metadata:s:a:0 2:s:1
            -disposition:a:0 0
            -map_metadata:s:s:0 2:s:2
            -disposition:s:0 0
            -f webm file:/.o.kinora.part
        "#]],
    );
}

#[test]
fn copy_into_mov_without_sound() {
    check(
        &mux(&package_spec(Container::Mov, AudioCodec::None, VideoWork::Copy)),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -0.020000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.mkv
            -map 0:0
            -c:v copy
            -map 0:2
            -c:s:0 mov_text
            -map_metadata 0
            -map_chapters 0
            -map_metadata:s:v:0 0:s:0
            -disposition:v:0 default
            -map_metadata:s:s:0 0:s:2
            -disposition:s:0 0
            -movie_timescale 90000
            -movflags +faststart+write_colr
            -write_tmcd 0
            -f mov file:/.o.kinora.part
        "#]],
    );
}

#[test]
fn scenes() {
    let stretch = Stretch { a: 25_600, b: 51_200, window: Window { seek: Some(0), ..Window::whole(1000) } };
    check(
        &scene::detect(&clock(), &stretch, 0, PASSTHROUGH, Path::new("/in.mp4")),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 0.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.mp4
            -filter_complex [0:0]trim=start_pts=25600:end_pts=51200,setpts=PTS+(0),scale=320:-2:flags=fast_bilinear,select=gt(scene\,0.3)[s]
            -map [s]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc pipe:1
        "#]],
    );
    check(
        &scene::detect(&transport(), &stretch, 1, PASSTHROUGH, Path::new("/in.ts")),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 0.000500
            -threads 1
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/in.ts
            -filter_complex [0:1]setpts=mod(PTS-(25600)+21474836480\,8589934592),trim=start_pts=4294967296:end_pts=4294992896,setpts=PTS+(-4294941696),scale=320:-2:flags=fast_bilinear,select=gt(scene\,0.3)[s]
            -map [s]
            -fps_mode passthrough
            -enc_time_base 1/90000
            -f framecrc pipe:1
        "#]],
    );
}

#[test]
fn looking_at_files() {
    let path = Path::new("/-in %d.mp4");
    check(
        &inspect::facts(path),
        expect![[r#"
            -hide_banner
            -v error
            -of json
            -show_format
            -show_streams
            -show_chapters
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/-in %d.mp4
        "#]],
    );
    check(
        &inspect::first_frame(path, 2),
        expect![[r#"
            -hide_banner
            -v error
            -of json
            -select_streams 2
            -read_intervals %+#1
            -show_frames
            -show_entries frame=side_data_list
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/-in %d.mp4
        "#]],
    );
    check(
        &inspect::packets(path, false),
        expect![[r#"
            -hide_banner
            -v error
            -of compact=print_section=1:nokey=0
            -select_streams V:0
            -show_data_hash murmur3
            -show_entries packet=pts,dts,flags,pos,size,data_hash:stream=index,extradata_hash
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/-in %d.mp4
        "#]],
    );
    check(
        &inspect::packets(path, true),
        expect![[r#"
            -hide_banner
            -v error
            -of compact=print_section=1:nokey=0
            -select_streams V:0
            -show_data_hash murmur3
            -show_entries packet=pts,dts,flags,pos,size,data_hash:stream=index,extradata_hash
            -fflags +genpts
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/-in %d.mp4
        "#]],
    );
    check(
        &inspect::written_packets(path),
        expect![[r#"
            -hide_banner
            -v error
            -of compact=print_section=1:nokey=0
            -select_streams v:0
            -show_entries packet=pts,flags:stream=time_base
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/-in %d.mp4
        "#]],
    );
    check(
        &inspect::decode(path, PASSTHROUGH, Path::new("/w/frames.crc")),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/-in %d.mp4
            -map 0:v:0
            -fps_mode passthrough
            -f framecrc file:/w/frames.crc
        "#]],
    );
}

#[test]
fn tracks_of_a_package() {
    let spec = package_spec(Container::Hls, AudioCodec::Aac, VideoWork::Copy);
    let video = hls::video(&spec, Path::new("/w/joined0.mp4"), Path::new("/w/v0.mp4"));
    check(
        &video,
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/joined0.mp4
            -map 0:v:0
            -c:v copy
            -bsf:v setts=pts=PTS:dts=if(eq(N\,0)\,DTS\,max(DTS\,PREV_OUTDTS+1))
            -map_metadata -1
            -map_chapters -1
            -write_tmcd 0
            -movflags +frag_keyframe+delay_moov+default_base_moof+frag_discont+write_colr
            -use_editlist 1
            -video_track_timescale 12800
            -f mp4 file:/w/v0.mp4
        "#]],
    );
    let (sound, out) = (Path::new("/b/audio.mp4"), Path::new("/w/a1.mp4"));
    check(
        &hls::audio(&spec, sound, (1, hls::Begins::Later), 4000, out),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/audio.mp4
            -map 0:a:1
            -c:a copy
            -map_metadata -1
            -map_chapters -1
            -movflags +delay_moov+default_base_moof+frag_discont
            -use_editlist 1
            -frag_duration 4000000
            -f mp4 file:/w/a1.mp4
        "#]],
    );
    check(
        &hls::audio(&spec, sound, (1, hls::Begins::WithTheFilm), 4000, out),
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -copyts
            -itsoffset -16.000000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/b/audio.mp4
            -map 0:a:1
            -c:a copy
            -map_metadata -1
            -map_chapters -1
            -movflags +delay_moov+default_base_moof
            -use_editlist 1
            -frag_duration 4000000
            -f mp4 file:/w/a1.mp4
        "#]],
    );
    let files = [(3, PathBuf::from("/w/s0.vtt")), (4, PathBuf::from("/w/s1.vtt"))];
    let subtitles = hls::subtitles(&spec, Path::new("/m/film.mkv"), &files);
    check(
        &subtitles,
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -progress pipe:1
            -stats_period 0.5
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -itsoffset -0.020000
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/m/film.mkv
            -map 0:3
            -map_metadata -1
            -map_chapters -1
            -c:s webvtt
            -f webvtt file:/w/s0.vtt
            -map 0:4
            -map_metadata -1
            -map_chapters -1
            -c:s webvtt
            -f webvtt file:/w/s1.vtt
        "#]],
    );
}

/// Models in their places between filters.
fn models_spec() -> ChunkSpec {
    let pass = |task: ModelTask, (width, height): (u32, u32)| {
        let upscales = task == ModelTask::Upscale;
        let network = Network {
            name: task.name().to_owned(),
            version: 1,
            sha256: "0".repeat(64),
            task,
            frames: if upscales { 1 } else { 3 },
            scale: if upscales { 2 } else { 1 },
            limited: false,
            usual: true,
        };
        let picture = Planar {
            width,
            height,
            format: "yuv420p".to_owned(),
            halved: Some([1, 1]),
            depth: 8,
            color: Color { range: Some("tv".to_owned()), ..Color::default() },
            sample_aspect: Some(ratio(16, 15)),
        };
        Enhancement::Pass(Box::new(Pass { picture, from_rgb: false, by: By::Network(network) }))
    };
    ChunkSpec {
        enhance: vec![
            Enhancement::Deinterlace,
            pass(ModelTask::Denoise, (720, 576)),
            Enhancement::Interpolate,
            pass(ModelTask::Upscale, (720, 576)),
            pass(ModelTask::Upscale, (1440, 1152)),
            Enhancement::Upscale { width: 3600, height: 2880 },
        ],
        context: Some(Context { from: 23_552, before: 6, to: 53_248 }),
        resample: Some(Resample {
            rate: ratio(50, 1),
            frames: FrameRange { start: 100, end: 200 },
            origin: 0,
        }),
        ..chunk_spec()
    }
}

fn row(programs: Programs) -> (Line, Vec<(Vec<Through>, Line)>) {
    (programs.first, programs.rest)
}

#[test]
fn programs_with_models_between_them() {
    let (input, chunk, frames) =
        (Path::new("/w/in.mp4"), Path::new("/b/chunk.mp4"), Path::new("/w/frames.crc"));
    let paths = ChunkPaths { input, chunk, others: &[], frames };
    let (first, rest) = row(chunk::encode(&models_spec(), PASSTHROUGH, paths));
    let models: Vec<Vec<(&str, i64)>> = rest
        .iter()
        .map(|(models, _)| {
            models
                .iter()
                .map(|m| (m.pass.network().map_or("", |network| network.name.as_str()), m.hz))
                .collect()
        })
        .collect();
    assert_eq!(models, [vec![("denoise", 12_800)], vec![("upscale", 50), ("upscale", 50)]]);
    assert!(
        rest.iter().flat_map(|(models, _)| models).all(|m| m.keep.is_none()),
        "interpolation looks further"
    );
    check(
        &first,
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=23552:end_pts=53248,setpts=PTS+(0),bwdif=mode=send_frame:parity=auto:deint=all,settb=1/12800,scale=720:576:flags=bicubic,format=yuv420p[v];[y]trim=start_pts=23552:end_pts=54272,setpts=PTS+(0)[h]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -map_metadata -1
            -map_chapters -1
            -c:v rawvideo
            -f nut pipe:1
            -map [h]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -f framecrc file:/w/frames.crc
        "#]],
    );
    check(
        &rest[0].1,
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -max_alloc 536870912
            -y
            -copyts
            -protocol_whitelist pipe
            -f nut
            -i pipe:0
            -filter_complex [0:v]null,setparams=range=limited,setsar=16/15,minterpolate=fps=50/1:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:me=hexbs:scd=fdiff:scd_threshold=10,trim=start_pts=100:end_pts=200,tpad=stop=-1:stop_mode=clone,trim=end_frame=100,settb=1/50,setpts=900+N*1,scale=720:576:flags=bicubic,format=yuv420p[v]
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/50
            -map_metadata -1
            -map_chapters -1
            -c:v rawvideo
            -f nut pipe:1
        "#]],
    );
    check(
        &rest[1].1,
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -progress pipe:1
        -stats_period 0.5
        -max_alloc 536870912
        -y
        -copyts
        -protocol_whitelist pipe
        -f nut
        -i pipe:0
        -filter_complex [0:v]null,setparams=range=limited,setsar=16/15,scale=3600:2880:flags=lanczos+accurate_rnd+full_chroma_int,cas=strength=0.4:planes=1,format=yuv420p[v]
        -map [v]
        -fps_mode passthrough
        -enc_time_base 1/50
        -c:v libx264
        -crf 23.50
        -preset fast
        -x264-params fps=25/1
        -map_metadata -1
        -map_chapters -1
        -write_tmcd 0
        -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
        -use_editlist 0
        -avoid_negative_ts disabled
        -video_track_timescale 50
        -f mp4 file:/b/chunk.mp4
    "#]],
    );
}

#[test]
fn a_model_that_looks_last_keeps_what_is_wanted() {
    let all = models_spec();
    let spec = ChunkSpec { enhance: all.enhance[1..2].to_vec(), resample: None, ..all };
    let (input, out) = (Path::new("/w/in.mp4"), Path::new("/b/chunk.mp4"));
    let paths = ChunkPaths { input, chunk: out, others: &[], frames: Path::new("/w/frames.crc") };
    let (_, rest) = row(chunk::encode(&spec, PASSTHROUGH, paths));
    assert_eq!(rest[0].0[0].keep, Some((spec.a + spec.shift, spec.b + spec.shift)));
    check(
        &rest[0].1,
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -progress pipe:1
        -stats_period 0.5
        -max_alloc 536870912
        -y
        -copyts
        -protocol_whitelist pipe
        -f nut
        -i pipe:0
        -filter_complex [0:v]null,setparams=range=limited,setsar=16/15,format=yuv420p[v]
        -map [v]
        -fps_mode passthrough
        -enc_time_base 1/12800
        -c:v libx264
        -crf 23.50
        -preset fast
        -x264-params fps=25/1
        -map_metadata -1
        -map_chapters -1
        -write_tmcd 0
        -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont-write_colr
        -use_editlist 0
        -avoid_negative_ts disabled
        -video_track_timescale 12800
        -f mp4 file:/b/chunk.mp4
    "#]],
    );
}

#[test]
fn a_preview_by_a_model() {
    let all = models_spec();
    let spec = ChunkSpec { enhance: all.enhance[3..4].to_vec(), context: None, resample: None, ..all };
    let files = (Path::new("/w/before.png"), Path::new("/w/out.png"));
    let preview = chunk::before_and_after(&spec, PASSTHROUGH, (1440, 1152), Path::new("/w/in.mp4"), files);
    check(
        &preview.before.unwrap(),
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -progress pipe:1
        -stats_period 0.5
        -max_alloc 536870912
        -y
        -max_error_rate 1
        -copyts
        -noaccurate_seek
        -seek_timestamp 1
        -ss 1.000500
        -max_pixels 35651584
        -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
        -protocol_whitelist file
        -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
        -max_streams 64
        -i file:/w/in.mp4
        -filter_complex [0:0]null[y];[y]trim=start_pts=25600:end_pts=51200,setpts=PTS+(0),trim=end_frame=1,scale=1440:1152:flags=bicubic,setsar=1,setpts=0,format=rgb24[v]
        -map [v]
        -frames:v 1
        -c:v png
        -f image2pipe file:/w/before.png
    "#]],
    );
    let (first, rest) = row(preview.programs);
    check(
        &first,
        expect![[r#"
            -hide_banner
            -nostdin
            -v error
            -nostats
            -max_alloc 536870912
            -y
            -max_error_rate 1
            -copyts
            -noaccurate_seek
            -seek_timestamp 1
            -ss 1.000500
            -max_pixels 35651584
            -codec_whitelist h264,hevc,vvc,av1,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,vp6,vp6a,vp6f,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4,msmpeg4v3,mpeg2video,mpegvideo,mpeg1video,mjpeg,prores,dnxhd,cfhd,hap,ffv1,ffvhuff,huffyuv,utvideo,v210,v308,v408,v410,r210,rawvideo,qtrle,svq1,svq3,cinepak,jpeg2000,libopenjpeg,dvvideo,h261,h263,h263i,h263p,flv,vc1,wmv1,wmv2,wmv3,theora,gif,png,apng,bmp,tiff,webp,aac,aac_fixed,aac_latm,mp3,mp3float,mp2,mp2float,mp1,mp1float,ac3,ac3_fixed,eac3,dca,truehd,mlp,opus,libopus,vorbis,libvorbis,flac,alac,wavpack,tta,ape,speex,libspeex,nellymoser,wmav1,wmav2,wmapro,wmalossless,wmavoice,amrnb,amrwb,gsm,gsm_ms,s302m,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_bluray,pcm_dvd,subrip,srt,ass,ssa,webvtt,mov_text,text
            -protocol_whitelist file
            -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
            -max_streams 64
            -i file:/w/in.mp4
            -filter_complex [0:0]split[x][y];[x]trim=start_pts=25600:end_pts=51200,setpts=PTS+(204800),scale=720:576:flags=bicubic,format=yuv420p[v];[y]nullsink
            -map [v]
            -fps_mode passthrough
            -enc_time_base 1/12800
            -map_metadata -1
            -map_chapters -1
            -c:v rawvideo
            -f nut pipe:1
        "#]],
    );
    check(
        &rest[0].1,
        expect![[r#"
        -hide_banner
        -nostdin
        -v error
        -nostats
        -progress pipe:1
        -stats_period 0.5
        -max_alloc 536870912
        -y
        -copyts
        -protocol_whitelist pipe
        -f nut
        -i pipe:0
        -protocol_whitelist file
        -format_whitelist mov,matroska,avi,mpegts,mpegps,mpegvideo,mpeg,mxf,flv,live_flv,ogg,wav,mp3,flac,aac,ac3,gif,png_pipe,jpeg_pipe,webp_pipe,ivf,h264,hevc,asf,y4m,yuv4mpegpipe
        -max_streams 64
        -i file:/w/before.png
        -filter_complex [0:v]null,setparams=range=limited,setsar=16/15,format=yuv420p,trim=end_frame=1,scale=1440:1152:flags=bicubic,setsar=1,setpts=0,format=rgb24[after];[1:v]trim=end_frame=1,scale=1440:1152:flags=bicubic,setsar=1,setpts=0,format=rgb24[before];[before][after]hstack[v]
        -map [v]
        -frames:v 1
        -c:v png
        -f image2pipe file:/w/out.png
    "#]],
    );
}
