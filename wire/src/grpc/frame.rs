//! How a message is framed in a gRPC body (grpc/grpc doc/PROTOCOL-HTTP2.md): a flag that says whether it is compressed, its
//! length, and its bytes.

use bytes::Bytes;

use crate::compression::Encoding;

/// Bytes in front of a message: a compression flag and a big-endian length.
pub const PREFIX_BYTES: usize = 5;

/// What stands in front of a message of `bytes`.
pub fn prefix(is_compressed: bool, bytes: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = bytes.to_be_bytes();
    [u8::from(is_compressed), a, b, c, d]
}

/// Flag and length of the message that begins here; `None` while its prefix has not come whole.
pub fn announced(body: &[u8]) -> Option<(u8, u32)> {
    let [flag, length @ ..] = body.first_chunk::<PREFIX_BYTES>()?;
    Some((*flag, u32::from_be_bytes(*length)))
}

/// The one message of a server's answer, decompressed to at most `bytes_max`; no frame at all is an empty message. `None`
/// for anything else. `encoding` is the answer's `grpc-encoding`.
pub fn answer_message(body: &Bytes, encoding: &str, bytes_max: usize) -> Option<Bytes> {
    if body.is_empty() {
        return Some(Bytes::new());
    }
    let (flag, length) = announced(body)?;
    let message = body.slice(PREFIX_BYTES..);
    if length as usize != message.len() {
        return None;
    }
    match flag {
        0 => Some(message),
        1 => Encoding::from_name(encoding).ok()?.decode(&message, bytes_max).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
