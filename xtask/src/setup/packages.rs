//! Which package manager lines bring which tool: a pure function of the system and of what is missing.

use super::system::Os;
use crate::process;

/// Something that must work on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// ffmpeg and ffprobe.
    Ffmpeg,
    /// A C compiler, for the SQLite that is built in.
    Compiler,
    /// `cargo fmt`.
    Rustfmt,
    /// `cargo clippy`.
    Clippy,
    /// Python with its virtual environments, for clients that tests use.
    Python,
    /// Node and npm, for the same.
    Node,
    /// A browser that tests can steer.
    Browser,
}

/// What browsers are called that speak Chromium's protocol.
const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/// A browser that is here and starts.
pub fn browser() -> Option<&'static str> {
    BROWSERS.into_iter().find(|name| process::works(name, &["--version"]))
}

impl Tool {
    /// Whether it is here and starts.
    pub fn works(self) -> bool {
        match self {
            Self::Ffmpeg => {
                process::works("ffmpeg", &["-version"]) && process::works("ffprobe", &["-version"])
            }
            Self::Compiler => process::works("cc", &["--version"]),
            Self::Rustfmt => process::works("cargo", &["fmt", "--version"]),
            Self::Clippy => process::works("cargo", &["clippy", "--version"]),
            Self::Python => process::works("python3", &["-c", "import venv, ensurepip"]),
            Self::Node => process::works("npm", &["--version"]),
            Self::Browser => browser().is_some(),
        }
    }

    /// Its name in a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::Ffmpeg => "ffmpeg with ffprobe",
            Self::Compiler => "a C compiler (cc)",
            Self::Rustfmt => "rustfmt",
            Self::Clippy => "clippy",
            Self::Python => "Python 3 with venv",
            Self::Node => "Node with npm",
            Self::Browser => "Chromium",
        }
    }
}

/// One command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments.
    pub line: Vec<&'static str>,
    /// Whether only root may do this.
    pub needs_root: bool,
    /// What then.
    pub on_failure: OnFailure,
}

/// What happens when a step fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// Setup fails.
    Stop,
    /// The steps after it may still work.
    GoOn,
    /// This is tried instead.
    Try(Vec<&'static str>),
}

/// How this process may become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// It is.
    Root,
    /// By sudo, which may ask for a password.
    SudoAsking,
    /// By sudo, when it needs no password.
    SudoSilent,
    /// Not at all.
    None,
}

/// What to run, in order; an error says why nothing can be run.
pub fn plan(os: &Os, missing: &[Tool]) -> Result<Vec<Step>, String> {
    let mut steps = match os {
        Os::Debian => debian(&named(os, missing)),
        Os::Fedora => fedora(missing),
        Os::Arch => arch(&named(os, missing)),
        Os::Mac => mac(missing),
        Os::Other(name) if !named(os, missing).is_empty() => {
            return Err(format!("setup does not know the package manager of {name}"));
        }
        Os::Other(_) => Vec::new(),
    };
    for (tool, component) in [(Tool::Rustfmt, "rustfmt"), (Tool::Clippy, "clippy")] {
        if missing.contains(&tool) {
            steps.push(as_user(vec!["rustup", "component", "add", component]));
        }
    }
    Ok(steps)
}

/// What a system calls the packages of a tool.
fn packages(tool: Tool, os: &Os) -> &'static [&'static str] {
    match (tool, os) {
        (Tool::Ffmpeg, _) => &["ffmpeg"],
        (Tool::Compiler, Os::Debian) => &["gcc", "libc6-dev"],
        (Tool::Compiler, _) => &["gcc"],
        (Tool::Python, Os::Debian) => &["python3", "python3-venv"],
        (Tool::Python, Os::Arch) => &["python"],
        (Tool::Python, _) => &["python3"],
        (Tool::Node, Os::Debian | Os::Arch) => &["nodejs", "npm"],
        (Tool::Node, Os::Mac) => &["node"],
        (Tool::Node, _) => &["nodejs"],
        (Tool::Browser, Os::Mac) => &["--cask", "chromium"],
        (Tool::Browser, _) => &["chromium"],
        (Tool::Rustfmt | Tool::Clippy, _) => &[],
    }
}

fn named(os: &Os, missing: &[Tool]) -> Vec<&'static str> {
    missing.iter().flat_map(|tool| packages(*tool, os)).copied().collect()
}

fn as_root(line: Vec<&'static str>, on_failure: OnFailure) -> Step {
    Step { line, needs_root: true, on_failure }
}

