//! Pictures on their way from one program to the next through models: several at once, out in the order in which they came in. It
//! must not know what a model is made of or what runs it.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use kinora_protocol::Rational;
use kinora_protocol::inference::Network;
use kinora_protocol::planes::{By, Pass, Planar};
use kinora_protocol::survey::Seen;
use tokio::sync::mpsc;

use crate::command::chunk::{Programs, Through};
use crate::error::MediaError;
use crate::nut;
use crate::process::{self, Control, Finished, Work};
use crate::tools::Tools;

mod own;

use own::{Boxed, Graded, Steadied};

/// What runs models.
pub trait Models: Send + Sync {
    /// Gets a model ready for such pictures.
    ///
    /// # Errors
    /// In words, when there is no such model, or not enough memory.
    fn open(&self, network: &Network, picture: &Planar) -> Result<Box<dyn Makes>, String>;

    /// Gets a model ready that finds things in pictures.
    ///
    /// # Errors
    /// In words, when there is no such model.
    fn detector(&self, network: &Network) -> Result<Arc<dyn Finds>, String>;
}

/// A model that finds things.
pub trait Finds: Send + Sync {
    /// What is in a picture of luma, blue and red difference, each of this size and with all values.
    ///
    /// # Errors
    /// In words.
    fn find(&self, planes: [&[u8]; 3], size: (usize, usize)) -> Result<Vec<Seen>, String>;
}

/// A model that is ready.
pub trait Makes: Send + Sync {
    /// Pictures that are worked on side by side.
    fn at_once(&self) -> usize;

    /// What becomes of the picture in the middle of these, which is shown at a time of the source, in ticks: all planes, row after
    /// row.
    ///
    /// # Errors
    /// In words.
    fn make(&self, at: i64, seen: &[Arc<Vec<u8>>]) -> Result<Vec<u8>, String>;
}

/// Where there are no models.
#[derive(Debug, Clone, Copy)]
pub struct NoModels;

impl Models for NoModels {
    fn open(&self, network: &Network, _: &Planar) -> Result<Box<dyn Makes>, String> {
        Err(format!("nothing runs the model {:?} here", network.name))
    }

    fn detector(&self, network: &Network) -> Result<Arc<dyn Finds>, String> {
        Err(format!("nothing runs the model {:?} here", network.name))
    }
}

/// Runs programs with models between them.
///
/// # Errors
/// See [`MediaError`].
pub async fn run(
    (tools, models): (&Tools, &dyn Models),
    what: &str,
    programs: Programs,
    control: &Control,
) -> Result<Finished, MediaError> {
    let first = tools.ffmpeg(what, programs.first);
    if programs.rest.is_empty() {
        return process::run(&first, control).await;
    }
    let used = Arc::new(Mutex::new(Duration::ZERO));
    let mut rest: Vec<(Work, process::Invocation)> = Vec::new();
    for (through, line) in programs.rest {
        let failed = |reason| MediaError::Model { what: what.to_owned(), reason };
        let opened: Result<Vec<Opened>, String> = through
            .into_iter()
            .map(|through| open(&through.pass, models).map(|makes| Opened { through, makes }))
            .collect();
        let (opened, used, said) = (opened.map_err(failed)?, Arc::clone(&used), what.to_owned());
        let work: Work = Box::new(move |taken, sends| {
            flow(&opened, &used, taken, &sends)
                .map_err(|Stop(reason)| MediaError::Model { what: said, reason })
        });
        rest.push((work, tools.ffmpeg(what, line)));
    }
    let finished = process::chain(first, rest, control).await?;
    let used = used.lock().unwrap_or_else(PoisonError::into_inner).as_secs_f64();
    Ok(Finished { cpu_seconds: finished.cpu_seconds + used, ..finished })
}

