//! Playwright's cookie objects and `storageState`, read and written.

use serde_json::{Value, json};

use crate::session::Timestamp;
use crate::session::jar::{Cookie, CookieParts, InvalidCookie, Jar, PartitionKey, SameSite};
use crate::session::origin::Origin;
use crate::session::settings::InvalidField;
use crate::session::settings::fields::{Field, Fields};
use crate::session::storage::{Area, ItemKey, Storage, StorageDelta};

/// What a `storageState` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Its cookies in order.
    pub cookies: Vec<Cookie>,
    /// Its localStorage and sessionStorage.
    pub storage: Storage,
}

/// A cookie as Playwright shows it. One without `SameSite` shows the `Lax` that browsers treat it as; octets that are not
/// UTF-8 show as U+FFFD.
#[must_use]
pub fn cookie_to_json(cookie: &Cookie) -> Value {
    let dot = if cookie.host_only() { "" } else { "." };
    let mut object = json!({
        "name": cookie.name().to_text(),
        "value": cookie.value().to_text(),
        "domain": format!("{dot}{}", cookie.domain()),
        "path": cookie.path(),
        "expires": cookie.expires().map_or(json!(-1), seconds),
        "httpOnly": cookie.http_only(),
        "secure": cookie.secure(),
        "sameSite": same_site_name(cookie.same_site().unwrap_or(SameSite::Lax)),
    });
    if let Some(partition) = cookie.partition() {
        object["partitionKey"] = json!(partition.top_level_site);
        object["_crHasCrossSiteAncestor"] = json!(partition.cross_site_ancestor);
    }
    object
}

/// The array of the cookies that have not expired, in the order of their creation.
#[must_use]
pub fn cookies_to_json(jar: &Jar, now: Timestamp) -> Value {
    jar.live(now).map(cookie_to_json).collect()
}

/// Reads an array of cookie objects, `created` and `updated` at `now`.
///
/// A domain with a leading dot goes to subdomains as well, one without does not. In place of `domain` and `path` a `url` may
/// stand. `SameSite=None` without `secure`, which Firefox and `WebKit` report for cookies that name no `SameSite`, is read as
/// none. [`Jar::put`] judges the expiry.
///
/// # Errors
/// [`InvalidField`] names the field, such as `[2].domain`.
pub fn cookies_from_json(value: &Value, now: Timestamp) -> Result<Vec<Cookie>, InvalidField> {
    cookies(&Field::root(value), now)
}

/// The whole state that has not expired.
#[must_use]
pub fn state_to_json(jar: &Jar, storage: &Storage, now: Timestamp) -> Value {
    let origins = storage.origins().into_iter().map(|origin| {
        let items = |area| -> Value {
            storage
                .area(&origin, area)
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect()
        };
        let mut object = json!({ "origin": origin, "localStorage": items(Area::LocalStorage) });
        let session_storage = items(Area::SessionStorage);
        if session_storage != json!([]) {
            object["sessionStorage"] = session_storage;
        }
        object
    });
    json!({ "cookies": cookies_to_json(jar, now), "origins": origins.collect::<Value>() })
}

/// Reads a `storageState`; what Playwright keeps of `IndexedDB` is passed over.
///
/// # Errors
/// [`InvalidField`] names the field, such as `origins[0].localStorage[3].value`.
pub fn state_from_json(value: &Value, now: Timestamp) -> Result<State, InvalidField> {
    let mut fields = Field::root(value).fields()?;
    let mut state = State::default();
    if let Some(field) = fields.take("cookies") {
        state.cookies = cookies(&field, now)?;
    }
    if let Some(field) = fields.take("origins") {
        state.storage.apply(&origins(&field)?);
        if state.storage.bytes() > Storage::MAX_BYTES {
            return field.invalid(format!(
                "must not hold more than {} bytes",
                Storage::MAX_BYTES
            ));
        }
    }
    fields.end()?;
    Ok(state)
}

fn cookies(field: &Field<'_>, now: Timestamp) -> Result<Vec<Cookie>, InvalidField> {
    field.items()?.map(|item| cookie(&item, now)).collect()
}

