//! Counts requests by their route, and how long their answers took. What they are about is not looked at.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::Hub;

/// What is asked at no route.
const NO_ROUTE: &str = "none";

/// A method as it is counted: whoever makes one up has no number of its own.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Around everything else.
pub(super) async fn measure(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let (method, route) = (name(request.method()), request.extensions().get::<MatchedPath>().cloned());
    let began = Instant::now();
    let answer = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    hub.metrics().answered(method, route, answer.status().as_u16(), began.elapsed());
    answer
}
