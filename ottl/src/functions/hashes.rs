//! Hashes and ids.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{Args, Function, Kind, Prepared, converter, may, need};
use crate::convert::{from_hex, to_hex};
use crate::error::{Eval, RunError};
use crate::frame::Frame;
use crate::value::{Messages, Value};

pub(super) const TABLE: &[Function] = &[
    converter("SHA1", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&Sha1::digest(b)))
    }),
    converter("SHA256", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&Sha256::digest(b)))
    }),
    converter("SHA512", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&Sha512::digest(b)))
    }),
    converter("MD5", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&Md5::digest(b)))
    }),
    converter("XXH3", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&xxh3_64(b).to_be_bytes()))
    }),
    converter("XXH128", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&xxh3_128(b).to_be_bytes()))
    }),
    converter("Murmur3Hash", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| to_hex(&murmur3_32(b).to_le_bytes()))
    }),
    converter("Murmur3Hash128", &[need("target", Kind::Text)], |args, frame| {
        hash(args, frame, |b| {
            let (low, high) = murmur3_128(b);
            to_hex(&[low.to_le_bytes(), high.to_le_bytes()].concat())
        })
    }),
    converter("FNV", &[need("target", Kind::Text)], |args, frame| {
        let text = args.text(0, frame)?;
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Ok(Value::Int(text.bytes().fold(0xcbf2_9ce4_8422_2325, step) as i64))
    }),
    converter(
        "CommunityID",
        &[
            need("source_ip", Kind::Text),
            need("source_port", Kind::Int),
            need("destination_ip", Kind::Text),
            need("destination_port", Kind::Int),
            may("protocol", Kind::Text),
            may("seed", Kind::Int),
        ],
        community_id,
    ),
    converter("UUID", &[], |_, _| Ok(Value::text(uuid(rand::random(), 4)))),
    converter("UUIDv7", &[], |_, frame| {
        let ms = (frame.now_ns / 1_000_000) as u128;
        Ok(Value::text(uuid(rand::random::<u128>() >> 48 | ms << 80, 7)))
    }),
    converter("TraceID", &[need("target", Kind::BytesLike)], |args, frame| {
        id(args, frame, "TraceID").map(Value::TraceId)
    })
    .prepared(|args| check_id::<16>(args, "TraceID")),
    converter("SpanID", &[need("target", Kind::BytesLike)], |args, frame| {
        id(args, frame, "SpanID").map(Value::SpanId)
    })
    .prepared(|args| check_id::<8>(args, "SpanID")),
    converter("ProfileID", &[need("target", Kind::BytesLike)], |args, frame| {
        // Nothing in logs, metrics and spans holds one: it is a value that can only be compared.
        let id = id::<16>(args, frame, "ProfileID")?;
        Ok(Value::Messages(Messages { kind: "pprofile.ProfileID", items: vec![id.to_vec().into()] }))
    })
    .prepared(|args| check_id::<16>(args, "ProfileID")),
];

