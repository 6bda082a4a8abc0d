//! Routes of vendors. All of them are public.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::extract::{Json, Path, Query};
use crate::pagination::{self, Page};
use crate::problem::Problem;
use crate::vendors::model::VendorSummary;
use crate::vendors::service::Vendors;
use crate::vendors::store::Filter;

/// A search costs in proportion to what is searched for.
const MAX_SEARCH_CHARS: usize = 100;

/// Browsers keep a page, and ask each time whether it still holds.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The routes.
pub fn router(vendors: Vendors) -> Router {
    Router::new().route("/api/vendors", get(list)).route("/api/vendors/{id}", get(show)).with_state(vendors)
}

#[derive(Deserialize)]
struct ListQuery {
    q: Option<String>,
    category: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

async fn list(
    State(vendors): State<Vendors>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<VendorSummary>>, Problem> {
    let limit = pagination::limit(query.limit)?;
    let after = pagination::after(query.cursor.as_deref(), |key| Uuid::try_parse(key).ok())?;
    let text = query.q.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.chars().count() > MAX_SEARCH_CHARS) {
        let detail = format!("`q` has {MAX_SEARCH_CHARS} characters at most.");
        return Err(Problem::unprocessable("search-too-long", detail));
    }
    let after = after.map(|id| id.to_string());
    let category = query.category.as_deref().filter(|category| !category.is_empty());
    let filter = Filter { text, category, after: after.as_deref() };
    let items = vendors.list(&filter, limit + 1).await?;
    Ok(Json(Page::of(items, limit, |vendor| vendor.id.clone())))
}

async fn show(
    State(vendors): State<Vendors>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let page = vendors.page(&id.to_string()).await?;
    let page = page.ok_or_else(|| Problem::not_found("There is no such vendor."))?;
    let etag = etag(&page);
    let validators = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, REVALIDATE)];
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, validators).into_response());
    }
    let json = HeaderValue::from_static("application/json");
    Ok((validators, [(header::CONTENT_TYPE, json)], Body::from(page)).into_response())
}

/// A strong validator: the same bytes have the same one on every backend.
fn etag(page: &Bytes) -> HeaderValue {
    let digest = Sha256::digest(page);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]));
    HeaderValue::from_str(&tag).expect("base64 in quotes is a header's value")
}

/// Whether the client has the page with this tag: `If-None-Match` by weak comparison (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_recognised_in_every_form() {
        let etag = etag(&Bytes::from_static(b"page"));
        let own = etag.to_str().expect("ascii");
        for known in [own.to_owned(), format!("W/{own}"), format!("\"other\", {own}"), "*".to_owned()] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, known.parse().expect("a header's value"));
            assert!(is_known(&headers, &etag), "{known}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"other\""));
        assert!(!is_known(&headers, &etag));
        assert!(!is_known(&HeaderMap::new(), &etag));
    }
}
