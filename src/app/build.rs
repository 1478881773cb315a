//! Everything there is, made from a configuration: no protocol knowledge, only who needs whom.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stores::stores;
use super::{AppError, Listeners};
use crate::admin::{Addresses, Admin};
use crate::browser::{self, Browsers, Doors};
use crate::ca::CertificateAuthority;
use crate::clock;
use crate::config::{self, Config};
use crate::doors::{Bounds, House, InnerDoors};
use crate::exchange::{Carriers, Exchange, OnMissing};
use crate::observe::AccessLog;
use crate::registry::{Defaults, OnUnknown, Options, Registry, Upkeep};
use crate::routing::Router;
use crate::session::limiter::{Policy as LimitPolicy, Rate};
use crate::session::settings::Settings;
use crate::upstream::dial::Dialer;
use crate::upstream::egress::Egress;
use crate::upstream::policy::{Exposure, PassingListeners, Policy};
use crate::upstream::tls::UpstreamTls;
use crate::upstream::{Reached, Terms, Upstream};

pub(super) struct Parts {
    pub(super) house: Arc<House>,
    pub(super) admin: Arc<Admin>,
    pub(super) browsers: Arc<Browsers>,
    /// Where the listeners of browser contexts lead to.
    pub(super) inner: Arc<House>,
    pub(super) upkeep: Upkeep,
}

pub(super) fn build(
    config: &Config,
    listeners: &Listeners,
    tasks: TaskTracker,
    closing: CancellationToken,
) -> Result<Parts, AppError> {
    let ca = Arc::new(CertificateAuthority::open_or_create(
        &config.ca.dir,
        config.ca.leaf_validity,
        clock::now(),
    )?);
    let terms = Arc::new(Terms {
        max_idle_per_host: config.upstream.max_idle_per_host,
        idle_timeout: config.upstream.idle_timeout,
        tls: Arc::new(UpstreamTls::new(
            &config.tls.upstream_ca_files,
            config.tls.insecure_hosts.clone(),
        )?),
        egress: Arc::new(Egress::new(
            config.upstream.proxies.clone(),
            config.upstream.rules.clone(),
            config.upstream.egress_failure,
        )),
        tasks: TaskTracker::new(),
    });
    let (registry, upkeep) = Registry::new(
        stores(config)?,
        config.sessions.default_adapter.as_str(),
        session_options(config, &terms),
    )?;
    let (upstream, passing) = upstream(config, listeners);
    let doors = InnerDoors::new(passing);
    let browsers = Browsers::new(
        browser_options(config, &ca),
        Arc::clone(&doors) as Arc<dyn Doors>,
        Arc::clone(&terms),
    );
    let exchange = Arc::new(Exchange {
        registry,
        browsers: Arc::clone(&browsers),
        page_timeout: config.browser.navigation_timeout,
        router: Router::new(config.routes.clone()),
        upstream: Arc::new(upstream),
        carriers: Carriers {
            trust_header: config.proxy.trust_session_header,
            auth: config.proxy.auth.clone(),
            max_ttl: config.sessions.max_ttl,
        },
        on_missing: match config.sessions.on_missing {
            config::OnMissing::Anonymous => OnMissing::Anonymous,
            config::OnMissing::Reject => OnMissing::Reject,
        },
        pool_terms: terms,
        log: AccessLog::new(config.observability.access_log),
        relays: tasks.clone(),
    });
    let addresses = Addresses {
        proxy: listeners.proxy_addresses(),
        admin: listeners.admin_addresses(),
    };
    let admin = Arc::new(Admin::new(
        Arc::clone(&exchange),
        Arc::clone(&ca),
        config,
        addresses,
    ));
    let house = Arc::new(House {
        exchange,
        ca,
        tls: config.tls.clone(),
        bounds: Bounds {
            max_connections: config.proxy.max_connections.get(),
            header_read_timeout: config.proxy.header_read_timeout,
            idle_timeout: config.proxy.idle_timeout,
            max_header_bytes: config.proxy.max_header_bytes.as_usize(),
        },
        tasks,
        closing,
    });
    // Pages go on through their contexts' listeners while requests under way have their grace.
    let inner = Arc::new(House {
        exchange: Arc::clone(&house.exchange),
        ca: Arc::clone(&house.ca),
        tls: house.tls.clone(),
        bounds: house.bounds,
        tasks: TaskTracker::new(),
        closing: CancellationToken::new(),
    });
    doors.lead_to(&inner);
    Ok(Parts {
        house,
        admin,
        browsers,
        inner,
        upkeep,
    })
}

