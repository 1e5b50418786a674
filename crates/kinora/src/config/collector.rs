//! Who collects traces: a flag, and the names in the environment that OpenTelemetry has for all programs.

use std::collections::BTreeMap;

use kinora_hub::Collector;
use kinora_protocol::{ErrorCode, Failure};
use percent_encoding::percent_decode_str;

/// Where a collector takes traces, below its address.
const PATH: &str = "v1/traces";

/// The collector of a flag or of the environment; none when neither names one. What the environment says is for many programs: what
/// makes no sense of it is given back in words, and it goes without.
///
/// # Errors
/// When what the flag names makes no sense.
pub fn collector(flag: Option<&str>) -> Result<(Option<Collector>, Vec<String>), Failure> {
    let mut ignored = Vec::new();
    let read = read(flag, |name| std::env::var(name).ok(), &mut ignored);
    let found = match (read, flag) {
        (Err(why), None) => {
            ignored.push(format!("{why}: no traces are sent"));
            None
        }
        (read, _) => read.map_err(|why| Failure::new(ErrorCode::BadInput, why))?,
    };
    Ok((found, ignored))
}

fn read(
    flag: Option<&str>,
    set: impl Fn(&str) -> Option<String>,
    ignored: &mut Vec<String>,
) -> Result<Option<Collector>, String> {
    let set = |name: &str| set(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let says = |name: &str, what: &str| set(name).is_some_and(|said| said.eq_ignore_ascii_case(what));
    let of_traces = |what: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_TRACES_{what}");
        set(&own).map(|value| (own, value)).or_else(|| {
            let all = format!("OTEL_EXPORTER_OTLP_{what}");
            set(&all).map(|value| (all, value))
        })
    };
    let below = |base: &str| format!("{}/{PATH}", base.trim().trim_end_matches('/'));
    let is_off = says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none");
    let url = match (flag, set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), set("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        (Some(flag), _, _) => below(flag),
        (None, _, _) if is_off => return Ok(None),
        (None, Some(whole), _) => whole,
        (None, None, Some(base)) => below(&base),
        (None, None, None) => return Ok(None),
    };
    if let Some((name, protocol)) = of_traces("PROTOCOL").filter(|(_, said)| said != "http/protobuf") {
        return Err(format!(
            "{name} is {protocol:?}, but traces are sent by http/protobuf, which collectors take on port 4318"
        ));
    }
    let headers = match of_traces("HEADERS") {
        Some((name, text)) => pairs(&name, &text)?,
        None => Vec::new(),
    };
    let said = set("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs("OTEL_RESOURCE_ATTRIBUTES", &text));
    let said = said.transpose().unwrap_or_else(|why| {
        ignored.push(why);
        None
    });
    let mut attributes: BTreeMap<String, String> = said.unwrap_or_default().into_iter().collect();
    attributes.extend(set("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
    Collector::new(&url, &headers, attributes).map(Some)
}

/// `name=value,name=value`, values with `%` as in addresses. What is wrong is not repeated: it may be secret.
fn pairs(what: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value.into_owned()))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let read: Option<Vec<_>> = parts.map(pair).collect();
    read.ok_or_else(|| format!("{what} is not NAME=VALUE,NAME=VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(flag: Option<&str>, environment: &[(&str, &str)]) -> Result<Option<String>, String> {
        let set = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        read(flag, set, &mut Vec::new()).map(|found| found.map(|c| c.address().to_owned()))
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
        assert_eq!(said(None, &[(base, "http://b"), ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let odd = [(base, "http://b"), ("OTEL_RESOURCE_ATTRIBUTES", "odd")];
        assert_eq!(said(None, &odd), of("http://b/v1/traces"));
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
