//! Names of codecs as playlists and browsers have them (RFC 6381), from the decoder configuration in a track's head.

use crate::fragments::{Held, within};

/// The name; `None` for a codec that no package holds.
pub(super) fn name(held: &Held) -> Option<String> {
    match &held.entry.0 {
        b"avc1" => avc(&within(&held.entry, b"avcC")?),
        b"hvc1" => hevc(&within(&held.entry, b"hvcC")?),
        // ffmpeg's encoder writes no other object type than AAC-LC.
        b"mp4a" => Some("mp4a.40.2".to_owned()),
        _ => None,
    }
}

/// Width and height of the pictures as they are shown. ISO/IEC 14496-12, 12.1.3 and 12.1.4.3.
pub(super) fn size(held: &Held) -> Option<(u32, u32)> {
    let at = |from: usize| held.entry.1.get(from..)?.first_chunk().copied().map(u16::from_be_bytes);
    let (width, height) = (u32::from(at(24)?), u32::from(at(26)?));
    let shape = within(&held.entry, b"pasp").and_then(|body| {
        let part = |from: usize| body.get(from..)?.first_chunk().copied().map(u32::from_be_bytes);
        part(0).zip(part(4)).filter(|(wide, high)| *wide > 0 && *high > 0)
    });
    let Some((wide, high)) = shape else { return Some((width, height)) };
    let shown = (u64::from(width) * u64::from(wide) + u64::from(high) / 2) / u64::from(high);
    Some((u32::try_from(shown).ok()?, height))
}

/// ISO/IEC 14496-15, 5.3.3.1: version, profile, constraints, level.
fn avc(config: &[u8]) -> Option<String> {
    let [_, profile, constraints, level, ..] = *config else { return None };
    Some(format!("avc1.{profile:02X}{constraints:02X}{level:02X}"))
}

/// ISO/IEC 14496-15, 8.3.3.1 and annex E.
fn hevc(config: &[u8]) -> Option<String> {
    let [_, profile, c0, c1, c2, c3, constraints @ ..] = config else { return None };
    let (constraints, level) = (constraints.get(..6)?, constraints.get(6)?);
    let space = ["", "A", "B", "C"].get(usize::from(profile >> 6))?;
    let compatible = u32::from_be_bytes([*c0, *c1, *c2, *c3]).reverse_bits();
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let mut name = format!("hvc1.{space}{}.{compatible:X}.{tier}{level}", profile & 0x1f);
    let said = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(said) {
        name.push_str(&format!(".{byte:X}"));
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_in_the_standard() {
        assert_eq!(avc(&[1, 0x64, 0, 0x1f, 0xff]).unwrap(), "avc1.64001F");
        assert_eq!(avc(&[1, 0x4d]), None);
        // Main profile, level 3.1, as the standard's example has it.
        let main = [1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
        assert_eq!(hevc(&main).unwrap(), "hvc1.1.6.L93.B0");
        let main10 = [1, 0x22, 0x20, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 120, 0xf0];
        assert_eq!(hevc(&main10).unwrap(), "hvc1.2.4.H120.90");
        assert_eq!(hevc(&main[..12]), None);
    }
}
