//! Label names made from keys (`sanitizeLabelKey` in Loki's pkg/logql/log/util.go).

/// Appends `key` with everything outside `[A-Za-z0-9_]` as `_`; a digit at the very start of `out` gets a `_` before it.
pub(super) fn push_sanitized(key: &str, out: &mut String) {
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    // Most keys are names already.
    if key.bytes().all(is_of_names) && !(out.is_empty() && key.starts_with(|c: char| c.is_ascii_digit())) {
        out.push_str(key);
        return;
    }
    let key = key.trim();
    if out.is_empty() && key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    for c in key.chars() {
        out.push(if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    }
}

/// Which names there may be among some: a bit for each, by its length and three of its bytes. Most names that are not
/// there are told by it at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NameFilter([u64; 4]);

impl NameFilter {
    pub(super) fn insert(&mut self, name: &str) {
        let (word, bit) = Self::place(name);
        self.0[word] |= bit;
    }

    /// False only for a name that was not inserted.
    pub(super) fn may_have(&self, name: &str) -> bool {
        let (word, bit) = Self::place(name);
        self.0[word] & bit != 0
    }

    fn place(name: &str) -> (usize, u64) {
        let bytes = name.as_bytes();
        let at = |index: usize| usize::from(bytes.get(index).copied().unwrap_or(0));
        let mixed =
            at(0) * 7 + at(bytes.len() / 2) * 31 + at(bytes.len().saturating_sub(1)) * 61 + bytes.len() * 17;
        (mixed >> 6 & 3, 1 << (mixed & 63))
    }
}

/// Makes of the label of an object that of its member `key`, as the `json` parser names it.
pub(crate) fn push_member_name(key: &str, name: &mut String) {
    if !name.is_empty() && !key.trim().is_empty() {
        name.push('_');
    }
    push_sanitized(key, name);
}
