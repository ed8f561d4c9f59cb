//! Content encodings of request bodies: decoding under a cap, encoding for clients.
//!
//! Whole bodies go through one-shot codecs with contexts that each thread keeps, because inflating is the
//! largest cost of an OTLP request once its decoding is free: libdeflate inflates at twice the speed of zlib.
//!
//! - COMP-1: the decoded size never exceeds the caller's cap, and no buffer of more than the cap and 64 KiB is
//!   asked for on the word of a header alone; lz4 frames bring block buffers of up to 8 MiB on top.
//! - COMP-2: what a header claims about the decoded size is believed only as far as the format can expand.
//!
//! The names are those that confighttp of the OpenTelemetry collector takes (config/confighttp/compression.go);
//! it decodes `deflate` as zlib, while Loki's push endpoint takes `deflate` for the raw form.

mod buffers;

use std::cell::RefCell;
use std::fmt;
use std::io::{Read, Write};

use bytes::Bytes;
use libdeflater::{CompressionLvl, DecompressionError, Decompressor};
use memchr::memmem;
use model::ErrorKind;
use zstd::zstd_safe;

use self::buffers::BUFFERS;

/// Content-Encoding names that [`Encoding::from_name`] takes, besides the empty one.
pub const SUPPORTED: &str = "identity, gzip, zstd, zlib, deflate, snappy, x-snappy-framed, lz4";

/// Smallest first guess of a decoded size, bytes.
const FIRST_GUESS_BYTES_MIN: usize = 4 * 1024;

/// First guess of how far a body without a size hint expands; telemetry reaches 4 to 10.
const FIRST_GUESS_RATIO: usize = 8;

/// Most that deflate can expand: 258 bytes from two bits, as its specification's length codes allow.
const DEFLATE_RATIO_MAX: usize = 1032;

/// Most that a snappy block can expand: 64 bytes from a three-byte copy, rounded up.
const SNAPPY_RATIO_MAX: usize = 22;

/// Most that zstd can expand: a block of 128 KiB from a header and one repeated byte.
const ZSTD_RATIO_MAX: usize = 32 * 1024;

/// Header and trailer of the shortest gzip member.
const GZIP_FRAME_BYTES: usize = 18;

/// Magic number and method that every gzip member starts with (RFC 1952, section 2.3).
const GZIP_MEMBER_START: &[u8] = b"\x1f\x8b\x08";

/// Step in which streaming decoders read, bytes.
const READ_BYTES: usize = 64 * 1024;

/// First chunk of every framed snappy stream (framing format description, section 4.1).
const SNAPPY_STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// `ZSTD_error_dstSize_tooSmall`, a number that zstd_errors.h declares stable.
const ZSTD_DST_TOO_SMALL: usize = 70;

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes as they are.
    Identity,
    /// gzip, also with several members.
    Gzip,
    /// zstd, also with several frames.
    Zstd,
    /// Deflate in a zlib envelope: the names `zlib` and `deflate`.
    Zlib,
    /// Deflate without envelope: what Loki's push endpoint calls `deflate`.
    RawDeflate,
    /// Snappy; encodes the block format and decodes both formats.
    Snappy,
    /// Snappy in the framing format.
    SnappyFramed,
    /// lz4 frames.
    Lz4,
}

/// Why a body was not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompressionError {
    /// The encoding's name is not one of [`SUPPORTED`].
    Unsupported {
        /// The name as it came.
        name: String,
    },
    /// The bytes are not what the encoding says.
    Corrupt {
        /// Which encoding, as its Content-Encoding name.
        encoding: &'static str,
        /// What the codec says.
        detail: String,
    },
    /// The decoded body would be larger than allowed.
    TooLarge {
        /// Bytes allowed.
        cap_bytes: usize,
    },
}

impl CompressionError {
    /// All three are the sender's fault; a receiver may answer 413 to `TooLarge` and 415 to `Unsupported`.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    #[cold]
    fn corrupt(encoding: Encoding, detail: impl fmt::Display) -> Self {
        Self::Corrupt { encoding: encoding.name(), detail: detail.to_string() }
    }
}

