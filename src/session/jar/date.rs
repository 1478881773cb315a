//! The cookie-date algorithm (RFC 6265bis, section 5.1.1), which reads what servers really send.

use time::{Date, Month, Time};

use crate::session::Timestamp;

/// The time that a cookie-date denotes, in UTC whatever zone it names; none where it denotes none.
pub(super) fn parse_cookie_date(text: &[u8]) -> Option<Timestamp> {
    let mut found = Found::default();
    for token in text
        .split(|&octet| is_delimiter(octet))
        .filter(|token| !token.is_empty())
    {
        found.take(token);
    }
    found.timestamp()
}

/// The four flags of the algorithm, each with its value.
#[derive(Default)]
struct Found {
    time: Option<(u8, u8, u8)>,
    day_of_month: Option<u8>,
    month: Option<Month>,
    year: Option<u16>,
}

impl Found {
    /// Step 2: a token serves the first production that is still wanted and matches.
    fn take(&mut self, token: &[u8]) {
        if self.time.is_none() {
            self.time = time(token);
            if self.time.is_some() {
                return;
            }
        }
        if self.day_of_month.is_none() {
            self.day_of_month = number(token, 1, 2).and_then(|day| u8::try_from(day).ok());
            if self.day_of_month.is_some() {
                return;
            }
        }
        if self.month.is_none() {
            self.month = month(token);
            if self.month.is_some() {
                return;
            }
        }
        if self.year.is_none() {
            self.year = number(token, 2, 4);
        }
    }

    /// Steps 3 to 6.
    fn timestamp(self) -> Option<Timestamp> {
        let year = match self.year? {
            year @ 70..=99 => year + 1900,
            year @ 0..=69 => year + 2000,
            year @ 1601.. => year,
            _ => return None,
        };
        let (hour, minute, second) = self.time?;
        let date =
            Date::from_calendar_date(i32::from(year), self.month?, self.day_of_month?).ok()?;
        let time = Time::from_hms(hour, minute, second).ok()?;
        Some(Timestamp::from_unix_seconds(
            date.with_time(time).assume_utc().unix_timestamp(),
        ))
    }
}

/// `hms-time [ non-digit *OCTET ]`
fn time(token: &[u8]) -> Option<(u8, u8, u8)> {
    let mut fields = token.splitn(3, |&octet| octet == b':');
    let (hour, minute, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let whole = |field: &[u8]| {
        field
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| number(field, 1, 2))
            .flatten()
    };
    let byte = |number: u16| u8::try_from(number).ok();
    Some((
        byte(whole(hour)?)?,
        byte(whole(minute)?)?,
        byte(number(rest, 1, 2)?)?,
    ))
}

/// `least*most DIGIT [ non-digit *OCTET ]`
fn number(token: &[u8], least: usize, most: usize) -> Option<u16> {
    let digits = token
        .iter()
        .take_while(|octet| octet.is_ascii_digit())
        .count();
    if !(least..=most).contains(&digits) {
        return None;
    }
    Some(
        token[..digits]
            .iter()
            .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')),
    )
}

/// `( "jan" / ... ) *OCTET`
fn month(token: &[u8]) -> Option<Month> {
    let start = token.get(..3)?;
    MONTHS
        .iter()
        .find(|(name, _)| start.eq_ignore_ascii_case(*name))
        .map(|&(_, month)| month)
}

/// `%x09 / %x20-2F / %x3B-40 / %x5B-60 / %x7B-7E`
fn is_delimiter(octet: u8) -> bool {
    matches!(octet, 0x09 | 0x20..=0x2F | 0x3B..=0x40 | 0x5B..=0x60 | 0x7B..=0x7E)
}

