//! Names in the environment that other systems know, for hubs that take the place of one. They are read only when the user says of
//! which system: most of these names are anybody's.

use std::net::IpAddr;

use kinora_protocol::{ErrorCode, Failure};

use crate::cli::values::origin;

/// A system whose environment a hub can be started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// `service`.
    Service,
    /// `render`.
    Render,
    /// `edge`.
    Edge,
}

/// What such an environment comes to. Flags go over it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Other {
    /// Longest file that is taken over the network, in bytes.
    pub max_upload: Option<u64>,
    /// Seconds after which a job fails.
    pub deadline: Option<u32>,
    /// Origins whose web pages may talk to the hub.
    pub origins: Vec<String>,
    /// What is logged, as a filter.
    pub log: Option<String>,
    /// Where to listen.
    pub host: Option<IpAddr>,
    /// Where to listen.
    pub port: Option<u16>,
    /// Wished length of chunks.
    pub chunk_seconds: Option<f64>,
    /// Names that are set and mean nothing here.
    pub unused: Vec<&'static str>,
}

/// Names that mean nothing here: what they are about is asked for by flags, or chosen by itself.
fn unused(system: System) -> &'static [&'static str] {
    match system {
        System::Service => &["RABBITMQ_URL"],
        System::Render => &["VIDEO_UPLOAD_DIR", "VIDEO_OUTPUT_DIR", "REDIS_HOST", "REDIS_PORT"],
        System::Edge => &[
            "EDGE_MAX_NODES",
            "EDGE_NODE_TIMEOUT",
            "EDGE_ENABLE_GPU",
            "EDGE_ENABLE_P2P",
            "EDGE_ENABLE_OFFLINE",
            "EDGE_AI_CACHE_SIZE",
            "EDGE_CONFLICT_RESOLUTION",
            "EDGE_MAX_EDITORS",
        ],
    }
}

/// A value that has to be there and make sense, if it is set.
fn value<T>(
    set: Option<String>,
    name: &str,
    meaning: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Some(text) = set else { return Ok(None) };
    let wrong = || Failure::new(ErrorCode::BadInput, format!("{name} is {text:?}: write {meaning}"));
    read(text.trim()).map(Some).ok_or_else(wrong)
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A level as Python's `logging` and others name it, as a filter.
fn level(text: &str) -> Option<String> {
    let level = match text.to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "error" => "error",
        "warning" | "warn" => "warn",
        "info" => "info",
        "debug" => "info,kinora=debug",
        "trace" => "info,kinora=trace",
        _ => return None,
    };
    Some(level.to_owned())
}

impl Other {
    /// Reads what is set for these systems.
    ///
    /// # Errors
    /// When a value makes no sense; the error names it.
    pub fn read(systems: &[System], set: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut other = Self::default();
        for system in systems {
            match system {
                System::Service => other.service(&set)?,
                System::Render => other.render(&set)?,
                System::Edge => {
                    let name = "EDGE_VIDEO_CHUNK_SIZE";
                    let seconds = |text: &str| text.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0);
                    other.chunk_seconds = value(set(name), name, "a number of seconds", seconds)?;
                }
            }
            other.unused.extend(unused(*system).iter().filter(|name| set(name).is_some()));
        }
        Ok(other)
    }

    fn service(&mut self, set: &impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
        let size =
            |text: &str| text.parse().ok().filter(|n| *n > 0).and_then(|n: u64| n.checked_mul(1 << 20));
        let name = "MAX_FILE_SIZE_MB";
        self.max_upload = value(set(name), name, "a number of megabytes", size)?;
        let name = "PROCESSING_TIMEOUT";
        let seconds = |text: &str| text.parse().ok().filter(|seconds| *seconds > 0);
        self.deadline = value(set(name), name, "a number of seconds", seconds)?;
        let name = "ALLOWED_ORIGINS";
        let origins = |text: &str| text.split(',').map(|one| origin(one.trim()).ok()).collect();
        let meaning = "origins such as https://studio.example, separated by commas";
        self.origins = value(set(name), name, meaning, origins)?.unwrap_or_default();
        let name = "LOG_LEVEL";
        self.log = value(set(name), name, "error, warning, info, debug or trace", level)?;
        Ok(())
    }

    fn render(&mut self, set: &impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
        let name = "VIDEO_SERVICE_HOST";
        let host = |text: &str| if text == "localhost" { "127.0.0.1" } else { text }.parse().ok();
        self.host = value(set(name), name, "an address of this machine such as 0.0.0.0", host)?;
        let name = "VIDEO_SERVICE_PORT";
        self.port = value(set(name), name, "a port", |text| text.parse().ok())?;
        let name = "VIDEO_SERVICE_DEBUG";
        if value(set(name), name, "true or false", truth)? == Some(true) {
            self.log = level("debug");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(systems: &[System], set: &[(&str, &str)]) -> Result<Other, Failure> {
        Other::read(systems, |name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_set_counts_for_its_system_only() {
        let set = [
            ("MAX_FILE_SIZE_MB", "500"),
            ("PROCESSING_TIMEOUT", "300"),
            ("ALLOWED_ORIGINS", "https://a.example, http://localhost:3000"),
            ("LOG_LEVEL", "WARNING"),
            ("RABBITMQ_URL", "amqp://x"),
            ("VIDEO_SERVICE_HOST", "0.0.0.0"),
            ("VIDEO_SERVICE_PORT", "8080"),
            ("EDGE_VIDEO_CHUNK_SIZE", "10"),
        ];
        assert_eq!(read(&[], &set).unwrap(), Other::default());
        let service = read(&[System::Service], &set).unwrap();
        assert_eq!(
            (service.max_upload, service.deadline, service.log.as_deref()),
            (Some(500 << 20), Some(300), Some("warn"))
        );
        assert_eq!(service.origins, ["https://a.example", "http://localhost:3000"]);
        assert_eq!((service.port, service.unused), (None, vec!["RABBITMQ_URL"]));
        let both = read(&[System::Render, System::Edge], &set).unwrap();
        assert_eq!((both.port, both.chunk_seconds, both.max_upload), (Some(8080), Some(10.0), None));
        assert_eq!(both.host, Some(IpAddr::from([0, 0, 0, 0])));
    }

    #[test]
    fn nonsense_is_named() {
        for (name, text) in [
            ("MAX_FILE_SIZE_MB", "0"),
            ("MAX_FILE_SIZE_MB", "99999999999999999"),
            ("PROCESSING_TIMEOUT", "-1"),
            ("ALLOWED_ORIGINS", "studio"),
            ("LOG_LEVEL", "loud"),
            ("VIDEO_SERVICE_HOST", "studio"),
            ("VIDEO_SERVICE_PORT", "80000"),
            ("VIDEO_SERVICE_DEBUG", "perhaps"),
            ("EDGE_VIDEO_CHUNK_SIZE", "NaN"),
        ] {
            let systems = [System::Service, System::Render, System::Edge];
            let error = read(&systems, &[(name, text)]).unwrap_err().message;
            assert!(error.contains(name) && error.contains(text), "{error}");
        }
    }
}
