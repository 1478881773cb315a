//! Everything there is, made from a configuration: no protocol knowledge, only who needs whom.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stores::stores;
use super::{AppError, Listeners};
use crate::admin::{Addresses, Admin};
use crate::ca::CertificateAuthority;
use crate::clock;
use crate::config::{self, Config};
use crate::doors::{Bounds, House};
use crate::exchange::{Carriers, Exchange, OnMissing};
use crate::observe::AccessLog;
use crate::registry::{Defaults, OnUnknown, Options, Registry, Upkeep};
use crate::session::limiter::{Policy as LimitPolicy, Rate};
use crate::session::settings::Settings;
use crate::upstream::dial::Dialer;
use crate::upstream::policy::{Exposure, Policy};
use crate::upstream::tls::UpstreamTls;
use crate::upstream::{Reached, Terms, Upstream};

pub(super) struct Parts {
    pub(super) house: Arc<House>,
    pub(super) admin: Arc<Admin>,
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
        tasks: TaskTracker::new(),
    });
    let (registry, upkeep) = Registry::new(
        stores(config)?,
        config.sessions.default_adapter.as_str(),
        session_options(config, &terms),
    )?;
    let exchange = Arc::new(Exchange {
        registry,
        upstream: Arc::new(upstream(config, listeners)),
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
    Ok(Parts {
        house,
        admin,
        upkeep,
    })
}

fn upstream(config: &Config, listeners: &Listeners) -> Upstream {
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
    Upstream {
        dialer: Dialer::new(
            config.upstream.connect_timeout,
            config.upstream.connect_to.clone(),
            Arc::new(policy),
        ),
        reached: Reached::default(),
        connect_timeout: config.upstream.connect_timeout,
        response_header_timeout: config.upstream.response_header_timeout,
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
