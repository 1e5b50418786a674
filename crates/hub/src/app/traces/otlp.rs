//! Spans as OpenTelemetry's protocol has them (OTLP 1, protobuf). What they say is decided elsewhere.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as wire;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::span::{Place, Role, Span, Value};

/// A request with these spans; `everywhere` is said of all machines.
pub(super) fn request(spans: Vec<Span>, everywhere: &[(String, String)]) -> Vec<u8> {
    let mut by_place: HashMap<Option<Place>, Vec<wire::Span>> = HashMap::new();
    for mut span in spans {
        by_place.entry(span.place.take()).or_default().push(wire(span));
    }
    let resource_spans = by_place.into_iter().map(|(place, spans)| wire::ResourceSpans {
        resource: Some(resource(place.as_ref(), everywhere)),
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

/// What is said of a machine; the hub is no place.
fn resource(place: Option<&Place>, everywhere: &[(String, String)]) -> Resource {
    let mut attributes = vec![match place {
        None => text("service.name", "kinora-hub"),
        Some(_) => text("service.name", "kinora-worker"),
    }];
    attributes.push(text("service.version", env!("CARGO_PKG_VERSION")));
    if let Some(place) = place {
        attributes.push(text("service.instance.id", &place.node.to_string()));
        attributes.push(text("host.name", &place.name));
    }
    // What Kinora says itself stands.
    let known: Vec<String> = attributes.iter().map(|pair| pair.key.clone()).collect();
    let more = everywhere.iter().filter(|(key, _)| !known.contains(key));
    attributes.extend(more.map(|(key, value)| text(key, value)));
    Resource { attributes, ..Resource::default() }
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
        flags: 1,
        ..Link::default()
    };
    let failed = |why| wire::Status { message: why, code: StatusCode::Error.into() };
    wire::Span {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        // Sampled.
        flags: 1,
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
