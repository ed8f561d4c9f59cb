//! gRPC messages on the wire, with the compressions that Thanos uses.
//!
//! tonic has no snappy, which a receive router uses unless told otherwise, so framing is done here: a flag, a big-endian
//! length and the message (grpc/grpc doc/PROTOCOL-HTTP2.md). Thanos' `snappy` is the framing format of snappy
//! (pkg/extgrpc/snappy). Invariant GRPC-1: a message is never larger than the reader's cap, before or after
//! decompression.

pub(crate) mod client;
pub(crate) mod server;

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use runtime::{MemoryBudget, Reservation};
use tonic::{Code, Status};
use wire::compression::{CompressionError, Encoding};
use wire::grpc::{PREFIX_BYTES, announced, prefix};

/// Messages below this are sent as they are: compression would cost more than it saves.
const COMPRESS_BYTES_MIN: usize = 256;

/// Room of a first attempt to decompress: a multiple of the message, at least so many bytes; and the step to the next.
const ROOM_RATIO: usize = 8;
const ROOM_MIN: usize = 4 << 10;
const ROOM_STEP: usize = 4;

/// What `grpc-accept-encoding` says.
pub(crate) const ACCEPTED: &str = "gzip,snappy,zstd";

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
    /// `snappy`, in its framing format.
    Snappy,
}

impl Compression {
    /// By the name that `grpc-encoding` and Thanos' configs have.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "" | "identity" | "none" => Self::None,
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            "snappy" => Self::Snappy,
            _ => return None,
        })
    }

    /// The value of `grpc-encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }

    fn encoding(self) -> Option<Encoding> {
        Some(match self {
            Self::None => return None,
            Self::Gzip => Encoding::Gzip,
            Self::Zstd => Encoding::Zstd,
            Self::Snappy => Encoding::SnappyFramed,
        })
    }
}

/// Appends `message` with its prefix to `out`.
pub(crate) fn put_message(out: &mut Vec<u8>, message: &[u8], compression: Compression) -> Result<(), Status> {
    let encoding = compression.encoding().filter(|_| message.len() >= COMPRESS_BYTES_MIN);
    let packed;
    let (is_packed, bytes) = match encoding {
        None => (false, message),
        Some(encoding) => {
            // As grpc-go: its fastest gzip; the others have one level.
            packed = encoding.encode((encoding == Encoding::Gzip).then_some(1), message);
            (true, &packed[..])
        }
    };
    let length = u32::try_from(bytes.len())
        .map_err(|_| Status::internal(format!("a message of {} bytes, gRPC allows 4 GiB", bytes.len())))?;
    out.extend_from_slice(&prefix(is_packed, length));
    out.extend_from_slice(bytes);
    Ok(())
}

/// The room that one request takes.
#[derive(Debug)]
pub(crate) struct Room {
    held: Reservation,
    free_bytes: usize,
}

impl Room {
    /// Room in a budget; up to `free_bytes` are taken even from one that has none, so that a process that is short of
    /// memory is still known to live.
    pub(crate) fn new(budget: &Arc<MemoryBudget>, free_bytes: usize) -> Self {
        Self { held: budget.reserve_unchecked(0), free_bytes }
    }

    /// Grows to `bytes`, or refuses with a status after which routers send it again.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Status> {
        let is_enough = self.held.bytes() >= bytes as u64 || bytes <= self.free_bytes;
        if is_enough || self.held.try_resize(bytes as u64) {
            return Ok(());
        }
        Err(Status::unavailable("data refused due to high memory usage"))
    }

    /// Gives back what is beyond `bytes`.
    fn shrink(&mut self, bytes: usize) {
        if self.held.bytes() > bytes as u64 {
            // Less than is held: the budget cannot say no.
            let _ = self.held.try_resize(bytes as u64);
        }
    }
}

/// Takes the bytes of a body as they come and gives the messages in it.
#[derive(Debug)]
pub(crate) struct MessageReader {
    buffer: BytesMut,
    compression: Compression,
    message_bytes_max: usize,
}

impl MessageReader {
    pub(crate) fn new(compression: Compression, message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), compression, message_bytes_max }
    }

    /// Takes the next bytes of the body.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Whether the body may end here.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of the first message on its way, with its prefix; `None` until its prefix is there.
    pub(crate) fn awaited(&self) -> Result<Option<usize>, Status> {
        let Some((_, length)) = announced(&self.buffer) else { return Ok(None) };
        let length = length as usize;
        if length > self.message_bytes_max {
            return Err(self.too_large(length));
        }
        Ok(Some(PREFIX_BYTES + length))
    }

    /// The next whole message, decompressed.
    pub(crate) fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some((flag, message)) = self.next_packed()? else { return Ok(None) };
        self.unpack(flag, &message, self.message_bytes_max).map(Some)
    }

    /// As [`MessageReader::next_message`]; `room` covers the message as it came, and grows to cover it decompressed before
    /// a decoder may use so much.
    pub(crate) fn next_message_within(&mut self, room: &mut Room) -> Result<Option<Bytes>, Status> {
        let Some((flag, packed)) = self.next_packed()? else { return Ok(None) };
        let mut cap = match flag {
            0 => packed.len(),
            _ => packed.len().saturating_mul(ROOM_RATIO).max(ROOM_MIN),
        };
        loop {
            cap = cap.min(self.message_bytes_max);
            if flag != 0 {
                room.grow(packed.len() + cap)?;
            }
            match self.unpack(flag, &packed, cap) {
                Err(status) if status.code() == Code::ResourceExhausted && cap < self.message_bytes_max => {
                    cap = cap.saturating_mul(ROOM_STEP);
                }
                Ok(message) => {
                    room.shrink(message.len());
                    return Ok(Some(message));
                }
                Err(status) => return Err(status),
            }
        }
    }

    /// The next whole message as it came, with its flag.
    fn next_packed(&mut self) -> Result<Option<(u8, Bytes)>, Status> {
        let Some(length) = self.awaited()? else { return Ok(None) };
        if self.buffer.len() < length {
            self.buffer.reserve(length - self.buffer.len());
            return Ok(None);
        }
        let mut message = self.buffer.split_to(length).freeze();
        let flag = message[0];
        message.advance(PREFIX_BYTES);
        Ok(Some((flag, message)))
    }

    /// A message of this flag, decompressed to at most `cap` bytes.
    fn unpack(&self, flag: u8, message: &Bytes, cap: usize) -> Result<Bytes, Status> {
        match (flag, self.compression.encoding()) {
            (0, _) => Ok(message.clone()),
            (1, None) => Err(Status::internal("grpc: compressed flag set with identity or empty encoding")),
            (1, Some(encoding)) => match encoding.decode(message, cap) {
                Ok(message) => Ok(message),
                Err(CompressionError::TooLarge { cap_bytes }) => Err(self.too_large(cap_bytes)),
                Err(error) => {
                    Err(Status::internal(format!("grpc: failed to decompress the message: {error}")))
                }
            },
            (flag, _) => Err(Status::internal(format!("grpc: received unexpected payload format {flag}"))),
        }
    }

    fn too_large(&self, length: usize) -> Status {
        let max = self.message_bytes_max;
        Status::new(
            Code::ResourceExhausted,
            format!("grpc: received message larger than max ({length} vs. {max})"),
        )
    }
}

#[cfg(test)]
mod tests;
