//! ONNX Runtime for this user: the one library out of the package that its makers publish for Python, checked by its SHA-256.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use kinora_protocol::inference::Inference;
use kinora_protocol::{ErrorCode, Failure};
use kinora_worker::models::{Look, Models};

use crate::config::Config;
use crate::fetch;
use crate::models::LIBRARY;

/// Which version: the newest that was tried with the models.
const VERSION: &str = "1.32.0";
/// A package: for which system and processor, the end of its name, and its SHA-256. They are the same but for that of Python, which
/// the library has nothing to do with.
const PACKAGES: [(&str, &str, &str, &str); 5] = [
    (
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    ),
    (
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    ),
    (
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        "366b9e53d07812cc5c92822cecf7563b76a8a0f32ba3bb8dd232a206ac3bcb6c",
    ),
    ("windows", "x86_64", "win_amd64", "d7e0c45cc5f456ad7805e6dd256a7662736cda9c2fd17becae194eb3c2f6df72"),
    ("windows", "aarch64", "win_arm64", "23361cdf98afac352d10aa7d9e0a10ceaeb02d38430fb693c6eff370196db62d"),
];
/// Longer packages are not theirs.
const LARGEST: u64 = 200 << 20;
/// Where in the package the library is.
const INSIDE: &str = "onnxruntime/capi/";

/// `kinora models setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Package index to fetch from (also PIP_INDEX_URL)
    #[arg(long, value_name = "URL")]
    pub index: Option<String>,
    /// Take the library out of this file instead of fetching one: for machines without a network
    #[arg(long, value_name = "WHEEL", conflicts_with = "index")]
    pub from: Option<PathBuf>,
    /// Also when there is one already
    #[arg(long)]
    pub force: bool,
}

pub(super) async fn run(args: &SetupArgs, config: &Config) -> Result<(), Failure> {
    let Some(data) = &config.models.data else {
        let why = "there is no home folder to keep the library in: name one that is there with --onnxruntime";
        return Err(Failure::new(ErrorCode::BadInput, why));
    };
    let library = data.join(LIBRARY);
    // A process keeps the library that it has loaded first.
    if !args.force
        && let Ok(runtime) = usable(&library)
    {
        say!("{}: {runtime} is there", library.display());
        return Ok(());
    }
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", data.display()));
    std::fs::create_dir_all(data).map_err(disk)?;
    let aside = tempfile::Builder::new().prefix(".kinora-setup").tempdir_in(data).map_err(disk)?;
    let (name, sha256) = package()?;
    let wheel = aside.path().join("package.whl");
    match &args.from {
        Some(from) => checked(from, &sha256, &wheel)?,
        None => {
            let index = args.index.as_deref().unwrap_or(&config.models.index).trim_end_matches('/');
            tell!("kinora: fetches {name}");
            let url = find(index, &name).await?;
            fetch::file(&url, &sha256, LARGEST, &wheel, config.draw).await?;
        }
    }
    let part = aside.path().join(LIBRARY);
    unpack(&wheel, &part)?;
    std::fs::rename(&part, &library).map_err(disk)?;
    match usable(&library) {
        Ok(runtime) => say!("{}: {runtime}", library.display()),
        Err(why) => return Err(Failure::new(ErrorCode::ToolMissing, why)),
    }
    Ok(())
}

/// The package for this machine, and its SHA-256.
fn package() -> Result<(String, String), Failure> {
    let here = (std::env::consts::OS, std::env::consts::ARCH);
    let found = PACKAGES.iter().find(|(os, processor, ..)| (*os, *processor) == here);
    let musl = cfg!(target_env = "musl");
    match found {
        Some((_, _, end, sha256)) if !musl => {
            Ok((format!("onnxruntime-{VERSION}-cp311-cp311-{end}.whl"), (*sha256).to_owned()))
        }
        _ => {
            let libc = if musl { " with musl" } else { "" };
            let why = format!(
                "ONNX Runtime's makers publish none for {} on {}{libc}: build or install it, and name it with --onnxruntime",
                here.0, here.1
            );
            Err(Failure::new(ErrorCode::ToolMissing, why))
        }
    }
}

fn usable(library: &Path) -> Result<String, String> {
    let look = Look { libraries: vec![library.to_owned()], ..Look::default() };
    match Models::find(&look).state() {
        Inference::Ready { runtime, .. } => Ok(runtime.clone()),
        Inference::Missing { reason } => Err(reason.clone()),
    }
}

