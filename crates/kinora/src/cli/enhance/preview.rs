//! One frame as it is and as it becomes, before a whole film is made so. It is made by what makes chunks.

use std::path::Path;
use std::time::Duration;

use kinora_jobs::expand::{self, Known, Measures};
use kinora_media::{Control, Tools, encode, index, measure, pictures};
use kinora_plan::settle::{self, Available};
use kinora_plan::sizing;
use kinora_protocol::encode::{EncodeSettings, Encoder, PictureFilters};
use kinora_protocol::enhance::Enhancement;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::recipe::{Container, Recipe};
use kinora_protocol::survey::Survey;
use kinora_protocol::task::ChunkSpec;
use kinora_protocol::{ErrorCode, Failure};
use kinora_vision::survey;

use super::super::encode::{EncodeArgs, recipe};
use super::super::print_json;
use crate::config::Config;
use crate::{models, tools};

fn bad(reason: String) -> Failure {
    Failure::new(ErrorCode::BadInput, reason)
}

pub(super) async fn run(args: &EncodeArgs, at_us: i64, config: &Config) -> Result<(), Failure> {
    let (input, output) = (&args.input, &args.output);
    if !output.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
        return Err(bad(format!("{}: a preview is a .png", output.display())));
    }
    let said = recipe::build(&args.recipe, None)?;
    super::something(&said)?;
    // Whatever the codec: it is not encoded, and no container is asked.
    let recipe = Recipe { container: None, ladder: None, ..said };
    let size = std::fs::metadata(input).map_err(|e| bad(format!("{}: {e}", input.display())))?.len();
    let tools = tools::find(config).await?;
    let control = Control::quiet(Duration::from_secs(args.stall_timeout));
    let (facts, index) = index::probe_and_index(&tools, input, size, &control).await?;
    let models = models::find_for(&recipe.enhance, config);
    let available = Available { encoders: &Encoder::ALL, inference: models.state() };
    let settled = settle::settle(&recipe, &facts, Container::Mkv, available)?;
    let capacity = sizing::Capacity { cores: 1, machines: 1, jobs: None, seconds: None };
    let known = Known { source: input, facts: &facts, index: &index, settled: &settled.settled, capacity };
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", output.display()));
    let scratch = tempfile::Builder::new().prefix(".kinora-preview").tempdir_in(folder).map_err(disk)?;
    let programs = (&tools, models.as_ref() as &dyn pictures::Models);
    let survey = survey(programs, expand::around(&known, at_us), scratch.path(), &control).await?;
    let frame = expand::frame(&known, &survey, at_us).ok_or_else(|| {
        bad(format!("{}: there is no picture at {:.3} s", input.display(), at_us as f64 / 1e6))
    })?;
    let shown = shown(&frame, &facts);
    // Of an encoder for cards its filters would be wanted, too.
    let spec =
        ChunkSpec { encode: EncodeSettings { encoder: Encoder::Ffv1, ..frame.encode.clone() }, ..frame };
    let part = scratch.path().join("preview.png");
    encode::before_and_after(programs, &spec, shown, (input, size), scratch.path(), &part, &control).await?;
    std::fs::rename(&part, output).map_err(disk)?;
    let (width, height) = shown;
    if args.json {
        print_json(&serde_json::json!({
            "input": input, "output": output, "seconds": at_us as f64 / 1e6,
            "width": width, "height": height, "notes": settled.notes,
        }));
    } else {
        say!("{}: {width}x{height} before, {width}x{height} after", output.display());
        settled.notes.iter().for_each(|note| say!("  note: {note}"));
    }
    Ok(())
}

/// What is known around the frame, where something is to be known.
async fn survey(
    programs: (&Tools, &dyn pictures::Models),
    measures: Option<Measures>,
    scratch: &Path,
    control: &Control,
) -> Result<Survey, Failure> {
    let Some(Measures { stretches, survey }) = measures else { return Ok(Survey::default()) };
    let mut frames = Vec::new();
    for stretch in &stretches {
        let from = (stretch.source.as_path(), stretch.size);
        frames.extend(measure::measure(programs, &stretch.work, from, scratch, control).await?.0);
    }
    Ok(survey::of(&frames, survey.hz, survey.size, survey.wanted))
}

/// The size in which pictures come out.
fn shown(spec: &ChunkSpec, facts: &MediaFacts) -> (u32, u32) {
    let PictureFilters { scale, .. } = spec.filters;
    let larger = spec.enhance.iter().rev().find_map(|one| match one {
        Enhancement::Upscale { width, height } => Some((*width, *height)),
        Enhancement::Pass(pass) => {
            let made = pass.made();
            Some((made.width, made.height))
        }
        _ => None,
    });
    let turned = facts.video().map(|(_, video)| settle::upright(video));
    scale.or(larger).or(turned).unwrap_or((2, 2))
}
