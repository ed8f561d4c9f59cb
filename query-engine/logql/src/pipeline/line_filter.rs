//! Line filters, one line at a time (pkg/logql/log/filter.go). `page_search` runs them over whole pages.

use memchr::memmem::Finder;
use regex::Regex;

use super::ip::IpMatcher;
use super::literals::{folded_literals, required_literals, selectivity};
use super::pattern::Pattern;
use crate::go_regex;
use crate::syntax::{LineFilter, LineOp, LineTerm};

/// One alternative of a filter.
#[derive(Clone, Debug)]
pub(crate) enum LineTest {
    Contains(Box<Finder<'static>>),
    Regex(Regex, RegexTexts),
    Pattern(Pattern),
    Ip(IpMatcher),
}

/// What is certain of the lines that a regular expression matches.
#[derive(Clone, Debug)]
pub(crate) struct RegexTexts {
    /// They contain one of these.
    required: Option<Vec<Vec<u8>>>,
    /// They contain one of each list, in lower case.
    folded: Vec<Vec<String>>,
}

/// A filter: any of the tests, or none of them.
#[derive(Clone, Debug)]
pub(crate) struct CompiledLineFilter {
    pub(crate) negative: bool,
    pub(crate) tests: Vec<LineTest>,
}

impl CompiledLineFilter {
    pub(crate) fn compile(filter: &LineFilter) -> Result<Self, String> {
        let tests =
            filter.terms.iter().map(|term| LineTest::compile(filter.op, term)).collect::<Result<_, _>>()?;
        Ok(Self { negative: filter.op.is_negative(), tests })
    }

    pub(crate) fn matches(&self, line: &str) -> bool {
        self.tests.iter().any(|test| test.matches(line)) != self.negative
    }

    /// Texts of which a line must contain one to pass; `None` when nothing can be said.
    pub(crate) fn required(&self) -> Option<Vec<Vec<u8>>> {
        if self.negative {
            return None;
        }
        let mut all = Vec::new();
        for test in &self.tests {
            all.extend(test.required()?);
        }
        Some(all)
    }

    /// Lists of texts: every line that passes contains one text of each, whatever the case of its ASCII letters.
    pub(crate) fn contained_texts(&self) -> Vec<Vec<String>> {
        if self.negative {
            return Vec::new();
        }
        if let [test] = self.tests.as_slice() {
            return test.contained_texts();
        }
        let best =
            |test: &LineTest| test.contained_texts().into_iter().max_by_key(|texts| selectivity(texts));
        let any: Option<Vec<Vec<String>>> = self.tests.iter().map(best).collect();
        any.map(|lists| lists.concat()).into_iter().collect()
    }
}

impl LineTest {
    fn compile(op: LineOp, term: &LineTerm) -> Result<Self, String> {
        match (op, term) {
            (LineOp::Contains | LineOp::NotContains, LineTerm::Text(text)) => {
                Ok(Self::Contains(Box::new(Finder::new(text.as_bytes()).into_owned())))
            }
            (LineOp::Contains | LineOp::NotContains, LineTerm::Ip(pattern)) => {
                IpMatcher::parse(pattern).map(Self::Ip)
            }
            (_, LineTerm::Ip(_)) => Err("ip: invalid operation".to_owned()),
            (LineOp::Regex | LineOp::NotRegex, LineTerm::Text(pattern)) => {
                let regex = go_regex::compile(pattern)?;
                let (required, folded) = (required_literals(pattern), folded_literals(pattern));
                Ok(Self::Regex(regex, RegexTexts { required, folded }))
            }
            (LineOp::Pattern | LineOp::NotPattern, LineTerm::Text(pattern)) => {
                Pattern::for_filter(pattern).map(Self::Pattern)
            }
        }
    }

    fn matches(&self, line: &str) -> bool {
        match self {
            Self::Contains(finder) => finder.find(line.as_bytes()).is_some(),
            Self::Regex(regex, _) => regex.is_match(line),
            Self::Pattern(pattern) => pattern.is_match(line),
            Self::Ip(matcher) => matcher.found_in(line),
        }
    }

    fn required(&self) -> Option<Vec<Vec<u8>>> {
        let texts = match self {
            Self::Contains(finder) => vec![finder.needle().to_vec()],
            Self::Regex(_, texts) => texts.required.clone()?,
            Self::Pattern(pattern) => vec![pattern.literals().max_by_key(|literal| literal.len())?.to_vec()],
            Self::Ip(_) => return None,
        };
        texts.iter().all(|text| !text.is_empty()).then_some(texts)
    }

    fn contained_texts(&self) -> Vec<Vec<String>> {
        let alone = |text: &[u8]| {
            let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
            Some(vec![text.to_ascii_lowercase()])
        };
        match self {
            Self::Contains(finder) => alone(finder.needle()).into_iter().collect(),
            Self::Regex(_, texts) => texts.folded.clone(),
            Self::Pattern(pattern) => pattern.literals().filter_map(alone).collect(),
            Self::Ip(_) => Vec::new(),
        }
    }
}
