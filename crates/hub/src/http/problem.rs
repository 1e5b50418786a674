//! Errors as RFC 9457 has them.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use kinora_protocol::api::Problem;
use kinora_protocol::{ErrorCode, Failure};

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use crate::HubError;
use crate::app::work::Denied;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    failure: Failure,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { status, failure: Failure::new(code, detail) }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::BadInput, format!("there is no {what}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.failure.code,
            detail: self.failure.message,
        };
        let mut response = (self.status, Json(problem)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = match failure.code {
            ErrorCode::BadInput | ErrorCode::BadRecipe => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::LeaseLost | ErrorCode::Busy | ErrorCode::Cancelled => StatusCode::CONFLICT,
            ErrorCode::Disk => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::Unreachable | ErrorCode::Untrusted => StatusCode::BAD_GATEWAY,
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::TooMany => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::ToolMissing
            | ErrorCode::ToolFailed
            | ErrorCode::Confined
            | ErrorCode::NotExact
            | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, failure }
    }
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        Self::from(Failure::from(error))
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Forged => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::BadInput, "this is no capability of this hub's")
            }
            Denied::LeaseLost(failure) => Self { status: StatusCode::CONFLICT, failure },
            Denied::OutOfBounds(failure) => Self { status: StatusCode::FORBIDDEN, failure },
            Denied::Garbled(failure) => Self { status: StatusCode::UNPROCESSABLE_ENTITY, failure },
            Denied::Disk(failure) => Self { status: StatusCode::INSUFFICIENT_STORAGE, failure },
        }
    }
}

/// What the OpenAPI document says of all errors.
impl IntoResponses for Refusal {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let refused = |description: &str| {
            let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", problem)
                .build()
        };
        [("4XX", refused("Refused")), ("5XX", refused("The hub failed"))]
            .map(|(status, response)| (status.to_owned(), RefOr::T(response)))
            .into()
    }
}

/// For paths that are not served.
pub(super) async fn no_such_route(uri: Uri) -> Refusal {
    Refusal::not_found(format!("{} here", uri.path()))
}

/// Longest text of a refusal, in bytes.
const LONGEST_TEXT: usize = 16 << 10;

/// Gives the refusals of the HTTP library, which are plain text, the form of all others.
pub(super) async fn in_form(response: Response) -> Response {
    let (status, headers) = (response.status(), response.headers());
    let plain = headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), LONGEST_TEXT).await.unwrap_or_default();
    let code = if status.is_server_error() { ErrorCode::Internal } else { ErrorCode::BadInput };
    Refusal::new(status, code, String::from_utf8_lossy(&text)).into_response()
}
