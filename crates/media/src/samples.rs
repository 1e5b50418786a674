//! Bytes of decoded sound become frames of samples: interleaved 32-bit floats. It must not know where they come from or go.

/// Bytes of a sample.
const SAMPLE: usize = 4;

/// Bytes that become frames of samples.
pub(crate) struct Samples {
    unread: Vec<u8>,
    frame: usize,
}

impl Samples {
    pub(crate) fn of(channels: u32) -> Self {
        Self { unread: Vec::new(), frame: SAMPLE * channels.max(1) as usize }
    }

    /// The samples of whole frames; the rest waits.
    pub(crate) fn whole(&mut self, bytes: &[u8]) -> Vec<f32> {
        self.unread.extend_from_slice(bytes);
        let whole = self.unread.len() / self.frame * self.frame;
        let sample = |bytes: &[u8]| bytes.try_into().map_or(0.0, f32::from_le_bytes);
        let frames: Vec<u8> = self.unread.drain(..whole).collect();
        // Decoders of damaged sound give anything.
        let samples = frames.chunks_exact(SAMPLE).map(sample);
        samples.map(|s: f32| if s.is_finite() { s } else { 0.0 }).collect()
    }
}