/// Where an index says that a package is: by its JSON (PEP 691), or by its page (PEP 503).
async fn find(index: &str, name: &str) -> Result<String, Failure> {
    let page = format!("{index}/onnxruntime/");
    let accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5";
    let (text, from) = fetch::page(&page, accept).await?;
    let found = in_json(&text, name).or_else(|| in_page(&text, name));
    let found =
        found.ok_or_else(|| Failure::new(ErrorCode::Unreachable, format!("{page}: it has no {name}")))?;
    match reqwest::Url::parse(&from).and_then(|from| from.join(&found)) {
        Ok(url) => Ok(url.to_string()),
        Err(e) => Err(Failure::new(ErrorCode::Unreachable, format!("{page}: {found:?} is no address: {e}"))),
    }
}

fn in_json(text: &str, name: &str) -> Option<String> {
    let listed: serde_json::Value = serde_json::from_str(text).ok()?;
    let files = listed.get("files")?.as_array()?;
    let file = files.iter().find(|file| file.get("filename").is_some_and(|found| found == name))?;
    Some(file.get("url")?.as_str()?.to_owned())
}

fn in_page(text: &str, name: &str) -> Option<String> {
    let mut links = text.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest.get(1..)?.split(quote).next()
    });
    let file =
        |link: &str| link.split(['#', '?']).next().and_then(|path| path.rsplit('/').next()) == Some(name);
    links.find(|link| file(link)).map(|link| link.replace("&amp;", "&"))
}

/// A file that is there, when it is the one that is meant.
fn checked(from: &Path, sha256: &str, wheel: &Path) -> Result<(), Failure> {
    let unreadable =
        |e: std::io::Error| Failure::new(ErrorCode::BadInput, format!("{}: {e}", from.display()));
    let bytes = std::fs::read(from).map_err(unreadable)?;
    let found = kinora_ai::registry::sha256(&bytes);
    if found != sha256 {
        let why = format!("{}: its SHA-256 is {found}, and {sha256} is wanted", from.display());
        return Err(Failure::new(ErrorCode::Untrusted, why));
    }
    std::fs::write(wheel, bytes).map_err(unreadable)
}

/// Takes the library out of a package.
fn unpack(wheel: &Path, into: &Path) -> Result<(), Failure> {
    let odd = |why: String| Failure::new(ErrorCode::Untrusted, format!("the package of ONNX Runtime: {why}"));
    let file = std::fs::File::open(wheel).map_err(|e| odd(e.to_string()))?;
    let mut package = zip::ZipArchive::new(file).map_err(|e| odd(e.to_string()))?;
    let is_library = |name: &str| {
        let Some(file) = name.strip_prefix(INSIDE) else { return false };
        let (stem, end) = LIBRARY.split_once('.').unwrap_or((LIBRARY, ""));
        file.starts_with(stem) && file.contains(end) && !file.contains("providers") && !file.contains('/')
    };
    let name = package.file_names().flatten().find(|name| is_library(name)).map(String::from);
    let name = name.ok_or_else(|| odd(format!("there is no {LIBRARY} in it")))?;
    let mut inside = package.by_name(&name).map_err(|e| odd(e.to_string()))?;
    let mut bytes = Vec::new();
    inside.read_to_end(&mut bytes).map_err(|e| odd(e.to_string()))?;
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", into.display()));
    let mut out = std::fs::File::create(into).map_err(disk)?;
    out.write_all(&bytes).and_then(|()| out.sync_all()).map_err(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_index_says_that_it_is() {
        let json = r#"{"files": [{"filename": "a-1.whl", "url": "../x/a-1.whl"}, {"filename": "b-1.whl", "url": "u"}]}"#;
        assert_eq!(in_json(json, "a-1.whl").as_deref(), Some("../x/a-1.whl"));
        assert_eq!((in_json(json, "c.whl"), in_json("<html>", "a")), (None, None));
        let page = r#"<a href="/p/a-10.whl#sha256=1">a-10.whl</a> <a href='../a-1.whl?x=1&amp;y=2#sha256=0'>a-1.whl</a>"#;
        assert_eq!(in_page(page, "a-1.whl").as_deref(), Some("../a-1.whl?x=1&y=2#sha256=0"));
        assert_eq!(in_page(page, "1.whl"), None);
    }
}
