//! Pages in Chromium, played by the scripts in `web/tests`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::loud;

/// Runs a script with the browser that `cargo xtask test` found; `what` is skipped, loudly, where there is none.
pub fn play(script: &str, what: &str, args: &[impl AsRef<OsStr>]) -> Result<()> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let browser = std::env::var_os("KINORA_TEST_BROWSER");
    let Some(browser) = browser.filter(|_| web.join("node_modules/playwright-core").is_dir()) else {
        loud(&format!("SKIPPED: {what}; `cargo xtask test` installs one"));
        return Ok(());
    };
    let ended = Command::new("node").arg(web.join("tests").join(script)).arg(browser).args(args).output()?;
    ensure!(ended.status.success(), "{ended:?}");
    Ok(())
}
