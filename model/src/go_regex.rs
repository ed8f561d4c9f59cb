//! Regular expressions written for Go's RE2, run by the `regex` crate.
//!
//! The two dialects differ where users notice: in Go `\d`, `\w`, `\s` and `\b` are ASCII, a brace that starts no
//! repetition is an ordinary character, `\<` is an escaped `<`, and `[`, `&&`, `--`, `~~` mean nothing special inside
//! a class. `translate` rewrites a pattern so that it means here what it means there.

use regex::{Regex, RegexBuilder};

/// Cap on a compiled pattern, so that a query cannot make the server build a huge automaton.
const COMPILED_BYTES_MAX: usize = 10 << 20;

/// Compiles a Go pattern. The error is Go's text where the two engines agree on what is wrong.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(COMPILED_BYTES_MAX)
        .octal(true)
        .build()
        .map_err(|error| describe(pattern, &error))
}

/// Compiles a Go pattern that must match a whole text.
pub fn compile_anchored(pattern: &str) -> Result<Regex, String> {
    // The pattern is checked by itself first, so that `a)(b` is refused rather than closing our group.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

/// The error in Go's words, where users meet it often; otherwise the crate's reason in one line.
fn describe(pattern: &str, error: &regex::Error) -> String {
    let reason = match error {
        regex::Error::CompiledTooBig(limit) => format!("expression compiles to more than {limit} bytes"),
        _ => match regex_syntax::ParserBuilder::new().octal(true).build().parse(&translate(pattern)) {
            Err(regex_syntax::Error::Parse(error)) => {
                match syntax_reason(error.kind(), error.pattern(), error.span()) {
                    Ok(reason) => reason,
                    Err(whole) => return whole,
                }
            }
            Err(other) => other.to_string().lines().last().unwrap_or("invalid").trim().to_owned(),
            Ok(_) => "invalid".to_owned(),
        },
    };
    format!("error parsing regexp: {reason}: `{pattern}`")
}

/// Go's reason for a kind of error; `Err` holds a whole message that shows only a part of the pattern.
fn syntax_reason(
    kind: &regex_syntax::ast::ErrorKind,
    pattern: &str,
    span: &regex_syntax::ast::Span,
) -> Result<String, String> {
    use regex_syntax::ast::ErrorKind;
    let part = pattern.get(span.start.offset..span.end.offset).unwrap_or(pattern);
    let about_part = |reason: &str, part: &str| Err(format!("error parsing regexp: {reason}: `{part}`"));
    match kind {
        ErrorKind::GroupUnclosed => Ok("missing closing )".to_owned()),
        ErrorKind::GroupUnopened => Ok("unexpected )".to_owned()),
        ErrorKind::ClassUnclosed => {
            about_part("missing closing ]", pattern.get(span.start.offset..).unwrap_or(pattern))
        }
        ErrorKind::ClassRangeInvalid => about_part("invalid character class range", part),
        ErrorKind::RepetitionMissing => {
            let operator = pattern.get(span.end.offset..).and_then(|rest| rest.chars().next());
            about_part(
                "missing argument to repetition operator",
                &operator.map_or(part.to_owned(), String::from),
            )
        }
        ErrorKind::EscapeUnrecognized => about_part("invalid escape sequence", part),
        ErrorKind::EscapeUnexpectedEof => about_part("trailing backslash at end of expression", ""),
        ErrorKind::GroupNameDuplicate { .. } => Err(format!("duplicate extracted label name '{part}'")),
        ErrorKind::UnsupportedLookAround => about_part("invalid or unsupported Perl syntax", "(?"),
        other => Ok(other.to_string()),
    }
}

/// Rewrites a Go pattern into the dialect of the `regex` crate.
pub fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    // Position in `out` where the current class's first member would stand.
    let mut class_start = 0;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                rest = translate_escape(after, in_class, &mut out);
                continue;
            }
            '[' if in_class => {
                if let Some(end) = after.strip_prefix(':').and_then(|name| name.find(":]")) {
                    let named = &rest[..end + 4];
                    out.push_str(named);
                    rest = &rest[named.len()..];
                    continue;
                }
                out.push_str("\\[");
            }
            '[' => {
                in_class = true;
                out.push('[');
                rest = after;
                if let Some(tail) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = tail;
                }
                class_start = out.len();
                continue;
            }
            ']' if in_class && out.len() > class_start => {
                in_class = false;
                out.push(']');
            }
            ']' if in_class => out.push_str("\\]"),
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && out.len() > class_start && after.starts_with('-') => out.push_str("\\-"),
            '{' if !in_class && !starts_repetition(after) => out.push_str("\\{"),
            _ => out.push(c),
        }
        rest = after;
    }
    out
}

