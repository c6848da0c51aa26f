//! Who may ask.
//!
//! - With a token: who brings it. Compared in constant time.
//! - Without one the address is loopback (the configuration sees to that), and
//!   whoever is on this machine may ask. A web page in a browser on this machine
//!   may not: its requests carry a foreign `Origin`, or, after it rebound its
//!   name to 127.0.0.1, a foreign `Host`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::{Admin, error};
use crate::config::Secret;

pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let host = host(&request);
    let refusal = match (admin.token)() {
        Some(token) => check_token(request.headers(), &token),
        None => check_host(host.as_ref()),
    };
    let refusal = refusal.and_then(|()| check_origin(request.headers(), host.as_ref()));
    match refusal {
        Ok(()) => next.run(request).await,
        Err((status, what)) => refuse(status, what),
    }
}

type Refusal = (StatusCode, &'static str);

fn refuse(status: StatusCode, what: &str) -> Response {
    let mut response = error(status, what);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Whom the request is meant for: `Host`, or HTTP/2's `:authority`.
fn host(request: &Request) -> Option<Authority> {
    let written = request.headers().get(header::HOST);
    match written {
        Some(host) => host.to_str().ok()?.parse().ok(),
        None => request.uri().authority().cloned(),
    }
}

fn check_token(headers: &HeaderMap, token: &Secret) -> Result<(), Refusal> {
    let brought = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, brought)| brought);
    let same = brought.is_some_and(|b| bool::from(b.ct_eq(token.reveal().as_bytes())));
    same.then_some(()).ok_or((
        StatusCode::UNAUTHORIZED,
        "bring the admin token: Authorization: Bearer TOKEN",
    ))
}

fn check_host(host: Option<&Authority>) -> Result<(), Refusal> {
    let name = host.map(|host| host.host()).unwrap_or_default();
    let ip = name.trim_matches(['[', ']']).parse::<IpAddr>();
    let own = name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback());
    own.then_some(()).ok_or((
        StatusCode::FORBIDDEN,
        "ask for this address by its IP or as localhost; for other names set admin.token",
    ))
}

/// A page of the gateway's own may ask; a page of anybody else may not.
fn check_origin(headers: &HeaderMap, host: Option<&Authority>) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let page = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let own = page
        .zip(host)
        .is_some_and(|(page, host)| page.eq_ignore_ascii_case(host.as_str()));
    own.then_some(()).ok_or((
        StatusCode::FORBIDDEN,
        "pages of other origins may not ask here",
    ))
}
