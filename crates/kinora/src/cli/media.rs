//! `kinora media`: what a hub keeps, and what is known about it.

use clap::{Args, Subcommand};
use kinora_protocol::api::{Import, MediaView, MetadataView};
use kinora_protocol::media::{MediaFacts, Scan, StreamKind, Verdict};
use kinora_protocol::proxy::{ProxyKind, ProxyState};
use kinora_protocol::{Digest, ErrorCode, Failure};

use super::print_json;
use super::progress::{Out, clock};
use super::remote::HubAddress;
use super::watch;
use crate::config::Config;

/// Letters of an id that are shown in lists.
const SHORT_ID: usize = 12;

/// Flags of `kinora media`.
#[derive(Debug, Args)]
pub struct MediaArgs {
    /// What to do
    #[command(subcommand)]
    pub command: MediaCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum MediaCommand {
    /// List all media, newest first
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Show what is known about media
    Show(OneMedia),
    /// Let workers find out what is to be known about media, and wait for it
    Describe(OneMedia),
    /// Let the hub fetch media from the internet
    Import {
        /// Where it is: https://HOST/PATH
        url: String,
        /// Name for people; the end of the address when absent
        #[arg(long)]
        name: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Show how media can be played in a browser, and make forms of it that browsers play
    Proxies(ProxiesArgs),
    /// Let media be looked at for malware once more
    Rescan(OneMedia),
    /// Forget media; its bytes are deleted
    Rm(OneMedia),
}

/// Flags of `kinora media proxies`.
#[derive(Debug, Args)]
pub struct ProxiesArgs {
    /// The media
    #[command(flatten)]
    pub one: OneMedia,
    /// Make these, separated by commas: mp4, webm, hls
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub make: Vec<ProxyKind>,
    /// Wait until they are made
    #[arg(long)]
    pub wait: bool,
}

/// Media and its hub.
#[derive(Debug, Args)]
pub struct OneMedia {
    /// Id of the media, or as much of its beginning as no other has
    pub media: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

impl OneMedia {
    /// The one that is meant.
    async fn id(&self) -> Result<Digest, Failure> {
        if let Ok(digest) = Digest::try_from(self.media.clone()) {
            return Ok(digest);
        }
        let page = self.hub.client()?.media().await?;
        let mut fits = page.items.into_iter().filter(|media| media.id.as_str().starts_with(&self.media));
        let bad = |why: &str| Failure::new(ErrorCode::BadInput, format!("{why} {:?}", self.media));
        match (fits.next(), fits.next()) {
            (Some(one), None) if !self.media.is_empty() => Ok(one.id),
            (Some(_), _) => Err(bad("the ids of several media begin with")),
            (None, _) => Err(bad("the id of no media begins with")),
        }
    }
}

/// Runs it.
pub async fn run(args: &MediaArgs, config: &Config) -> Result<(), Failure> {
    match &args.command {
        MediaCommand::Ls { hub } => {
            let page = hub.client()?.media().await?;
            if hub.json {
                print_json(&page);
            } else {
                page.items.iter().for_each(line);
            }
            Ok(())
        }
        MediaCommand::Show(one) => show(one, &one.id().await?).await,
        MediaCommand::Describe(one) => {
            let (client, media) = (one.hub.client()?, one.id().await?);
            let job = client.describe(&media).await?;
            watch::follow(&client, job.id, Out::of(config, one.hub.json)).await?;
            show(one, &media).await
        }
        MediaCommand::Import { url, name, hub } => {
            let media = hub.client()?.import(&Import { url: url.clone(), name: name.clone() }).await?;
            if hub.json {
                print_json(&media);
            } else {
                line(&media);
            }
            Ok(())
        }
        MediaCommand::Proxies(args) => proxies(args, config).await,
        MediaCommand::Rescan(one) => {
            let media = one.hub.client()?.scan_again(&one.id().await?).await?;
            one.hub.show(&media, line);
            Ok(())
        }
        MediaCommand::Rm(one) => one.hub.client()?.delete_media(&one.id().await?).await,
    }
}

async fn proxies(args: &ProxiesArgs, config: &Config) -> Result<(), Failure> {
    let (client, media) = (args.one.hub.client()?, args.one.id().await?);
    let mut jobs = Vec::new();
    for kind in &args.make {
        jobs.extend(client.make_proxy(&media, *kind).await?.job);
    }
    for job in jobs.into_iter().filter(|_| args.wait) {
        watch::follow(&client, job, Out::of(config, args.one.hub.json)).await?;
    }
    let view = client.proxies(&media).await?;
    args.one.hub.show(&view, |view| {
        say!(
            "{}",
            match view.plays {
                Some(true) => "it plays as it is",
                Some(false) => "browsers do not play it as it is",
                None => "not looked at yet",
            }
        );
        for proxy in &view.proxies {
            let state = match proxy.state {
                ProxyState::Absent => "absent",
                ProxyState::Working => "working",
                ProxyState::Ready => "ready",
                ProxyState::Failed => "failed",
            };
            let more = proxy.url.as_ref().or(proxy.error.as_ref()).map(|more| format!("  {more}"));
            say!("{:<5} {state}{}", proxy.kind.name(), more.unwrap_or_default());
        }
    });
    Ok(())
}

fn line(media: &MediaView) {
    let id: String = media.id.as_str().chars().take(SHORT_ID).collect();
    let what = match &media.verdict {
        None => "not looked at yet".to_owned(),
        Some(Verdict::Refused(why)) => format!("refused: {why}"),
        Some(Verdict::Admitted(facts)) => in_short(facts),
    };
    let scan = match &media.scan {
        Some(Scan::Pending) => "  not looked at for malware yet".to_owned(),
        Some(Scan::Blocked { found }) => format!("  blocked: {found}"),
        Some(Scan::Clean) | None => String::new(),
    };
    say!("{id}  {:>9.2} MB  {}  {what}{scan}", media.size as f64 / 1e6, media.name);
}

fn in_short(facts: &MediaFacts) -> String {
    let length = facts.duration_us.map(|us| clock(us as f64 / 1e6)).unwrap_or_default();
    let video = facts.video().map(|(stream, video)| {
        let codec = stream.codec.as_deref().unwrap_or("?");
        format!("  {}x{} {codec} {:.2} fps", video.width, video.height, video.r_frame_rate.approx())
    });
    format!("{length}{}", video.unwrap_or_default())
}

async fn show(one: &OneMedia, media: &Digest) -> Result<(), Failure> {
    let client = one.hub.client()?;
    let (view, known) = tokio::try_join!(client.one_media(media), client.metadata(media))?;
    if one.hub.json {
        print_json(&serde_json::json!({ "media": view, "metadata": known }));
        return Ok(());
    }
    line(&view);
    say!("  id {}", view.id);
    if let Some(Verdict::Admitted(facts)) = &view.verdict {
        streams(facts);
    }
    found(&known);
    Ok(())
}

fn streams(facts: &MediaFacts) {
    for stream in &facts.streams {
        let kind = match &stream.kind {
            StreamKind::Video(video) => format!("video {}x{} {}", video.width, video.height, video.pix_fmt),
            StreamKind::Cover => "cover".to_owned(),
            StreamKind::Audio(audio) => {
                format!("audio {} Hz, {} channels", audio.sample_rate, audio.channels)
            }
            StreamKind::Subtitle => "subtitles".to_owned(),
            StreamKind::Attachment => "attachment".to_owned(),
            StreamKind::Data => "data".to_owned(),
        };
        let language = stream.tags.get("language").map(|l| format!(" ({l})")).unwrap_or_default();
        say!("  stream {}: {} {kind}{language}", stream.index, stream.codec.as_deref().unwrap_or("?"));
    }
}

fn found(known: &MetadataView) {
    if let Some(loudness) = &known.loudness {
        let number = |value: Option<f64>, unit: &str| match value {
            Some(value) => format!("{value:.1} {unit}"),
            None => format!("- {unit}"),
        };
        say!(
            "  loudness {}, range {}, peak {}",
            number(loudness.integrated_lufs, "LUFS"),
            number(loudness.range_lu, "LU"),
            number(loudness.true_peak_dbtp, "dBTP")
        );
    }
    let listed = |times: &[f64]| times.iter().map(|at| format!("{at:.2}")).collect::<Vec<_>>().join(", ");
    if let Some(scenes) = &known.scenes {
        let starts: Vec<f64> = scenes.iter().map(|scene| scene.start_seconds).collect();
        say!("  {} scenes, at {} s", scenes.len(), listed(&starts));
    }
    if !known.chapters.is_empty() {
        say!("  {} chapters, at {} s", known.chapters.len(), listed(&known.chapters));
    }
    if !known.highlights.is_empty() {
        let starts: Vec<f64> = known.highlights.iter().map(|part| part.start_seconds).collect();
        let seconds: f64 = known.highlights.iter().map(|part| part.end_seconds - part.start_seconds).sum();
        say!("  {} highlights of {seconds:.0} s together, at {} s", starts.len(), listed(&starts));
    }
    if let Some(histogram) = &known.histogram {
        let mean = |counts: &[u64]| {
            let sum: u64 = counts.iter().sum();
            let weighed: u64 = (0..).zip(counts).map(|(value, count): (u64, _)| value * count).sum();
            weighed as f64 / sum.max(1) as f64
        };
        let (red, green, blue) = (mean(&histogram.red), mean(&histogram.green), mean(&histogram.blue));
        say!("  mean colour {red:.0}, {green:.0}, {blue:.0} over {} frames", histogram.frames);
    }
    if let Some(thumbnails) = &known.thumbnails {
        say!("  {} pictures, the first at {}", thumbnails.len(), thumbnails.first().map_or("-", |t| &t.url));
    }
    if let Some(sprites) = &known.sprites {
        say!("  {} small pictures: {}", sprites.count, sprites.vtt);
    }
    if let Some(waveform) = &known.waveform {
        say!("  waveform: {waveform}");
    }
    for (part, why) in &known.failed {
        say!("  {} unknown: {why}", part.name());
    }
}
