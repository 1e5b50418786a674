//! Planes of pictures as bytes and as numbers.

use kinora_protocol::planes::Planar;

/// The bytes of each plane.
pub fn planes<'a>(picture: &Planar, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let take = |(width, height): (usize, usize)| {
        let (plane, after) = rest.split_at_checked(width * height * picture.sample()).unwrap_or((rest, &[]));
        rest = after;
        plane
    };
    picture.planes().into_iter().map(take).collect()
}

/// Values of a plane.
pub fn values(picture: &Planar, plane: &[u8]) -> impl Iterator<Item = u16> {
    let wide = picture.sample() == 2;
    plane.chunks_exact(picture.sample()).map(move |bytes| match bytes {
        [low, high] if wide => u16::from_le_bytes([*low, *high]),
        [value, ..] => u16::from(*value),
        [] => 0,
    })
}

/// Adds a value to a plane.
pub fn push(picture: &Planar, out: &mut Vec<u8>, value: u16) {
    match picture.sample() {
        1 => out.push(u8::try_from(value).unwrap_or(u8::MAX)),
        _ => out.extend(value.to_le_bytes()),
    }
}
