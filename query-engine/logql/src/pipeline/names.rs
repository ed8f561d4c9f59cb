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

/// The label of a member `key` inside an object whose own label is `prefix`, as the `json` parser names it.
pub(crate) fn sanitized_name(prefix: &str, key: &str) -> String {
    let mut name = prefix.to_owned();
    if !name.is_empty() && !key.trim().is_empty() {
        name.push('_');
    }
    push_sanitized(key, &mut name);
    name
}
