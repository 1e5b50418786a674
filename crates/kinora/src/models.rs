//! Where this machine has models and the library that runs them. What they are and how they are run is in `kinora_ai`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinora_protocol::recipe::{Denoise, EnhanceRecipe, LANCZOS};
use kinora_worker::models::{Look, Models};

use crate::config::Config;

/// The library's file, by the system's habits.
pub const LIBRARY: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// In place of a library: none.
const OFF: &str = "off";

/// Folders in which systems put libraries.
const SYSTEM: [&str; 7] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
    "/opt/local/lib",
];

/// Where they are looked for.
pub fn look(config: &Config) -> Look {
    let wanted = &config.models;
    let libraries = match &wanted.library {
        Some(library) if library == Path::new(OFF) => Vec::new(),
        // One that is named is meant.
        Some(library) => vec![library.clone()],
        None => {
            let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(LIBRARY)));
            let fetched = wanted.data.as_ref().map(|data| data.join(LIBRARY));
            let system = SYSTEM.iter().map(|folder| PathBuf::from(folder).join(LIBRARY));
            beside.into_iter().chain(fetched).chain(system).collect()
        }
    };
    Look { libraries, folder: wanted.folder.clone(), cache: wanted.cache }
}

/// Looks for all of it.
pub fn find(config: &Config) -> Arc<Models> {
    let look = look(config);
    match look.libraries.is_empty() {
        true => Arc::new(Models::unused("models are switched off (--onnxruntime off)", &look)),
        false => Arc::new(Models::find(&look)),
    }
}

/// The same for one recipe: what it has no use for is not looked for.
pub fn find_for(wanted: &EnhanceRecipe, config: &Config) -> Arc<Models> {
    let upscales = wanted.upscale.is_some() && wanted.upscaler.as_deref() != Some(LANCZOS);
    match upscales || wanted.denoise == Some(Denoise::Neural) || wanted.detect == Some(true) {
        true => find(config),
        false => Arc::new(Models::none("nobody asked for a model")),
    }
}
