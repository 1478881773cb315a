//! Which browser a session seems to be: one user agent, and client hints, languages and a platform that agree with it.

use std::sync::Arc;

use chromiumoxide::cdp::browser_protocol::emulation::{
    SetUserAgentOverrideParams, UserAgentBrandVersion, UserAgentMetadata,
};
use http::HeaderValue;
use http::header::{self, HeaderName};

use crate::session::settings::BrowserSettings;

/// What pages and origins are told of the browser.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    agent: String,
    /// Most wanted first, without weights.
    languages: Vec<String>,
    /// Of a Chromium only: others send no client hints.
    hints: Option<Hints>,
    /// For `Intl` and dates, where the session names one.
    pub(super) locale: Option<String>,
    /// An IANA name, where the session names one.
    pub(super) timezone: Option<String>,
    /// Width and height in CSS pixels.
    pub(super) viewport: (u32, u32),
}

/// What User-Agent Client Hints say (<https://wicg.github.io/ua-client-hints/>).
#[derive(Clone, Debug, PartialEq)]
struct Hints {
    brands: Vec<(String, String)>,
    full_versions: Vec<(String, String)>,
    platform: Platform,
    mobile: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Platform {
    name: &'static str,
    version: String,
    model: String,
}

impl Identity {
    /// The identity of a session with these settings; `agent` where it names one, else the client's own where that is a browser's,
    /// else that of `own`, which the browser says of itself, without its being headless.
    pub(super) fn of(
        settings: &BrowserSettings,
        agent: Option<&str>,
        client: Option<&str>,
        own: &Own<'_>,
    ) -> Self {
        let agent = agent
            .or(client.filter(|agent| agent.starts_with("Mozilla/")))
            .map_or_else(
                || own.agent.replace("HeadlessChrome", "Chrome"),
                str::to_owned,
            );
        Self {
            languages: languages(settings.locale.as_deref()),
            hints: Hints::of(&agent, own),
            locale: settings.locale.clone(),
            timezone: settings.timezone.clone(),
            viewport: settings
                .viewport
                .map_or(VIEWPORT, |viewport| (viewport.width, viewport.height)),
            agent,
        }
    }

    /// What Chromium sends with a top-level navigation that its user began, in its order. Client hints and `Sec-Fetch-*` are for secure
    /// URLs only.
    pub(super) fn navigation_fields(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields: Vec<(HeaderName, HeaderValue)> = self
            .hint_fields()
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        fields.push((
            header::UPGRADE_INSECURE_REQUESTS,
            HeaderValue::from_static("1"),
        ));
        fields.extend(value(&self.agent).map(|agent| (header::USER_AGENT, agent)));
        for (name, value) in NAVIGATION {
            fields.push((
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            ));
        }
        fields.extend(value(&self.accept_language()).map(|list| (header::ACCEPT_LANGUAGE, list)));
        fields
    }

    /// What every request of the context has, also one of a service worker; a field without a value is not to be there.
    pub(super) fn context_fields(&self) -> Arc<[(HeaderName, Option<HeaderValue>)]> {
        let agent = value(&self.agent).map(|agent| (header::USER_AGENT, Some(agent)));
        agent.into_iter().chain(self.hint_fields()).collect()
    }

    /// The command that makes pages see it.
    pub(super) fn override_params(&self) -> SetUserAgentOverrideParams {
        SetUserAgentOverrideParams {
            user_agent: self.agent.clone(),
            // Chromium adds the weights.
            accept_language: Some(self.languages.join(",")),
            platform: Some(navigator_platform(&self.agent).to_owned()),
            user_agent_metadata: self.hints.as_ref().map(Hints::metadata),
        }
    }

    /// Whether it is a telephone's.
    pub(super) fn is_mobile(&self) -> bool {
        self.hints.as_ref().is_some_and(|hints| hints.mobile)
    }

    fn hint_fields(&self) -> [(HeaderName, Option<HeaderValue>); 3] {
        let hints = self.hints.as_ref();
        let [brands, mobile, platform] = HINTS;
        [
            (
                HeaderName::from_static(brands),
                hints.and_then(|hints| value(&list(&hints.brands))),
            ),
            (
                HeaderName::from_static(mobile),
                hints.map(|hints| HeaderValue::from_static(if hints.mobile { "?1" } else { "?0" })),
            ),
            (
                HeaderName::from_static(platform),
                hints.and_then(|hints| value(&format!("\"{}\"", hints.platform.name))),
            ),
        ]
    }

    fn accept_language(&self) -> String {
        let weighted = self
            .languages
            .iter()
            .enumerate()
            .map(|(n, language)| match n {
                0 => language.clone(),
                n => format!("{language};q=0.{}", 10_usize.saturating_sub(n).max(1)),
            });
        weighted.collect::<Vec<_>>().join(",")
    }
}

/// What a browser says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    /// Its `User-Agent`.
    pub(super) agent: &'a str,
    /// Its whole version, such as `156.0.7500.1`.
    pub(super) version: &'a str,
}