/// Gets ready what makes something of pictures.
fn open(pass: &Pass, models: &dyn Models) -> Result<Box<dyn Makes>, String> {
    match &pass.by {
        By::Network(network) => models.open(network, &pass.picture),
        By::Grade { corrections } => Ok(Box::new(Graded::new(&pass.picture, corrections))),
        By::Boxes { objects } => Ok(Box::new(Boxed::new(&pass.picture, objects))),
        By::Steady { poses, .. } => Ok(Box::new(Steadied::new(&pass.picture, poses))),
    }
}

struct Opened {
    through: Through,
    makes: Box<dyn Makes>,
}

/// Why no more pictures come: in words. When nobody takes them, there is nothing to say.
struct Stop(String);

/// A picture between two models.
struct Picture {
    pts: i64,
    bytes: Arc<Vec<u8>>,
}

/// What ffmpeg knows the pixel format by, as the head of the pictures said.
type Tag = OnceLock<[u8; 4]>;

/// A picture that is being made: it comes in its turn.
type Coming = (i64, Receiver<Result<Vec<u8>, String>>);

/// What is to be made, and whom it is given to.
type Order = (i64, Vec<Arc<Vec<u8>>>, SyncSender<Result<Vec<u8>, String>>);

/// Pictures through models one after the other.
fn flow(
    models: &[Opened],
    used: &Mutex<Duration>,
    taken: mpsc::Receiver<Vec<u8>>,
    sends: &mpsc::Sender<Vec<u8>>,
) -> Result<(), Stop> {
    let Some((first, last)) = models.first().zip(models.last()) else { return Ok(()) };
    let tag = &Tag::new();
    thread::scope(|scope| {
        let (to, mut pictures) = sync_channel(1);
        let (most, hz) = (first.through.pass.picture.bytes(), first.through.hz);
        let mut parts: Vec<ScopedJoinHandle<'_, Result<(), Stop>>> = Vec::new();
        parts.push(scope.spawn(move || read(taken, (most, hz), tag, to)));
        for opened in models {
            let at_once = opened.makes.at_once().max(1);
            let (to, made) = sync_channel(at_once);
            let (order, orders) = sync_channel::<Order>(0);
            let orders = Arc::new(Mutex::new(orders));
            for _ in 0..at_once {
                let orders = Arc::clone(&orders);
                scope.spawn(move || work(opened.makes.as_ref(), &orders, used));
            }
            let from = std::mem::replace(&mut pictures, made);
            parts.push(scope.spawn(move || hand_out(&opened.through, from, &order, &to)));
        }
        let out = &last.through.pass;
        let size = out.made();
        let written = write(pictures, (size.width, size.height), (tag, hz, last.through.rate), sends);
        // Who made nothing any more tells why, and the first knows best.
        let ended = parts.into_iter().map(|part| part.join().unwrap_or_else(|_| Err(Stop(BROKE.to_owned()))));
        ended.chain(std::iter::once(written)).fold(Ok(()), Result::and)
    })
}

/// A thread that panicked.
const BROKE: &str = "a thread broke off: this is a bug";

