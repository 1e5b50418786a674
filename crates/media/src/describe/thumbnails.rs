//! A poster and pictures from all over the video.

use kinora_protocol::describe::{Found, Picture, Size};

use super::{Files, Findings, Work};
use crate::command::describe;
use crate::error::MediaError;
use crate::process;

pub(super) async fn find(
    work: &Work<'_>,
    stream: u32,
    size: Size,
    poster_us: i64,
    at_us: &[i64],
) -> Result<Findings, MediaError> {
    let (mut pictures, mut files) = (Vec::new(), Files::default());
    let mut problem = None;
    let wanted = std::iter::once((poster_us, true)).chain(at_us.iter().map(|at| (*at, false)));
    for (number, (at_us, poster)) in wanted.enumerate() {
        let out = work.scratch.join(format!("thumbnail-{number}.jpg"));
        let args = describe::thumbnail(work.source, stream, at_us, size, poster, &out);
        let invocation = work.tools.ffmpeg(format!("{}: taking a picture", work.source.display()), args);
        match process::run(&invocation, work.control).await {
            Ok(_) => {}
            // A damaged place: there are others.
            Err(error @ MediaError::ToolFailed { .. }) => {
                problem = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        // There is none behind the last frame.
        if std::fs::metadata(&out).is_ok_and(|facts| facts.len() > 0) {
            pictures.push(Picture { at_us, file: files.file(out)? });
            work.progress(pictures.len() as u64);
        }
    }
    if let Some(error) = problem.filter(|_| pictures.is_empty()) {
        return Err(error);
    }
    Ok(Findings { found: Found::Thumbnails { pictures }, files })
}
