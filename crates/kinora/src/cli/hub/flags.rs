//! Flags that say what files may have and how jobs are made which do not say it themselves, our own and those of `ffmpeg-cluster`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use kinora_hub::scan::Scanner;
use kinora_hub::{Admission, ClusterDefaults, Collector, JobDefaults};
use kinora_media::command::Limits;
use kinora_plan::{params, sizing};
use kinora_protocol::recipe::ChunkRecipe;
use kinora_protocol::{ErrorCode, Failure};

use crate::config::collector;
use crate::program::Program;
use crate::scanner::{Clamd, Looker};

/// What looks for malware in media that comes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Malware")]
pub struct ScanFlags {
    /// Let clamd look for malware in all media before anybody gets it: HOST:PORT, or the path of its socket
    #[arg(long, value_name = "ADDRESS", conflicts_with = "scan_command")]
    pub scan_clamd: Option<Clamd>,
    /// Let a program look: it is given a path, and ends with 0 when there is nothing in it, with 1 and a line that says what it
    /// found otherwise
    #[arg(long, value_name = "PROGRAM ARGUMENTS…")]
    pub scan_command: Option<Program>,
}

impl ScanFlags {
    /// What looks, if anything does.
    pub fn scanner(&self) -> Option<Arc<dyn Scanner>> {
        let clamd = self.scan_clamd.clone().map(|clamd| Arc::new(clamd) as Arc<dyn Scanner>);
        clamd.or_else(|| Some(Arc::new(Looker(self.scan_command.clone()?)) as Arc<dyn Scanner>))
    }
}

/// Who is told what jobs were at, and for how long.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub struct TraceFlags {
    #[arg(
        long,
        value_name = "URL",
        help = "Send traces of all jobs to this collector by OTLP over HTTP, for example http://127.0.0.1:4318 (also \
                OTEL_EXPORTER_OTLP_ENDPOINT, and OTEL_EXPORTER_OTLP_HEADERS for its key)"
    )]
    pub otlp_endpoint: Option<String>,
}

impl TraceFlags {
    /// Who collects them, if anybody does.
    pub fn collector(&self) -> Result<Option<Collector>, Failure> {
        let (found, ignored) = collector::collector(self.otlp_endpoint.as_deref())?;
        for why in ignored {
            tell!("kinora hub: {why}");
        }
        Ok(found)
    }
}

/// Where a server of `ffmpeg-cluster` listens.
const CLUSTER_PORT: u16 = 5001;

/// What files may have that come to a hub, besides what any machine opens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits of media")]
pub struct AdmissionFlags {
    /// Frames a second, on average
    #[arg(long, value_name = "N", default_value_t = Admission::default().fps, hide_short_help = true)]
    pub max_fps: f64,
    /// Video packets of a file
    #[arg(long, value_name = "N", default_value_t = Admission::default().packets, hide_short_help = true)]
    pub max_packets: u64,
    /// Seconds from the first frame of a file to its last
    #[arg(long, value_name = "S", default_value_t = Admission::default().seconds, hide_short_help = true)]
    pub max_duration: f64,
}

impl AdmissionFlags {
    /// What is taken, with what this machine opens.
    pub fn limits(&self, media: Limits) -> Admission {
        Admission {
            pixels: media.pixels,
            streams: usize::try_from(media.streams).unwrap_or(usize::MAX),
            fps: self.max_fps,
            packets: self.max_packets,
            seconds: self.max_duration,
        }
    }
}

/// What jobs are made with that do not say it themselves.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Jobs that do not say otherwise")]
pub struct DefaultFlags {
    /// Start when so many workers are ready, not before
    #[arg(long, value_name = "N")]
    pub required_nodes: Option<u32>,
    /// Wished chunk length in seconds; chosen from cores, encoder and length when absent
    #[arg(long, value_name = "S")]
    pub chunk_seconds: Option<f64>,
    /// How often a task is tried before its job fails [default: 3]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// Seconds before a task that failed is tried again; twice as many before each further try [default: 0.25]
    #[arg(long, value_name = "S")]
    pub retry_delay: Option<f64>,
    /// Fail if it is not done after so many seconds
    #[arg(long, value_name = "S")]
    pub deadline: Option<u32>,
}

