//! What this machine can do. A name in ffmpeg's list proves nothing for hardware: only a trial encode does.

use kinora_media::Tools;
use kinora_media::trial::{self, Trial};
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::Capabilities;

use crate::machine;
use crate::models::Models;

/// Which encoders are tried.
#[derive(Debug, Clone)]
pub enum Trials {
    /// Software is believed; of the hardware encoders these are tried.
    Hardware(Vec<Encoder>),
    /// All that ffmpeg lists.
    All,
}

/// Capabilities of this machine.
pub async fn detect(tools: &Tools, models: &Models, trials: &Trials) -> Capabilities {
    let mut encoders = Vec::new();
    for &encoder in &tools.built_in {
        let works = match trials {
            Trials::Hardware(_) if encoder.is_software() => true,
            Trials::Hardware(wanted) if !wanted.contains(&encoder) => false,
            Trials::Hardware(_) | Trials::All => trial::encoder(tools, encoder).await == Trial::Works,
        };
        if works {
            encoders.push(encoder);
        }
    }
    let machine = machine::examine();
    Capabilities {
        ffmpeg: tools.build.clone(),
        encoders,
        cores: machine.cores,
        speeds: Vec::new(),
        machine: Some(machine),
        sandbox: tools.sandbox.state().clone(),
        without_control_groups: tools.sandbox.groups().err().map(ToString::to_string),
        inference: models.state().clone(),
    }
}
