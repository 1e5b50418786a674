//! What cannot be encoded is refused in one clear line, with exit status 1, and leaves nothing behind. It knows the command
//! line and the names of the files that a run may leave, and nothing of what is behind them.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::{clips, fault, ffmpeg};
use support::{Place, Run, encode, loud, names, run, short};

/// A refusal: one line on stderr that holds all of `words`, nothing on stdout, exit status 1.
fn expect_refusal(run: &Run, words: &[&str]) -> Result<()> {
    ensure!(run.code == Some(1), "exit status: {run:?}");
    ensure!(run.stdout.is_empty(), "stdout is for results: {run:?}");
    let line = run.stderr.strip_suffix('\n').context("no line on stderr")?;
    ensure!(line.starts_with("kinora: ") && !line.contains(char::is_control), "not one plain line: {run:?}");
    for word in words {
        ensure!(line.contains(word), "{word:?} is not in {line:?}");
    }
    Ok(())
}

/// `input` is refused whatever its name and place, and the folder is as before.
fn refused(place: &Place, input: &Path, flags: &[&str], words: &[&str]) -> Result<()> {
    refused_for(place, input, "o.mp4", flags, words)
}

fn refused_for(place: &Place, input: &Path, output: &str, flags: &[&str], words: &[&str]) -> Result<()> {
    let before = place.names()?;
    let mut command = place.encode(input, output, flags);
    expect_refusal(&run(&mut command)?, words).with_context(|| support::shown(&command))?;
    let after = place.names()?;
    ensure!(before == after, "{} left {after:?} where there was {before:?}", support::shown(&command));
    Ok(())
}

/// The file is named, with the reason.
fn refused_file(place: &Place, name: &str, reason: &str) -> Result<()> {
    refused(place, &place.at(name), &[], &[name, reason])
}

#[test]
fn what_is_no_file() -> Result<()> {
    let place = Place::new()?;
    refused_file(&place, "absent.mp4", "no such file")?;
    std::fs::create_dir(place.at("folder.mp4"))?;
    refused_file(&place, "folder.mp4", "it is a folder")?;
    place.file("empty.mp4", "")?;
    refused_file(&place, "empty.mp4", "it is empty")?;
    std::os::unix::fs::symlink("absent.mp4", place.at("dangling.mp4"))?;
    refused_file(&place, "dangling.mp4", "no such file")
}

/// Were it opened, nothing would ever come.
#[test]
fn a_pipe_is_refused_at_once() -> Result<()> {
    let place = Place::new()?;
    let made = Command::new("mkfifo").arg(place.at("pipe.mp4")).status()?;
    ensure!(made.success(), "no mkfifo");
    refused_file(&place, "pipe.mp4", "not a regular file")?;
    let device = Path::new("/dev/zero");
    refused(&place, device, &[], &["/dev/zero", "not a regular file"])
}

#[test]
fn what_is_no_video() -> Result<()> {
    let place = Place::new()?;
    place.file("notes.txt", "Not a film, a few words.\n".repeat(40))?;
    refused_file(&place, "notes.txt", "this kind of file is not taken")?;
    place.file("notes.mp4", "Not a film, a few words.\n".repeat(40))?;
    refused_file(&place, "notes.mp4", "no video at all")?;
    // Bytes that look random and are the same each time.
    let noise: Vec<u8> = (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 19) as u8).collect();
    place.file("noise.mp4", noise)?;
    refused_file(&place, "noise.mp4", "no video at all")?;
    std::fs::rename(place.at("noise.mp4"), place.at("noise"))?;
    refused_file(&place, "noise", "not a media file")?;
    let whole = std::fs::read(short()?)?;
    place.file("cut.mp4", whole.get(..20_000).context("the clip is too small")?)?;
    refused_file(&place, "cut.mp4", "it is truncated")?;
    let sound = ["-f", "lavfi", "-i", "sine=d=1"];
    ffmpeg::output(ffmpeg::ffmpeg().args(sound).args(["-c:a", "aac"]).arg(place.at("sound.m4a")))?;
    refused(&place, &place.at("sound.m4a"), &[], &["no video stream", "--codec none"])?;
    let cover = ["-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.04", "-map", "0", "-map", "1", "-c:v", "mjpeg"];
    let kind = ["-c:a", "aac", "-disposition:v:0", "attached_pic"];
    ffmpeg::output(ffmpeg::ffmpeg().args(sound).args(cover).args(kind).arg(place.at("cover.m4a")))?;
    refused(&place, &place.at("cover.m4a"), &[], &["no video stream", "--codec none"])?;
    // Words to a picture, without picture or sound.
    let words = place.file("words.srt", "1\n00:00:00,000 --> 00:00:01,000\nHello\n")?;
    ffmpeg::output(ffmpeg::ffmpeg().arg("-i").arg(words).arg(place.at("words.mkv")))?;
    refused_file(&place, "words.mkv", "neither a video stream nor sound")
}

