//! Texts that are looked for in a page before it is decoded.
//!
//! Page signatures let pages through that have all grams of a text and not the text. Of such a page only the lines are
//! decompressed: one pass puts their ASCII letters in lower case and one looks for the text, some 10 µs for 128 KiB where
//! decoding all columns takes 150. Invariant SEARCH-1: a page is ruled out only when no line of it has a text of each list.

use std::cell::RefCell;

use memchr::memmem::Finder;

/// Lists of texts: a line passes when it has one of each, whatever the case of ASCII letters.
#[derive(Debug)]
pub(crate) struct TextSearch(Vec<Vec<Finder<'static>>>);

/// What a thread keeps of its buffer: more than pages have but for those of one huge line.
const KEPT_BYTES: usize = 512 << 10;

thread_local! {
    /// A page in lower case: to use it again saves faulting its memory in.
    static FOLDED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl TextSearch {
    /// Looks for `lists`; nothing when every line passes.
    pub(crate) fn new(lists: &[Vec<String>]) -> Option<Self> {
        let finder = |text: &String| Finder::new(text.to_ascii_lowercase().as_bytes()).into_owned();
        let lists: Vec<Vec<Finder<'static>>> = lists
            .iter()
            .filter(|texts| !texts.is_empty())
            .map(|texts| texts.iter().map(finder).collect())
            .collect();
        (!lists.is_empty()).then_some(Self(lists))
    }

    /// Whether a line of `bytes` may pass: lines one after the other, and what else may be before them.
    pub(crate) fn may_pass(&self, bytes: &[u8]) -> bool {
        FOLDED.with_borrow_mut(|folded| {
            folded.clear();
            folded.extend(bytes.iter().map(u8::to_ascii_lowercase));
            let may_pass = self.0.iter().all(|texts| texts.iter().any(|text| text.find(folded).is_some()));
            folded.shrink_to(KEPT_BYTES);
            may_pass
        })
    }
}
