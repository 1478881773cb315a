//! What a document looks like before its scripts ran: whether it is a page, or a shell that they fill.

use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Why a document needs a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The element that a framework renders into is empty.
    EmptyRoot,
    /// A `noscript` asks for JavaScript, and there is next to nothing else.
    NoScript,
    /// There are scripts and next to no text.
    NoText,
}

impl Evidence {
    /// In words, as the API shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmptyRoot => "the element that a framework renders into is empty",
            Self::NoScript => "a noscript asks for JavaScript, and there is next to nothing else",
            Self::NoText => "there are scripts and next to no text",
        }
    }
}

/// What was seen of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Characters of text that a person would see, blanks not counted.
    pub text: usize,
    /// Scripts that run, with a `src` or without.
    pub scripts: usize,
    /// Elements that are content by themselves: links, pictures, fields, cells.
    pub content: usize,
    /// Elements that frameworks render into and that hold no text.
    pub empty_roots: usize,
    /// Whether a `noscript` speaks of JavaScript.
    pub asks_for_script: bool,
}

impl Looks {
    /// Looks at a document in UTF-8 or another superset of ASCII, which may be cut off anywhere.
    #[must_use]
    pub fn of(html: &[u8]) -> Self {
        let mut emitter = DefaultEmitter::default();
        // Scripts, styles and titles hold no tags.
        emitter.naively_switch_states(true);
        let mut seen = Watch::default();
        for token in Tokenizer::new_with_emitter(html, emitter) {
            match token {
                Ok(Token::StartTag(tag)) => {
                    let attribute = |name: &[u8]| {
                        tag.attributes.iter().find_map(|(known, value)| {
                            (known.as_slice() == name).then_some(value.as_slice())
                        })
                    };
                    seen.start(&tag.name, tag.self_closing, attribute);
                }
                Ok(Token::EndTag(tag)) => seen.end(&tag.name),
                Ok(Token::String(text)) => seen.text(&text),
                Ok(Token::Comment(_) | Token::Doctype(_) | Token::Error(_)) => {}
                Err(never) => match never {},
            }
        }
        seen.close_root();
        seen.looks
    }

    /// Why the document needs a browser, if it does.
    #[must_use]
    pub fn needs_browser(&self) -> Option<Evidence> {
        if self.scripts == 0 || self.text >= SHELL_TEXT {
            return None;
        }
        if self.empty_roots > 0 {
            Some(Evidence::EmptyRoot)
        } else if self.asks_for_script && self.content < SHELL_CONTENT {
            Some(Evidence::NoScript)
        } else if self.text < NO_TEXT && self.content < SHELL_CONTENT {
            Some(Evidence::NoText)
        } else {
            None
        }
    }

    /// Whether a document that looked so has gained by being rendered into one that looks like `after`.
    #[must_use]
    pub fn gained(&self, after: &Self) -> bool {
        after.text > self.text + self.text / 5 + GAIN || after.content > self.content + GAIN_CONTENT
    }
}

/// A page with more text is one, whatever else is in it.
const SHELL_TEXT: usize = 300;
/// Less text than this is next to none.
const NO_TEXT: usize = 30;
/// A shell has fewer elements of content.
const SHELL_CONTENT: usize = 8;
/// What counts as a gain, in characters and in elements.
const GAIN: usize = 20;
const GAIN_CONTENT: usize = 2;

#[derive(Debug, Default)]
struct Watch {
    looks: Looks,
    /// The element whose text nobody sees, and how deep in it.
    hidden: Option<Vec<u8>>,
    in_noscript: bool,
    /// A root that holds no text so far: the elements that are open in it, itself included.
    root: Option<usize>,
}

impl Watch {
    fn start<'a>(
        &mut self,
        name: &[u8],
        self_closing: bool,
        attribute: impl Fn(&[u8]) -> Option<&'a [u8]>,
    ) {
        if self.hidden.is_some() {
            return;
        }
        match name {
            b"script" => {
                let kind = attribute(b"type").unwrap_or_default().trim_ascii();
                let runs = kind.is_empty()
                    || kind.eq_ignore_ascii_case(b"module")
                    || kind.to_ascii_lowercase().ends_with(b"javascript");
                self.looks.scripts += usize::from(runs);
                self.hidden = Some(name.to_vec());
            }
            b"style" | b"title" | b"template" | b"textarea" | b"iframe" => {
                self.hidden = Some(name.to_vec());
            }
            b"noscript" => self.in_noscript = true,
            b"a" | b"img" | b"input" | b"select" | b"td" | b"li" | b"p" | b"video" | b"article"
            | b"pre" | b"picture" | b"button"
                if !self.in_noscript =>
            {
                self.looks.content += 1;
            }
            _ => {}
        }
        if self.root.is_some() {
            self.root = self
                .root
                .map(|open| open + usize::from(!self_closing && !is_void(name)));
        } else if is_root(name, attribute(b"id")) && !self.in_noscript && !self_closing {
            self.root = Some(1);
        }
    }

    fn end(&mut self, name: &[u8]) {
        if let Some(hidden) = &self.hidden {
            if *hidden == name {
                self.hidden = None;
            } else {
                return;
            }
        }
        if name == b"noscript" {
            self.in_noscript = false;
        }
        if let Some(open) = self.root.filter(|_| !is_void(name)) {
            match open {
                1 => self.close_root(),
                open => self.root = Some(open - 1),
            }
        }
    }

    fn text(&mut self, text: &[u8]) {
        if self.in_noscript {
            let lower = text.to_ascii_lowercase();
            self.looks.asks_for_script |= memchr::memmem::find(&lower, b"javascript").is_some();
            return;
        }
        if self.hidden.is_some() {
            return;
        }
        // Of a character in UTF-8 the first byte counts.
        let visible = text
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace() && **byte & 0xc0 != 0x80)
            .count();
        self.looks.text += visible;
        if visible > ROOT_TEXT {
            self.root = None;
        }
    }

    fn close_root(&mut self) {
        if self.root.take().is_some() {
            self.looks.empty_roots += 1;
        }
    }
}