/// A list of other files is not opened, whatever it is called. The neighbour is a pipe: who opens it never comes back.
#[test]
fn playlists_do_not_reach_their_neighbours() -> Result<()> {
    let place = Place::new()?;
    let made = Command::new("mkfifo").arg(place.at("pipe.mp4")).status()?;
    ensure!(made.success(), "no mkfifo");
    std::fs::copy(short()?, place.at("clip.mp4"))?;
    for neighbour in ["pipe.mp4", "clip.mp4"] {
        let hls = format!("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{neighbour}\n#EXT-X-ENDLIST\n");
        let concat = format!("ffconcat version 1.0\nfile {neighbour}\n");
        for (list, text) in [("hls", hls), ("concat", concat)] {
            let name = format!("{list}.mp4");
            place.file(&name, &text)?;
            refused_file(&place, &name, &format!("this kind of file is not taken ({list})"))?;
        }
        let dash = format!(
            "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period>\
             <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\">\
             <BaseURL>{neighbour}</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
        );
        place.file("dash.mpd", dash)?;
        refused_file(&place, "dash.mpd", "media file")
            .or_else(|_| refused_file(&place, "dash.mpd", "this kind of file is not taken (dash)"))?;
    }
    Ok(())
}

#[test]
fn impossible_recipes() -> Result<()> {
    let place = Place::new()?;
    let clip = short()?;
    let cases: [(&[&str], &[&str]); 12] = [
        (&["--encoder", "libx999"], &["unknown encoder", "libx999", "libx264"]),
        (&["--crf", "99"], &["CRF 99", "libx264", "0 to 51"]),
        (&["--crf", "nan"], &["CRF", "not a number"]),
        (&["--preset", "nonsense"], &["preset", "\"nonsense\"", "ultrafast"]),
        (&["--fps", "0"], &["frame rate", "above 0"]),
        (&["--fps", "-25"], &["frame rate", "above 0"]),
        (&["--fps", "fast"], &["--fps", "\"fast\"", "30000/1001"]),
        (&["--scale", "big"], &["--scale", "\"big\"", "WIDTHxHEIGHT"]),
        (&["--chunk-seconds", "0"], &["chunk", "above 0"]),
        (&["--quality", "lossless", "--codec", "av1"], &["lossless", "ffv1"]),
        (&["--codec", "prores"], &["prores", "does not fit into .mp4", ".mov"]),
        (&["--audio-bitrate", "1k"], &["audio bit rate", "6k"]),
    ];
    for (flags, words) in cases {
        // One word: a value that begins with a hyphen is a value.
        let joined: Vec<String> = flags.chunks(2).map(|pair| pair.join("=")).collect();
        let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
        refused(&place, &clip, &joined, words)?;
    }
    refused_for(&place, &clip, "o.webm", &["--codec", "h264"], &["h264", "does not fit into .webm", ".mp4"])?;
    refused_for(&place, &clip, "o.webm", &["--audio", "aac"], &["AAC", "does not fit into .webm"])?;
    refused_for(&place, &clip, "o.xyz", &[], &["o.xyz", "extension", ".mp4, .mkv, .mov, .webm or .tar"])?;
    refused_for(&place, &clip, "o", &[], &["extension", ".mp4, .mkv, .mov, .webm or .tar"])
}

