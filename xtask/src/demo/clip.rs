//! A clip of half a minute, made by ffmpeg alone: six moving scenes with hard cuts, and a sound that changes with them.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{process, setup};

/// Seconds per scene.
const SCENE: u32 = 5;

/// Sources of libavfilter, all of them 1280x720 once they have passed [`SHAPE`].
const SCENES: [&str; 6] = [
    "testsrc2=size=1280x720:rate=25",
    "mandelbrot=size=640x360:rate=25:maxiter=400:end_scale=0.05",
    "life=size=160x90:rate=25:seed=7:ratio=0.3:mold=10:life_color=#ffd060:death_color=#602040:mold_color=#102030",
    "gradients=size=640x360:rate=25:seed=11:speed=0.03:nb_colors=5",
    "smptehdbars=size=1280x720:rate=25,scroll=horizontal=0.004:vertical=0.002",
    "cellauto=size=160x90:rate=25:seed=5:rule=110:scroll=1",
];

/// Small scenes are enlarged without smoothing: sharp squares, and less to draw.
const SHAPE: &str = "scale=1280:720:flags=neighbor,setsar=1,format=yuv420p";

/// Makes the clip unless it is there already; the path it was given.
pub fn made(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        eprintln!("demo: using the clip made before, {}", path.display());
        return Ok(path.to_owned());
    }
    let Some(encoder) = ["libx264", "libopenh264", "mpeg4"].into_iter().find(|name| setup::has_encoder(name))
    else {
        bail!("this ffmpeg has neither libx264 nor libopenh264 nor mpeg4 to make a clip with");
    };
    eprintln!("demo: making a clip of {} s", SCENES.len() as u32 * SCENE);
    // Written beside and renamed, so that a clip is whole or not there.
    let unfinished = path.with_extension("part.mp4");
    let mut command = process::command("ffmpeg", arguments(encoder));
    process::run(command.arg(&unfinished))?;
    std::fs::rename(&unfinished, path)?;
    Ok(path.to_owned())
}

fn arguments(encoder: &str) -> Vec<String> {
    let mut words: Vec<String> =
        ["-y", "-nostdin", "-hide_banner", "-loglevel", "error"].map(str::to_owned).into();
    for scene in SCENES {
        words.extend(["-f", "lavfi", "-t", &SCENE.to_string(), "-i", scene].map(str::to_owned));
    }
    let sound = format!(
        "aevalsrc=0.2*sin(2*PI*t*(220+110*floor(t/{SCENE})))*(0.6+0.4*sin(2*PI*t)):s=48000:d={}",
        SCENES.len() as u32 * SCENE
    );
    words.extend(["-f", "lavfi", "-i", &sound].map(str::to_owned));
    words.extend(["-filter_complex", &graph(), "-map", "[v]", "-map"].map(str::to_owned));
    words.extend([format!("{}:a", SCENES.len()), "-c:v".to_owned(), encoder.to_owned()]);
    let quality: &[&str] = match encoder {
        "libx264" => &["-crf", "18", "-preset", "veryfast"],
        "libopenh264" => &["-b:v", "8M"],
        _ => &["-q:v", "2"],
    };
    words.extend(quality.iter().map(|word| (*word).to_owned()));
    words.extend(["-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"].map(str::to_owned));
    words
}

fn graph() -> String {
    let count = SCENES.len();
    let shaped: String = (0..count).map(|i| format!("[{i}:v]{SHAPE}[s{i}];")).collect();
    let joined: String = (0..count).map(|i| format!("[s{i}]")).collect();
    format!("{shaped}{joined}concat=n={count}:v=1:a=0[v]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_is_an_input_and_a_part_of_the_graph() {
        let words = arguments("libx264");
        assert_eq!(words.iter().filter(|word| *word == "-i").count(), SCENES.len() + 1);
        assert!(graph().ends_with("[s0][s1][s2][s3][s4][s5]concat=n=6:v=1:a=0[v]"));
        assert!(words.windows(2).any(|pair| pair == ["-map", "6:a"]));
    }
}
