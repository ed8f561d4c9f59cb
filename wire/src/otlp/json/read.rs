//! JSON to protobuf. One pass; nested lengths are patched in afterwards.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::Signal;

use crate::DecodeError;
use crate::json::{JsonError, Lexer};
use crate::otlp::schema::{self, Enum, Field, Kind, Label, Message, Role};
use crate::otlp::views::{ANY_VALUE_DEPTH_MAX, too_deep};
use crate::protobuf::{
    begin_message, put_bytes_field, put_fixed32_field, put_fixed64_field, put_varint, put_varint_field,
    zigzag_encode,
};

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);

/// Translates the JSON body of an export request of `signal` into protobuf, at most four times as large.
///
/// Of a key that occurs twice in an object the last value that is not the default counts. Errors have kind `Invalid`
/// and name path and offset.
pub fn to_protobuf(signal: Signal, json: &[u8]) -> Result<Vec<u8>, DecodeError> {
    // Protobuf is usually about half the size of its JSON.
    let mut reader =
        Reader { lexer: Lexer::new(json)?, out: Vec::with_capacity(json.len() / 2), bytes: Vec::new() };
    if !reader.lexer.take_null()? {
        reader.message(schema::request(signal), ANY_VALUE_DEPTH_MAX)?;
    }
    reader.lexer.end()?;
    Ok(reader.out)
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    out: Vec<u8>,
    /// Where base64 and hex are decoded.
    bytes: Vec<u8>,
}