/// The community id of a flow, version 1 (github.com/corelight/community-id-spec): equal for both directions.
fn community_id<'p>(args: &'p Args, frame: &Frame<'p>) -> Eval<Value<'p>> {
    let end = |index: usize, name: &str| -> Eval<(Vec<u8>, u16)> {
        let text = args.text(index, frame)?;
        let port = args.int(index + 1, frame)?;
        let port = u16::try_from(port)
            .map_err(|_| RunError::new(format!("{name} port must be between 0 and 65535, got {port}")))?;
        let address: IpAddr =
            text.parse().map_err(|_| RunError::new(format!("invalid {name} IP: {text}")))?;
        let bytes = match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Ok((bytes, port))
    };
    let (source, destination) = (end(0, "source")?, end(2, "destination")?);
    let protocol: u8 = match args.is_given(4) {
        false => 6,
        true => match &*args.text(4, frame)? {
            "ICMP" => 1,
            "TCP" => 6,
            "UDP" => 17,
            "RSVP" => 46,
            "ICMP6" => 58,
            "SCTP" => 132,
            other => return Err(RunError::new(format!("unsupported protocol: {other}"))),
        },
    };
    let seed = if args.is_given(5) { args.int(5, frame)? } else { 0 };
    let seed = u16::try_from(seed)
        .map_err(|_| RunError::new(format!("seed must be between 0 and 65535, got {seed}")))?;
    // The shorter address first, then the smaller one, then the smaller port.
    let order = |end: &(Vec<u8>, u16)| (end.0.len(), end.clone());
    let (first, second) = match order(&source) > order(&destination) {
        true => (destination, source),
        false => (source, destination),
    };
    let mut flow = seed.to_be_bytes().to_vec();
    flow.extend_from_slice(&first.0);
    flow.extend_from_slice(&second.0);
    flow.extend_from_slice(&[protocol, 0]);
    flow.extend_from_slice(&first.1.to_be_bytes());
    flow.extend_from_slice(&second.1.to_be_bytes());
    Ok(Value::text(format!("1:{}", STANDARD.encode(Sha1::digest(&flow)))))
}

fn hash<'p>(args: &'p Args, frame: &Frame<'p>, digest: impl FnOnce(&[u8]) -> String) -> Eval<Value<'p>> {
    Ok(Value::text(digest(args.text(0, frame)?.as_bytes())))
}

/// 128 bits as a UUID of a version, variant RFC 9562.
fn uuid(bits: u128, version: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | version << 76 | 0x2 << 62;
    let hex = to_hex(&bits.to_be_bytes());
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// An id of N bytes, as they are or as hex.
fn id_of<const N: usize>(bytes: &[u8], function: &str) -> Result<[u8; N], String> {
    if let Ok(id) = bytes.try_into() {
        return Ok(id);
    }
    if bytes.len() == N * 2 {
        let decoded = str::from_utf8(bytes).ok().and_then(from_hex);
        let id = decoded.and_then(|bytes| bytes.try_into().ok());
        return id.ok_or_else(|| format!("{function}: could not decode ID: invalid hex"));
    }
    Err(format!(
        "{function}: could not decode ID: invalid length: expected {N} or {} bytes, got {}",
        N * 2,
        bytes.len()
    ))
}

fn id<const N: usize>(args: &Args, frame: &Frame<'_>, function: &str) -> Eval<[u8; N]> {
    let bytes = args.value(0, frame)?.into_bytes_like()?.unwrap_or_default();
    id_of(&bytes, function).map_err(RunError::new)
}

fn check_id<const N: usize>(args: &Args, function: &str) -> Result<Prepared, String> {
    match args.values[0].literal() {
        Some(literal) => {
            let bytes = literal.clone().into_bytes_like().map_err(|error| error.to_string())?;
            id_of::<N>(&bytes.unwrap_or_default(), function).map(|_| Prepared::Nothing)
        }
        None => Ok(Prepared::Nothing),
    }
}

/// MurmurHash3 x86 32-bit, seed 0 (github.com/aappleby/smhasher, public domain).
fn murmur3_32(bytes: &[u8]) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= mix(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0_u32, |last, byte| last << 8 | u32::from(*byte));
        hash ^= mix(last);
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// MurmurHash3 x64 128-bit, seed 0.
fn murmur3_128(bytes: &[u8]) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let finish = |mut k: u64| {
        k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        k ^ k >> 33
    };
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let (blocks, tail) = bytes.as_chunks::<16>();
    let (mut h1, mut h2) = (0_u64, 0_u64);
    for block in blocks {
        h1 ^= mix1(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    if tail.len() > 8 {
        h2 ^= mix2(word(&tail[8..]));
    }
    if !tail.is_empty() {
        h1 ^= mix1(word(&tail[..tail.len().min(8)]));
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (finish(h1), finish(h2));
    h1 = h1.wrapping_add(h2);
    (h1, h1.wrapping_add(h2))
}
