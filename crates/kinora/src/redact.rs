//! Text that others may read: without what lets anybody in, and without the names of people's files where that is wanted. What is put
//! into it is for others to decide.

use serde_json::Value;

/// What stands for something that lets somebody in.
const SECRET: &str = "[secret]";
/// Shorter names stay: they are in everything.
const SHORTEST: usize = 3;

/// What is taken out of texts.
#[derive(Debug, Default)]
pub struct Redaction {
    /// Names, longest first, and what stands for them.
    names: Vec<(String, String)>,
    /// Folders of people's files: what follows them is a name.
    folders: Vec<String>,
}

impl Redaction {
    /// Takes out secrets, these names, and the names of files below these folders.
    pub fn new(names: impl IntoIterator<Item = String>, folders: impl IntoIterator<Item = String>) -> Self {
        let long = names.into_iter().filter(|name| name.chars().count() >= SHORTEST);
        let mut names: Vec<(String, String)> = Vec::new();
        for name in long {
            let other = stand_in(&name);
            // In a line of JSON it looks otherwise.
            let escaped = Value::String(name.clone()).to_string();
            let escaped = escaped[1..escaped.len() - 1].to_owned();
            if escaped != name {
                names.push((escaped, other.clone()));
            }
            names.push((name, other));
        }
        names.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        names.dedup();
        let folders = folders.into_iter().filter(|folder| folder.len() > 1).collect();
        Self { names, folders }
    }

    /// A text without all that.
    pub fn text(&self, text: &str) -> String {
        let mut text = without_addresses(&without_secrets(text));
        for folder in &self.folders {
            text = without_paths(&text, folder);
        }
        for (name, other) in &self.names {
            if text.contains(name.as_str()) {
                text = text.replace(name.as_str(), other);
            }
        }
        text
    }

    /// The same of all texts in a value. Names of fields are ours.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.value(item)).collect()),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(name, value)| (name, self.value(value))).collect())
            }
            other => other,
        }
    }
}

/// The same for the same name, so that it can be told what belongs together.
fn stand_in(name: &str) -> String {
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let end = name.rsplit_once('.').map(|(_, end)| end);
    let plain = |end: &&str| end.len() <= 5 && end.chars().all(|c| c.is_ascii_alphanumeric());
    match end.filter(plain) {
        Some(end) => format!("[file {}].{end}", &digest[..8]),
        None => format!("[file {}]", &digest[..8]),
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Whether it is a key, ticket or token of ours, a signed token, or what a webhook is signed with.
fn is_secret(word: &str) -> bool {
    let hex = |part: &str| part.len() >= 32 && part.bytes().all(|c| c.is_ascii_hexdigit());
    let mut parts = word.split('_');
    let is_ours = parts.next().is_some_and(|kind| kind.len() == 2 && kind.starts_with('k'))
        && parts.next().is_some_and(hex);
    let is_signed = word.starts_with("eyJ") && word.matches('.').count() >= 2;
    is_ours || is_signed || (word.starts_with("whsec_") && word.len() > 20)
}

fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        out.push_str(if is_secret(&rest[..end]) { SECRET } else { &rest[..end] });
        rest = &rest[end..];
    }
    out + rest
}

/// Without names, passwords and questions in addresses.
fn without_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '\\' | ')' | ']');
        let end = after.find(ends).unwrap_or(after.len());
        let (address, following) = after.split_at(end);
        let host_end = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (host, path) = address.split_at(host_end);
        out.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
        match path.split_once('?') {
            Some((path, _)) => {
                out.push_str(path);
                out.push_str("?[…]");
            }
            None => out.push_str(path),
        }
        rest = following;
    }
    out + rest
}

/// Without what is named below a folder.
fn without_paths(text: &str, folder: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(folder) {
        let (before, after) = rest.split_at(start + folder.len());
        out.push_str(before);
        let named = after.strip_prefix(['/', '\\']);
        let Some(named) = named else {
            rest = after;
            continue;
        };
        let end = named.find(['"', '\'', '\n']).unwrap_or(named.len());
        // ffmpeg and we say what is wrong after a colon.
        let end = named[..end].find(": ").unwrap_or(end);
        out.push('/');
        out.push_str(&stand_in(&named[..end]));
        rest = &named[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_anybody_in_is_taken_out() {
        let (id, secret) = ("0".repeat(32), "1".repeat(64));
        let cut = Redaction::default();
        for hidden in [
            format!("kn_{id}_{secret}"),
            format!("ke_{id}_{secret}_{secret}"),
            "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJraW5vcmEifQ.abcDEF-_0".to_owned(),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
        ] {
            let text = cut.text(&format!("the key \"{hidden}\", was shown"));
            assert_eq!(text, "the key \"[secret]\", was shown");
        }
        let media = "a".repeat(64);
        assert_eq!(cut.text(&media), media, "digests are none");
    }

    #[test]
    fn addresses_lose_what_is_in_front_and_behind() {
        let cut = Redaction::default();
        assert_eq!(
            cut.text("sent to https://me:hush@hooks.example:8443/in?token=hush, and \"http://b/?x=hush\""),
            "sent to https://hooks.example:8443/in?[…] and \"http://b/?[…]\""
        );
        assert_eq!(cut.text("a :// b"), "a :// b");
    }

    #[test]
    fn names_are_taken_out_and_can_be_told_apart() {
        let cut =
            Redaction::new(["my film.mp4".to_owned(), "my \"other\" film".to_owned(), "a".to_owned()], []);
        let text =
            cut.text("my film.mp4 and my \"other\" film and {\"name\":\"my \\\"other\\\" film\"} and a");
        assert!(!text.contains("film.mp4") && !text.contains("other") && text.ends_with(" and a"), "{text}");
        assert!(text.starts_with("[file ") && text.contains("].mp4 and [file "), "{text}");
        let value = cut.value(serde_json::json!({ "name": ["my \"other\" film"] }));
        assert!(!value.to_string().contains("film"), "{value}");
    }

    #[test]
    fn files_below_folders_of_people_are_taken_out() {
        let cut = Redaction::new([], ["/srv/films".to_owned(), "/".to_owned()]);
        let text = cut
            .text("/srv/films/My Secret Film.mkv: moov atom not found\n/srv/films/x in '/srv/films/y.mp4'");
        assert!(!text.contains("Secret") && text.contains(": moov atom not found\n/srv/films/["), "{text}");
        assert!(text.ends_with("].mp4'") || text.contains("/srv/films/[file"), "{text}");
        assert_eq!(cut.text("/srv/films and /srv/other/x"), "/srv/films and /srv/other/x");
    }
}