impl Hints {
    fn of(agent: &str, own: &Own<'_>) -> Option<Self> {
        let chrome = token(agent, "Chrome/")?;
        let major: u32 = chrome.split('.').next()?.parse().ok()?;
        let full = match own.version.split('.').next() == chrome.split('.').next() {
            true => own.version.to_owned(),
            false => chrome.to_owned(),
        };
        let (brand, short, long) = match (token(agent, "Edg/"), token(agent, "OPR/")) {
            (Some(edge), _) => ("Microsoft Edge", major_of(edge), edge.to_owned()),
            (_, Some(opera)) => ("Opera", major_of(opera), opera.to_owned()),
            _ => ("Google Chrome", major.to_string(), full.clone()),
        };
        let (grease, grease_version) = grease(major);
        let arrange = |grease_version: String, chromium: String, brand_version: String| {
            let mut brands = [const { (String::new(), String::new()) }; 3];
            let [first, second, third] = ORDERS[major as usize % ORDERS.len()];
            brands[first] = (grease.clone(), grease_version);
            brands[second] = ("Chromium".to_owned(), chromium);
            brands[third] = (brand.to_owned(), brand_version);
            brands.to_vec()
        };
        Some(Self {
            brands: arrange(grease_version.to_owned(), major.to_string(), short),
            full_versions: arrange(format!("{grease_version}.0.0.0"), full, long),
            platform: Platform::of(agent),
            mobile: agent.contains(" Mobile"),
        })
    }

    fn metadata(&self) -> UserAgentMetadata {
        let brands = |brands: &[(String, String)]| {
            let brands = brands.iter().cloned();
            Some(
                brands
                    .map(|(brand, version)| UserAgentBrandVersion { brand, version })
                    .collect(),
            )
        };
        let phone = self.platform.name == "Android";
        UserAgentMetadata {
            brands: brands(&self.brands),
            full_version_list: brands(&self.full_versions),
            platform: self.platform.name.to_owned(),
            platform_version: self.platform.version.clone(),
            architecture: if phone { "" } else { "x86" }.to_owned(),
            model: self.platform.model.clone(),
            mobile: self.mobile,
            bitness: Some(if phone { "" } else { "64" }.to_owned()),
            wow64: Some(false),
            form_factors: None,
        }
    }
}

impl Platform {
    fn of(agent: &str) -> Self {
        let plain = |name, version: &str| Self {
            name,
            version: version.to_owned(),
            model: String::new(),
        };
        if agent.contains("Windows NT") {
            return plain("Windows", "10.0.0");
        }
        if let Some((_, android)) = agent.split_once("Android ") {
            let mut parts = android.split([';', ')']);
            let version = parts.next().unwrap_or_default().trim();
            let model = parts.next().unwrap_or_default().trim();
            return Self {
                name: "Android",
                version: format!("{version}.0.0"),
                model: model.split(" Build/").next().unwrap_or_default().to_owned(),
            };
        }
        if agent.contains("CrOS") {
            return plain("Chrome OS", "14541.0.0");
        }
        if agent.contains("Macintosh") {
            return plain("macOS", "10.15.7");
        }
        plain("Linux", "")
    }
}

/// Chromium's invented brand of a version (components/embedder_support/user_agent_utils.cc).
fn grease(major: u32) -> (String, &'static str) {
    let seed = major as usize;
    let mark = |seed: usize| MARKS[seed % MARKS.len()];
    (
        format!("Not{}A{}Brand", mark(seed), mark(seed + 1)),
        GREASED_VERSIONS[seed % GREASED_VERSIONS.len()],
    )
}

/// What follows `name` up to the next space.
fn token<'a>(agent: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = agent.split_once(name)?;
    after
        .split(' ')
        .next()
        .filter(|version| !version.is_empty())
}

fn major_of(version: &str) -> String {
    version.split('.').next().unwrap_or_default().to_owned()
}

fn list(brands: &[(String, String)]) -> String {
    let brands = brands
        .iter()
        .map(|(brand, version)| format!("\"{brand}\";v=\"{version}\""));
    brands.collect::<Vec<_>>().join(", ")
}

fn languages(locale: Option<&str>) -> Vec<String> {
    let locale = locale.unwrap_or("en-US").replace('_', "-");
    let base = locale.split('-').next().unwrap_or_default().to_owned();
    match base == locale {
        true => vec![locale],
        false => vec![locale, base],
    }
}

