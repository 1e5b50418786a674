//! Links between the Markdown files and to other files of the repository. Links to the web are not followed.

use std::collections::BTreeSet;

use super::Violation;

/// Checks a Markdown file against the files that exist.
pub fn check(path: &str, text: &str, files: &BTreeSet<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        } else if !fenced {
            for target in targets(line) {
                if !exists(path, &target, files) {
                    found.push(Violation::new(
                        path,
                        index + 1,
                        format!("the link to `{target}` leads nowhere"),
                    ));
                }
            }
        }
    }
    found
}

/// Targets of `[text](target)`, `![text](target "title")` and `[name]: target`, inline code left out.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    let mut found: Vec<&str> = line.split("](").skip(1).map(inside_parentheses).collect();
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        found.push(target);
    }
    let first =
        |text: &str| text.trim().trim_start_matches('<').split(['>', ' ', '"']).next().map(str::to_owned);
    found.into_iter().filter_map(first).collect()
}

/// Up to the parenthesis that closes the one before the text.
fn inside_parentheses(text: &str) -> &str {
    let mut depth = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

fn exists(from: &str, target: &str, files: &BTreeSet<String>) -> bool {
    let plain = target.split(['#', '?']).next().unwrap_or(target).replace("%20", " ");
    if plain.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let Some(path) = resolve(from, &plain) else { return false };
    let folder = format!("{path}/");
    path.is_empty()
        || files.contains(&path)
        || files.range(folder.clone()..).next().is_some_and(|f| f.starts_with(&folder))
}

/// The target as a path from the root; `None` when it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => from.split('/').collect(),
    };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(line: &str) -> usize {
        let files = ["README.md", "docs/guide.md", "docs/img/a b.png"].map(str::to_owned).into();
        check("docs/index.md", line, &files).len()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for line in [
            "[a](guide.md) and [b](../README.md#top \"title\")",
            "[a](./img) [b](/docs/guide.md) [c](<guide.md>)",
            "![a](img/a%20b.png)",
            "[a](https://example.org/x) [b](mailto:a@b.c) [c](#here)",
            "[a]: guide.md",
            "`[a](nowhere.md)`",
            "```\n[a](nowhere.md)\n```",
            "[root](..)",
        ] {
            assert_eq!(count(line), 0, "{line}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for line in [
            "[a](nowhere.md)",
            "[a](../../README.md)",
            "[a]: nowhere.md",
            "[`a`](nowhere.md)",
            "![a](b(1).png)",
        ] {
            assert_eq!(count(line), 1, "{line}");
        }
    }
}
