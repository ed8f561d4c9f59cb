//! Tenants: the first key of everything that is stored.

use std::fmt;
use std::sync::Arc;

/// A valid tenant id. Rules of Loki (dskit/tenant): 1–150 bytes of `[A-Za-z0-9!_.*'()-]`, not `.` or `..`, so
/// that an id is always a safe folder name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// A tenant id breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// Empty, `.` or `..`.
    #[error("tenant id {0:?} is not allowed")]
    Reserved(String),
    /// Over 150 bytes.
    #[error("tenant id has {0} bytes, at most 150 are allowed")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("tenant id {id:?} contains {character:?}; allowed are letters, digits and !_.*'()-")]
    BadCharacter {
        /// The id.
        id: String,
        /// The first character that is not allowed.
        character: char,
    },
}

const ID_BYTES_MAX: usize = 150;

impl TenantId {
    /// Name of the tenant of requests that name none.
    pub const DEFAULT: &str = "default";

    /// Checks and takes an id.
    pub fn new(id: &str) -> Result<Self, TenantIdError> {
        if matches!(id, "" | "." | "..") {
            return Err(TenantIdError::Reserved(id.to_owned()));
        }
        if id.len() > ID_BYTES_MAX {
            return Err(TenantIdError::TooLong(id.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!_.*'()-".contains(c);
        if let Some(character) = id.chars().find(|c| !allowed(*c)) {
            return Err(TenantIdError::BadCharacter { id: id.to_owned(), character });
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{TenantId, TenantIdError};

    #[test]
    fn ids_follow_the_rules_of_loki() {
        assert_eq!(TenantId::new("team-a_1.(x)!*'").expect("allowed").as_str(), "team-a_1.(x)!*'");
        assert_eq!(TenantId::new(".."), Err(TenantIdError::Reserved("..".into())));
        assert_eq!(TenantId::new(&"a".repeat(151)), Err(TenantIdError::TooLong(151)));
        assert!(TenantId::new("a/b").expect_err("a slash").to_string().contains("'/'"));
    }
}
