//! What is read of a page at its end: its DOM, its storage, a picture.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use chromiumoxide::cdp::browser_protocol::dom_storage::{
    GetDomStorageItemsParams, SerializedStorageKey, StorageId,
};
use chromiumoxide::cdp::browser_protocol::page::{
    CaptureScreenshotFormat, CaptureScreenshotParams, CreateIsolatedWorldParams,
    GetLayoutMetricsParams, Viewport,
};
use chromiumoxide::cdp::js_protocol::runtime::{EvaluateParams, ExecutionContextId};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::document::{Shot, ShotFormat};
use super::link::CallError;
use super::page::Page;
use super::sync::storage::Items;
use crate::session::origin::Origin;
use crate::session::storage::Area;

/// The main document as it is.
#[derive(Debug, Deserialize)]
pub(super) struct Dom {
    /// Doctype and elements; none where they are too long.
    pub(super) html: Option<String>,
    /// With its fragment.
    pub(super) url: String,
    origin: String,
    local: Option<Vec<(String, String)>>,
    session: Option<Vec<(String, String)>>,
}

impl Dom {
    /// Its storage, where it may have any.
    pub(super) fn storage(&mut self) -> HashMap<(Origin, Area), Items> {
        let mut read = HashMap::new();
        if let Ok(origin) = self.origin.parse::<Origin>() {
            let areas = [
                (Area::LocalStorage, self.local.take()),
                (Area::SessionStorage, self.session.take()),
            ];
            for (area, items) in areas {
                if let Some(items) = items {
                    read.insert((origin.clone(), area), items.into_iter().collect());
                }
            }
        }
        read
    }
}

/// Reads the main document, in a world of its own: what the page has done to the functions used is not seen there.
pub(super) async fn dom(page: &Page, until: Instant) -> Result<Dom, CallError> {
    let script = format!("({DOM})({MAX_HTML})");
    let said = evaluate(page, script, false, until).await?;
    Dom::deserialize(&said).map_err(|error| CallError::Refused {
        method: "Runtime.evaluate".to_owned(),
        message: error.to_string(),
    })
}

/// Waits until `selector` matches an element of the present document.
pub(super) async fn element(
    page: &Page,
    selector: &str,
    until: Instant,
) -> Result<Found, CallError> {
    let script = format!("({ELEMENT})({})", Value::from(selector));
    match evaluate(page, script, true, until).await?.as_str() {
        Some("found") => Ok(Found::Yes),
        _ => Ok(Found::NoSelector),
    }
}

/// What became of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It matches.
    Yes,
    /// It is none.
    NoSelector,
}

async fn evaluate(
    page: &Page,
    expression: String,
    is_promise: bool,
    until: Instant,
) -> Result<Value, CallError> {
    let limit = || until.saturating_duration_since(Instant::now());
    let world = CreateIsolatedWorldParams {
        frame_id: page.target.clone().into(),
        world_name: Some("burdock".to_owned()),
        grant_univeral_access: None,
    };
    let world = page.call(&world, limit()).await?;
    let context = world["executionContextId"].as_i64().unwrap_or_default();
    let mut params = EvaluateParams::new(expression);
    params.context_id = Some(ExecutionContextId::new(context));
    params.return_by_value = Some(true);
    params.await_promise = Some(is_promise);
    let mut said = page.call(&params, limit()).await?;
    if let Some(thrown) = said.get("exceptionDetails") {
        return Err(CallError::Refused {
            method: "Runtime.evaluate".to_owned(),
            message: thrown.to_string(),
        });
    }
    Ok(said
        .pointer_mut("/result/value")
        .map(Value::take)
        .unwrap_or_default())
}

/// The first-party storage of these origins, each of which has a frame at this moment.
pub(super) async fn storage(
    page: &Page,
    origins: impl IntoIterator<Item = Origin>,
    limit: Duration,
) -> HashMap<(Origin, Area), Items> {
    let calls = origins.into_iter().flat_map(|origin| {
        [Area::LocalStorage, Area::SessionStorage].map(|area| {
            let id = StorageId {
                security_origin: None,
                storage_key: Some(SerializedStorageKey::new(format!("{origin}/"))),
                is_local_storage: area == Area::LocalStorage,
            };
            let called = page.call(&GetDomStorageItemsParams { storage_id: id }, limit);
            let origin = origin.clone();
            async move { ((origin, area), called.await) }
        })
    });
    let read = join_all(calls).await;
    let understood = read.into_iter().filter_map(|(at, answer)| {
        // What is not told is known by events all the same.
        let entries = Vec::<(String, String)>::deserialize(answer.ok()?.get("entries")?);
        Some((at, entries.ok()?.into_iter().collect()))
    });
    understood.collect()
}