/// A root that says "Loading..." is as good as empty.
const ROOT_TEXT: usize = 16;

/// What the usual frameworks render into: React, Vue, Next, Nuxt, Gatsby, Svelte, Quasar, Ember; and Angular's `<app-root>`.
fn is_root(name: &[u8], id: Option<&[u8]>) -> bool {
    const IDS: [&[u8]; 13] = [
        b"root",
        b"app",
        b"__next",
        b"__nuxt",
        b"___gatsby",
        b"svelte",
        b"q-app",
        b"main-app",
        b"react-root",
        b"app-root",
        b"ember-app",
        b"mount",
        b"application",
    ];
    name == b"app-root"
        || matches!(name, b"div" | b"main" | b"section")
            && id.is_some_and(|id| IDS.iter().any(|known| id.eq_ignore_ascii_case(known)))
}

/// Elements without an end tag (the HTML standard, section 13.1.2).
fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"area"
            | b"base"
            | b"br"
            | b"col"
            | b"embed"
            | b"hr"
            | b"img"
            | b"input"
            | b"link"
            | b"meta"
            | b"source"
            | b"track"
            | b"wbr"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(html: &str) -> Option<Evidence> {
        Looks::of(html.as_bytes()).needs_browser()
    }

    #[test]
    fn shells_are_told_from_pages() {
        let text = "Words of a page that a server wrote. ".repeat(12);
        for (html, wanted) in [
            (
                "<!doctype html><div id=root></div><script src=/app.js></script>",
                Some(Evidence::EmptyRoot),
            ),
            (
                "<div id=\"__next\"><div><div class=spinner></div>Loading…</div></div><script>x</script>",
                Some(Evidence::EmptyRoot),
            ),
            (
                "<app-root></app-root><script type=module src=main.js></script>",
                Some(Evidence::EmptyRoot),
            ),
            (
                "<noscript>You need to enable JavaScript to run this app.</noscript><main></main><script src=a.js></script>",
                Some(Evidence::NoScript),
            ),
            (
                "<body><script>document.write(location)</script></body>",
                Some(Evidence::NoText),
            ),
            ("<div id=root></div>", None),
            (
                "<div id=root></div><script type=application/ld+json>{}</script>",
                None,
            ),
            (
                "<p>Hello</p><script src=analytics.js></script><p>some more text of this page, short as it is, for people</p>",
                None,
            ),
            (
                "<title>Words and words and words</title><ul><li><a>1</a><li><a>2</a><li><a>3</a><li><a>4</a></ul><script src=a.js></script>",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(verdict(html), wanted, "{html}");
        }
        let page = format!("<div id=root>{text}</div><script src=/app.js></script>");
        assert_eq!(verdict(&page), None);
        let page = format!("<div id=root></div><p>{text}</p><script src=/app.js></script>");
        assert_eq!(verdict(&page), None);
        let script = format!("<div id=root></div><script>var x = '<p>{text}</p>'</script>");
        assert_eq!(verdict(&script), Some(Evidence::EmptyRoot));
    }

    #[test]
    fn a_gain_is_text_or_content() {
        let shell = Looks::of(b"<div id=root></div><script src=a.js></script>");
        assert!(shell.gained(&Looks::of(
            "<div id=root>Twenty-one characters, at the least</div>".as_bytes()
        )));
        assert!(shell.gained(&Looks::of(b"<img><img><img>")));
        assert!(!shell.gained(&shell));
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(html in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Looks::of(&html).needs_browser();
        }

        #[test]
        fn no_tags_make_it_panic(html in "(</?(div id=root|script|noscript|title|p|br|app-root|template)/?>|a| |<!--|-->){0,40}") {
            let _ = Looks::of(html.as_bytes()).needs_browser();
        }
    }
}
