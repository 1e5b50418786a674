//! What is done to pictures besides their size: strengths that a user says, in their ranges, for pictures that have what they change.

use kinora_protocol::Failure;
use kinora_protocol::encode::PictureFilters;
use kinora_protocol::recipe::VideoRecipe;

use crate::settle::refuse;

/// More is no picture any more.
const GREATEST_CONTRAST: f64 = 4.0;
/// What ffmpeg's filter takes.
const GREATEST_SHARPENING: f64 = 5.0;
/// ffmpeg's filter makes smaller pictures black.
const LEAST_SHARPENED: u32 = 8;

/// The strengths that a recipe comes to, for pictures of a format and size.
///
/// # Errors
/// [`kinora_protocol::ErrorCode::BadRecipe`] for strengths out of range and for pictures that they make no sense for.
pub(crate) fn settle(
    recipe: &VideoRecipe,
    pix_fmt: &str,
    (width, height): (u32, u32),
) -> Result<PictureFilters, Failure> {
    let filters = PictureFilters {
        contrast: thousandths("contrast", recipe.contrast, GREATEST_CONTRAST, 1000)?,
        sharpen: thousandths("sharpening", recipe.sharpen, GREATEST_SHARPENING, 0)?,
        ..PictureFilters::default()
    };
    let has_luma = pix_fmt.starts_with("yuv") || pix_fmt.starts_with("gray");
    if !filters.keep_samples() && !has_luma {
        return Err(refuse(format!(
            "contrast and sharpening change the luma, and {pix_fmt} pictures have none"
        )));
    }
    if filters.sharpen.is_some() && width.min(height) < LEAST_SHARPENED {
        return Err(refuse(format!("pictures of {width}x{height} are too small to be sharpened")));
    }
    Ok(filters)
}

/// Whether a recipe asks a copy for pictures that it does not have.
///
/// # Errors
/// [`kinora_protocol::ErrorCode::BadRecipe`] if so.
pub(crate) fn check_copy(recipe: &VideoRecipe) -> Result<(), Failure> {
    match recipe.contrast.is_some() || recipe.sharpen.is_some() {
        true => Err(refuse("a copy has the source's pictures: contrast and sharpening need a codec")),
        false => Ok(()),
    }
}

/// A strength in thousandths; none where it changes nothing.
fn thousandths(what: &str, value: Option<f64>, most: f64, neutral: u32) -> Result<Option<u32>, Failure> {
    let Some(value) = value else { return Ok(None) };
    if !(0.0..=most).contains(&value) {
        return Err(refuse(format!("{what} of {value} is out of range: 0 to {most}")));
    }
    Ok(Some((value * 1000.0).round() as u32).filter(|value| *value != neutral))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(
        contrast: f64,
        sharpen: f64,
        pix_fmt: &str,
        size: (u32, u32),
    ) -> Result<[Option<u32>; 2], String> {
        let recipe =
            VideoRecipe { contrast: Some(contrast), sharpen: Some(sharpen), ..VideoRecipe::default() };
        settle(&recipe, pix_fmt, size).map(|f| [f.contrast, f.sharpen]).map_err(|failure| failure.message)
    }

    #[test]
    fn strengths() {
        let hd = (1280, 720);
        assert_eq!(settled(1.25, 0.6, "yuv420p", hd), Ok([Some(1250), Some(600)]));
        assert_eq!(settled(1.0, 0.0, "gbrp", (4, 4)), Ok([None, None]), "nothing is done");
        assert!(settled(4.1, 0.0, "yuv420p", hd).unwrap_err().contains("0 to 4"));
        assert!(settled(1.0, f64::NAN, "yuv420p", hd).unwrap_err().contains("out of range"));
        assert!(settled(1.1, 0.0, "gbrp10le", hd).unwrap_err().contains("have none"));
        assert!(settled(1.0, 1.0, "gray", (1280, 6)).unwrap_err().contains("too small"));
        assert!(check_copy(&VideoRecipe { sharpen: Some(0.0), ..VideoRecipe::default() }).is_err());
        assert!(check_copy(&VideoRecipe::default()).is_ok());
    }
}