impl Reader<'_> {
    /// Reads an object as the content of `message`; `depth` more levels of `AnyValue` are allowed.
    fn message(&mut self, message: &'static Message, depth: u8) -> Result<(), JsonError> {
        let depth = match (message.role, depth) {
            (Role::AnyValue, 0) => return Err(self.lexer.error(too_deep())),
            (Role::AnyValue, depth) => depth - 1,
            (_, depth) => depth,
        };
        self.lexer.expect(b'{', "an object")?;
        let mut first = true;
        while self.lexer.next_element(&mut first, b'}')? {
            let field = message.field_named(self.lexer.string()?);
            self.lexer.expect(b':', "':'")?;
            match field {
                None => self.lexer.skip()?,
                Some(_) if self.lexer.take_null()? => (),
                Some(field) if field.label == Label::Repeated => {
                    self.repeated(field, depth).map_err(|error| error.in_field(field.name))?;
                }
                Some(field) => self.field(field, depth).map_err(|error| error.in_field(field.name))?,
            }
        }
        Ok(())
    }

    fn repeated(&mut self, field: &'static Field, depth: u8) -> Result<(), JsonError> {
        self.lexer.expect(b'[', "an array")?;
        if self.lexer.take(b']') {
            return Ok(());
        }
        let packed = matches!(field.kind, Kind::Fixed64 | Kind::Double | Kind::Uint64);
        let open = packed.then(|| begin_message(&mut self.out, field.number));
        let (mut first, mut index) = (true, 0);
        while self.lexer.next_element(&mut first, b']')? {
            let element = if packed { self.packed_element(field) } else { self.element(field, depth) };
            element.map_err(|error| error.in_element(index))?;
            index += 1;
        }
        if let Some(open) = open {
            open.end(&mut self.out);
        }
        Ok(())
    }

    /// A message or string of an array; `null` is an empty one.
    fn element(&mut self, field: &'static Field, depth: u8) -> Result<(), JsonError> {
        if self.lexer.take_null()? {
            put_bytes_field(&mut self.out, field.number, &[]);
            return Ok(());
        }
        self.field(field, depth)
    }

    fn packed_element(&mut self, field: &'static Field) -> Result<(), JsonError> {
        let word = match field.kind {
            _ if self.lexer.take_null()? => 0,
            Kind::Double => self.double()?.to_bits(),
            _ => self.integer(0, u64::MAX.into())? as u64,
        };
        match field.kind {
            Kind::Uint64 => put_varint(&mut self.out, word),
            _ => self.out.extend_from_slice(&word.to_le_bytes()),
        }
        Ok(())
    }

    fn field(&mut self, field: &'static Field, depth: u8) -> Result<(), JsonError> {
        let number = field.number;
        let keeps_default = field.label != Label::Implicit;
        match field.kind {
            Kind::Message(message) => {
                let open = begin_message(&mut self.out, number);
                self.message(message, depth)?;
                open.end(&mut self.out);
            }
            Kind::String => {
                let text = self.lexer.string()?;
                if keeps_default || !text.is_empty() {
                    put_bytes_field(&mut self.out, number, text.as_bytes());
                }
            }
            Kind::Bytes => {
                self.base64()?;
                put_bytes_field(&mut self.out, number, &self.bytes);
            }
            Kind::Id(expected) => {
                self.hex(expected)?;
                if !self.bytes.is_empty() {
                    put_bytes_field(&mut self.out, number, &self.bytes);
                }
            }
            Kind::Double => {
                let bits = self.double()?.to_bits();
                if keeps_default || bits != 0 {
                    put_fixed64_field(&mut self.out, number, bits);
                }
            }
            Kind::Fixed64 | Kind::Sfixed64 => {
                let word = self.integer_of(field.kind)? as u64;
                if keeps_default || word != 0 {
                    put_fixed64_field(&mut self.out, number, word);
                }
            }
            Kind::Fixed32 => {
                let word = self.integer_of(field.kind)? as u32;
                if word != 0 {
                    put_fixed32_field(&mut self.out, number, word);
                }
            }
            Kind::Bool | Kind::Uint32 | Kind::Uint64 | Kind::Int64 | Kind::Sint32 | Kind::Enum(_) => {
                let value = match field.kind {
                    Kind::Bool => self.lexer.boolean()?.into(),
                    Kind::Enum(names) => self.enumerated(names)? as u64,
                    Kind::Sint32 => zigzag_encode(self.integer_of(field.kind)? as i64),
                    kind => self.integer_of(kind)? as u64,
                };
                if keeps_default || value != 0 {
                    put_varint_field(&mut self.out, number, value);
                }
            }
        }
        Ok(())
    }

    fn integer_of(&mut self, kind: Kind) -> Result<i128, JsonError> {
        let (min, max) = match kind {
            Kind::Fixed32 | Kind::Uint32 => (0, u32::MAX.into()),
            Kind::Sint32 | Kind::Enum(_) => (i32::MIN.into(), i32::MAX.into()),
            Kind::Int64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
            _ => (0, u64::MAX.into()),
        };
        self.integer(min, max)
    }

    /// An integer as number or string.
    fn integer(&mut self, min: i128, max: i128) -> Result<i128, JsonError> {
        let value = match self.lexer.peek() {
            Some(b'"') => parse_integer(self.lexer.string()?),
            Some(b'-' | b'0'..=b'9') => parse_integer(self.lexer.number()?),
            _ => return Err(self.lexer.unexpected("an integer")),
        };
        match value {
            Some(value) if (min..=max).contains(&value) => Ok(value),
            _ => Err(self.lexer.error(format_args!("expected an integer from {min} to {max} before this"))),
        }
    }

    /// A float as number or string, with the names of what is not a number.
    fn double(&mut self) -> Result<f64, JsonError> {
        let (value, finite): (Option<f64>, bool) = match self.lexer.peek() {
            Some(b'"') => {
                let text = self.lexer.string()?;
                (text.parse().ok(), text.bytes().any(|byte| byte.is_ascii_digit()))
            }
            Some(b'-' | b'0'..=b'9') => (self.lexer.number()?.parse().ok(), true),
            _ => return Err(self.lexer.unexpected("a number")),
        };
        match value {
            Some(value) if value.is_finite() || !finite => Ok(value),
            _ => Err(self.lexer.error("expected a number within the range of a double before this")),
        }
    }

    fn enumerated(&mut self, names: &'static Enum) -> Result<i64, JsonError> {
        if self.lexer.peek() != Some(b'"') {
            return Ok(self.integer_of(Kind::Enum(names))? as i64);
        }
        let name = self.lexer.string()?;
        let found =
            name.strip_prefix(names.prefix).and_then(|name| names.names.iter().position(|n| *n == name));
        match found {
            Some(number) => Ok(number as i64),
            None => {
                let message = format!("unknown enum name {:?}, expected {}…", clipped(name), names.prefix);
                Err(self.lexer.error(message))
            }
        }
    }

    fn base64(&mut self) -> Result<(), JsonError> {
        let text = self.lexer.string()?;
        let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
        let engine = if url_safe { URL_SAFE } else { STANDARD };
        self.bytes.clear();
        let decoded = engine.decode_vec(text, &mut self.bytes);
        decoded.map_err(|error| self.lexer.error(format_args!("not base64 ({error}) before this")))
    }

    fn hex(&mut self, expected: usize) -> Result<(), JsonError> {
        let text = self.lexer.string()?.as_bytes();
        self.bytes.clear();
        for pair in text.chunks(2) {
            let Some(byte) = pair.iter().try_fold(0, |byte, digit| {
                (*digit as char).to_digit(16).map(|digit| byte << 4 | digit as u8)
            }) else {
                let message = format!("not hex: {:?}", clipped(&String::from_utf8_lossy(text)));
                return Err(self.lexer.error(message));
            };
            self.bytes.push(byte);
        }
        // Half a byte too few or too many is a wrong length, which fails the item in `check`; it must not be rounded
        // to the right length here.
        if text.len() % 2 == 1 && self.bytes.len() == expected {
            self.bytes.push(0);
        }
        Ok(())
    }
}

/// The first characters of what a sender wrote, for a message.
fn clipped(text: &str) -> &str {
    const CHARACTERS_MAX: usize = 40;
    text.char_indices().nth(CHARACTERS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// The integer that a decimal number stands for, exponent and fraction included; `None` if it is none, or is far out
/// of range.
fn parse_integer(text: &str) -> Option<i128> {
    // Integers are rarely written in another way.
    if text.len() <= 19
        && !text.starts_with('+')
        && let Ok(value) = text.parse::<i64>()
    {
        return Some(value.into());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut value = 0i128;
    // The decimal point moves `exponent` digits to the right; digits behind it must be zeros.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    for (index, digit) in (0i64..).zip(whole.bytes().chain(fraction.bytes())) {
        if index < point {
            value = value.checked_mul(10)?.checked_add((digit - b'0').into())?;
        } else if digit != b'0' {
            return None;
        }
    }
    let missing = point - (whole.len() + fraction.len()) as i64;
    if value != 0 && missing > 0 {
        value = value.checked_mul(10i128.checked_pow(u32::try_from(missing).ok()?)?)?;
    }
    Some(if negative { -value } else { value })
}
