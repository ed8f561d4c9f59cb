//! Label names made from keys (`sanitizeLabelKey` in Loki's pkg/logql/log/util.go).

/// Appends `key` with everything outside `[A-Za-z0-9_]` as `_`; a digit at the very start of `out` gets a `_` before it.
pub(super) fn push_sanitized(key: &str, out: &mut String) {
    let key = key.trim();
    if out.is_empty() && key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    for c in key.chars() {
        out.push(if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    }
}
