//! Which operating system this is, from `/etc/os-release` and `uname`.

use crate::process;

/// A family of systems that share a package manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Os {
    /// Debian, Ubuntu and what derives from them: apt.
    Debian,
    /// Fedora and its relatives: dnf.
    Fedora,
    /// Arch and its relatives: pacman.
    Arch,
    /// macOS: Homebrew.
    Mac,
    /// Anything else, by its name.
    Other(String),
}

/// This machine's.
pub fn detect() -> Os {
    let kernel = process::stdout_of(&mut process::command("uname", ["-s"])).unwrap_or_default();
    let release = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    family(kernel.trim(), &release)
}

fn family(kernel: &str, release: &str) -> Os {
    if kernel == "Darwin" {
        return Os::Mac;
    }
    let id = field(release, "ID").unwrap_or_default();
    let like = field(release, "ID_LIKE").unwrap_or_default();
    for name in std::iter::once(id.as_str()).chain(like.split_whitespace()) {
        match name {
            "debian" | "ubuntu" => return Os::Debian,
            "fedora" | "rhel" | "centos" => return Os::Fedora,
            "arch" | "archlinux" => return Os::Arch,
            _ => {}
        }
    }
    let name = [id.as_str(), kernel, std::env::consts::OS].into_iter().find(|name| !name.is_empty());
    Os::Other(name.unwrap_or("unknown").to_owned())
}

fn field(release: &str, key: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_known_by_id_and_by_likeness() {
        let table = [
            ("Darwin", "", Os::Mac),
            ("Linux", "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", Os::Debian),
            ("Linux", "ID=ubuntu\nID_LIKE=debian\n", Os::Debian),
            ("Linux", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Os::Debian),
            ("Linux", "ID=fedora\nVERSION_ID=42\n", Os::Fedora),
            ("Linux", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Os::Fedora),
            ("Linux", "ID=arch\n", Os::Arch),
            ("Linux", "ID=manjaro\nID_LIKE=arch\n", Os::Arch),
            ("Linux", "ID=alpine\n", Os::Other("alpine".to_owned())),
            ("FreeBSD", "", Os::Other("FreeBSD".to_owned())),
        ];
        for (kernel, release, expected) in table {
            assert_eq!(family(kernel, release), expected, "{kernel} {release}");
        }
    }

    #[test]
    fn a_key_is_not_found_inside_another() {
        assert_eq!(field("VERSION_ID=1\nID=x\n", "ID"), Some("x".to_owned()));
    }
}
