//! What the OpenAPI document says beside the routes: what it is of, and forms that no type stands for.

use kinora_protocol::api::{JobVerb, NodeVerb, Problem, WebhookVerb};
use kinora_protocol::folder::FolderVerb;
use kinora_protocol::proxy::ProxyKind;
use utoipa::openapi::OpenApi as Document3;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::{IntoResponses, OpenApi, ToSchema};

use super::rules::{ENTRIES, Entry, Rule};

const BEARER: &str = "bearer";
const KEY: &str = "key";

/// The document without its paths, which the router adds.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Kinora",
        description = "A self-hosted video processing cluster. Errors are RFC 9457 problem documents with a stable `code`; what creates takes an `Idempotency-Key`. \
                       Uploads that stop and go on speak tus 1.0 at `/api/v1/uploads`; watchers and nodes use WebSockets (docs/hub.md)."
    ),
    components(schemas(Problem, FolderVerb, JobVerb, NodeVerb, ProxyKind, WebhookVerb)),
    tags(
        (name = "health", description = "Whether it runs and can do its work"),
        (name = "system", description = "The hub itself"),
        (name = "media", description = "What it keeps, and what is known about that"),
        (name = "jobs", description = "What it does"),
        (name = "folders", description = "Folders whose files become jobs as they come"),
        (name = "nodes", description = "Who does it"),
        (name = "webhooks", description = "Who is told what happens"),
        (name = "access", description = "Who may do what, and who did what")
    )
)]
pub(super) struct Document;

/// Says of each route what it takes to be let in: nothing, or one of the ways to show who one is.
pub(super) fn secured(mut document: Document3) -> Document3 {
    let scheme = |name: &str| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key, or the access token of a login"))
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    let key = ApiKeyValue::with_description("X-API-Key", "An API key");
    components.add_security_scheme(KEY, SecurityScheme::ApiKey(ApiKey::Header(key)));
    document.security = Some(vec![scheme(BEARER), scheme(KEY)]);
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in [
            ("GET", &mut item.get),
            ("POST", &mut item.post),
            ("PUT", &mut item.put),
            ("PATCH", &mut item.patch),
            ("DELETE", &mut item.delete),
            ("OPTIONS", &mut item.options),
        ] {
            let public =
                |entry: &&Entry| entry.path == path && entry.method == method && entry.rule == Rule::Public;
            if let Some(operation) = operation
                && ENTRIES.iter().any(|entry| public(&entry))
            {
                operation.security = Some(Vec::new());
            }
        }
    }
    document
}

/// A form with a file.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it says what a form holds; the file is read as a stream")]
pub(super) struct NewFile {
    /// The file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// The JSON of `audiowaveform`, version 2.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it says what a file holds that nodes write")]
pub(super) struct Waveform {
    /// 2.
    version: u32,
    /// Channels of the waveform: 1, all of the source mixed.
    channels: u32,
    /// Of the source, in hertz.
    sample_rate: u32,
    /// Samples that a pair of `data` stands for.
    samples_per_pixel: u32,
    /// Bits of a number of `data`: 8.
    bits: u32,
    /// Pairs in `data`.
    length: u32,
    /// Least and greatest value, in turn, from -128 to 127.
    data: Vec<i32>,
}

/// Bytes as they are.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it says what an answer holds that is sent as a stream")]
pub(super) struct Bytes(Vec<u8>);

/// What a part or all of a file is answered with.
#[derive(Debug, IntoResponses)]
#[expect(dead_code, reason = "it says what answers there are, which are made as HTTP has them")]
pub(super) enum Sent {
    #[response(status = 200, description = "The bytes", content_type = "*/*")]
    Whole(Bytes),
    #[response(status = 206, description = "The parts that were asked for")]
    Parts,
    #[response(status = 304, description = "The client has it")]
    NotModified,
    #[response(status = 412, description = "It is not what the client has")]
    Failed,
    #[response(status = 416, description = "There is no such part")]
    NoPart,
}

/// The version of tus that is spoken here.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it says what a header holds")]
pub(super) enum TusVersion {
    /// The only one.
    #[schema(rename = "1.0.0")]
    One,
}
