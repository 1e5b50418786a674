//! `kinora doctor`: what works here, what is missing and how to get it.

use std::process::ExitCode;

use clap::Args;
use kinora_media::Tools;
use kinora_media::trial::{self, Trial};
use kinora_protocol::Failure;
use kinora_protocol::encode::Encoder;
use kinora_protocol::inference::Inference;
use kinora_protocol::machine::{Machine, MachineDefaults, Tier};
use kinora_protocol::node::Sandboxing;
use kinora_worker::machine;
use serde::Serialize;

use super::complain;
use crate::config::Config;
use crate::{models, tools};

/// Flags of `kinora doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What was found out.
#[derive(Serialize)]
pub struct Report {
    version: &'static str,
    ffmpeg: Option<String>,
    problem: Option<String>,
    encoders: Vec<EncoderReport>,
    system: System,
    inference: Inference,
    advice: Vec<String>,
}

#[derive(Serialize)]
struct EncoderReport {
    name: &'static str,
    codec: &'static str,
    software: bool,
    works: bool,
    reason: Option<String>,
}

#[derive(Serialize)]
struct System {
    #[serde(flatten)]
    machine: Machine,
    tier: Tier,
    defaults: MachineDefaults,
    render_devices: Vec<String>,
    dies_with_parent: bool,
    sandbox: Sandboxing,
    /// Why ffmpeg has no control group of its own, as a command that was started like this one.
    without_control_groups: Option<String>,
}

pub async fn run(args: &DoctorArgs, config: &Config) -> ExitCode {
    let report = examine(config).await;
    if args.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => super::put(&mut std::io::stdout(), &text),
            Err(error) => complain(&Failure::new(kinora_protocol::ErrorCode::Internal, error.to_string())),
        }
    } else {
        print(&report);
    }
    if report.problem.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Looks at this machine.
pub async fn examine(config: &Config) -> Report {
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        ffmpeg: None,
        problem: None,
        encoders: Vec::new(),
        system: system(),
        inference: models::find(config).state().clone(),
        advice: Vec::new(),
    };
    let tools = match tools::find(config).await {
        Ok(tools) => tools,
        Err(error) => {
            report.advice.push(how_to_get_ffmpeg().to_owned());
            report.problem = Some(error.to_string());
            return report;
        }
    };
    report.ffmpeg = Some(tools.banner.clone());
    report.system.sandbox = tools.sandbox.state().clone();
    report.system.without_control_groups = tools.sandbox.groups().err().map(ToString::to_string);
    encoders(&tools, &mut report).await;
    if tools.version < (5, 1) {
        report.advice.push("ffmpeg 5.1 or newer keeps more colour metadata; this one still works".to_owned());
    }
    let missing: Vec<&str> =
        report.encoders.iter().filter(|e| e.software && !e.works).map(|e| e.name).collect();
    if !missing.is_empty() {
        let advice = format!(
            "this ffmpeg lacks {}: a full build has them ({})",
            missing.join(", "),
            how_to_get_ffmpeg()
        );
        report.advice.push(advice);
    }
    report
}

async fn encoders(tools: &Tools, report: &mut Report) {
    for encoder in Encoder::ALL {
        let outcome = if tools.built_in.contains(&encoder) {
            trial::encoder(tools, encoder).await
        } else {
            Trial::Fails("not in this build".to_owned())
        };
        report.encoders.push(EncoderReport {
            name: encoder.name(),
            codec: encoder.codec().name(),
            software: encoder.is_software(),
            works: outcome == Trial::Works,
            reason: match outcome {
                Trial::Works => None,
                Trial::Fails(reason) => Some(reason),
            },
        });
    }
}

fn system() -> System {
    let render_devices = std::fs::read_dir("/dev/dri")
        .map(|entries| entries.flatten().map(|e| e.path().display().to_string()).collect())
        .unwrap_or_default();
    let machine = machine::examine();
    System {
        tier: machine.tier(),
        defaults: machine.defaults(),
        machine,
        render_devices,
        dies_with_parent: cfg!(target_os = "linux"),
        sandbox: Sandboxing::default(),
        without_control_groups: None,
    }
}

fn how_to_get_ffmpeg() -> &'static str {
    match std::env::consts::OS {
        "macos" => "brew install ffmpeg",
        "windows" => "winget install ffmpeg",
        _ => "apt install ffmpeg, dnf install ffmpeg, or pacman -S ffmpeg",
    }
}

fn print(report: &Report) {
    say!("kinora {}", report.version);
    match (&report.ffmpeg, &report.problem) {
        (Some(banner), _) => say!("  ok       {banner}"),
        (None, Some(problem)) => say!("  missing  {problem}"),
        (None, None) => {}
    }
    for encoder in &report.encoders {
        match &encoder.reason {
            None => say!("  ok       {} ({})", encoder.name, encoder.codec),
            Some(reason) => say!("  no       {} ({}): {reason}", encoder.name, encoder.codec),
        }
    }
    let system = &report.system;
    let Machine { os, architecture, cpu, cores, memory, gpus } = &system.machine;
    let memory = match memory {
        0 => "unknown".to_owned(),
        bytes => format!("{:.1} GiB", *bytes as f64 / (1u64 << 30) as f64),
    };
    let cpu = cpu.as_deref().unwrap_or("unknown processor");
    say!("  system   {os} ({architecture}), {cpu}, {cores} cores, memory {memory}");
    let MachineDefaults { chunks, cache } = system.defaults;
    say!("  tier     {}: {chunks} chunks at once, caches of {} GiB", system.tier.name(), cache >> 30);
    for gpu in gpus {
        say!("  ok       graphics processor: {gpu}");
    }
    if system.render_devices.is_empty() {
        say!("  no       graphics devices (/dev/dri): encoding runs on the processor");
    } else {
        say!("  ok       graphics devices: {}", system.render_devices.join(", "));
    }
    match &system.sandbox {
        Sandboxing::Full => say!("  ok       sandbox: ffmpeg sees its own files alone and has no network"),
        weaker => say!("  no       sandbox: {}", weaker.words()),
    }
    match &report.inference {
        Inference::Ready { runtime, models } => say!("  ok       {} models, run by {runtime}", models.len()),
        Inference::Missing { reason } => say!("  no       models: {reason}"),
    }
    if let Some(reason) = &system.without_control_groups {
        say!("  note     started like this, ffmpeg has no control group of its own: {reason}");
    }
    if !system.dies_with_parent {
        say!("  note     a killed kinora leaves its running ffmpeg to finish by itself on this system");
    }
    for advice in &report.advice {
        say!("  advice   {advice}");
    }
}