/// Every line asks for more than encoding: to read or write other files, to open the network, to run something else. `/tmp/x`
/// stands for a file in the test's folder.
const HOSTILE: &[(&str, &str)] = &[
    ("-vf movie=/etc/passwd", "-vf"),
    ("-filter:v movie=/etc/passwd", "-filter:v"),
    ("-af amovie=/etc/passwd", "-af"),
    ("-filter_complex movie=/etc/passwd[v]", "-filter_complex"),
    ("-filter_complex_script /tmp/x", "-filter_complex_script"),
    ("-vf drawtext=textfile=/etc/passwd", "-vf"),
    ("-vf subtitles=/etc/passwd", "-vf"),
    ("-vf zmq", "-vf"),
    ("-x264-params stats=/tmp/x", "stats"),
    ("-x264-params pass=1:stats=/tmp/x", "pass"),
    ("-x264-params dump-yuv=/tmp/x", "dump-yuv"),
    ("-x264-params keyint=50:cqmfile=/etc/passwd", "cqmfile"),
    ("-x264-params qpfile=/etc/passwd", "qpfile"),
    ("-x264-params opencl-clbin=/tmp/x", "opencl-clbin"),
    ("-x264opts stats=/tmp/x", "stats"),
    ("-x265-params csv=/tmp/x", "csv"),
    ("-x265-params analysis-save=/tmp/x", "analysis-save"),
    ("-x265-params recon=/tmp/x", "recon"),
    ("-svtav1-params stats=/tmp/x", "stats"),
    ("-svtav1-params input-stat-file=/tmp/x", "input-stat-file"),
    ("-x264-params keyint=50,stats=/tmp/x", "keyint"),
    ("-passlogfile /tmp/x", "-passlogfile"),
    ("-pass 1", "-pass"),
    ("-vstats_file /tmp/x", "-vstats_file"),
    ("-report 1", "-report"),
    ("-attach /etc/passwd", "-attach"),
    ("-dump_attachment:t /tmp/x", "-dump_attachment"),
    ("-i http://localhost/", "-i"),
    ("-f tee", "-f"),
    ("-f segment", "-f"),
    ("-map 0:a", "-map"),
    ("-protocol_whitelist http", "-protocol_whitelist"),
    ("-init_hw_device vaapi=/dev/sda", "-init_hw_device"),
    ("-vaapi_device /dev/sda", "-vaapi_device"),
    ("-progress http://localhost/", "-progress"),
    ("-fpre /etc/passwd", "-fpre"),
    ("-vpre /etc/passwd", "-vpre"),
    ("-tune film /other.mp4", "/other.mp4"),
    ("-preset -y", "-preset"),
    ("-g 12;rm", "-g"),
    ("-g", "-g has no value"),
    ("-tune 'film", "quotation mark"),
];

#[test]
fn expert_parameters_that_ask_for_more() -> Result<()> {
    let place = Place::new()?;
    let clip = short()?;
    let target = place.at("x").display().to_string();
    for (params, named) in HOSTILE {
        let params = params.replace("/tmp/x", &target);
        refused(&place, &clip, &["--ffmpeg-params", &params], &["ffmpeg parameters", named])?;
    }
    // Through a recipe file they are the same words.
    let recipe = place.file("r.toml", "[video]\nffmpeg_params = \"-vf movie=/etc/passwd\"\n")?;
    refused(&place, &clip, &["--recipe", &recipe.display().to_string()], &["ffmpeg parameters", "-vf"])
}