fn cookie(item: &Field<'_>, now: Timestamp) -> Result<Cookie, InvalidField> {
    let mut fields = item.fields()?;
    let name = fields.require("name")?.text()?;
    let value = fields.require("value")?.text()?;
    let mut secure = fields
        .take_some("secure")
        .map_or(Ok(false), |field| field.flag())?;
    let place = match fields.take_some("url") {
        Some(url) => {
            let place = Place::of_url(&url, &mut fields)?;
            secure = place.secure;
            place
        }
        None => Place::of_domain(&mut fields)?,
    };
    let same_site = fields
        .take_some("sameSite")
        .map(|field| same_site(&field))
        .transpose()?;
    let parts = CookieParts {
        name: name.to_owned().into(),
        value: value.to_owned().into(),
        domain: place.domain,
        host_only: place.host_only,
        path: place.path,
        partition: partition(&mut fields)?,
        expires: fields
            .take_some("expires")
            .map_or(Ok(None), |field| expires(&field))?,
        secure,
        http_only: fields
            .take_some("httpOnly")
            .map_or(Ok(false), |field| field.flag())?,
        same_site: same_site.filter(|same_site| secure || *same_site != SameSite::None),
        created: now,
        updated: now,
    };
    let at = |name: &str| {
        fields.place(if place.from_url && matches!(name, "domain" | "path") {
            "url"
        } else {
            name
        })
    };
    let cookie = Cookie::new(parts)
        .map_err(|InvalidCookie { field, reason }| InvalidField::new(at(field), reason))?;
    fields.end()?;
    Ok(cookie)
}

/// Where a cookie goes, by either way to say it.
struct Place {
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    from_url: bool,
}

impl Place {
    fn of_domain(fields: &mut Fields<'_>) -> Result<Self, InvalidField> {
        let domain = fields.require("domain")?.text()?.to_owned();
        let path = fields.require("path")?.text()?.to_owned();
        Ok(Self {
            host_only: !domain.starts_with('.'),
            domain,
            path,
            secure: false,
            from_url: false,
        })
    }

    /// As Playwright does: the URL's host alone, and its path up to and including the last `/`.
    fn of_url(field: &Field<'_>, fields: &mut Fields<'_>) -> Result<Self, InvalidField> {
        for name in ["domain", "path"] {
            if fields.take_some(name).is_some() {
                return Err(InvalidField::new(
                    fields.place(name),
                    "cannot stand beside `url`",
                ));
            }
        }
        let url = url::Url::parse(field.text()?)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some((url, host)) = url
            .as_ref()
            .and_then(|url| url.host_str().map(|host| (url, host)))
        else {
            return field.invalid("must be an http or https URL");
        };
        let end = url.path().rfind('/').map_or(0, |last| last + 1);
        Ok(Self {
            domain: host.to_owned(),
            host_only: true,
            path: url.path()[..end].to_owned(),
            secure: url.scheme() == "https",
            from_url: true,
        })
    }
}

/// `partitionKey` as Playwright has it (a site, with `_crHasCrossSiteAncestor` beside it) or as Chromium's protocol has it.
fn partition(fields: &mut Fields<'_>) -> Result<Option<PartitionKey>, InvalidField> {
    let beside = fields
        .take_some("_crHasCrossSiteAncestor")
        .map_or(Ok(false), |field| field.flag())?;
    let Some(field) = fields.take_some("partitionKey") else {
        return Ok(None);
    };
    let (site, cross_site_ancestor) = if field.value.is_object() {
        let mut object = field.fields()?;
        let site = object.require("topLevelSite")?;
        let ancestor = object
            .take_some("hasCrossSiteAncestor")
            .map_or(Ok(false), |field| field.flag())?;
        object.end()?;
        (site, ancestor)
    } else {
        (field, beside)
    };
    match PartitionKey::new(site.text()?, cross_site_ancestor) {
        Some(key) => Ok(Some(key)),
        None => site.invalid("must be a site such as `https://shop.example`"),
    }
}

fn same_site(field: &Field<'_>) -> Result<SameSite, InvalidField> {
    match field.text()? {
        "Strict" => Ok(SameSite::Strict),
        "Lax" => Ok(SameSite::Lax),
        "None" => Ok(SameSite::None),
        _ => field.invalid("must be `Strict`, `Lax` or `None`"),
    }
}

fn same_site_name(same_site: SameSite) -> &'static str {
    match same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    }
}

/// Seconds since the epoch, -1 for a cookie that ends with the session.
fn expires(field: &Field<'_>) -> Result<Option<Timestamp>, InvalidField> {
    let seconds = field.number()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "casting a float saturates, as Timestamp does"
    )]
    match seconds {
        -1.0 => Ok(None),
        seconds if seconds >= 0.0 => {
            Ok(Some(Timestamp::from_micros((seconds * 1e6).round() as i64)))
        }
        _ => field.invalid("must be -1 or seconds since the epoch"),
    }
}

fn seconds(at: Timestamp) -> Value {
    let micros = at.as_micros();
    if micros % 1_000_000 == 0 {
        return json!(micros / 1_000_000);
    }
    // Until the year 2255 a float tells microseconds apart.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an expiry lies at most 400 days ahead"
    )]
    let seconds = micros as f64 / 1e6;
    json!(seconds)
}