const MONTHS: [(&[u8; 3], Month); 12] = [
    (b"jan", Month::January),
    (b"feb", Month::February),
    (b"mar", Month::March),
    (b"apr", Month::April),
    (b"may", Month::May),
    (b"jun", Month::June),
    (b"jul", Month::July),
    (b"aug", Month::August),
    (b"sep", Month::September),
    (b"oct", Month::October),
    (b"nov", Month::November),
    (b"dec", Month::December),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_production_of_the_algorithm() {
        for (text, wanted) in [
            (
                "Wed, 09 Jun 2027 10:18:14 GMT",
                Some("2027-06-09T10:18:14.000Z"),
            ),
            (
                "Wednesday, 09-Jun-27 10:18:14 GMT",
                Some("2027-06-09T10:18:14.000Z"),
            ),
            ("Wed Jun  9 10:18:14 2027", Some("2027-06-09T10:18:14.000Z")),
            ("9 jUNe 2027 1:2:3", Some("2027-06-09T01:02:03.000Z")),
            ("10:18:14 2027 9 Jun", Some("2027-06-09T10:18:14.000Z")),
            ("10:18:14 9 2027 Jun", Some("2027-06-09T10:18:14.000Z")),
            ("9th Jun 2027 10:18:14", Some("2027-06-09T10:18:14.000Z")),
            ("9 Jun 2027AD 10:18:14", Some("2027-06-09T10:18:14.000Z")),
            ("9 Jun 2027 10:18:14PM", Some("2027-06-09T10:18:14.000Z")),
            ("9 Jun 2027 10:18:14:15", Some("2027-06-09T10:18:14.000Z")),
            (
                "9 Jun 2027 10:18:14 +0200",
                Some("2027-06-09T10:18:14.000Z"),
            ),
            ("09 Jun 69 10:18:14", Some("2069-06-09T10:18:14.000Z")),
            ("09 Jun 70 10:18:14", Some("1970-06-09T10:18:14.000Z")),
            ("09 Jun 00 10:18:14", Some("2000-06-09T10:18:14.000Z")),
            ("09 Jun 99 10:18:14", Some("1999-06-09T10:18:14.000Z")),
            ("09 Jun 100 10:18:14", None),
            ("09 Jun 1600 10:18:14", None),
            ("09 Jun 1601 10:18:14", Some("1601-06-09T10:18:14.000Z")),
            ("31 Dec 9999 23:59:59", Some("9999-12-31T23:59:59.000Z")),
            ("09 Jun 20270 10:18:14", None),
            ("09 Jun 2 10:18:14", None),
            ("29 Feb 2028 00:00:00", Some("2028-02-29T00:00:00.000Z")),
            ("29 Feb 2027 00:00:00", None),
            ("31 Apr 2027 00:00:00", None),
            ("0 Jun 2027 00:00:00", None),
            ("32 Jun 2027 00:00:00", None),
            ("9 Jun 2027 24:00:00", None),
            ("9 Jun 2027 23:60:00", None),
            ("9 Jun 2027 23:59:60", None),
            ("9 Jun 2027 100:00:00", None),
            ("9 Jun 2027 10:18", None),
            ("9 Jun 2027", None),
            ("Jun 2027 10:18:14", None),
            ("9 2027 10:18:14", None),
            ("9 Jux 2027 10:18:14", None),
            ("9/Jun/2027;10:18:14", Some("2027-06-09T10:18:14.000Z")),
            ("9\tJun\t2027\t10:18:14", Some("2027-06-09T10:18:14.000Z")),
            ("\"9 Jun 2027 10:18:14\"", Some("2027-06-09T10:18:14.000Z")),
            ("2027-06-09T10:18:14Z", None),
            ("", None),
            ("-1", None),
            ("0", None),
        ] {
            let read = parse_cookie_date(text.as_bytes()).map(|at| at.to_string());
            assert_eq!(read.as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn octets_beyond_ascii_are_part_of_a_token() {
        assert!(parse_cookie_date(b"9 Jun\xe9 2027 10:18:14").is_some());
        assert!(parse_cookie_date(b"9 \xe9Jun 2027 10:18:14").is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(text: Vec<u8>) {
            let _ = parse_cookie_date(&text);
        }

        #[test]
        fn the_preferred_format_reads_as_what_it_says(seconds in -11_644_473_600i64..253_402_300_800) {
            let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let month = at.month().to_string();
            let text = format!("Mon, {:02} {} {:04} {:02}:{:02}:{:02} GMT", at.day(), &month[..3], at.year(), at.hour(), at.minute(), at.second());
            prop_assert_eq!(parse_cookie_date(text.as_bytes()), Some(Timestamp::from_unix_seconds(seconds)));
        }
    }
}
