//! The text of a coded document, to be looked at; what is sent on stays as it came.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};

use crate::message::fields::values;

/// The first `limit` bytes of what the body is without its content codings (RFC 9110, section 8.4); `None` where one is unknown or broken.
pub(super) fn decoded<'a>(
    body: &'a [u8],
    fields: &HeaderMap,
    limit: usize,
) -> Option<Cow<'a, [u8]>> {
    let mut codings = Vec::new();
    for value in values(fields, &CONTENT_ENCODING) {
        let names = value.as_bytes().split(|byte| *byte == b',');
        codings.extend(names.map(|name| name.trim_ascii().to_ascii_lowercase()));
    }
    codings.retain(|coding| !coding.is_empty() && coding != b"identity");
    if codings.is_empty() {
        return Some(Cow::Borrowed(&body[..body.len().min(limit)]));
    }
    if codings.len() > MOST_CODINGS {
        return None;
    }
    let mut text = Cow::Borrowed(body);
    // The last was applied last.
    for coding in codings.iter().rev() {
        text = Cow::Owned(decode(coding, &text, limit)?);
    }
    Some(text)
}

const MOST_CODINGS: usize = 3;

fn decode(coding: &[u8], coded: &[u8], limit: usize) -> Option<Vec<u8>> {
    match coding {
        b"gzip" | b"x-gzip" => read(MultiGzDecoder::new(coded), limit),
        // RFC 9110 means zlib; what only deflates is read by browsers all the same.
        b"deflate" => read(ZlibDecoder::new(coded), limit)
            .or_else(|| read(flate2::read::DeflateDecoder::new(coded), limit)),
        b"br" => read(brotli_decompressor::Decompressor::new(coded, 4096), limit),
        b"zstd" => read(ruzstd::decoding::StreamingDecoder::new(coded).ok()?, limit),
        _ => None,
    }
}

fn read(decoder: impl Read, limit: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    decoder
        .take(u64::try_from(limit).unwrap_or(u64::MAX))
        .read_to_end(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn coded(codings: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(codings))])
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn codings_are_undone_up_to_the_limit() {
        let text = b"<div id=root></div>";
        assert_eq!(decoded(text, &HeaderMap::new(), 5).unwrap(), &text[..5]);
        assert_eq!(decoded(text, &coded("identity"), 99).unwrap(), &text[..]);
        assert_eq!(decoded(&gzip(text), &coded("GZIP"), 99).unwrap(), &text[..]);
        assert_eq!(
            decoded(&gzip(&gzip(text)), &coded("gzip, x-gzip"), 99).unwrap(),
            &text[..]
        );
        let bomb = gzip(&vec![0; 1 << 20]);
        assert_eq!(decoded(&bomb, &coded("gzip"), 1000).unwrap().len(), 1000);
        let brotli = b"\x0b\x02\x80hello\x03";
        assert_eq!(decoded(brotli, &coded("br"), 99).unwrap(), &b"hello"[..]);
        let zstd = b"\x28\xb5\x2f\xfd\x04\x58\x29\x00\x00hello\x27\x15\x82\x2a";
        assert!(decoded(zstd, &coded("zstd"), 99).is_none_or(|text| *text == b"hello"[..]));
        assert!(decoded(text, &coded("gzip"), 99).is_none());
        assert!(decoded(text, &coded("rot13"), 99).is_none());
        assert!(decoded(text, &coded("gzip,gzip,gzip,gzip"), 99).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), coding in 0..4usize) {
            let _ = decoded(&bytes, &coded(["gzip", "deflate", "br", "zstd"][coding]), 1000);
        }
    }
}