fn origins(field: &Field<'_>) -> Result<StorageDelta, InvalidField> {
    let mut delta = StorageDelta::default();
    for item in field.items()? {
        let mut fields = item.fields()?;
        let origin = fields.require("origin")?;
        let Ok(parsed) = origin.text()?.parse::<Origin>() else {
            return origin.invalid("must be an origin such as `https://shop.example`");
        };
        for (name, area) in [
            ("localStorage", Area::LocalStorage),
            ("sessionStorage", Area::SessionStorage),
        ] {
            if let Some(items) = fields.take_some(name) {
                read_items(&items, &parsed, area, &mut delta)?;
            }
        }
        fields.take("indexedDB");
        fields.end()?;
    }
    Ok(delta)
}

fn read_items(
    field: &Field<'_>,
    origin: &Origin,
    area: Area,
    delta: &mut StorageDelta,
) -> Result<(), InvalidField> {
    for item in field.items()? {
        let mut fields = item.fields()?;
        let name = fields.require("name")?.text()?;
        let value = fields.require("value")?.text()?;
        fields.end()?;
        delta.set(
            ItemKey {
                origin: origin.clone(),
                area,
                name: name.into(),
            },
            value,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    fn full() -> Value {
        json!({
            "name": "sid", "value": "1", "domain": ".shop.example", "path": "/", "expires": 1_795_600_000.25, "httpOnly": true,
            "secure": true, "sameSite": "None", "partitionKey": "https://top.example", "_crHasCrossSiteAncestor": true,
        })
    }

    fn error_of(change: &Value) -> Option<String> {
        let mut cookie = full();
        for (name, value) in change.as_object().unwrap() {
            if value == "absent" {
                cookie.as_object_mut().unwrap().remove(name);
            } else {
                cookie[name] = value.clone();
            }
        }
        cookies_from_json(&json!([full(), full(), cookie]), NOW)
            .err()
            .map(|error| error.field)
    }

    #[test]
    fn a_full_cookie_reads_and_writes() {
        let cookies = cookies_from_json(&json!([full()]), NOW).unwrap();
        assert_eq!(cookie_to_json(&cookies[0]), full());
        assert!(!cookies[0].host_only());
        assert_eq!(
            cookies[0].expires(),
            Some(Timestamp::from_micros(1_795_600_000_250_000))
        );
    }

    #[test]
    fn a_bare_cookie_ends_with_the_session_and_goes_to_its_host() {
        let bare = json!([{"name": "a", "value": "", "domain": "Shop.Example", "path": "/x", "sameSite": null, "partitionKey": null}]);
        let cookies = cookies_from_json(&bare, NOW).unwrap();
        let wanted = json!({
            "name": "a", "value": "", "domain": "shop.example", "path": "/x", "expires": -1, "httpOnly": false, "secure": false,
            "sameSite": "Lax",
        });
        assert_eq!(cookie_to_json(&cookies[0]), wanted);
        assert_eq!(cookies[0].same_site(), None);
    }

    #[test]
    fn a_url_stands_for_domain_path_and_secure() {
        let of = |url: &str| {
            let cookie = cookies_from_json(&json!([{"name": "a", "value": "b", "url": url}]), NOW)
                .unwrap()
                .remove(0);
            (
                cookie.domain().to_owned(),
                cookie.host_only(),
                cookie.path().to_owned(),
                cookie.secure(),
            )
        };
        assert_eq!(
            of("https://Shop.Example:444/a/b?c"),
            ("shop.example".into(), true, "/a/".into(), true)
        );
        assert_eq!(
            of("http://127.0.0.1"),
            ("127.0.0.1".into(), true, "/".into(), false)
        );
    }

    #[test]
    fn chromium_s_partition_key_is_read_too() {
        let key = json!({"topLevelSite": "https://a.top.example", "hasCrossSiteAncestor": false});
        let mut cookie = full();
        cookie["partitionKey"] = key;
        let cookies = cookies_from_json(&json!([cookie]), NOW).unwrap();
        assert_eq!(
            cookies[0].partition(),
            PartitionKey::new("https://top.example", false).as_ref()
        );
    }

    #[test]
    fn an_insecure_same_site_none_is_none_at_all() {
        let cookie = json!([{"name": "a", "value": "b", "domain": "a.example", "path": "/", "sameSite": "None"}]);
        assert_eq!(
            cookies_from_json(&cookie, NOW).unwrap()[0].same_site(),
            None
        );
    }

    #[test]
    fn errors_name_the_field() {
        assert_eq!(error_of(&json!({})), None);
        for (change, field) in [
            (json!({"name": "absent"}), "[2].name"),
            (json!({"name": "a=b"}), "[2].name"),
            (json!({"value": 1}), "[2].value"),
            (json!({"value": "a;b"}), "[2].value"),
            (json!({"domain": "a b"}), "[2].domain"),
            (json!({"domain": ".co.uk"}), "[2].domain"),
            (json!({"domain": "absent"}), "[2].domain"),
            (json!({"path": "absent"}), "[2].path"),
            (json!({"path": "x"}), "[2].path"),
            (json!({"expires": -2}), "[2].expires"),
            (json!({"expires": "soon"}), "[2].expires"),
            (json!({"secure": "yes"}), "[2].secure"),
            (json!({"httpOnly": 1}), "[2].httpOnly"),
            (json!({"sameSite": "lax"}), "[2].sameSite"),
            (json!({"partitionKey": "top"}), "[2].partitionKey"),
            (
                json!({"partitionKey": {"topLevelSite": "x"}}),
                "[2].partitionKey.topLevelSite",
            ),
            (
                json!({"partitionKey": {"topLevelSite": "https://a.example", "x": 1}}),
                "[2].partitionKey.x",
            ),
            (
                json!({"secure": false, "sameSite": "Lax"}),
                "[2].partitionKey",
            ),
            (json!({"url": "https://a.example"}), "[2].domain"),
            (
                json!({"url": "about:blank", "domain": "absent", "path": "absent"}),
                "[2].url",
            ),
            (json!({"size": 3}), "[2].size"),
        ] {
            assert_eq!(error_of(&change).as_deref(), Some(field), "{change}");
        }
        assert_eq!(cookies_from_json(&json!({}), NOW).unwrap_err().field, "");
        assert_eq!(
            cookies_from_json(&json!([1]), NOW).unwrap_err().field,
            "[0]"
        );
    }

    #[test]
    fn a_state_reads_and_writes() {
        let state = json!({
            "cookies": [full()],
            "origins": [
                {"origin": "https://a.example", "localStorage": [{"name": "k", "value": "v"}]},
                {"origin": "https://b.example", "localStorage": [], "sessionStorage": [{"name": "k", "value": "v"}]},
            ],
        });
        let State { cookies, storage } = state_from_json(&state, NOW).unwrap();
        let mut jar = Jar::default();
        jar.put(cookies, NOW);
        assert_eq!(state_to_json(&jar, &storage, NOW), state);
    }

    #[test]
    fn a_state_as_playwright_writes_it_is_accepted_and_others_are_not() {
        let state = |origin: Value| json!({"origins": [origin]});
        let good = json!({"origin": "https://a.example/", "localStorage": [], "indexedDB": [{"name": "db"}]});
        assert!(state_from_json(&state(good), NOW).is_ok());
        assert_eq!(state_from_json(&json!({}), NOW), Ok(State::default()));
        for (value, field) in [
            (json!([]), ""),
            (json!({"cookie": []}), "cookie"),
            (json!({"cookies": {}}), "cookies"),
            (json!({"cookies": [{}]}), "cookies[0].name"),
            (state(json!({"localStorage": []})), "origins[0].origin"),
            (state(json!({"origin": "a.example"})), "origins[0].origin"),
            (
                state(json!({"origin": "https://a.example", "localStorage": [{"name": "k"}]})),
                "origins[0].localStorage[0].value",
            ),
            (
                state(json!({"origin": "https://a.example", "storage": []})),
                "origins[0].storage",
            ),
            (
                state(
                    json!({"origin": "https://a.example", "localStorage": [{"name": "k", "value": "v".repeat(Storage::MAX_BYTES)}]}),
                ),
                "origins",
            ),
        ] {
            assert_eq!(state_from_json(&value, NOW).unwrap_err().field, field);
        }
    }

    proptest! {
        #[test]
        fn print_then_parse_is_the_identity(
            name in "[a-z]{1,3}", value in "[ -:<-~é]{0,9}", dot in any::<bool>(), path in "/[a-z/]{0,5}",
            expires in proptest::option::of(1_795_514_400_000_001i64..1_830_000_000_000_000), http_only: bool, secure: bool,
            same_site in 0..3usize, partition in proptest::option::of(any::<bool>()),
        ) {
            let same_site = [SameSite::Strict, SameSite::Lax, SameSite::None][same_site];
            let secure = secure || same_site == SameSite::None || partition.is_some();
            let cookie = Cookie::new(CookieParts {
                name: name.into(),
                value: value.trim().to_owned().into(),
                domain: "www.shop.example".to_owned(),
                host_only: !dot,
                path,
                partition: partition.and_then(|ancestor| PartitionKey::new("https://shop.example", ancestor)),
                expires: expires.map(Timestamp::from_micros),
                secure,
                http_only,
                same_site: Some(same_site),
                created: NOW,
                updated: NOW,
            }).unwrap();
            let printed: Value = serde_json::from_str(&json!([cookie_to_json(&cookie)]).to_string()).unwrap();
            prop_assert_eq!(cookies_from_json(&printed, NOW).unwrap(), vec![cookie]);
        }
    }
}