fn upstream(config: &Config, listeners: &Listeners) -> (Upstream, PassingListeners) {
    let mut own = listeners.proxy_addresses();
    own.extend(listeners.admin_addresses());
    let exposure = match config.proxy.is_exposed() {
        true => Exposure::Network,
        false => Exposure::Loopback,
    };
    let policy = Policy::new(
        config.upstream.deny.clone(),
        config.upstream.allow.clone(),
        own,
        exposure,
    );
    let passing = policy.passing().clone();
    let upstream = Upstream {
        dialer: Arc::new(Dialer::new(
            config.upstream.connect_timeout,
            config.upstream.connect_to.clone(),
            Arc::new(policy),
        )),
        reached: Reached::default(),
        connect_timeout: config.upstream.connect_timeout,
        response_header_timeout: config.upstream.response_header_timeout,
    };
    (upstream, passing)
}

fn browser_options(config: &Config, ca: &CertificateAuthority) -> browser::Options {
    use browser::{Blocked, Sandbox, WaitUntil};
    let browser = &config.browser;
    browser::Options {
        enabled: browser.enabled,
        executable: browser.executable.clone(),
        endpoints: browser
            .endpoints
            .iter()
            .map(|endpoint| endpoint.expose().to_owned())
            .collect(),
        max_browsers: browser.max_browsers.get(),
        max_contexts: browser.max_contexts.get(),
        max_pages: browser.max_pages.get(),
        context_idle_timeout: browser.context_idle_timeout,
        navigation_timeout: browser.navigation_timeout,
        wait_until: match browser.wait_until {
            config::WaitUntil::DomContentLoaded => WaitUntil::DomContentLoaded,
            config::WaitUntil::Load => WaitUntil::Load,
            config::WaitUntil::NetworkIdle => WaitUntil::NetworkIdle,
        },
        blocked: browser
            .block
            .iter()
            .map(|kind| match kind {
                config::Blocked::Image => Blocked::Image,
                config::Blocked::Font => Blocked::Font,
                config::Blocked::Media => Blocked::Media,
                config::Blocked::Stylesheet => Blocked::Stylesheet,
            })
            .collect(),
        sandbox: match browser.sandbox {
            config::Sandbox::Auto => Sandbox::Auto,
            config::Sandbox::On => Sandbox::On,
            config::Sandbox::Off => Sandbox::Off,
        },
        thumbnails: browser.thumbnails,
        warm: browser.warm,
        recycle_pages: browser.recycle_pages.get() as u64,
        recycle_after: browser.recycle_after,
        spki: ca.spki_sha256_base64(),
    }
}

fn session_options(config: &Config, terms: &Arc<Terms>) -> Options {
    let limit = &config.sessions.rate_limit;
    let rate = limit
        .requests_per_second
        .and_then(|per_second| Rate::new(per_second, limit.burst).ok());
    Options {
        settings: Settings {
            ttl: config.sessions.default_ttl,
            ..Settings::default()
        },
        defaults: Defaults {
            apply_user_agent: config.sessions.apply_user_agent,
            policy: LimitPolicy {
                rate,
                per_host: limit.per_host,
                concurrency: limit.concurrency,
                on_limit: limit.on_limit,
                max_wait: limit.max_wait,
                honor_retry_after: limit.honor_retry_after,
            },
        },
        max_active: config.sessions.max_active_sessions.get() as u64,
        on_unknown: match config.sessions.on_unknown {
            config::OnUnknown::Create => OnUnknown::Create,
            config::OnUnknown::Reject => OnUnknown::Reject,
        },
        pool: Arc::clone(terms),
    }
}
