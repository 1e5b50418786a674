//! Pictures through models that tell what they saw.

use kinora_protocol::inference::{ModelTask, Network};
use kinora_protocol::media::Color;

use super::*;

/// Gives the numbers of the pictures that it saw, after a while that is not the same for all.
struct Tells {
    at_once: usize,
    fails_at: Option<u8>,
}

impl Makes for Tells {
    fn at_once(&self) -> usize {
        self.at_once
    }

    fn make(&self, _: i64, seen: &[Arc<Vec<u8>>]) -> Result<Vec<u8>, String> {
        let numbers: Vec<u8> = seen.iter().map(|bytes| bytes[0]).collect();
        let middle = numbers[numbers.len() / 2];
        thread::sleep(Duration::from_millis(u64::from(middle) * 7 % 5));
        if self.fails_at == Some(middle) {
            return Err(format!("picture {middle} is one too many"));
        }
        let sum = numbers.iter().fold(0_u8, |sum, n| sum.wrapping_mul(3).wrapping_add(*n));
        Ok(vec![sum; 16])
    }
}

fn opened(frames: u32, keep: Option<(i64, i64)>, tells: Tells) -> Opened {
    let network = Network {
        name: "tells".to_owned(),
        version: 1,
        sha256: "0".repeat(64),
        task: ModelTask::Denoise,
        frames,
        scale: 1,
        limited: false,
        usual: false,
    };
    let picture = Planar {
        width: 4,
        height: 4,
        format: "gray".to_owned(),
        halved: None,
        depth: 8,
        color: Color::default(),
        sample_aspect: None,
    };
    let through = Through {
        pass: Pass { picture, from_rgb: false, by: By::Network(network) },
        keep,
        zero: 0,
        hz: 25,
        rate: Rational::new(25, 1).unwrap(),
    };
    Opened { through, makes: Box::new(tells) }
}

/// What comes of pictures with the numbers from 0 on, which are 10 apart in time.
fn through(models: Vec<Opened>, count: u8) -> Result<Vec<(i64, u8)>, String> {
    // In a finer unit than was asked for, as ffmpeg does.
    let (mut writer, mut bytes) = nut::Writer::begin(*b"Y800", (4, 4), Rational::new(1, 400).unwrap(), None);
    for n in 0..count {
        bytes.extend(writer.frame(i64::from(n) * 160, 16));
        bytes.extend([n; 16]);
    }
    let (raw, taken) = mpsc::channel(1000);
    let (sends, mut made) = mpsc::channel(1000);
    bytes.chunks(21).for_each(|piece| raw.try_send(piece.to_vec()).unwrap());
    drop(raw);
    let used = Mutex::new(Duration::ZERO);
    flow(&models, &used, taken, &sends).map_err(|Stop(why)| why)?;
    drop(sends);
    let mut reader = nut::Reader::new(16);
    let mut pictures = Vec::new();
    while let Some(piece) = made.blocking_recv() {
        pictures.extend(reader.push(&piece).unwrap());
    }
    assert!(reader.is_done());
    Ok(pictures.iter().map(|picture| (picture.pts, picture.bytes[0])).collect())
}

/// What a model that sees three of `numbers` makes of each, the first and the last being repeated.
fn of_three(numbers: &[u8]) -> Vec<u8> {
    let at = |n: usize| numbers[n.min(numbers.len() - 1)];
    (0..numbers.len())
        .map(|n| {
            let seen = [at(n.saturating_sub(1)), at(n), at(n + 1)];
            seen.iter().fold(0_u8, |sum, n| sum.wrapping_mul(3).wrapping_add(*n))
        })
        .collect()
}

#[test]
fn in_order_however_many_at_once() {
    let numbers: Vec<u8> = (0..20).collect();
    for at_once in [1, 2, 5, 40] {
        let told = through(vec![opened(3, None, Tells { at_once, fails_at: None })], 20).unwrap();
        let times: Vec<i64> = told.iter().map(|(pts, _)| *pts).collect();
        assert_eq!(times, (0..20).map(|n| n * 10).collect::<Vec<i64>>());
        assert_eq!(told.iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), of_three(&numbers));
    }
}

#[test]
fn two_models_in_a_row_and_only_what_is_wanted() {
    let numbers: Vec<u8> = (0..20).collect();
    let twice = of_three(&of_three(&numbers));
    let tells = || Tells { at_once: 2, fails_at: None };
    let told = through(vec![opened(3, None, tells()), opened(3, Some((30, 171)), tells())], 20).unwrap();
    let wanted: Vec<(i64, u8)> = (3..18).map(|n| (n as i64 * 10, twice[n])).collect();
    assert_eq!(told, wanted);
}

#[test]
fn few_pictures() {
    for count in 0..4 {
        let numbers: Vec<u8> = (0..count).collect();
        let told = through(vec![opened(3, None, Tells { at_once: 2, fails_at: None })], count).unwrap();
        let wanted = if count == 0 { Vec::new() } else { of_three(&numbers) };
        assert_eq!(told.iter().map(|(_, sum)| *sum).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn why_it_failed_is_told_and_nothing_hangs() {
    for at_once in [1, 3] {
        for later in [false, true] {
            let bad = opened(1, None, Tells { at_once, fails_at: Some(5) });
            let good = opened(3, None, Tells { at_once, fails_at: None });
            let models = if later { vec![good, bad] } else { vec![bad, good] };
            let why = through(models, 90).unwrap_err();
            assert!(why.contains("is one too many"), "{why}");
        }
    }
    let (raw, taken) = mpsc::channel(10);
    raw.try_send(b"RIFF: this is something else altogether".to_vec()).unwrap();
    drop(raw);
    let (sends, _made) = mpsc::channel(10);
    let models = [opened(1, None, Tells { at_once: 1, fails_at: None })];
    let stopped = flow(&models, &Mutex::new(Duration::ZERO), taken, &sends).unwrap_err().0;
    assert!(stopped.contains("not NUT"), "{stopped}");
}
