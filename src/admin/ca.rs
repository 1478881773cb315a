//! `/ca.pem` and `/ca.der`: the certificate that clients need to trust. Its key is to be had from no call.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::Admin;

/// The certificate in PEM.
pub(super) async fn pem(State(admin): State<Arc<Admin>>) -> Response {
    let pem = Bytes::copy_from_slice(admin.ca.pem().as_bytes());
    download(
        pem,
        "application/x-pem-file",
        "attachment; filename=\"burdock-ca.pem\"",
    )
}

/// The certificate in DER, as Windows and Android want it.
pub(super) async fn der(State(admin): State<Arc<Admin>>) -> Response {
    let der = Bytes::copy_from_slice(admin.ca.der());
    download(
        der,
        "application/x-x509-ca-cert",
        "attachment; filename=\"burdock-ca.der\"",
    )
}

fn download(bytes: Bytes, media_type: &'static str, disposition: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}
