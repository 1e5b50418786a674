//! Text that means something on one machine or in one tracker only.

use super::Violation;

/// Folders that exist on somebody's machine.
const FOLDERS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

const TRACKER: [&str; 5] = ["issue", "issues", "fixes", "closes", "resolves"];

/// Checks any text file.
pub fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(folder) = FOLDERS.iter().find(|folder| names_folder(line, folder)) {
            let message = format!("`{folder}` exists on one machine only: write a path from the root");
            found.push(Violation::new(path, index + 1, message));
        }
        if names_number(line) {
            let message = "numbers of a tracker mean nothing here: say what it is about".to_owned();
            found.push(Violation::new(path, index + 1, message));
        }
    }
    found
}

/// Whether the folder stands at the beginning of a path, not inside one.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-/}>)*".contains(c)))
    })
}

fn names_number(line: &str) -> bool {
    let lower = line.to_lowercase();
    lower.match_indices('#').any(|(at, _)| {
        let number = lower[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        let before = lower[..at].trim_end().rsplit(|c: char| !c.is_alphanumeric()).next();
        number && before.is_some_and(|word| TRACKER.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found() {
        for (line, expected) in [
            (format!("see {}x", FOLDERS[0]), 1),
            (format!("\"{}x\"", FOLDERS[1]), 1),
            (format!("target{}x", FOLDERS[0]), 0),
            (format!("{{dir}}{}x", FOLDERS[0]), 0),
            ("/workspace/x".to_owned(), 0),
        ] {
            assert_eq!(check("a.md", &line).len(), expected, "{line}");
        }
    }

    #[test]
    fn numbers_of_a_tracker_are_found() {
        for (line, expected) in [
            (format!("see Issue {}12", '#'), 1),
            (format!("fixes {}7", '#'), 1),
            (format!("colour {}12ab34", '#'), 0),
            (format!("issue {}x", '#'), 0),
        ] {
            assert_eq!(check("a.md", &line).len(), expected, "{line}");
        }
    }
}
