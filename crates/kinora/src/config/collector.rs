//! Who collects traces: a flag, and the names in the environment that OpenTelemetry has for all programs.

use kinora_hub::Collector;
use kinora_protocol::{ErrorCode, Failure};
use percent_encoding::percent_decode_str;

/// Where a collector takes traces, below its address.
const PATH: &str = "v1/traces";

/// The collector of a flag or of the environment; none when neither names one.
///
/// # Errors
/// When what is named makes no sense.
pub fn collector(flag: Option<&str>) -> Result<Option<Collector>, Failure> {
    read(flag, |name| std::env::var(name).ok())
}

fn bad(why: String) -> Failure {
    Failure::new(ErrorCode::BadInput, why)
}

fn read(flag: Option<&str>, set: impl Fn(&str) -> Option<String>) -> Result<Option<Collector>, Failure> {
    let set = |name: &str| set(name).filter(|value| !value.trim().is_empty());
    let of_traces = |what: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_TRACES_{what}");
        set(&own).map(|value| (own, value)).or_else(|| {
            let all = format!("OTEL_EXPORTER_OTLP_{what}");
            set(&all).map(|value| (all, value))
        })
    };
    let below = |base: &str| format!("{}/{PATH}", base.trim().trim_end_matches('/'));
    let url = match (flag, set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), set("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(flag), _, _) => below(flag),
        // Whoever starts many programs in one environment turns it off for all.
        (None, _, _) if set("OTEL_SDK_DISABLED").is_some_and(|said| said.eq_ignore_ascii_case("true")) => {
            return Ok(None);
        }
        (None, Some(whole), _) => whole.trim().to_owned(),
        (None, None, Some(base)) => below(&base),
        (None, None, None) => return Ok(None),
    };
    if let Some((name, protocol)) = of_traces("PROTOCOL").filter(|(_, said)| said != "http/protobuf") {
        return Err(bad(format!(
            "{name} is {protocol:?}: traces are sent by http/protobuf, which collectors take on port 4318"
        )));
    }
    let headers = match of_traces("HEADERS") {
        Some((name, text)) => pairs(&name, &text)?,
        None => Vec::new(),
    };
    let attributes = match set("OTEL_RESOURCE_ATTRIBUTES") {
        Some(text) => pairs("OTEL_RESOURCE_ATTRIBUTES", &text)?,
        None => Vec::new(),
    };
    Collector::new(&url, &headers, attributes).map(Some).map_err(bad)
}

/// `name=value,name=value`, values with `%` as in addresses. What is wrong is not repeated: it may be secret.
fn pairs(what: &str, text: &str) -> Result<Vec<(String, String)>, Failure> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value.into_owned()))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let read: Option<Vec<_>> = parts.map(pair).collect();
    read.ok_or_else(|| bad(format!("{what} is not NAME=VALUE,NAME=VALUE")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(flag: Option<&str>, environment: &[(&str, &str)]) -> Result<Option<String>, String> {
        let set = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        read(flag, set).map(|found| found.map(|c| c.address().to_owned())).map_err(|e| e.message)
    }

    #[test]
    fn the_address_is_as_opentelemetry_has_it() {
        let (base, whole) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let of = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(said(None, &[]), Ok(None));
        assert_eq!(said(None, &[(base, " ")]), Ok(None));
        assert_eq!(said(Some("http://a:4318"), &[]), of("http://a:4318/v1/traces"));
        assert_eq!(said(Some("http://a:4318/"), &[(base, "http://b")]), of("http://a:4318/v1/traces"));
        assert_eq!(said(None, &[(base, "http://b/x")]), of("http://b/x/v1/traces"));
        assert_eq!(said(None, &[(base, "http://b"), (whole, "http://c/in")]), of("http://c/in"));
        assert_eq!(said(None, &[(base, "http://b"), ("OTEL_SDK_DISABLED", "true")]), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_said_and_not_repeated() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b");
        let why = said(None, &[base, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(why.contains("grpc") && why.contains("4318"), "{why}");
        let why = said(None, &[base, ("OTEL_EXPORTER_OTLP_HEADERS", "hush")]).unwrap_err();
        assert!(why.contains("HEADERS") && !why.contains("hush"), "{why}");
        assert!(said(Some("collector:4318"), &[]).is_err());
    }

    #[test]
    fn headers_are_decoded() {
        let read = pairs("X", "authorization=Basic%20abc==, x-y = 1 ,").unwrap();
        let wanted = [("authorization", "Basic abc=="), ("x-y", "1")];
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