/// Pictures out of what a program writes.
fn read(
    mut taken: mpsc::Receiver<Vec<u8>>,
    (most, hz): (usize, i64),
    tag: &Tag,
    to: SyncSender<Coming>,
) -> Result<(), Stop> {
    let mut nut = nut::Reader::new(most);
    while let Some(bytes) = taken.blocking_recv() {
        let pictures = nut.push(&bytes).map_err(|garbled| Stop(garbled.to_string()))?;
        for picture in pictures {
            if let Some(said) = nut.tag() {
                let _ = tag.set(said);
            }
            let pts = nut.unit().and_then(|unit| ticks(picture.pts, unit, hz));
            let Some(pts) = pts else {
                return Err(Stop(format!("ffmpeg gave a picture a time that is between those of 1/{hz} s")));
            };
            if picture.bytes.len() != most {
                let reason =
                    format!("ffmpeg gave a picture of {} bytes for one of {most}", picture.bytes.len());
                return Err(Stop(reason));
            }
            let (ready, made) = sync_channel(1);
            let _ = ready.send(Ok(picture.bytes));
            if to.send((pts, made)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// A time in ticks of `1/hz`, where it is a whole number of them: ffmpeg counts coarse times in finer units.
pub(crate) fn ticks(pts: i64, unit: Rational, hz: i64) -> Option<i64> {
    let exact = i128::from(pts) * i128::from(unit.num()) * i128::from(hz);
    let whole = exact % i128::from(unit.den()) == 0;
    i64::try_from(exact / i128::from(unit.den())).ok().filter(|_| whole)
}

/// Makes pictures as they are asked for.
fn work(makes: &dyn Makes, orders: &Mutex<Receiver<Order>>, used: &Mutex<Duration>) {
    let from = processor_time();
    loop {
        // Nobody waits for the lock for longer than for the next order.
        let next = orders.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((at, seen, to)) = next else { break };
        let _ = to.send(makes.make(at, &seen));
    }
    let took = processor_time().saturating_sub(from);
    *used.lock().unwrap_or_else(PoisonError::into_inner) += took;
}

/// Hands out the work of one model; what comes before the first picture and after the last is the picture itself.
fn hand_out(
    through: &Through,
    from: Receiver<Coming>,
    order: &SyncSender<Order>,
    to: &SyncSender<Coming>,
) -> Result<(), Stop> {
    let around = through.pass.around();
    let wanted = |pts: i64| through.keep.is_none_or(|(from, to)| (from..to).contains(&pts));
    let (mut seen, mut next) = (VecDeque::<Picture>::new(), 0);
    let mut more = true;
    while more || next < seen.len() {
        match from.recv() {
            Ok((pts, made)) => {
                let made = made.recv().unwrap_or_else(|_| Err(BROKE.to_owned()));
                seen.push_back(Picture { pts, bytes: Arc::new(made.map_err(Stop)?) });
            }
            Err(_) => more = false,
        }
        while next < seen.len() && (!more || next + around < seen.len()) {
            let pts = seen.get(next).map_or(0, |picture| picture.pts);
            if wanted(pts) {
                let last = seen.len() - 1;
                let at = |n: usize| seen.get(n.saturating_sub(around).min(last));
                let window =
                    (next..=next + 2 * around).filter_map(at).map(|p| Arc::clone(&p.bytes)).collect();
                let (ready, made) = sync_channel(1);
                if order.send((pts - through.zero, window, ready)).is_err() || to.send((pts, made)).is_err() {
                    return Ok(());
                }
            }
            next += 1;
            while next > around {
                seen.pop_front();
                next -= 1;
            }
        }
    }
    Ok(())
}

/// Pictures to what a program reads.
fn write(
    pictures: Receiver<Coming>,
    size: (u32, u32),
    (tag, hz, rate): (&Tag, i64, Rational),
    sends: &mpsc::Sender<Vec<u8>>,
) -> Result<(), Stop> {
    let mut writer: Option<nut::Writer> = None;
    for (pts, made) in pictures {
        let bytes = match made.recv() {
            Ok(made) => made.map_err(Stop)?,
            Err(_) => return Err(Stop(BROKE.to_owned())),
        };
        let mut piece = Vec::new();
        let nut = match (&mut writer, tag.get().zip(Rational::new(1, hz))) {
            (Some(writer), _) => writer,
            (none, Some((tag, unit))) => {
                let (begun, begin) = nut::Writer::begin(*tag, size, unit, Some(rate));
                piece = begin;
                none.insert(begun)
            }
            (None, None) => return Err(Stop("pictures came without a head".to_owned())),
        };
        if pts < 0 {
            return Err(Stop(format!("a picture has the time {pts}, which is before all time")));
        }
        piece.extend(nut.frame(pts, bytes.len()));
        if sends.blocking_send(piece).is_err() || sends.blocking_send(bytes).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Processor time of this thread, where the system tells.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn processor_time() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests;