#[test]
fn recipe_files() -> Result<()> {
    let place = Place::new()?;
    let clip = short()?;
    let cases = [
        ("[video]\ncrff = 3\n", &["r.toml", "crff"][..]),
        ("colour = true\n", &["r.toml", "colour"]),
        ("[video\n", &["r.toml"]),
        ("[video]\ncodec = \"divx\"\n", &["r.toml", "divx"]),
        ("[video]\nfps = \"fast\"\n", &["r.toml", "fast"]),
        ("[video]\ncrf = 99\n", &["CRF 99"]),
        ("[video]\ncrf = 20\nbitrate = 500000\n", &["only one of"]),
    ];
    for (text, words) in cases {
        let recipe = place.file("r.toml", text)?;
        refused(&place, &clip, &["--recipe", &recipe.display().to_string()], words)?;
    }
    std::fs::remove_file(place.at("r.toml"))?;
    refused(
        &place,
        &clip,
        &["--recipe", &place.at("r.toml").display().to_string()],
        &["r.toml", "No such file"],
    )
}

#[test]
fn outputs_that_cannot_be() -> Result<()> {
    let place = Place::new()?;
    let clip = place.at("clip.mp4");
    std::fs::copy(short()?, &clip)?;
    let before = std::fs::read(&clip)?;
    refused_for(&place, &clip, "absent/o.mp4", &[], &["absent", "does not exist"])?;
    place.file("file", "x")?;
    refused_for(&place, &clip, "file/o.mp4", &[], &["file", "not a folder"])?;
    std::fs::create_dir(place.at("folder.mp4"))?;
    refused_for(&place, &clip, "folder.mp4", &[], &["folder.mp4", "it is a folder"])?;
    refused_for(&place, &clip, "clip.mp4", &[], &["clip.mp4", "also the output"])?;
    std::os::unix::fs::symlink("clip.mp4", place.at("link.mp4"))?;
    refused_for(&place, &clip, "link.mp4", &[], &["also the output"])?;
    let proof = clip.display().to_string();
    refused_for(&place, &clip, "o.mp4", &["--proof", &proof], &["clip.mp4", "proof"])?;
    let proof = place.at("o.mp4").display().to_string();
    refused_for(&place, &clip, "o.mp4", &["--proof", &proof], &["o.mp4", "proof"])?;
    ensure!(std::fs::read(&clip)? == before, "the input was touched");
    Ok(())
}

/// A folder that cannot be written, even by root.
fn unwritable(place: &Place) -> Result<Option<(PathBuf, Option<fault::TinyFs>)>> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = place.at("closed");
    std::fs::create_dir(&folder)?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555))?;
    if std::fs::write(folder.join("try"), "").is_err() {
        return Ok(Some((folder, None)));
    }
    let Some(fs) = fault::tiny_fs(1 << 20) else { return Ok(None) };
    let closed = Command::new("mount").args(["-o", "remount,ro"]).arg(fs.path()).status()?;
    Ok(closed.success().then(|| (fs.path().to_owned(), Some(fs))))
}

#[test]
fn a_folder_that_cannot_be_written() -> Result<()> {
    let place = Place::new()?;
    let Some((folder, _mounted)) = unwritable(&place)? else {
        loud("EVERYTHING CAN BE WRITTEN HERE: A CLOSED OUTPUT FOLDER IS NOT TESTED");
        return Ok(());
    };
    let before = names(&folder)?;
    let result = run(&mut encode(&short()?, &folder.join("o.mp4"), &[]))?;
    expect_refusal(&result, &["o.mp4: ", "(os error "])?;
    ensure!(names(&folder)? == before, "something was left");
    // State elsewhere does not help: it is the output that cannot be written, and that shows before any work is done.
    let state = place.at("state").display().to_string();
    let result = run(&mut encode(&short()?, &folder.join("o.mp4"), &["--state-dir", &state]))?;
    expect_refusal(&result, &["o.mp4: ", "(os error "])?;
    ensure!(!place.at("state").exists(), "state was left");
    let proof = folder.join("proof.json").display().to_string();
    refused(&place, &short()?, &["--proof", &proof], &["proof.json: ", "(os error "])?;
    Ok(())
}

#[test]
fn odd_sizes_in_lossless_h264() -> Result<()> {
    let place = Place::new()?;
    let odd = clips::named("odd_size")?;
    let flags = ["--quality", "lossless", "--codec", "h264"];
    refused(&place, &odd.path, &flags, &["321x179", "--scale 320x178", "--codec vp9"])
}