/// Writes the escape whose text after the backslash is `after`; returns what follows it.
fn translate_escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let class = match c {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some("\\t\\n\\x0c\\r "),
        _ => None,
    };
    let negated = match c {
        'D' => Some("[^0-9]"),
        'W' => Some("[^0-9A-Za-z_]"),
        'S' => Some("[^\\t\\n\\x0c\\r ]"),
        _ => None,
    };
    match (class, negated, c) {
        (Some(members), ..) if in_class => out.push_str(members),
        (Some(members), ..) => {
            out.push('[');
            out.push_str(members);
            out.push(']');
        }
        (_, Some(members), _) => out.push_str(members),
        (_, _, 'b' | 'B') if !in_class => {
            out.push_str("(?-u:\\");
            out.push(c);
            out.push(')');
        }
        (_, _, '<' | '>') => out.push(c),
        (_, _, 'Q') if !in_class => {
            let (literal, tail) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return tail;
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    rest
}

/// Whether the text after `{` makes it a repetition: `n}`, `n,}` or `n,m}`.
fn starts_repetition(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inside.split_once(',') {
        None => is_number(inside),
        Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
    }
}

#[cfg(test)]
mod tests {
    use super::{compile, compile_anchored};

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, expected) in [
            (r#"{"level":"error""#, r#"x {"level":"error"} y"#, true),
            (r"a{2}", "caat", true),
            (r"a{2,}b", "aaab", true),
            (r"\d+", "\u{0663}", false),
            (r"\w", "\u{e9}", false),
            (r"^\S+$", "a\u{a0}b", true),
            (r"[\w-]+@", "a-b@c", true),
            (r"[[:alpha:]]+\d", "abc1", true),
            (r"[a[]b", "[b", true),
            (r"[]a]", "]", true),
            (r"[^]a]", "b", true),
            (r"[a&&b]", "&", true),
            (r"[+--]", "-", true),
            (r"\bfoo\b", "a foo.", true),
            (r"\<foo", "<foo", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"(?i)ERROR", "an error", true),
            (r"(?P<x>\d{3})", "404", true),
            (r"a.b", "a\nb", false),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn anchored_patterns_match_the_whole_text_only() {
        let regex = compile_anchored("a|b").expect("valid");
        assert!(regex.is_match("b") && !regex.is_match("ab"));
        assert!(compile_anchored("a)(b").is_err());
    }

    #[test]
    fn a_bad_pattern_is_described_as_in_go() {
        for (pattern, expected) in [
            ("(a", "error parsing regexp: missing closing ): `(a`"),
            ("a)", "error parsing regexp: unexpected ): `a)`"),
            ("x[a", "error parsing regexp: missing closing ]: `[a`"),
            (r"a\q", r"error parsing regexp: invalid escape sequence: `\q`"),
            ("*a", "error parsing regexp: missing argument to repetition operator: `*`"),
            ("[z-a]", "error parsing regexp: invalid character class range: `z-a`"),
        ] {
            assert_eq!(compile(pattern).map(|_| ()), Err(expected.to_owned()), "{pattern}");
        }
    }
}
