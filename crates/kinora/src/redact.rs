//! Text that others may read: without what lets anybody in, and without the names of people's files where that is wanted. What is put
//! into it is for others to decide.

use aho_corasick::{AhoCorasick, MatchKind};
use kinora_protocol::{ErrorCode, Failure};
use serde_json::Value;

/// What stands for something that lets somebody in.
const SECRET: &str = "[secret]";
/// Shorter names, and those that are one word of small letters and digits, are words of ours, too: in running text they stay.
const SHORTEST: usize = 4;
const LONG: usize = 12;
/// Endings that tell the kind of a file and nothing else.
const KINDS: [&str; 22] = [
    "aac", "avi", "flac", "flv", "gif", "jpg", "m2ts", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpg",
    "mxf", "ogg", "ogv", "png", "ts", "wav", "webm", "zip",
];

/// Stands for names: the same for the same name, so that it can be told what belongs together, and for nobody who only has the text
/// to guess.
struct StandIn {
    key: [u8; 32],
}

impl StandIn {
    fn of(&self, name: &str) -> String {
        let digest = blake3::keyed_hash(&self.key, name.as_bytes()).to_hex();
        let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
        match end.filter(|end| KINDS.contains(&end.as_str())) {
            Some(end) => format!("[file {}].{end}", &digest[..8]),
            None => format!("[file {}]", &digest[..8]),
        }
    }
}

/// What is taken out of texts.
pub struct Redaction {
    stand_in: StandIn,
    /// What finds names, and what stands for each.
    names: Option<(AhoCorasick, Vec<String>)>,
    /// Folders of people's files: what follows them is a name.
    folders: Vec<String>,
}

/// As it looks in a line of JSON.
fn escaped(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl Redaction {
    /// Takes out secrets, these names, and the names of files below these folders.
    ///
    /// # Errors
    /// The system gives no random numbers, or there are too many names.
    pub fn new(
        names: impl IntoIterator<Item = String>,
        folders: impl IntoIterator<Item = String>,
    ) -> Result<Self, Failure> {
        let broken =
            |what: String| Failure::new(ErrorCode::Internal, format!("names cannot be hidden: {what}"));
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| broken(e.to_string()))?;
        let stand_in = StandIn { key };
        let mut patterns: Vec<(String, String)> = Vec::new();
        for name in names.into_iter().filter(|name| is_telling(name)) {
            let other = stand_in.of(&name);
            let in_json = escaped(&name);
            if in_json != name {
                patterns.push((in_json, other.clone()));
            }
            patterns.push((name, other));
        }
        patterns.sort();
        patterns.dedup();
        let names = if patterns.is_empty() {
            None
        } else {
            let (names, others): (Vec<String>, Vec<String>) = patterns.into_iter().unzip();
            let mut finder = AhoCorasick::builder();
            let finder = finder.match_kind(MatchKind::LeftmostLongest).build(&names);
            Some((finder.map_err(|e| broken(e.to_string()))?, others))
        };
        let folders = folders.into_iter().filter(|folder| folder.len() > 1);
        let mut folders: Vec<String> = folders.flat_map(|folder| [escaped(&folder), folder]).collect();
        folders.sort();
        folders.dedup();
        Ok(Self { stand_in, names, folders })
    }

    /// Takes out secrets, and nothing else.
    pub fn of_secrets() -> Self {
        Self { stand_in: StandIn { key: [0; 32] }, names: None, folders: Vec::new() }
    }

    /// A text without all that.
    pub fn text(&self, text: &str) -> String {
        let mut text = without_addresses(&without_secrets(text));
        if let Some((finder, others)) = &self.names {
            text = without_names(&text, finder, others);
        }
        for folder in &self.folders {
            text = self.without_paths(&text, folder);
        }
        text
    }

    /// The same of a log, whose lines may be objects in JSON.
    pub fn log(&self, text: &str) -> String {
        let line = |line: &str| match serde_json::from_str::<Value>(line) {
            Ok(object @ Value::Object(_)) => self.value(object, &[]).to_string() + "\n",
            _ => self.text(line) + "\n",
        };
        text.lines().map(line).collect()
    }

    /// The same of all texts in a value. Names of fields are ours; those in `named` hold a name and nothing else.
    pub fn value(&self, value: Value, named: &[&str]) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.value(item, named)).collect())
            }
            Value::Object(fields) => {
                let field = |(field, value): (String, Value)| match value {
                    Value::String(name) if named.contains(&field.as_str()) => {
                        (field, Value::String(self.stand_in.of(&name)))
                    }
                    value => (field, self.value(value, named)),
                };
                Value::Object(fields.into_iter().map(field).collect())
            }
            other => other,
        }
    }

    /// Without what is named below a folder. It ends where a program would say why it is named: at a quote of the kind before it, else
    /// at a colon with a space behind it, at the end of the line.
    fn without_paths(&self, text: &str, folder: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(folder) {
            let (before, after) = rest.split_at(start + folder.len());
            let left = before[..start].chars().next_back();
            out.push_str(before);
            let named = after.strip_prefix(['/', '\\']).map(|named| named.trim_start_matches('\\'));
            let Some(named) = named.filter(|_| !left.is_some_and(|c| is_of_word(c) || c == '/')) else {
                rest = after;
                continue;
            };
            let end = end_of_path(named, left.filter(|c| matches!(c, '\'' | '"')));
            out.push('/');
            out.push_str(&self.stand_in.of(&named[..end]));
            rest = &named[end..];
        }
        out + rest
    }
}