#[test]
fn ffmpeg_is_missing() -> Result<()> {
    let place = Place::new()?;
    let clip = short()?;
    refused(&place, &clip, &["--ffmpeg", "/nonexistent"], &["/nonexistent", "not found", "install"])?;
    refused(&place, &clip, &["--ffmpeg", "no-such-ffmpeg"], &["no-such-ffmpeg", "not found", "install"])?;
    refused(&place, &clip, &["--ffmpeg", "/bin/true"], &["/bin/", "cannot be used"])
        .or_else(|_| refused(&place, &clip, &["--ffmpeg", "/bin/true"], &["ffprobe", "not found"]))?;
    let mut by_environment = place.encode(&clip, "o.mp4", &[]);
    expect_refusal(&run(by_environment.env("KINORA_FFMPEG", "/nowhere/ffmpeg"))?, &["/nowhere/ffmpeg"])
}

#[test]
fn failures_as_json() -> Result<()> {
    let place = Place::new()?;
    let clip = short()?;
    let noise = place.file("noise.mp4", [0x47; 5000])?;
    let cases: [(&Path, &[&str], &str, &str); 5] = [
        (&clip, &["--crf", "99"], "bad_recipe", "CRF 99"),
        (&clip, &["--ffmpeg-params", "-vf x"], "bad_recipe", "-vf"),
        (&noise, &[], "bad_input", "noise.mp4"),
        (Path::new("/absent.mp4"), &[], "bad_input", "/absent.mp4"),
        (&clip, &["--ffmpeg", "/nonexistent"], "tool_missing", "/nonexistent"),
    ];
    for (input, flags, code, named) in cases {
        let result = run(place.encode(input, "o.mp4", &["--json"]).args(flags))?;
        ensure!(result.code == Some(1), "{result:?}");
        ensure!(result.stdout.lines().count() == 1, "one object, one line: {result:?}");
        let error = &result.json()?["error"];
        ensure!(error["code"] == code, "{result:?}");
        let message = error["message"].as_str().context("no message")?;
        ensure!(message.contains(named), "{result:?}");
        ensure!(result.stderr == format!("kinora: {message}\n"), "people read the same: {result:?}");
    }
    ensure!(place.names()? == ["noise.mp4"], "left: {:?}", place.names()?);
    Ok(())
}

/// The disk fills up at two stages: when hardly anything fits, and when the chunks do not. With room, the same command
/// goes on and ends well.
#[test]
fn a_full_disk() -> Result<()> {
    let clip = support::eight()?;
    for free in [200_000, 1_600_000] {
        const SIZE: u64 = 24 << 20;
        let Some(fs) = fault::tiny_fs(SIZE) else { return Ok(()) };
        let filler = fs.path().join("filler");
        std::fs::write(&filler, vec![1; usize::try_from(SIZE - free)?])?;
        let out = fs.path().join("o.mp4");
        let flags = ["--quality", "lossless", "--preset", "ultrafast", "--chunk-seconds", "2", "--json"];
        let full = run(&mut encode(&clip, &out, &flags))?;
        ensure!(full.code == Some(1), "{free} bytes free: {full:?}");
        ensure!(full.stderr.to_lowercase().contains("no space"), "{free} bytes free: {full:?}");
        ensure!(full.json()?["error"]["code"] == "disk", "{free} bytes free: {full:?}");
        let left = names(fs.path())?;
        ensure!(
            left.iter().all(|n| n == "filler" || n == ".o.mp4.kinora"),
            "{free} bytes free left {left:?}"
        );
        fault::expect_no_orphans(&fs.path().to_string_lossy(), support::PATIENCE)?;
        std::fs::remove_file(filler)?;
        let done = run(&mut encode(&clip, &out, &flags))?.done()?;
        ensure!(done["verified"] == true, "{done}");
        ensure!(names(fs.path())? == ["o.mp4"], "left: {:?}", names(fs.path())?);
        support::same_frames(&clip, &out)?;
    }
    Ok(())
}