fn as_user(line: Vec<&'static str>) -> Step {
    Step { line, needs_root: false, on_failure: OnFailure::Stop }
}

fn debian(packages: &[&'static str]) -> Vec<Step> {
    if packages.is_empty() {
        return Vec::new();
    }
    let apt =
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"];
    // One broken third-party list makes the update fail, and says nothing about the system's own.
    vec![
        as_root(vec!["apt-get", "update"], OnFailure::GoOn),
        as_root([&apt, packages].concat(), OnFailure::Stop),
    ]
}

fn fedora(missing: &[Tool]) -> Vec<Step> {
    let mut steps = Vec::new();
    if missing.contains(&Tool::Ffmpeg) {
        // `ffmpeg` has all encoders but exists only with RPM Fusion; `ffmpeg-free` is always there.
        let free = OnFailure::Try(vec!["dnf", "install", "-y", "ffmpeg-free"]);
        steps.push(as_root(vec!["dnf", "install", "-y", "ffmpeg"], free));
    }
    let others: Vec<Tool> = missing.iter().copied().filter(|tool| *tool != Tool::Ffmpeg).collect();
    let others = named(&Os::Fedora, &others);
    if !others.is_empty() {
        steps.push(as_root([&["dnf", "install", "-y"], others.as_slice()].concat(), OnFailure::Stop));
    }
    steps
}

fn arch(packages: &[&'static str]) -> Vec<Step> {
    if packages.is_empty() {
        return Vec::new();
    }
    let line = |sync| [&["pacman", sync, "--noconfirm", "--needed"], packages].concat();
    // A fresh machine has no package lists yet; on a used one, fetching them alone would invite a partial upgrade.
    vec![as_root(line("-S"), OnFailure::Try(line("-Sy")))]
}

fn mac(missing: &[Tool]) -> Vec<Step> {
    let mut steps = Vec::new();
    if missing.contains(&Tool::Compiler) {
        steps.push(as_user(vec!["xcode-select", "--install"]));
    }
    let others: Vec<Tool> = missing.iter().copied().filter(|tool| *tool != Tool::Compiler).collect();
    let others = named(&Os::Mac, &others);
    if !others.is_empty() {
        steps.push(as_user([&["brew", "install"], others.as_slice()].concat()));
    }
    steps
}

/// The words to run, with sudo in front where that is needed; an error when root is out of reach.
pub fn elevated(line: &[&str], needs_root: bool, rights: Rights) -> Result<Vec<String>, String> {
    let sudo: &[&str] = match (needs_root, rights) {
        (false, _) | (true, Rights::Root) => &[],
        (true, Rights::SudoAsking) => &["sudo"],
        (true, Rights::SudoSilent) => &["sudo", "-n"],
        (true, Rights::None) => {
            return Err(format!("`{}` needs root, and there is no sudo here", line.join(" ")));
        }
    };
    Ok(sudo.iter().chain(line).map(|word| (*word).to_owned()).collect())
}

/// What to tell somebody who has to do it alone.
pub fn by_hand(os: &Os, missing: &[Tool]) -> String {
    let mut text = "install by hand, then run this again:".to_owned();
    for tool in missing {
        let how = match (tool, os) {
            (Tool::Ffmpeg, Os::Debian) => "apt-get install ffmpeg",
            (Tool::Ffmpeg, Os::Fedora) => {
                "dnf install ffmpeg-free (or ffmpeg from RPM Fusion, which has libx264)"
            }
            (Tool::Ffmpeg, Os::Arch) => "pacman -S ffmpeg",
            (Tool::Ffmpeg, Os::Mac) => "brew install ffmpeg (Homebrew is at https://brew.sh)",
            (Tool::Ffmpeg, Os::Other(_)) => "see https://ffmpeg.org/download.html; version 4.4 or later",
            (Tool::Compiler, Os::Debian) => "apt-get install gcc libc6-dev",
            (Tool::Compiler, Os::Fedora) => "dnf install gcc",
            (Tool::Compiler, Os::Arch) => "pacman -S gcc",
            (Tool::Compiler, Os::Mac) => "xcode-select --install, and wait until its window is done",
            (Tool::Compiler, Os::Other(_)) => "gcc or clang, reachable as cc",
            (Tool::Python, Os::Debian) => "apt-get install python3 python3-venv",
            (Tool::Python, _) => "Python 3 with venv and pip, reachable as python3",
            (Tool::Node, Os::Debian) => "apt-get install nodejs npm",
            (Tool::Node, _) => "Node 18 or later with npm: https://nodejs.org",
            (Tool::Browser, _) => "Chromium or Chrome, reachable as chromium or google-chrome",
            (Tool::Rustfmt, _) => "rustup component add rustfmt",
            (Tool::Clippy, _) => "rustup component add clippy",
        };
        text.push_str(&format!("\n  {}: {how}", tool.what()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(os: &Os, missing: &[Tool]) -> Vec<String> {
        let steps = plan(os, missing).expect("a plan");
        steps
            .iter()
            .map(|step| {
                let who = if step.needs_root { "#" } else { "$" };
                match &step.on_failure {
                    OnFailure::Try(other) => format!("{who} {} || {}", step.line.join(" "), other.join(" ")),
                    OnFailure::GoOn => format!("{who} {} || true", step.line.join(" ")),
                    OnFailure::Stop => format!("{who} {}", step.line.join(" ")),
                }
            })
            .collect()
    }

    #[test]
    fn each_system_has_its_lines() {
        let both = [Tool::Ffmpeg, Tool::Compiler];
        let apt = "# env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends";
        let table: [(Os, &[Tool], Vec<String>); 13] = [
            (Os::Debian, &[], vec![]),
            (
                Os::Debian,
                &both,
                vec!["# apt-get update || true".to_owned(), format!("{apt} ffmpeg gcc libc6-dev")],
            ),
            (
                Os::Debian,
                &[Tool::Ffmpeg],
                vec!["# apt-get update || true".to_owned(), format!("{apt} ffmpeg")],
            ),
            (
                Os::Fedora,
                &both,
                vec![
                    "# dnf install -y ffmpeg || dnf install -y ffmpeg-free".to_owned(),
                    "# dnf install -y gcc".to_owned(),
                ],
            ),
            (
                Os::Arch,
                &both,
                vec![
                    "# pacman -S --noconfirm --needed ffmpeg gcc || pacman -Sy --noconfirm --needed ffmpeg gcc"
                        .to_owned(),
                ],
            ),
            (Os::Arch, &[], vec![]),
            (
                Os::Mac,
                &both,
                vec!["$ xcode-select --install".to_owned(), "$ brew install ffmpeg".to_owned()],
            ),
            (
                Os::Debian,
                &[Tool::Python, Tool::Node],
                vec![
                    "# apt-get update || true".to_owned(),
                    format!("{apt} python3 python3-venv nodejs npm"),
                ],
            ),
            (
                Os::Fedora,
                &[Tool::Python, Tool::Node],
                vec!["# dnf install -y python3 nodejs".to_owned()],
            ),
            (Os::Mac, &[Tool::Node], vec!["$ brew install node".to_owned()]),
            (Os::Mac, &[Tool::Browser], vec!["$ brew install --cask chromium".to_owned()]),
            (
                Os::Debian,
                &[Tool::Rustfmt, Tool::Clippy],
                vec!["$ rustup component add rustfmt".to_owned(), "$ rustup component add clippy".to_owned()],
            ),
            (
                Os::Other("alpine".to_owned()),
                &[Tool::Clippy],
                vec!["$ rustup component add clippy".to_owned()],
            ),
        ];
        for (os, missing, expected) in table {
            assert_eq!(lines(&os, missing), expected, "{os:?} {missing:?}");
        }
    }

    #[test]
    fn an_unknown_system_is_told_what_to_install() {
        let os = Os::Other("alpine".to_owned());
        assert!(plan(&os, &[Tool::Ffmpeg]).is_err_and(|why| why.contains("alpine")));
        assert!(by_hand(&os, &[Tool::Ffmpeg]).contains("ffmpeg.org"));
    }

    #[test]
    fn sudo_is_used_only_where_needed() {
        let line = ["apt-get", "update"];
        let with = |needs_root, rights| elevated(&line, needs_root, rights).map(|words| words.join(" "));
        assert_eq!(with(true, Rights::Root), Ok("apt-get update".to_owned()));
        assert_eq!(with(true, Rights::SudoAsking), Ok("sudo apt-get update".to_owned()));
        assert_eq!(with(true, Rights::SudoSilent), Ok("sudo -n apt-get update".to_owned()));
        assert_eq!(with(false, Rights::SudoAsking), Ok("apt-get update".to_owned()));
        assert!(with(true, Rights::None).is_err());
    }
}
