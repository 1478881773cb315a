//! The command line of a browser.

use std::ffi::OsString;
use std::path::Path;

use super::options::{Options, Sandbox};

/// The arguments for a browser with this profile.
pub(super) fn of(options: &Options, profile: &Path) -> Vec<OsString> {
    let root = rustix::process::geteuid().is_root();
    let sandboxed = match options.sandbox {
        Sandbox::Auto => !root,
        Sandbox::On => true,
        Sandbox::Off => false,
    };
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut flags: Vec<OsString> = ALWAYS.iter().map(OsString::from).collect();
    let mut folder = OsString::from("--user-data-dir=");
    folder.push(profile);
    flags.push(folder);
    flags.push(format!("--ignore-certificate-errors-spki-list={}", options.spki).into());
    flags.push(format!("--disable-features={}", FEATURES_OFF.join(",")).into());
    if !sandboxed {
        flags.push("--no-sandbox".into());
    }
    if has_small_shared_memory(&mounts) {
        flags.push("--disable-dev-shm-usage".into());
    }
    flags
}

/// Whether /dev/shm is absent or as small as containers have it (64 MiB), where renderers crash with SIGBUS.
fn has_small_shared_memory(mounts: &str) -> bool {
    let shm = mounts.lines().rev().find_map(|line| {
        let mut parts = line.split_whitespace().skip(1);
        (parts.next()? == "/dev/shm").then(|| parts.nth(1))?
    });
    // Of no stated size: half of the memory.
    shm.is_none_or(|options| {
        options.split(',').any(|option| {
            let size = option.strip_prefix("size=");
            size.and_then(|size| size.strip_suffix('k'))
                .and_then(|size| size.parse::<u64>().ok())
                .is_some_and(|kib| kib < SMALL_KIB)
        })
    })
}

const SMALL_KIB: u64 = 512 * 1024;

const ALWAYS: &[&str] = &[
    "--headless",
    "--remote-debugging-port=0",
    // Its end closes with burdock: see `process`.
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-component-extensions-with-background-pages",
    "--disable-client-side-phishing-detection",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-translate",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-hang-monitor",
    "--disable-prompt-on-repost",
    "--disable-search-engine-choice-screen",
    "--disable-field-trial-config",
    "--metrics-recording-only",
    "--no-pings",
    "--password-store=basic",
    "--use-mock-keychain",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--window-size=1280,800",
    // Pages are never in front, and must run as if they were.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    // WebRTC's UDP would go round the proxy, and so round the session's egress and the policy.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    // A process for each site of a page costs 11 MiB and 20 ms. It keeps sites apart that already share a session; contexts, and so
    // sessions, never share a renderer all the same.
    "--disable-site-isolation-trials",
];

const FEATURES_OFF: &[&str] = &[
    "IsolateOrigins",
    "site-per-process",
    "IsolateSandboxedIframes",
    "Translate",
    "MediaRouter",
    "DialMediaRouteProvider",
    "OptimizationHints",
    "CertificateTransparencyComponentUpdater",
    "AutofillServerCommunication",
    // It would answer http URLs by https ones that nobody asked for.
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    // Everything seems to come from the proxy's address; what may be reached, burdock's policy says.
    "LocalNetworkAccessChecks",
    "BlockInsecurePrivateNetworkRequests",
    // A page that was left shall be gone.
    "BackForwardCache",
    "PaintHolding",
];

#[cfg(test)]
mod tests {
    use super::has_small_shared_memory;

    #[test]
    fn shared_memory_is_small_in_containers() {
        for (mounts, wanted) in [
            ("", true),
            ("shm /dev/shm tmpfs rw,nosuid,size=65536k 0 0", true),
            ("tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0", false),
            ("tmpfs /dev/shm tmpfs rw,size=4194304k,inode64 0 0", false),
        ] {
            assert_eq!(has_small_shared_memory(mounts), wanted, "{mounts}");
        }
    }
}
