//! Decompresses request bodies under the memory budget.
//!
//! Invariant ADMIT-2: room is reserved before a decoder may use it. The first attempt gets what the body claims or a
//! usual ratio; one that does not fit gets more only if the budget has it, up to the receiver's cap. So small bodies
//! that grow large, however many come at a time, cannot take more memory than the budget has.

use bytes::Bytes;
use pipelines::PipelineError;
use runtime::Reservation;
use wire::compression::{CompressionError, Encoding};

/// Why a body was not decompressed.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The budget has no room now; carries a retry hint.
    NoMemory(PipelineError),
    /// The body is not what its encoding says, or larger than the cap.
    Wrong(CompressionError),
}

/// Smallest room of a first attempt, bytes.
const ROOM_MIN: usize = 4 << 10;
/// Room of a first attempt as a multiple of the body; telemetry expands 4 to 10 times.
const ROOM_RATIO: usize = 8;
/// Most that deflate expands.
const DEFLATE_RATIO_MAX: usize = 1032;
/// Step from one attempt to the next; all failed attempts together cost a third of the last one.
const ROOM_STEP: usize = 4;
/// Largest block of an lz4 frame, bytes; its decoder holds one of them before and one after decoding.
const LZ4_BLOCK_BYTES_MAX: usize = 4 << 20;

/// Decodes `body` to at most `cap` bytes. `reservation` covers the body before, the result afterwards.
pub(crate) fn decode(
    encoding: Encoding,
    body: &Bytes,
    cap: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, DecodeError> {
    if encoding == Encoding::Identity {
        return encoding.decode(body, cap).map_err(DecodeError::Wrong);
    }
    let scratch = if encoding == Encoding::Lz4 { 2 * LZ4_BLOCK_BYTES_MAX } else { 0 };
    let mut room = first_room(encoding, body).min(cap);
    loop {
        pipelines::resize(reservation, (body.len() + room + scratch) as u64)
            .map_err(DecodeError::NoMemory)?;
        match encoding.decode(body, room) {
            Ok(decoded) => {
                // Never more than is held now, so the budget cannot say no.
                let _ = reservation.try_resize(decoded.len() as u64);
                return Ok(decoded);
            }
            Err(CompressionError::TooLarge { .. }) if room < cap => {
                room = room.saturating_mul(ROOM_STEP).min(cap);
            }
            Err(error) => return Err(DecodeError::Wrong(error)),
        }
    }
}

/// A gzip body ends with its decoded size (RFC 1952), which is believed as far as deflate can expand.
fn first_room(encoding: Encoding, body: &[u8]) -> usize {
    let usual = body.len().saturating_mul(ROOM_RATIO).max(ROOM_MIN);
    match (encoding, body.last_chunk()) {
        (Encoding::Gzip, Some(size)) => {
            let claimed = u32::from_le_bytes(*size) as usize;
            claimed.clamp(ROOM_MIN, body.len().saturating_mul(DEFLATE_RATIO_MAX).max(ROOM_MIN))
        }
        _ => usual,
    }
}

#[cfg(test)]
mod tests;