impl DefaultFlags {
    /// These, and those of the other system where these say nothing.
    pub fn over(&self, cluster: &ClusterFlags) -> Result<JobDefaults, Failure> {
        let defaults = JobDefaults {
            required_nodes: self.required_nodes.or(cluster.required_clients),
            chunk_seconds: self.chunk_seconds,
            max_attempts: self.max_attempts.or(cluster.max_retries),
            retry_delay: self.retry_delay,
            deadline_seconds: self.deadline,
        };
        let JobDefaults { chunk_seconds: seconds, max_attempts, retry_delay, .. } = defaults;
        sizing::check(&ChunkRecipe { seconds, max_attempts, retry_delay })?;
        Ok(defaults)
    }
}

/// Flags as `ffmpeg-cluster` has them, for jobs that come by its commands (`/ws/command`).
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "As a server of ffmpeg-cluster")]
pub struct ClusterFlags {
    /// As --required-nodes
    #[arg(long, value_name = "N")]
    pub required_clients: Option<u32>,
    /// Expert parameters of its jobs, checked against an allow-list
    #[arg(long, value_name = "PARAMS", allow_hyphen_values = true)]
    pub ffmpeg_params: Option<String>,
    /// Name of its results
    #[arg(long, value_name = "NAME")]
    pub file_name_output: Option<String>,
    /// Port in place of the one in --listen; 5001 when only other flags of this group are given
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Accepted: frames are always exact
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide_short_help = true)]
    pub exactly: Option<bool>,
    /// Accepted: workers choose what they fetch at a time
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    pub chunk_size: Option<u64>,
    /// As --max-attempts
    #[arg(long, value_name = "N")]
    pub max_retries: Option<u32>,
}

impl ClusterFlags {
    fn is_used(&self) -> bool {
        self.required_clients.is_some()
            || self.ffmpeg_params.is_some()
            || self.file_name_output.is_some()
            || self.exactly.is_some()
            || self.chunk_size.is_some()
            || self.max_retries.is_some()
    }

    /// Where to listen; `usual` is where a hub listens that is told nothing.
    pub fn listen(&self, asked: SocketAddr, usual: SocketAddr) -> SocketAddr {
        match self.port {
            Some(port) => SocketAddr::new(asked.ip(), port),
            None if self.is_used() && asked == usual => SocketAddr::new(asked.ip(), CLUSTER_PORT),
            None => asked,
        }
    }

    /// What its jobs are made with.
    pub fn defaults(&self) -> Result<ClusterDefaults, Failure> {
        if let Some(text) = &self.ffmpeg_params {
            params::parse(text)
                .map_err(|reason| Failure::new(ErrorCode::BadRecipe, format!("--ffmpeg-params: {reason}")))?;
        }
        Ok(ClusterDefaults {
            ffmpeg_params: self.ffmpeg_params.clone(),
            output_name: self.file_name_output.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_other_system_only_where_it_is_meant() {
        let usual = SocketAddr::from(([127, 0, 0, 1], 8000));
        let port = |flags: ClusterFlags, asked| flags.listen(asked, usual).port();
        let used = || ClusterFlags { max_retries: Some(2), ..ClusterFlags::default() };
        assert_eq!(port(ClusterFlags::default(), usual), 8000);
        assert_eq!(port(used(), usual), 5001);
        assert_eq!(port(used(), SocketAddr::from(([127, 0, 0, 1], 9000))), 9000);
        assert_eq!(port(ClusterFlags { port: Some(7), ..used() }, usual), 7);
    }

    #[test]
    fn our_own_flags_go_over_the_others() {
        let cluster = ClusterFlags { max_retries: Some(2), required_clients: Some(4), ..Default::default() };
        let own = DefaultFlags { max_attempts: Some(5), ..Default::default() };
        let defaults = own.over(&cluster).expect("defaults");
        assert_eq!((defaults.max_attempts, defaults.required_nodes), (Some(5), Some(4)));
        let wrong = DefaultFlags { retry_delay: Some(-1.0), ..Default::default() };
        assert!(wrong.over(&cluster).is_err());
    }
}
