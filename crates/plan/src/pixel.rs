//! ffmpeg's pixel format names, taken apart as far as choosing between them needs.

/// Chroma resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chroma {
    /// No colour.
    Gray,
    /// A quarter of the columns and rows.
    Yuv410,
    /// A quarter of the columns.
    Yuv411,
    /// Half the columns and rows.
    Yuv420,
    /// Half the rows.
    Yuv440,
    /// Half the columns.
    Yuv422,
    /// All, as luma and chroma.
    Yuv444,
    /// All, as red, green and blue.
    Rgb,
}

/// A pixel format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelFormat {
    /// Chroma resolution.
    pub chroma: Chroma,
    /// Bits per sample.
    pub depth: u32,
}

impl PixelFormat {
    /// From ffmpeg's name. Unknown names count as 8-bit 4:2:0, the most common.
    pub fn parse(name: &str) -> Self {
        let chroma = if name.starts_with("gray") || name.starts_with("mono") || name.starts_with("ya") {
            Chroma::Gray
        } else if name.contains("444") || name.starts_with("nv24") {
            Chroma::Yuv444
        } else if name.contains("422") || name.starts_with("nv16") || name.starts_with("p21") {
            Chroma::Yuv422
        } else if name.contains("440") {
            Chroma::Yuv440
        } else if name.contains("411") {
            Chroma::Yuv411
        } else if name.contains("410") {
            Chroma::Yuv410
        } else if ["gbr", "rgb", "bgr", "argb", "abgr", "pal8", "0rgb", "0bgr"]
            .iter()
            .any(|p| name.starts_with(p))
        {
            Chroma::Rgb
        } else {
            Chroma::Yuv420
        };
        let depth = if name.contains("10le") || name.contains("10be") || name == "p010le" {
            10
        } else if name.contains("12le") || name.contains("12be") {
            12
        } else if name.contains("14le") || name.contains("14be") {
            14
        } else if name.contains("16le") || name.contains("16be") || name.contains("48") || name.contains("64")
        {
            16
        } else if name.contains("9le") || name.contains("9be") {
            9
        } else {
            8
        };
        Self { chroma, depth }
    }

    /// What width and height must be multiples of.
    pub fn granularity(self) -> (u32, u32) {
        match self.chroma {
            Chroma::Gray | Chroma::Yuv444 | Chroma::Rgb => (1, 1),
            Chroma::Yuv420 => (2, 2),
            Chroma::Yuv422 => (2, 1),
            Chroma::Yuv440 => (1, 2),
            Chroma::Yuv411 => (4, 1),
            Chroma::Yuv410 => (4, 4),
        }
    }

    /// How many times the chroma is halved in columns and rows; none of it counts as halved more often than any.
    fn halvings(self) -> [u32; 2] {
        match self.chroma {
            Chroma::Gray => [8, 8],
            Chroma::Yuv410 => [2, 2],
            Chroma::Yuv411 => [2, 0],
            Chroma::Yuv420 => [1, 1],
            Chroma::Yuv440 => [0, 1],
            Chroma::Yuv422 => [1, 0],
            Chroma::Yuv444 | Chroma::Rgb => [0, 0],
        }
    }

    /// How far this is from `wanted`, for choosing: losses weigh more than excess.
    pub fn distance_from(self, wanted: Self) -> (u32, u32, u32) {
        let (mut lost, mut excess) = (0, self.depth.saturating_sub(wanted.depth));
        for (own, wanted) in self.halvings().into_iter().zip(wanted.halvings()) {
            lost += own.saturating_sub(wanted);
            excess += wanted.saturating_sub(own) * 4;
        }
        let other_model = u32::from((self.chroma == Chroma::Rgb) != (wanted.chroma == Chroma::Rgb));
        (wanted.depth.saturating_sub(self.depth), lost, excess + other_model)
    }
}
