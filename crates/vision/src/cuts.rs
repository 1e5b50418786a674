//! Where a scene ends and the next begins: cuts, and fades through black.

use kinora_protocol::survey::Measured;

/// Least change of a cut, in thousandths.
const LEAST: u16 = 110;
/// A cut stands out from what is around it by this factor.
const STANDS_OUT: f64 = 2.2;
/// So many frames on each side are around it.
const AROUND: usize = 5;
/// Of so many frames on each side it changes most: no scene is shorter.
const BESIDE: usize = 2;
/// A frame whose brightest parts are darker than this is black, in thousandths.
const BLACK: u16 = 130;
/// Of two flashes, or of something that passes close by, frames are alike again after it.
const ALIKE: f64 = 0.5;

/// Times of the first frames of scenes, ascending, without the first of all.
pub fn find(frames: &[Measured]) -> Vec<i64> {
    let mut cuts: Vec<usize> = (1..frames.len()).filter(|n| is_cut(frames, *n)).collect();
    for (from, to) in black(frames) {
        // Where a black stretch begins or ends at once, that is a cut already.
        let near = |cut: &usize| (from.saturating_sub(1)..=to + 1).contains(cut);
        if !cuts.iter().any(near) {
            cuts.push((from + to) / 2);
        }
    }
    cuts.sort_unstable();
    cuts.into_iter().filter_map(|n| Some(frames.get(n)?.at)).collect()
}

fn is_cut(frames: &[Measured], n: usize) -> bool {
    let change = |n: usize| frames.get(n).and_then(|frame| frame.change).unwrap_or(0);
    let of_two = |n: usize| frames.get(n).and_then(|frame| frame.change_of_two);
    let own = change(n);
    if own < LEAST {
        return false;
    }
    let within = |reach: usize| {
        let all = n.saturating_sub(reach).max(1)..(n + 1 + reach).min(frames.len());
        all.filter(move |other| *other != n)
    };
    // The middle one, as there may be another cut not far away.
    let mut around: Vec<u16> = within(AROUND).map(change).collect();
    around.sort_unstable();
    let middle = around.get(around.len() / 2).copied().unwrap_or(0);
    let stands_out = f64::from(own) >= STANDS_OUT * f64::from(middle);
    // Of two that are as high, the first.
    let highest =
        within(BESIDE).all(|other| if other < n { change(other) < own } else { change(other) <= own });
    let other = |change: Option<u16>| change.is_none_or(|change| f64::from(change) >= ALIKE * f64::from(own));
    stands_out && highest && other(of_two(n)) && other(of_two(n + 1))
}

/// Black stretches between frames that are not: first and last frame.
fn black(frames: &[Measured]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut begun: Option<usize> = None;
    let mut lit = false;
    for (n, frame) in frames.iter().enumerate() {
        if frame.bright < BLACK {
            begun = begun.or_else(|| lit.then_some(n));
        } else {
            found.extend(begun.take().map(|from| (from, n - 1)));
            lit = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(changes: &[(u16, u16)]) -> Vec<Measured> {
        let frame = |(n, (change, change_of_two)): (usize, &(u16, u16))| Measured {
            at: n as i64 * 10,
            bright: 900,
            change: Some(*change),
            change_of_two: Some(*change_of_two),
            tones: None,
            motion: None,
            seen: None,
        };
        changes.iter().enumerate().map(frame).collect()
    }

    #[test]
    fn a_cut_stands_out_and_stays() {
        let mut changes = vec![(10, 15); 30];
        changes[12] = (180, 182);
        changes[13] = (10, 181);
        assert_eq!(find(&frames(&changes)), [120]);
        // In wild movement it does not.
        let mut wild = vec![(120, 140); 30];
        wild[12] = (180, 182);
        assert!(find(&frames(&wild)).is_empty());
        // A scene may be short.
        changes[16] = (400, 402);
        changes[17] = (10, 401);
        assert_eq!(find(&frames(&changes)), [120, 160]);
    }

    #[test]
    fn a_flash_is_no_cut() {
        let mut changes = vec![(10, 15); 30];
        changes[12] = (180, 182);
        changes[13] = (175, 12);
        changes[14] = (10, 170);
        assert!(find(&frames(&changes)).is_empty());
    }

    #[test]
    fn a_fade_through_black_is_one() {
        let mut fade = frames(&[(20, 30); 40]);
        fade[18..=22].iter_mut().for_each(|frame| frame.bright = 60);
        assert_eq!(find(&fade), [200]);
        // At the beginning and at the end there is nothing before or after it.
        let mut ends = frames(&[(20, 30); 40]);
        let (begin, end) = ends.split_at_mut(20);
        begin[..5].iter_mut().chain(&mut end[15..]).for_each(|frame| frame.bright = 60);
        assert!(find(&ends).is_empty());
    }
}
