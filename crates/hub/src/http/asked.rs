//! What requests hold: bodies in JSON and sizes of pages, with errors that name the field.

use axum::http::{HeaderMap, StatusCode};
use kinora_protocol::ErrorCode;
use serde::de::DeserializeOwned;

use super::problem::Refusal;
use crate::app::traces::Caller;

/// Items of a page at the most.
pub(super) const LARGEST_PAGE: u32 = 500;

/// How many items a page is to have.
pub(super) fn limit(asked: Option<u32>, absent: u32) -> Result<u32, Refusal> {
    let limit = asked.unwrap_or(absent);
    if (1..=LARGEST_PAGE).contains(&limit) {
        return Ok(limit);
    }
    let why = format!("limit is {limit}, but it has to be 1 to {LARGEST_PAGE}");
    Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadInput, why))
}

/// The trace that a request is part of.
pub(super) fn trace(headers: &HeaderMap) -> Option<Caller> {
    Caller::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// The body as `what`, or an error with `code` that says which field is wrong and why.
pub(super) fn json<T: DeserializeOwned>(body: &[u8], what: &str, code: ErrorCode) -> Result<T, Refusal> {
    let wrong = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, why);
    // Fields in their order, without names, would be taken for an object, too.
    if body.trim_ascii_start().first().is_some_and(|first| *first == b'[') {
        return Err(wrong(format!("{what}: a list, where an object was expected")));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let place = e.path().to_string();
        let inner = e.into_inner();
        wrong(if place == "." { format!("{what}: {inner}") } else { format!("{what}, {place}: {inner}") })
    })?;
    reader.end().map_err(|e| wrong(format!("{what}: {e}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use kinora_protocol::access::UserChange;

    use super::*;

    #[test]
    fn fields_have_names() {
        assert!(json::<UserChange>(b" {\"disabled\": true}", "the change", ErrorCode::BadInput).is_ok());
        for body in ["[null, null, true]", " \n[]", "", "{", "{} {}", "{\"odd\": 1}", "null"] {
            assert!(
                json::<UserChange>(body.as_bytes(), "the change", ErrorCode::BadInput).is_err(),
                "{body}"
            );
        }
    }
}