/// What `navigator.platform` has been frozen to.
fn navigator_platform(agent: &str) -> &'static str {
    [
        ("Windows", "Win32"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Macintosh", "MacIntel"),
        ("Android", "Linux armv81"),
    ]
    .into_iter()
    .find_map(|(word, platform)| agent.contains(word).then_some(platform))
    .unwrap_or("Linux x86_64")
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

const VIEWPORT: (u32, u32) = (1280, 800);
const HINTS: [&str; 3] = ["sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"];
const NAVIGATION: [(&str, &str); 6] = [
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
    ),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
];
const MARKS: [char; 11] = [' ', '(', ':', '-', '.', '/', ')', ';', '=', '?', '_'];
const GREASED_VERSIONS: [&str; 3] = ["8", "99", "24"];
/// Where the invented brand, Chromium and the browser's own brand stand.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/124.0.0.0 Safari/537.36";
    const OWN: Own<'static> = Own {
        agent: SHELL,
        version: "124.0.6367.60",
    };

    fn identity(agent: Option<&str>, client: Option<&str>, locale: Option<&str>) -> Identity {
        let settings = BrowserSettings {
            locale: locale.map(str::to_owned),
            ..BrowserSettings::default()
        };
        Identity::of(&settings, agent, client, &OWN)
    }

    fn field(identity: &Identity, name: &str) -> Option<String> {
        identity
            .navigation_fields()
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_browser_itself_is_not_headless() {
        let own = identity(None, Some("curl/8.5.0"), None);
        assert_eq!(
            field(&own, "user-agent").unwrap(),
            SHELL.replace("HeadlessChrome", "Chrome")
        );
        // As Chrome 124 on Linux sends it.
        assert_eq!(
            field(&own, "sec-ch-ua").unwrap(),
            r#""Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99""#
        );
        assert_eq!(field(&own, "sec-ch-ua-mobile").unwrap(), "?0");
        assert_eq!(field(&own, "sec-ch-ua-platform").unwrap(), "\"Linux\"");
        assert_eq!(field(&own, "accept-language").unwrap(), "en-US,en;q=0.9");
        let metadata = own.override_params().user_agent_metadata.unwrap();
        assert_eq!(
            metadata.full_version_list.unwrap()[0].version,
            "124.0.6367.60"
        );
    }

    #[test]
    fn brands_are_greased_as_chromium_does() {
        for (major, wanted) in [
            (
                116,
                r#""Chromium";v="116", "Not)A;Brand";v="24", "Google Chrome";v="116""#,
            ),
            (
                120,
                r#""Not_A Brand";v="8", "Chromium";v="120", "Google Chrome";v="120""#,
            ),
            (
                131,
                r#""Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24""#,
            ),
        ] {
            let agent = SHELL.replace("HeadlessChrome/124", &format!("Chrome/{major}"));
            let one = identity(Some(&agent), None, None);
            assert_eq!(field(&one, "sec-ch-ua").unwrap(), wanted);
        }
    }

    #[test]
    fn the_session_goes_before_the_client_and_the_client_before_the_browser() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";
        let one = identity(None, Some(firefox), None);
        assert_eq!(field(&one, "user-agent").unwrap(), firefox);
        assert_eq!(field(&one, "sec-ch-ua"), None);
        assert_eq!(one.override_params().user_agent_metadata, None);
        let removed = one.context_fields();
        assert!(removed[1..].iter().all(|(_, value)| value.is_none()) && removed.len() == 4);
        let two = identity(Some("Own/1"), Some(firefox), None);
        assert_eq!(field(&two, "user-agent").unwrap(), "Own/1");
    }

    #[test]
    fn a_telephone_is_one_throughout() {
        let agent = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";
        let one = identity(Some(agent), None, Some("de-DE"));
        let params = one.override_params();
        assert_eq!(params.platform.unwrap(), "Linux armv81");
        assert_eq!(params.accept_language.unwrap(), "de-DE,de");
        let metadata = params.user_agent_metadata.unwrap();
        assert!(metadata.mobile && one.is_mobile());
        assert_eq!(
            (metadata.platform.as_str(), metadata.model.as_str()),
            ("Android", "Pixel 8")
        );
        assert_eq!(field(&one, "sec-ch-ua-platform").unwrap(), "\"Android\"");
        assert_eq!(field(&one, "accept-language").unwrap(), "de-DE,de;q=0.9");
    }

    #[test]
    fn edge_names_its_own_brand() {
        let agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51";
        let one = identity(Some(agent), None, Some("fr"));
        assert!(
            field(&one, "sec-ch-ua")
                .unwrap()
                .contains(r#""Microsoft Edge";v="124""#)
        );
        assert_eq!(field(&one, "accept-language").unwrap(), "fr");
        assert_eq!(one.override_params().platform.unwrap(), "Win32");
    }
}