impl fmt::Display for CompressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { name } => {
                write!(f, "unsupported content encoding {name:?}, supported are {SUPPORTED}")
            }
            Self::Corrupt { encoding, detail } => write!(f, "body is not valid {encoding}: {detail}"),
            Self::TooLarge { cap_bytes } => {
                write!(f, "decompressed body is larger than the allowed {cap_bytes} bytes")
            }
        }
    }
}

impl std::error::Error for CompressionError {}

/// Decodes `body`, encoded as the Content-Encoding `name` says, to at most `cap_bytes`.
pub fn decode(name: &str, body: &Bytes, cap_bytes: usize) -> Result<Bytes, CompressionError> {
    Encoding::from_name(name)?.decode(body, cap_bytes)
}

/// Encodes `body` as the Content-Encoding `name` says; see [`Encoding::encode`] for `level`.
pub fn encode(name: &str, level: Option<i32>, body: &[u8]) -> Result<Vec<u8>, CompressionError> {
    Ok(Encoding::from_name(name)?.encode(level, body))
}

impl Encoding {
    /// The encoding of a Content-Encoding header or of a collector's `compression` key; names are matched
    /// without regard to case, the empty name is the identity.
    pub fn from_name(name: &str) -> Result<Self, CompressionError> {
        const NAMES: [(&str, Encoding); 9] = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("zstd", Encoding::Zstd),
            ("zlib", Encoding::Zlib),
            ("deflate", Encoding::Zlib),
            ("snappy", Encoding::Snappy),
            ("x-snappy-framed", Encoding::SnappyFramed),
            ("lz4", Encoding::Lz4),
        ];
        match NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, encoding)) => Ok(*encoding),
            None => Err(CompressionError::Unsupported { name: name.to_owned() }),
        }
    }

    /// The Content-Encoding name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zlib | Self::RawDeflate => "deflate",
            Self::Snappy => "snappy",
            Self::SnappyFramed => "x-snappy-framed",
            Self::Lz4 => "lz4",
        }
    }

    /// Decodes `body` to at most `cap_bytes`; the identity shares the bytes.
    pub fn decode(self, body: &Bytes, cap_bytes: usize) -> Result<Bytes, CompressionError> {
        match self {
            Self::Identity if body.len() <= cap_bytes => Ok(body.clone()),
            Self::Identity => Err(CompressionError::TooLarge { cap_bytes }),
            Self::Gzip => gunzip(body, cap_bytes),
            Self::Zlib => inflate(self, body, cap_bytes, |codec, from, to| codec.zlib_decompress(from, to)),
            Self::RawDeflate => {
                inflate(self, body, cap_bytes, |codec, from, to| codec.deflate_decompress(from, to))
            }
            Self::Zstd => unzstd(body, cap_bytes),
            Self::Snappy if !body.starts_with(SNAPPY_STREAM_IDENTIFIER) => unsnap(body, cap_bytes),
            Self::Snappy | Self::SnappyFramed => {
                read_capped(self, snap::read::FrameDecoder::new(&body[..]), cap_bytes)
            }
            Self::Lz4 => {
                read_capped(self, Lz4Frames(lz4_flex::frame::FrameDecoder::new(&body[..])), cap_bytes)
            }
        }
    }

    /// Encodes `body`. `level` is the codec's own (gzip, zlib and deflate 1 to 12, zstd 1 to 22; clamped) and
    /// means nothing to snappy and lz4; without it gzip takes 6 and zstd 3, as the collector does.
    pub fn encode(self, level: Option<i32>, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Identity => body.to_vec(),
            Self::Gzip | Self::Zlib | Self::RawDeflate => self.deflate(level, body),
            Self::Zstd => with_zstd_compressor(level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL), |codec| {
                codec.compress(body).expect("the output buffer has zstd's own upper bound")
            }),
            Self::Snappy => snap::raw::Encoder::new()
                .compress_vec(body)
                .expect("bodies stay below the 4 GiB that a snappy block can hold"),
            Self::SnappyFramed => write_all(snap::write::FrameEncoder::new(Vec::new()), body, |writer| {
                writer.into_inner().expect("writing to memory does not fail")
            }),
            Self::Lz4 => write_all(lz4_flex::frame::FrameEncoder::new(Vec::new()), body, |writer| {
                writer.finish().expect("writing to memory does not fail")
            }),
        }
    }

    fn deflate(self, level: Option<i32>, body: &[u8]) -> Vec<u8> {
        const LEVEL_MAX: i32 = 12;
        let level = level.map_or_else(CompressionLvl::default, |level| {
            CompressionLvl::new(level.clamp(1, LEVEL_MAX)).expect("1 to 12 are libdeflate's levels")
        });
        let mut codec = libdeflater::Compressor::new(level);
        let bound = match self {
            Self::Gzip => codec.gzip_compress_bound(body.len()),
            Self::Zlib => codec.zlib_compress_bound(body.len()),
            _ => codec.deflate_compress_bound(body.len()),
        };
        let mut out = vec![0; bound];
        let len = match self {
            Self::Gzip => codec.gzip_compress(body, &mut out),
            Self::Zlib => codec.zlib_compress(body, &mut out),
            _ => codec.deflate_compress(body, &mut out),
        };
        out.truncate(len.expect("the output buffer has libdeflate's own upper bound"));
        out
    }
}

