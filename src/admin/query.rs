//! Query parameters: only known ones, none twice that may be there once.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::problem::Problem;
use super::sessions::is_adapter_name;
use crate::adapters;
use crate::session::id::SessionId;
use crate::session::jar::CookieFilter;

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// # Errors
    /// `invalid` for a parameter that is not one of `known`.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        match pairs
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            Some((name, _)) => Err(Problem::invalid(name, "is not a known query parameter")),
            None => Ok(Self(pairs)),
        }
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// # Errors
    /// `invalid` where it is there twice.
    pub(super) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            Some(_) => Err(Problem::invalid(name, "is there more than once")),
            None => Ok(first),
        }
    }
}

/// Which sessions to list.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) adapter: Option<String>,
    pub(super) query: adapters::Query,
}

impl Listing {
    /// # Errors
    /// `invalid`, naming the parameter.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let parameters = Parameters::read(query, &["limit", "cursor", "adapter", "label"])?;
        let adapter = parameters.one("adapter")?;
        if adapter.is_some_and(|name| !is_adapter_name(name)) {
            return Err(Problem::invalid(
                "adapter",
                "must be `memory`, `file`, `redis` or `mongodb`",
            ));
        }
        Ok(Self {
            adapter: adapter.map(str::to_owned),
            query: adapters::Query {
                after: parameters.one("cursor")?.map(after).transpose()?,
                limit: parameters.one("limit")?.map_or(Ok(DEFAULT_LIMIT), limit)?,
                labels: parameters
                    .all("label")
                    .map(label)
                    .collect::<Result<_, _>>()?,
            },
        })
    }
}

/// The cursor of the page that begins after this id. Clients are not to know what is in it.
pub(super) fn cursor(after: &SessionId) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(after.as_str())
}

/// Which cookies to remove; `None`: all of them.
///
/// # Errors
/// `invalid`, naming the parameter.
pub(super) fn cookie_filter(query: Option<&str>) -> Result<Option<CookieFilter>, Problem> {
    let parameters = Parameters::read(query, &["name", "domain", "path"])?;
    let filter = CookieFilter {
        name: parameters.one("name")?.map(str::to_owned),
        domain: parameters.one("domain")?.map(str::to_owned),
        path: parameters.one("path")?.map(str::to_owned),
    };
    // There are cookies without a name, but none without the others.
    for (name, value) in [("domain", &filter.domain), ("path", &filter.path)] {
        if value.as_deref() == Some("") {
            return Err(Problem::invalid(
                name,
                "is empty: leave it out to mean every one",
            ));
        }
    }
    Ok((filter != CookieFilter::default()).then_some(filter))
}

fn after(cursor: &str) -> Result<SessionId, Problem> {
    BASE64_URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|id| SessionId::try_from(&id[..]).ok())
        .ok_or_else(|| Problem::invalid("cursor", "is not a `nextCursor` of a list"))
}

fn limit(text: &str) -> Result<usize, Problem> {
    match text.parse::<usize>() {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => Err(Problem::invalid(
            "limit",
            format!("must be an integer from 1 to {MAX_LIMIT}"),
        )),
    }
}

fn label(text: &str) -> Result<(String, String), Problem> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Problem::invalid("label", "must be `key=value`")),
    }
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_defaults_and_reads_what_is_given() {
        let listing = Listing::read(None).unwrap();
        assert_eq!((listing.adapter, listing.query.limit), (None, 100));
        let id: SessionId = "a~b".parse().unwrap();
        let query = format!(
            "limit=7&adapter=redis&label=team=x=y&label=env%3D&cursor={}",
            cursor(&id)
        );
        let Listing { adapter, query } = Listing::read(Some(&query)).unwrap();
        assert_eq!(
            (adapter.as_deref(), query.limit, query.after),
            (Some("redis"), 7, Some(id))
        );
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(query.labels, [label("team", "x=y"), label("env", "")]);
    }

    #[test]
    fn a_listing_names_the_parameter_that_is_wrong() {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=+x", "limit"),
            ("limit=1&limit=1", "limit"),
            ("cursor=%FF", "cursor"),
            ("cursor=", "cursor"),
            ("cursor=ICA", "cursor"),
            ("label=team", "label"),
            ("adapter=floppy", "adapter"),
            ("nonsense", "nonsense"),
            ("Limit=1", "Limit"),
        ] {
            let problem = Listing::read(Some(query)).expect_err(query);
            assert_eq!(
                (problem.name(), problem.field()),
                ("invalid", Some(field)),
                "{query}"
            );
        }
    }

    #[test]
    fn a_cookie_filter_means_all_where_it_says_nothing() {
        assert_eq!(cookie_filter(None).unwrap(), None);
        assert_eq!(cookie_filter(Some("")).unwrap(), None);
        let filter = cookie_filter(Some("name=&path=/a%20b")).unwrap().unwrap();
        assert_eq!(
            (
                filter.name.as_deref(),
                filter.domain,
                filter.path.as_deref()
            ),
            (Some(""), None, Some("/a b"))
        );
        for query in ["domain=", "path=", "value=1", "name=a&name=b"] {
            assert_eq!(
                cookie_filter(Some(query)).expect_err(query).name(),
                "invalid",
                "{query}"
            );
        }
    }
}
