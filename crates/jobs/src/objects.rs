//! From a survey to what is told of the things in a film.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kinora_plan::time;
use kinora_protocol::objects::{FrameObjects, ObjectView, ObjectsView, TrackView};
use kinora_protocol::survey::{Object, Survey, WHOLE};
use kinora_protocol::task::Clock;

/// A last frame is shown for so long, in seconds, where nothing says how long frames are.
const SHOWN: f64 = 0.04;

/// What a survey found, by times after the film's start.
pub fn view(survey: &Survey, clock: Clock, detector: &str) -> ObjectsView {
    let seconds = |at: i64| (time::ticks_to_us(at, clock.hz) - clock.start_us) as f64 / 1e6;
    let mut tracks: BTreeMap<u32, TrackView> = BTreeMap::new();
    let mut frames = Vec::with_capacity(survey.objects.len());
    for frame in &survey.objects {
        let at = seconds(frame.at);
        for object in &frame.objects {
            let score = f64::from(object.score) / 1000.0;
            let track = tracks.entry(object.track).or_insert_with(|| TrackView {
                id: object.track,
                class: object.class.clone(),
                first_seconds: at,
                last_seconds: at,
                frames: 0,
                score,
            });
            (track.last_seconds, track.frames) = (at, track.frames + 1);
            track.score = track.score.max(score);
        }
        frames.push(FrameObjects { seconds: at, objects: frame.objects.iter().map(object).collect() });
    }
    ObjectsView { detector: detector.to_owned(), objects: tracks.into_values().collect(), frames }
}

fn object(object: &Object) -> ObjectView {
    let part = |value: i32| f64::from(value) / f64::from(WHOLE);
    let area = object.area;
    ObjectView {
        id: object.track,
        class: object.class.clone(),
        score: f64::from(object.score) / 1000.0,
        x: part(area.x),
        y: part(area.y),
        width: part(area.width),
        height: part(area.height),
    }
}

/// WebVTT with metadata: one cue for each frame, which holds its things in JSON.
pub fn vtt(view: &ObjectsView) -> String {
    let mut text = "WEBVTT\n".to_owned();
    let times: Vec<f64> = view.frames.iter().map(|frame| frame.seconds).collect();
    let mut gaps: Vec<f64> = times
        .windows(2)
        .filter_map(|pair| match pair {
            [one, two] => Some(two - one),
            _ => None,
        })
        .collect();
    gaps.sort_by(f64::total_cmp);
    // Where nothing is for a while, there is no frame here.
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or(SHOWN).clamp(0.001, 1.0);
    for (n, frame) in view.frames.iter().enumerate() {
        let end = times
            .get(n + 1)
            .filter(|next| **next < frame.seconds + 1.5 * usual)
            .map_or(frame.seconds + usual, |next| *next);
        // What a class is called must not end a cue's times.
        let things = serde_json::to_string(&frame.objects).unwrap_or_default().replace('>', "\\u003e");
        let _ = write!(text, "\n{} --> {}\n{things}\n", clock(frame.seconds), clock(end));
    }
    text
}

fn clock(seconds: f64) -> String {
    time::clock((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use kinora_protocol::Rational;
    use kinora_protocol::survey::{Area, Objects};

    use super::*;

    #[test]
    fn things_are_told_by_frame_and_by_themselves() {
        let thing = |track: u32, score: u16| Object {
            track,
            class: "dog".to_owned(),
            score,
            area: Area { x: 1000, y: 2000, width: 500, height: 10_000 },
        };
        let survey = Survey {
            objects: vec![
                Objects { at: 2500, objects: vec![thing(1, 700)] },
                Objects { at: 2540, objects: vec![thing(1, 900), thing(2, 600)] },
                Objects { at: 5000, objects: vec![thing(2, 650)] },
                Objects { at: 5040, objects: vec![thing(2, 650)] },
                Objects { at: 5080, objects: vec![thing(2, 650)] },
            ],
            ..Survey::default()
        };
        let source = Rational::new(1, 1000).unwrap();
        let clock = Clock { source, hz: 1000, start_us: 2_000_000, wraps: false, generate: false };
        let view = view(&survey, clock, "finder");
        let dog = &view.objects[0];
        assert_eq!(
            (dog.id, dog.first_seconds, dog.last_seconds, dog.frames, dog.score),
            (1, 0.5, 0.54, 2, 0.9)
        );
        assert_eq!((view.objects[1].frames, view.objects[1].last_seconds), (4, 3.08));
        assert_eq!(view.frames[1].objects[1].width, 0.05);
        let text = vtt(&view);
        let cues: Vec<&str> = text.lines().filter(|line| line.contains("-->")).collect();
        assert_eq!(
            cues,
            [
                "00:00:00.500 --> 00:00:00.540",
                "00:00:00.540 --> 00:00:00.580",
                "00:00:03.000 --> 00:00:03.040",
                "00:00:03.040 --> 00:00:03.080",
                "00:00:03.080 --> 00:00:03.120"
            ]
        );
        assert!(text.starts_with("WEBVTT\n\n") && text.contains("[{\"id\":1,\"class\":\"dog\","), "{text}");
    }
}
