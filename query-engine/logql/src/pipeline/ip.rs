//! `ip("…")`: finds IP addresses in free text and compares them with an address, a range or a prefix
//! (pkg/logql/log/ip.go).

use std::net::IpAddr;

/// What addresses match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpMatcher {
    /// `192.168.0.1`
    Address(IpAddr),
    /// `192.168.0.1-192.168.0.23`
    Range(IpAddr, IpAddr),
    /// `192.168.0.0/16`
    Prefix(IpAddr, u32),
}

impl IpMatcher {
    /// Reads a pattern.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        let invalid = || format!("ip: invalid pattern: {pattern:?}");
        if let Ok(address) = pattern.parse() {
            return Ok(Self::Address(address));
        }
        if let Some((address, bits)) = pattern.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| invalid())?;
            let bits: u32 = bits.parse().map_err(|_| invalid())?;
            let bits_max = if address.is_ipv4() { 32 } else { 128 };
            return if bits <= bits_max { Ok(Self::Prefix(address, bits)) } else { Err(invalid()) };
        }
        let (first, last) = pattern.split_once('-').ok_or_else(invalid)?;
        let first: IpAddr = first.parse().map_err(|_| invalid())?;
        let last: IpAddr = last.parse().map_err(|_| invalid())?;
        if first.is_ipv4() == last.is_ipv4() && first <= last {
            Ok(Self::Range(first, last))
        } else {
            Err(invalid())
        }
    }

    fn matches(self, address: IpAddr) -> bool {
        match self {
            Self::Address(wanted) => wanted == address,
            Self::Range(first, last) => {
                first.is_ipv4() == address.is_ipv4() && first <= address && address <= last
            }
            Self::Prefix(IpAddr::V4(prefix), bits) => match address {
                IpAddr::V4(address) => {
                    same_prefix(prefix.to_bits().into(), address.to_bits().into(), 32 - bits)
                }
                IpAddr::V6(_) => false,
            },
            Self::Prefix(IpAddr::V6(prefix), bits) => match address {
                IpAddr::V6(address) => same_prefix(prefix.to_bits(), address.to_bits(), 128 - bits),
                IpAddr::V4(_) => false,
            },
        }
    }

    /// Whether some address in the text matches.
    pub(crate) fn found_in(self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let is_address_char: fn(&u8) -> bool = if looks_like_v4(&bytes[at..]) {
                |b| b.is_ascii_digit() || *b == b'.'
            } else if looks_like_v6(&bytes[at..]) {
                |b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')
            } else {
                at += 1;
                continue;
            };
            let length = bytes[at..].iter().take_while(|b| is_address_char(b)).count();
            let candidate = &text[at..at + length];
            if candidate.parse().is_ok_and(|address| self.matches(address)) {
                return true;
            }
            at += length + 1;
        }
        false
    }
}

fn same_prefix(a: u128, b: u128, low_bits: u32) -> bool {
    a.checked_shr(low_bits).unwrap_or(0) == b.checked_shr(low_bits).unwrap_or(0)
}

fn looks_like_v4(bytes: &[u8]) -> bool {
    bytes.len() > 3 && bytes[0].is_ascii_digit() && bytes[1..4].contains(&b'.')
}

fn looks_like_v6(bytes: &[u8]) -> bool {
    if bytes.len() <= 4 {
        return false;
    }
    let digits = bytes[..5].iter().take_while(|b| b.is_ascii_hexdigit()).count();
    match digits {
        0 => bytes[0] == b':' && bytes[1] == b':' && bytes[2].is_ascii_hexdigit(),
        1..=4 => bytes[digits] == b':',
        _ => false,
    }
}