/// A picture of the page.
pub(super) async fn picture(page: &Page, shot: Shot, until: Instant) -> Result<Bytes, CallError> {
    let format = match shot.format {
        ShotFormat::Png => CaptureScreenshotFormat::Png,
        ShotFormat::Jpeg => CaptureScreenshotFormat::Jpeg,
        ShotFormat::Webp => CaptureScreenshotFormat::Webp,
    };
    let limit = || until.saturating_duration_since(Instant::now());
    let mut params = CaptureScreenshotParams {
        format: Some(format),
        ..CaptureScreenshotParams::default()
    };
    if shot.full_page {
        let metrics = page.call(&GetLayoutMetricsParams {}, limit()).await?;
        let size = |name: &str| {
            let size = metrics
                .pointer("/cssContentSize")
                .and_then(|size| size.get(name));
            size.and_then(Value::as_f64)
                .unwrap_or(1.0)
                .clamp(1.0, MAX_SIDE)
        };
        params.clip = Some(Viewport {
            x: 0.0,
            y: 0.0,
            width: size("width"),
            height: size("height"),
            scale: 1.0,
        });
        params.capture_beyond_viewport = Some(true);
    }
    capture(page, params, until).await
}

/// A small picture of what a visitor would see, `viewport` CSS pixels large.
pub(super) async fn thumbnail(
    page: &Page,
    viewport: (u32, u32),
    until: Instant,
) -> Result<Bytes, CallError> {
    let (width, height) = viewport;
    let params = CaptureScreenshotParams {
        format: Some(CaptureScreenshotFormat::Jpeg),
        quality: Some(60),
        clip: Some(Viewport {
            x: 0.0,
            y: 0.0,
            width: f64::from(width),
            height: f64::from(height),
            scale: THUMBNAIL_WIDTH / f64::from(width.max(1)),
        }),
        optimize_for_speed: Some(true),
        ..CaptureScreenshotParams::default()
    };
    capture(page, params, until).await
}

async fn capture(
    page: &Page,
    params: CaptureScreenshotParams,
    until: Instant,
) -> Result<Bytes, CallError> {
    let late = || CallError::Late("Page.captureScreenshot".to_owned());
    let limit = until.saturating_duration_since(Instant::now());
    let taken = timeout_at(until, page.call(&params, limit))
        .await
        .map_err(|_| late())??;
    let coded = taken["data"].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD
        .decode(coded)
        .map(Bytes::from)
        .map_err(|error| CallError::Refused {
            method: "Page.captureScreenshot".to_owned(),
            message: error.to_string(),
        })
}

/// The longest DOM that is read, in UTF-16 units here and in bytes afterwards: 64 MiB.
pub(super) const MAX_HTML: usize = 64 * 1024 * 1024;

/// The longest side of a picture, in CSS pixels: Chromium's own limit for a texture.
const MAX_SIDE: f64 = 16_384.0;
const THUMBNAIL_WIDTH: f64 = 640.0;

/// Halves of surrogate pairs become U+FFFD, as in every encoding of a document.
const DOM: &str = r"max => {
  const items = area => {
    const found = [];
    for (let n = 0; n < area.length; n++) {
      const key = area.key(n);
      found.push([key.toWellFormed(), area.getItem(key).toWellFormed()]);
    }
    return found;
  };
  const of = name => { try { return items(self[name]); } catch { return null; } };
  const local = of('localStorage');
  const session = of('sessionStorage');
  const doctype = document.doctype ? new XMLSerializer().serializeToString(document.doctype) : '';
  const elements = document.documentElement ? document.documentElement.outerHTML : '';
  const html = doctype.length + elements.length > max ? null : (doctype + elements).toWellFormed();
  return { html, url: location.href, origin: self.origin, local, session };
}";

const ELEMENT: &str = r"selector => new Promise(done => {
  const found = () => document.querySelector(selector) !== null;
  try {
    if (found()) return done('found');
  } catch { return done('invalid'); }
  const observer = new MutationObserver(() => {
    if (found()) { observer.disconnect(); done('found'); }
  });
  observer.observe(document, { subtree: true, childList: true, attributes: true });
})";