/// Whether a name in running text is one, and not a word that is there anyway.
fn is_telling(name: &str) -> bool {
    let length = name.chars().count();
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    length >= SHORTEST && (!is_word || length >= LONG)
}

fn end_of_path(named: &str, quote: Option<char>) -> usize {
    let mut before = ' ';
    for (at, c) in named.char_indices() {
        let ends = match c {
            '\n' => true,
            '"' | '\'' => quote == Some(c) && before != '\\',
            ':' => quote.is_none() && named[at + 1..].starts_with([' ', '\n']),
            '(' => quote.is_none() && named[at..].starts_with("(os error"),
            _ => false,
        };
        if ends {
            return at;
        }
        before = c;
    }
    named.len()
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// Names that stand by themselves.
fn without_names(text: &str, finder: &AhoCorasick, others: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for found in finder.find_iter(text) {
        let left = text[..found.start()].chars().next_back();
        let right = text[found.end()..].chars().next();
        if left.is_some_and(is_of_word) || right.is_some_and(is_of_word) {
            continue;
        }
        out.push_str(&text[at..found.start()]);
        out.push_str(others.get(found.pattern().as_usize()).map_or("[file]", String::as_str));
        at = found.end();
    }
    out + &text[at..]
}

/// Where a key, ticket or token of ours begins in a word, or one that others sign, or what a webhook is signed with.
fn secret_in(word: &str) -> Option<usize> {
    let is_hex = |text: &str| text.bytes().all(|c| c.is_ascii_hexdigit());
    let ours = word.match_indices('_').find_map(|(at, _)| {
        let kind = word.get(at.checked_sub(2)?..at)?;
        let is_ours = kind.starts_with('k') && kind.bytes().all(|c| c.is_ascii_lowercase());
        (is_ours && word.get(at + 1..at + 33).is_some_and(is_hex)).then_some(at - 2)
    });
    let signed = word.find("eyJ").filter(|at| word[*at..].matches('.').count() >= 2);
    let hook = word.find("whsec_").filter(|at| word.len() - at > 20);
    // What lets a machine at the bytes of a task: two numbers and a seal.
    let capability = word.match_indices('.').find_map(|(at, _)| {
        word.get(at + 1..at + 33).filter(|seal| is_hex(seal))?;
        let ends_in_numbers = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
        let (task, attempt) = word[..at].rsplit_once('.')?;
        let numbers = ends_in_numbers(task) && attempt.bytes().all(|c| c.is_ascii_digit());
        numbers.then(|| task.trim_end_matches(|c: char| c.is_ascii_digit()).len())
    });
    [ours, signed, hook, capability].into_iter().flatten().min()
}

fn without_secrets(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        match secret_in(word) {
            Some(at) => {
                out.push_str(&word[..at]);
                out.push_str(SECRET);
            }
            None => out.push_str(word),
        }
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
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '\\' | ',');
        let end = after.find(ends).unwrap_or(after.len());
        let (address, following) = after.split_at(end);
        let host_end = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (host, path) = address.split_at(host_end);
        out.push_str(host.rsplit_once('@').map_or(host, |(_, host)| host));
        match path.find(['?', '#']) {
            Some(at) => {
                out.push_str(&path[..at]);
                out.push_str("?[…]");
            }
            None => out.push_str(path),
        }
        rest = following;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hiding(names: &[&str], folders: &[&str]) -> Redaction {
        let all = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        Redaction::new(all(names), all(folders)).unwrap()
    }

    #[test]
    fn what_lets_anybody_in_is_taken_out() {
        let (id, secret) = ("0".repeat(32), "1".repeat(64));
        let cut = Redaction::of_secrets();
        for hidden in [
            format!("kn_{id}_{secret}"),
            format!("ke_{id}_{secret}_{secret}"),
            "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJraW5vcmEifQ.abcDEF-_0".to_owned(),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            format!("17.2.{secret}"),
        ] {
            let text = cut.text(&format!("the key \"{hidden}\", was shown"));
            assert_eq!(text, "the key \"[secret]\", was shown");
            assert!(!cut.text(&format!("\\n{hidden} x%3D{hidden}")).contains(&hidden[hidden.len() - 9..]));
        }
        let media = "a".repeat(64);
        for kept in [media.as_str(), "1.2.3", "kinora_jobs_total", "ok_then", "10.0.0.1"] {
            assert_eq!(cut.text(kept), kept);
        }
    }

    #[test]
    fn addresses_lose_what_is_in_front_and_behind() {
        let cut = Redaction::of_secrets();
        assert_eq!(
            cut.text("sent to https://me:hu)sh@hooks.example:8443/in?token=hush, and \"http://b/?x=hush\""),
            "sent to https://hooks.example:8443/in?[…], and \"http://b/?[…]\""
        );
        assert_eq!(cut.text("http://[::1]:9/in?token=hush"), "http://[::1]:9/in?[…]");
        assert_eq!(cut.text("https://a:b@x,https://c:d@y/#hush"), "https://x,https://y/?[…]");
        assert_eq!(cut.text("a :// b"), "a :// b");
    }

    #[test]
    fn names_are_taken_out_and_can_be_told_apart() {
        let cut =
            hiding(&["my film.mp4", "Bob's \"other\": film.mkv", "kinora.mp4", "failed", "100", "hub"], &[]);
        let text = cut.text(
            "my film.mp4 and Bob's \"other\": film.mkv and {\"name\":\"Bob's \\\"other\\\": film.mkv\"}",
        );
        assert!(!text.contains("film.") && !text.contains("Bob") && !text.contains("other"), "{text}");
        assert!(text.starts_with("[file ") && text.contains("].mp4 and [file "), "{text}");
        for kept in
            ["kinora_jobs_ended_total 100", "a job failed on the hub", "not-kinora.mp4s", "my film.mp4x"]
        {
            assert_eq!(cut.text(kept), kept);
        }
        let value =
            cut.value(serde_json::json!({ "name": "hub", "why": "hub: my film.mp4 is cut" }), &["name"]);
        assert!(value["name"].as_str().unwrap().starts_with("[file "), "{value}");
        assert!(value["why"].as_str().unwrap().starts_with("hub: [file "), "{value}");
        assert_ne!(hiding(&["my film.mp4"], &[]).text("my film.mp4"), cut.text("my film.mp4"), "another key");
    }

    #[test]
    fn files_below_folders_of_people_are_taken_out() {
        let cut = hiding(&[], &["/srv/films", "/", "C:\\films"]);
        for (text, wanted) in [
            ("/srv/films/My Bob's Film.mkv: moov atom not found\nnext", ".mkv: moov atom not found\nnext"),
            ("in '/srv/films/y's.mp4'", "s.mp4'"),
            ("in \"/srv/films/y's.mp4\" it", "].mp4\" it"),
            ("cannot open /srv/films/My \"Bob\" film.mkv: bad", "].mkv: bad"),
            ("/srv/films/x.mkv (os error 28)", "(os error 28)"),
            ("{\"path\":\"C:\\\\films\\\\x.mkv\"}", "].mkv\"}"),
        ] {
            let cut = cut.text(text);
            assert!(cut.ends_with(wanted) && cut.contains("[file ") && !cut.contains("Bob"), "{cut}");
        }
        let lines =
            "{\"message\":\"it is /srv/films/My \\\"Bob\\\" film.mkv: bad\",\"n\":1}\nplain /srv/films/Bob\n";
        let cut = hiding(&[], &["/srv/films"]).log(lines);
        let first: Value = serde_json::from_str(cut.lines().next().unwrap()).unwrap();
        assert!(first["message"].as_str().unwrap().ends_with("].mkv: bad") && first["n"] == 1, "{cut}");
        assert!(!cut.contains("Bob") && cut.lines().count() == 2, "{cut}");
        let cut = hiding(&[], &["/srv/films", "/"]);
        for kept in ["/srv/films and /srv/other/x", "/api/srv/films/x", "GET /api/v1/media"] {
            assert_eq!(cut.text(kept), kept);
        }
    }
}
