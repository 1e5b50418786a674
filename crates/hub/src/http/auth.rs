//! Signing in and out, and what is one's own.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use kinora_protocol::access::{Login, Me, PasswordChange, Refresh, SessionView, Setup, Ticket, Tokens};
use kinora_protocol::api::Page;
use kinora_protocol::{ErrorCode, SessionId};

use super::problem::Refusal;
use super::{asked, cookie};
use crate::Hub;
use crate::app::access::Caller;
use crate::app::access::sessions::Entered;

/// An answer that nothing on the way keeps.
fn unkept(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Tokens, or a cookie.
pub(super) fn entered(caller: &Caller, status: StatusCode, entered: Entered) -> Response {
    match entered {
        Entered::Tokens(tokens) => unkept(Json(tokens).into_response()),
        Entered::Cookie(session) => {
            let mut answer = status.into_response();
            answer.headers_mut().extend(
                cookie::set(Some(&session), caller.secure).map(|cookie| (header::SET_COOKIE, cookie)),
            );
            unkept(answer)
        }
    }
}

/// Makes the first user, with what the hub has printed at its start, and signs it in with a cookie.
#[utoipa::path(
    post,
    path = "/api/v1/auth/setup",
    operation_id = "setUp",
    tag = "access",
    request_body = Setup,
    responses((status = 204, description = "It is there, and signed in by a cookie"), Refusal),
)]
pub(super) async fn setup(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<Response, Refusal> {
    let wanted: Setup = asked::json(&body, "the first user", ErrorCode::BadInput)?;
    Ok(entered(&caller, StatusCode::NO_CONTENT, hub.set_up(&caller, wanted).await??))
}

/// Signs in: tokens for programs, a cookie for browsers.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    operation_id = "login",
    tag = "access",
    request_body = Login,
    responses((status = 200, description = "Tokens", body = Tokens), (status = 204, description = "A cookie is set"), Refusal),
)]
pub(super) async fn login(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<Response, Refusal> {
    let wanted: Login = asked::json(&body, "the login", ErrorCode::BadInput)?;
    Ok(entered(&caller, StatusCode::NO_CONTENT, hub.login(&caller, wanted).await??))
}

/// The next pair of tokens. A refresh token is good once; used again it ends its login.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    operation_id = "refresh",
    tag = "access",
    request_body = Refresh,
    responses((status = 200, description = "Tokens", body = Tokens), Refusal),
)]
pub(super) async fn refresh(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<Response, Refusal> {
    let wanted: Refresh = asked::json(&body, "the refresh token", ErrorCode::BadInput)?;
    Ok(unkept(Json(hub.refresh(&caller, &wanted.refresh_token).await??).into_response()))
}

/// Whom the hub takes whoever asks to be.
#[utoipa::path(
    get,
    path = "/api/v1/auth/me",
    operation_id = "me",
    tag = "access",
    responses((status = 200, description = "As asked", body = Me), Refusal),
)]
pub(super) async fn me(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Me>, Refusal> {
    Ok(Json(hub.me(&caller.actor).await?))
}

/// Signs out.
#[utoipa::path(
    post,
    path = "/api/v1/auth/logout",
    operation_id = "logout",
    tag = "access",
    responses((status = 204, description = "This login is over"), Refusal),
)]
pub(super) async fn logout(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Refusal> {
    hub.logout(&caller, None).await?;
    let mut answer = StatusCode::NO_CONTENT.into_response();
    answer.headers_mut().extend(cookie::set(None, caller.secure).map(|gone| (header::SET_COOKIE, gone)));
    Ok(answer)
}

/// Gives oneself another password. All other logins end.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password",
    operation_id = "changePassword",
    tag = "access",
    request_body = PasswordChange,
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn password(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<StatusCode, Refusal> {
    let wanted: PasswordChange = asked::json(&body, "the passwords", ErrorCode::BadInput)?;
    hub.change_password(&caller, wanted).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// One's own logins, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/auth/sessions",
    operation_id = "listSessions",
    tag = "access",
    responses((status = 200, description = "As asked", body = Page<SessionView>), Refusal),
)]
pub(super) async fn sessions(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Page<SessionView>>, Refusal> {
    Ok(Json(Page { items: hub.session_views(&caller).await?, next: None }))
}

/// Ends one of one's own logins.
#[utoipa::path(
    delete,
    path = "/api/v1/auth/sessions/{session}",
    operation_id = "endSession",
    tag = "access",
    params(("session" = String, Path, description = "Id of the login")),
    responses((status = 204, description = "It is over"), Refusal),
)]
pub(super) async fn end(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(session): Path<String>,
) -> Result<StatusCode, Refusal> {
    let unknown = || Refusal::not_found(format!("login {session:?}"));
    let one: SessionId = session.parse().map_err(|_| unknown())?;
    if hub.logout(&caller, Some(one)).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

/// The right to open one WebSocket within 30 s, as `?ticket=…`, for browsers, which cannot send headers with it.
#[utoipa::path(
    post,
    path = "/api/v1/ws-ticket",
    operation_id = "newTicket",
    tag = "access",
    responses((status = 201, description = "A ticket", body = Ticket), Refusal),
)]
pub(super) async fn ticket(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Refusal> {
    Ok(unkept((StatusCode::CREATED, Json(hub.new_ticket(&caller)?)).into_response()))
}

/// Where a browser is sent that a page has signed in.
pub(super) fn home() -> HeaderMap {
    HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("/api/docs/"))])
}