/// Gives up the memory that is kept for bodies to come.
pub fn forget_buffers() {
    BUFFERS.forget();
}

thread_local! {
    /// Contexts cost tens to hundreds of KiB to set up, a request body often less to decode.
    static INFLATE: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static UNZSTD: RefCell<zstd_safe::DCtx<'static>> = RefCell::new(zstd_safe::DCtx::create());
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
}

fn with_zstd_compressor<R>(level: i32, run: impl FnOnce(&mut zstd::bulk::Compressor<'static>) -> R) -> R {
    let level = level.clamp(1, *zstd::compression_level_range().end());
    ZSTD.with_borrow_mut(|slot| {
        let (at, codec) = slot.get_or_insert_with(|| {
            (level, zstd::bulk::Compressor::new(level).expect("the level is within zstd's range"))
        });
        if *at != level {
            codec.set_compression_level(level).expect("the level is within zstd's range");
            *at = level;
        }
        run(codec)
    })
}

/// Outcome of decoding into a buffer of a guessed size.
enum Attempt {
    Done(usize),
    TooSmall,
    Corrupt(CompressionError),
}

impl Attempt {
    fn of_inflate(encoding: Encoding, result: Result<usize, DecompressionError>) -> Self {
        match result {
            Ok(len) => Self::Done(len),
            Err(DecompressionError::InsufficientSpace) => Self::TooSmall,
            Err(error @ DecompressionError::BadData) => {
                Self::Corrupt(CompressionError::corrupt(encoding, error))
            }
        }
    }
}

/// Decodes into ever larger buffers, from `first` to the cap; a body that does not fit the cap is too large.
/// Starting over is cheap: with steps of four, all failed attempts together cost a third of the last one.
fn decode_growing(
    first: usize,
    cap_bytes: usize,
    mut attempt: impl FnMut(&mut [u8]) -> Attempt,
) -> Result<Bytes, CompressionError> {
    let mut size = first.min(cap_bytes);
    loop {
        let mut out = BUFFERS.take(size);
        match attempt(out.as_mut()) {
            Attempt::Done(len) if size / 2 > len => return Ok(Bytes::copy_from_slice(&out.as_ref()[..len])),
            Attempt::Done(len) => return Ok(out.into_bytes(len)),
            Attempt::TooSmall if size == cap_bytes => return Err(CompressionError::TooLarge { cap_bytes }),
            Attempt::TooSmall => size = size.saturating_mul(4).min(cap_bytes),
            Attempt::Corrupt(error) => return Err(error),
        }
    }
}

fn first_guess(body: &[u8]) -> usize {
    body.len().saturating_mul(FIRST_GUESS_RATIO).max(FIRST_GUESS_BYTES_MIN)
}

fn inflate(
    encoding: Encoding,
    body: &[u8],
    cap_bytes: usize,
    run: impl Fn(&mut Decompressor, &[u8], &mut [u8]) -> Result<usize, DecompressionError>,
) -> Result<Bytes, CompressionError> {
    INFLATE.with_borrow_mut(|codec| {
        decode_growing(first_guess(body), cap_bytes, |out| {
            Attempt::of_inflate(encoding, run(codec, body, out))
        })
    })
}

/// Decodes gzip. The trailer of a body with one member says its size, so one attempt is enough. libdeflate stops
/// after the first member without a word, so anything that may be more than one, and whatever else does not fit
/// (a size past 4 GiB, bytes behind the end), goes through a streaming decoder.
fn gunzip(body: &[u8], cap_bytes: usize) -> Result<Bytes, CompressionError> {
    let encoding = Encoding::Gzip;
    if body.len() < GZIP_FRAME_BYTES {
        return Err(CompressionError::corrupt(encoding, format_args!("{} bytes are too few", body.len())));
    }
    let (_, size) = body.split_last_chunk().expect("checked to have at least 18 bytes");
    let size = u32::from_le_bytes(*size) as usize;
    let may_be_one_member = memmem::find(&body[1..], GZIP_MEMBER_START).is_none();
    if may_be_one_member && size <= cap_bytes && size <= body.len().saturating_mul(DEFLATE_RATIO_MAX) {
        let mut out = BUFFERS.take(size);
        if INFLATE.with_borrow_mut(|codec| codec.gzip_decompress(body, out.as_mut())) == Ok(size) {
            return Ok(out.into_bytes(size));
        }
    }
    read_capped(encoding, flate2::read::MultiGzDecoder::new(body), cap_bytes)
}

fn unzstd(body: &[u8], cap_bytes: usize) -> Result<Bytes, CompressionError> {
    let claimed = zstd_safe::get_frame_content_size(body).ok().flatten();
    // A frame after the first adds to the size, so the claim is a hint also when it is true.
    let first = match claimed.and_then(|size| usize::try_from(size).ok()) {
        Some(size) if size > cap_bytes => return Err(CompressionError::TooLarge { cap_bytes }),
        Some(size) if size > 0 => size.min(body.len().saturating_mul(ZSTD_RATIO_MAX)),
        _ => first_guess(body),
    };
    UNZSTD.with_borrow_mut(|codec| {
        decode_growing(first, cap_bytes, |out| match codec.decompress(out, body) {
            Ok(len) => Attempt::Done(len),
            Err(code) if code.wrapping_neg() == ZSTD_DST_TOO_SMALL => Attempt::TooSmall,
            Err(code) => {
                Attempt::Corrupt(CompressionError::corrupt(Encoding::Zstd, zstd_safe::get_error_name(code)))
            }
        })
    })
}

fn unsnap(body: &[u8], cap_bytes: usize) -> Result<Bytes, CompressionError> {
    let corrupt = |detail: &dyn fmt::Display| CompressionError::corrupt(Encoding::Snappy, detail);
    let len = snap::raw::decompress_len(body).map_err(|error| corrupt(&error))?;
    if len > body.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(corrupt(&format_args!("{} bytes cannot hold the claimed {len}", body.len())));
    }
    if len > cap_bytes {
        return Err(CompressionError::TooLarge { cap_bytes });
    }
    let mut out = BUFFERS.take(len);
    let len = snap::raw::Decoder::new().decompress(body, out.as_mut()).map_err(|error| corrupt(&error))?;
    Ok(out.into_bytes(len))
}

