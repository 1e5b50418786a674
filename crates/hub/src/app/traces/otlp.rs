//! Spans as OpenTelemetry's protocol has them (OTLP 1, protobuf). What they say is decided elsewhere.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as wire;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::span::{Place, Role, Span, Value};

/// As W3C Trace Context has it.
const SAMPLED: u32 = 1;
/// It is said whether what a span is below is elsewhere.
const HAS_IS_REMOTE: u32 = 0x100;
/// It is.
const IS_REMOTE: u32 = 0x200;

/// A request with these spans; `said` is what whoever runs the hub says of it.
pub(super) fn request(spans: Vec<Span>, said: &BTreeMap<String, String>) -> Vec<u8> {
    let mut by_place: HashMap<Option<Place>, Vec<wire::Span>> = HashMap::new();
    for mut span in spans {
        by_place.entry(span.place.take()).or_default().push(wire(span));
    }
    let resource_spans = by_place.into_iter().map(|(place, spans)| wire::ResourceSpans {
        resource: Some(resource(place.as_ref(), said)),
        scope_spans: vec![wire::ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "kinora".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

/// What is said of a machine; the hub is no place. What whoever runs the hub says of it goes before what it says itself, and holds for
/// other machines only where it is about all of them.
fn resource(place: Option<&Place>, said: &BTreeMap<String, String>) -> Resource {
    let of_all = |key: &&String| key.starts_with("deployment.") || *key == "service.namespace";
    let mut about = BTreeMap::from([("service.version", env!("CARGO_PKG_VERSION"))]);
    let node = place.map(|place| place.node.to_string()).unwrap_or_default();
    match place {
        None => {
            about.insert("service.name", "kinora-hub");
            about.extend(said.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
        Some(place) => {
            let shared = said.iter().filter(|(key, _)| of_all(key));
            about.extend(shared.map(|(key, value)| (key.as_str(), value.as_str())));
            about.insert("service.name", "kinora-worker");
            about.insert("service.instance.id", &node);
            about.insert("host.name", &place.name);
        }
    }
    let attributes = about.into_iter().map(|(key, value)| text(key, value)).collect();
    Resource { attributes, ..Resource::default() }
}

/// How many spans a collector did not take, by its answer.
pub(super) fn rejected(answer: &[u8]) -> usize {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    usize::try_from(rejected).unwrap_or(0)
}

fn wire(span: Span) -> wire::Span {
    let nanos = |us: i64| u64::try_from(us).unwrap_or(0).saturating_mul(1000);
    let kind = match span.role {
        Role::Producer => SpanKind::Producer,
        Role::Client => SpanKind::Client,
        Role::Server => SpanKind::Server,
        Role::Internal => SpanKind::Internal,
    };
    let about = span.about.into_iter().map(|(key, value)| match value {
        Value::Text(value) => pair(key, any_value::Value::StringValue(value)),
        Value::Count(value) => pair(key, any_value::Value::IntValue(value)),
    });
    let link = |to: super::Caller| Link {
        trace_id: to.trace.to_vec(),
        span_id: to.span.to_vec(),
        flags: SAMPLED | HAS_IS_REMOTE | IS_REMOTE,
        ..Link::default()
    };
    let failed = |why| wire::Status { message: why, code: StatusCode::Error.into() };
    wire::Span {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: SAMPLED | HAS_IS_REMOTE | if span.role == Role::Server { IS_REMOTE } else { 0 },
        name: span.name,
        kind: kind.into(),
        start_time_unix_nano: nanos(span.time_us.0),
        end_time_unix_nano: nanos(span.time_us.1),
        attributes: about.collect(),
        links: span.link.map(link).into_iter().collect(),
        status: span.failed.map(failed),
        ..wire::Span::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora_protocol::NodeId;

    fn keys(place: Option<&Place>) -> BTreeMap<String, String> {
        let said =
            [("service.name", "mine"), ("k8s.pod.name", "pod-7"), ("deployment.environment.name", "test")];
        let said = said.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        let value = |pair: KeyValue| match pair.value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => (pair.key, text),
            other => panic!("{other:?}"),
        };
        resource(place, &said).attributes.into_iter().map(value).collect()
    }

    #[test]
    fn what_is_said_of_the_hub_is_not_said_of_others() {
        let of_hub = keys(None);
        assert_eq!((of_hub["service.name"].as_str(), of_hub["k8s.pod.name"].as_str()), ("mine", "pod-7"));
        let place = Place { node: NodeId::from("n".to_owned()), name: "rack".to_owned() };
        let of_node = keys(Some(&place));
        assert_eq!(of_node["service.name"], "kinora-worker");
        assert_eq!(of_node["deployment.environment.name"], "test");
        assert!(!of_node.contains_key("k8s.pod.name"));
    }

    #[test]
    fn answers_that_are_none_reject_nothing() {
        assert_eq!(rejected(b""), 0);
        assert_eq!(rejected(b"{\"partialSuccess\":{}}"), 0);
        // Field 1, a message with field 1, which is 5.
        assert_eq!(rejected(&[0x0a, 2, 0x08, 5]), 5);
    }
}
