//! A denoiser held to the noise: where it takes away more than there is noise elsewhere in the picture, it is detail that goes, and so
//! much of it stays as makes the error least. What it takes away is the sum of noise n and detail d; with a part k of it taken away,
//! the error (1-k)n - kd has the least energy at k = N/(N+D) (Wiener), where N+D is the energy of what was taken away around a sample
//! and N is what it is in the flat parts of the picture.

/// Samples on each side that the energy around one is taken over.
const RADIUS: usize = 10;
/// Part of a picture that has nothing but noise, and how much more noise there is than there.
const FLAT: f64 = 0.3;
const MORE: f64 = 1.2;
/// Samples of which one is looked at for what is flat, along each side.
const STEP: usize = 3;

/// Puts back into `made` what was too much; `given` is the picture before. Both are rows of `width` numbers.
pub fn to_the_noise(given: &[f32], made: &mut [f32], width: usize) {
    if width == 0 || given.len() != made.len() || given.is_empty() {
        return;
    }
    let energy = around(given, made, width);
    let mut some: Vec<f32> =
        energy.chunks(width).step_by(STEP).flat_map(|row| row.iter().step_by(STEP)).copied().collect();
    let at = ((some.len() - 1) as f64 * FLAT) as usize;
    let (_, flat, _) = some.select_nth_unstable_by(at, f32::total_cmp);
    let noise = (f64::from(*flat) * MORE) as f32;
    for ((given, made), energy) in given.iter().zip(made.iter_mut()).zip(&energy) {
        if *energy > noise {
            *made = given + (*made - given) * (noise / energy);
        }
    }
}

/// Mean square of what was taken away, around each sample.
fn around(given: &[f32], made: &[f32], width: usize) -> Vec<f32> {
    let squares = given.iter().zip(made).map(|(given, made)| (given - made) * (given - made));
    let squares: Vec<f32> = squares.collect();
    let mut wide: Vec<f32> = Vec::with_capacity(squares.len());
    for row in squares.chunks(width) {
        means(row.iter().copied(), width, |mean| wide.push(mean));
    }
    // Down the columns, by sums of rows.
    let height = squares.len() / width;
    let row = |n: usize| wide.get(n * width..(n + 1) * width).unwrap_or_default();
    let mut sums = vec![0.0_f64; width];
    let add = |sums: &mut [f64], n: usize, sign: f64| {
        sums.iter_mut().zip(row(n)).for_each(|(sum, value)| *sum += sign * f64::from(*value));
    };
    (0..RADIUS.min(height)).for_each(|n| add(&mut sums, n, 1.0));
    let mut energy = Vec::with_capacity(squares.len());
    for y in 0..height {
        if y + RADIUS < height {
            add(&mut sums, y + RADIUS, 1.0);
        }
        if y > RADIUS {
            add(&mut sums, y - RADIUS - 1, -1.0);
        }
        let count = ((y + RADIUS).min(height - 1) - y.saturating_sub(RADIUS) + 1) as f64;
        energy.extend(sums.iter().map(|sum| (sum / count).max(0.0) as f32));
    }
    energy
}

/// The mean around each of some numbers.
fn means(values: impl Iterator<Item = f32>, count: usize, mut tell: impl FnMut(f32)) {
    let values: Vec<f64> = values.map(f64::from).collect();
    let mut sum: f64 = values.iter().take(RADIUS).sum();
    for at in 0..count {
        sum += values.get(at + RADIUS).copied().unwrap_or(0.0);
        if at > RADIUS {
            sum -= values.get(at - RADIUS - 1).copied().unwrap_or(0.0);
        }
        let length = (at + RADIUS).min(count - 1) - at.saturating_sub(RADIUS) + 1;
        tell((sum / length as f64).max(0.0) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers about 0 with a spread of about 1, always the same ones.
    fn noise(n: usize) -> f32 {
        let hash = (n as u32).wrapping_mul(2_654_435_761) ^ (n as u32).rotate_left(13).wrapping_mul(40_503);
        ((hash >> 8 & 0xFFFF) as f32 / 65_536.0 - 0.5) * 3.46
    }

    #[test]
    fn energy_is_the_mean_of_the_square_around() {
        let (width, height) = (37, 29);
        let given: Vec<f32> = (0..width * height).map(noise).collect();
        let made = vec![0.0; given.len()];
        let energy = around(&given, &made, width);
        for (x, y) in [(0_usize, 0_usize), (36, 28), (5, 20), (18, 14), (36, 0)] {
            let (mut sum, mut count) = (0.0, 0.0);
            for v in y.saturating_sub(RADIUS)..(y + RADIUS + 1).min(height) {
                for u in x.saturating_sub(RADIUS)..(x + RADIUS + 1).min(width) {
                    sum += given[v * width + u].powi(2);
                    count += 1.0;
                }
            }
            assert!((energy[y * width + x] - sum / count).abs() < 1e-4);
        }
    }

    #[test]
    fn detail_stays_and_noise_goes() {
        // A flat half, and one with fine detail, both with noise; the denoiser makes all of it flat.
        let (width, height) = (120, 80);
        let detail = |n: usize| {
            if n % width < width / 2 { 0.0 } else { f32::from(u8::from(n.is_multiple_of(2))) - 0.5 }
        };
        let clean: Vec<f32> = (0..width * height).map(detail).collect();
        let given: Vec<f32> = clean.iter().enumerate().map(|(n, value)| value + 0.05 * noise(n)).collect();
        let mut made = vec![0.0; given.len()];
        to_the_noise(&given, &mut made, width);
        let error = |picture: &[f32], from: usize, to: usize| -> f32 {
            let each =
                picture.iter().zip(&clean).enumerate().filter(|(n, _)| (from..to).contains(&(n % width)));
            let squares: Vec<f32> = each.map(|(_, (a, b))| (a - b).powi(2)).collect();
            (squares.iter().sum::<f32>() / squares.len() as f32).sqrt()
        };
        assert!(error(&made, 0, 45) < 0.1 * error(&given, 0, 45), "the flat half is flat");
        let (before, after) = (error(&given, 75, 120), error(&made, 75, 120));
        assert!(after < 1.1 * before, "{after} where there was {before}: the detail is still there");
    }

    #[test]
    fn a_clean_picture_stays_as_it_is() {
        let width = 64;
        let given: Vec<f32> = (0..width * 64).map(|n| if n % width < 40 { 0.5 } else { noise(n) }).collect();
        let mut made = vec![0.5; given.len()];
        to_the_noise(&given, &mut made, width);
        assert!(made.iter().zip(&given).all(|(a, b)| (a - b).abs() < 1e-3));
        to_the_noise(&[], &mut [], 0);
        to_the_noise(&[0.3], &mut [0.2], 1);
    }
}