/// Reads a streaming decoder to its end, or to one byte past the cap.
fn read_capped(
    encoding: Encoding,
    mut reader: impl Read,
    cap_bytes: usize,
) -> Result<Bytes, CompressionError> {
    let limit = cap_bytes.saturating_add(1);
    let mut out = Vec::new();
    let mut len = 0;
    loop {
        if len == out.len() {
            out.resize((len * 2).max(READ_BYTES).min(limit), 0);
        }
        match reader.read(&mut out[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CompressionError::corrupt(encoding, error)),
        }
        if len > cap_bytes {
            return Err(CompressionError::TooLarge { cap_bytes });
        }
    }
    out.truncate(len);
    Ok(out.into())
}

/// Reads one lz4 frame after the other, where the decoder calls the end of each the end.
struct Lz4Frames<'a>(lz4_flex::frame::FrameDecoder<&'a [u8]>);

impl Read for Lz4Frames<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let before = self.0.get_ref().len();
            let read = self.0.read(out)?;
            // Without progress the end is the end.
            if read > 0 || self.0.get_ref().is_empty() || self.0.get_ref().len() == before {
                return Ok(read);
            }
        }
    }
}

fn write_all<W: Write>(mut writer: W, body: &[u8], finish: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
    writer.write_all(body).expect("writing to memory does not fail");
    finish(writer)
}

#[cfg(test)]
mod tests;
