//! A meter of loudness after EBU R 128 for sound in ffmpeg's layouts. It must not know where samples come from.

use ebur128::{Channel, EbuR128, Mode};

/// How samples are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound<'a> {
    pub(crate) sample_rate: u32,
    pub(crate) channels: u32,
    /// ffmpeg's name for it.
    pub(crate) layout: Option<&'a str>,
}

/// A meter of what `mode` says: true peaks cost most of the time.
pub(crate) fn meter(sound: Sound<'_>, mode: Mode) -> Result<EbuR128, ebur128::Error> {
    let mut meter = EbuR128::new(sound.channels, sound.sample_rate, mode)?;
    let map = sound.layout.map_or(&[][..], places);
    if map.len() == sound.channels as usize {
        meter.set_channel_map(map)?;
    }
    Ok(meter)
}

/// Where the channels of ffmpeg's layouts stand, in its order, where that is not what the meter takes them for. What stands at
/// the sides weighs more than what stands behind (ITU-R BS.1770, table 3).
fn places(layout: &str) -> &'static [Channel] {
    use Channel::{Center, Left, LeftSurround, Mm135, Mp135, Mp180, Right, RightSurround, Unused};
    match layout {
        "2.1" => &[Left, Right, Unused],
        "3.0" => &[Left, Right, Center],
        "3.1" => &[Left, Right, Center, Unused],
        "4.0" => &[Left, Right, Center, Mp180],
        "quad" | "quad(side)" => &[Left, Right, LeftSurround, RightSurround],
        "5.0" | "5.0(side)" => &[Left, Right, Center, LeftSurround, RightSurround],
        "5.1" | "5.1(side)" => &[Left, Right, Center, Unused, LeftSurround, RightSurround],
        "6.1" => &[Left, Right, Center, Unused, Mp180, LeftSurround, RightSurround],
        "7.1" => &[Left, Right, Center, Unused, Mp135, Mm135, LeftSurround, RightSurround],
        _ => &[],
    }
}
