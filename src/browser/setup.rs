//! How a page is made ready.

use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::dom_storage;
use chromiumoxide::cdp::browser_protocol::emulation::{
    SetDeviceMetricsOverrideParams, SetFocusEmulationEnabledParams, SetLocaleOverrideParams,
    SetTimezoneOverrideParams,
};
use chromiumoxide::cdp::browser_protocol::fetch::{self, RequestPattern};
use chromiumoxide::cdp::browser_protocol::inspector;
use chromiumoxide::cdp::browser_protocol::network::{self, ResourceType};
use chromiumoxide::cdp::browser_protocol::page;
use chromiumoxide::cdp::browser_protocol::target::{
    FilterEntry, SetAutoAttachParams, TargetFilter,
};
use chromiumoxide::cdp::js_protocol::runtime::RunIfWaitingForDebuggerParams;

use futures_util::FutureExt;

use super::identity::Identity;
use super::link::CallError;
use super::options::Blocked;
use super::page::Page;

/// Tells a page all that it has to know, at once, and lets it run.
pub(super) async fn make_ready(
    page: &Page,
    identity: &Identity,
    blocked: &[Blocked],
) -> Result<(), CallError> {
    let (width, height) = identity.viewport;
    let metrics = SetDeviceMetricsOverrideParams::new(
        i64::from(width),
        i64::from(height),
        1.0,
        identity.is_mobile(),
    );
    let locale = identity
        .locale
        .as_ref()
        .map(|locale| SetLocaleOverrideParams {
            locale: Some(locale.clone()),
        });
    let timezone = identity
        .timezone
        .as_ref()
        .map(|timezone| SetTimezoneOverrideParams {
            timezone_id: timezone.clone(),
        });
    let patterns: Vec<RequestPattern> = blocked.iter().map(|kind| pattern(*kind)).collect();
    let fetch = (!patterns.is_empty()).then_some(fetch::EnableParams {
        patterns: Some(patterns),
        handle_auth_requests: None,
    });
    // Bodies are not read from the browser, so that it need not keep them.
    let network = network::EnableParams {
        max_total_buffer_size: Some(BUFFER),
        max_resource_buffer_size: Some(BUFFER),
        ..network::EnableParams::default()
    };
    let needed = [
        page.call(&page::EnableParams::default(), LIMIT).boxed(),
        page.call(&network, LIMIT).boxed(),
        page.call(&dom_storage::EnableParams {}, LIMIT).boxed(),
        page.call(&inspector::EnableParams {}, LIMIT).boxed(),
        page.call(&identity.override_params(), LIMIT).boxed(),
        page.call(&metrics, LIMIT).boxed(),
        page.call(&SetFocusEmulationEnabledParams::new(true), LIMIT)
            .boxed(),
    ];
    let fetch = fetch.map(|fetch| page.call(&fetch, LIMIT));
    let wished = [
        locale.map(|locale| page.call(&locale, LIMIT).boxed()),
        timezone.map(|timezone| page.call(&timezone, LIMIT).boxed()),
    ];
    // A worker has its own idea of who it is, and is held until it has been told.
    page.told.watch.lock().identity = serde_json::to_value(identity.override_params()).ok();
    let workers = SetAutoAttachParams {
        auto_attach: true,
        wait_for_debugger_on_start: true,
        flatten: Some(true),
        filter: Some(TargetFilter::new(vec![FilterEntry {
            exclude: None,
            r#type: Some("worker".to_owned()),
        }])),
    };
    let workers = page.call(&workers, LIMIT);
    let running = page.call(&RunIfWaitingForDebuggerParams {}, LIMIT);
    for called in needed {
        called.await?;
    }
    if let Some(fetch) = fetch {
        fetch.await?;
    }
    workers.await?;
    for called in wished.into_iter().flatten() {
        // An unknown time zone, or one that another page of this process already has.
        if let Err(error) = called.await {
            tracing::debug!(%error, "a page has another locale or time zone than its session");
        }
    }
    running.await.map(drop)
}

fn pattern(kind: Blocked) -> RequestPattern {
    let kind = match kind {
        Blocked::Image => ResourceType::Image,
        Blocked::Font => ResourceType::Font,
        Blocked::Media => ResourceType::Media,
        Blocked::Stylesheet => ResourceType::Stylesheet,
    };
    RequestPattern {
        url_pattern: Some("*".to_owned()),
        resource_type: Some(kind),
        request_stage: None,
    }
}

const LIMIT: Duration = Duration::from_secs(10);
const BUFFER: i64 = 64 * 1024;
