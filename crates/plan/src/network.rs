//! Which models a recipe's wishes come to, among those that nodes can run, and what is done where there are none. Pure; it must not
//! know how a model is run.

use kinora_protocol::Failure;
use kinora_protocol::enhance::Enhancement;
use kinora_protocol::inference::{Inference, ModelTask, Network};
use kinora_protocol::media::VideoFacts;
use kinora_protocol::planes::By;
use kinora_protocol::recipe::LANCZOS;

use crate::pixel::PixelFormat;
use crate::planes::{opaque, pass};
use crate::settle::refuse;

/// The model to take for a task: the one that is named, else the usual one; `None` where none is named and there is none, with the
/// reason.
fn chosen<'a>(
    task: ModelTask,
    named: Option<&str>,
    inference: &'a Inference,
) -> Result<Result<&'a Network, String>, Failure> {
    let able = inference.models().iter().filter(|model| model.task == task);
    let Some(name) = named else {
        let usual = able.clone().find(|model| model.usual);
        return Ok(usual.ok_or_else(|| match inference {
            Inference::Missing { reason } => reason.clone(),
            Inference::Ready { .. } => format!("there is no model to {} with", task.name()),
        }));
    };
    if let Some(found) = able.clone().find(|model| model.name == name) {
        return Ok(Ok(found));
    }
    if let Inference::Missing { reason } = inference {
        return Err(refuse(format!("the model {name:?} cannot be run: {reason}")));
    }
    let mut known: Vec<&str> = able.map(|model| model.name.as_str()).collect();
    known.dedup();
    Err(refuse(format!(
        "no node has a model {name:?} to {} with; there are {}",
        task.name(),
        known.join(", ")
    )))
}

/// The model that finds things: the one that is named, else the first that there is.
pub(crate) fn detector(named: Option<&str>, inference: &Inference) -> Result<Network, Failure> {
    let first = inference.models().iter().find(|model| model.task == ModelTask::Detect);
    if let (None, Some(first)) = (named, first) {
        return Ok(first.clone());
    }
    chosen(ModelTask::Detect, named, inference)?.cloned().map_err(|reason| {
        refuse(format!(
            "nothing finds things in pictures: {reason}; `kinora models add FILE --task detect` adds a model"
        ))
    })
}

/// Less noise by a model; where none can be run, by what comes next to it.
pub(crate) fn denoise(
    named: Option<&str>,
    video: &mut VideoFacts,
    inference: &Inference,
    notes: &mut Vec<String>,
) -> Result<Enhancement, Failure> {
    match chosen(ModelTask::Denoise, named, inference)? {
        Ok(model) => {
            notes.extend(opaque(video));
            Ok(Enhancement::Pass(Box::new(pass(By::Network(model.clone()), video))))
        }
        Err(reason) => {
            notes.push(format!("noise is taken away as by denoise = strong, and not by a model: {reason}"));
            Ok(Enhancement::DenoiseStrong { deep: PixelFormat::parse(&video.pix_fmt).depth > 8 })
        }
    }
}

/// Pictures that are `factor` times as large: by a model as far as that goes, and by Lanczos from there.
pub(crate) fn upscale(
    (factor, (width, height)): (u32, (u32, u32)),
    named: Option<&str>,
    video: &mut VideoFacts,
    inference: &Inference,
    notes: &mut Vec<String>,
) -> Result<Vec<Enhancement>, Failure> {
    let by_filter = Enhancement::Upscale { width, height };
    if named == Some(LANCZOS) {
        return Ok(vec![by_filter]);
    }
    let model = match chosen(ModelTask::Upscale, named, inference)? {
        Ok(model) => model,
        Err(reason) => {
            notes.push(format!("pictures are upscaled by Lanczos, and not by a model: {reason}"));
            return Ok(vec![by_filter]);
        }
    };
    notes.extend(opaque(video));
    let (mut chain, mut reached) = (Vec::new(), 1);
    while model.scale > 1 && reached * model.scale <= factor {
        let pass = pass(By::Network(model.clone()), video);
        let made = pass.made();
        (video.width, video.height) = (made.width, made.height);
        chain.push(Enhancement::Pass(Box::new(pass)));
        reached *= model.scale;
    }
    if chain.is_empty() {
        return Err(refuse(format!(
            "the model {:?} makes pictures {} times as large, not {factor} times",
            model.name, model.scale
        )));
    }
    if reached < factor {
        chain.push(by_filter);
    }
    Ok(chain)
}
