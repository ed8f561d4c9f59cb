//! A request of version 2 as one of version 1, for receivers that know no other.
//!
//! Series, samples, histograms and exemplars keep their order and their bytes, labels are written out in the order of
//! their symbols. Metadata and start times are left out, as Thanos leaves them out: version 1 has no place for the latter,
//! and readers skip them where they lie inside a message that is copied. A few symbols can stand for many labels, so the
//! caller says how large the result may become.

use super::read::messages;
use crate::DecodeError;
use crate::protobuf::{Fields, begin_message, put_bytes_field, put_double_field, put_varint_field, text};

/// A request of version 1 and what is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version1 {
    /// The request.
    pub bytes: Vec<u8>,
    /// Floats in it.
    pub samples: u64,
    /// Native histograms in it.
    pub histograms: u64,
    /// Exemplars in it.
    pub exemplars: u64,
}

/// Writes a request of version 2 as one of version 1; one that would become larger than about `bytes_max` is refused.
pub fn to_version_1(request: &[u8], bytes_max: usize) -> Result<Version1, DecodeError> {
    let mut symbols = Vec::new();
    for symbol in messages(request, 4) {
        symbols.push(text(symbol?)?);
    }
    let mut writer = Writer { symbols, bytes_max, out: Version1::default(), refs: Vec::new() };
    for series in messages(request, 5) {
        writer.put_series(series?)?;
    }
    Ok(writer.out)
}

struct Writer<'a> {
    symbols: Vec<&'a str>,
    bytes_max: usize,
    out: Version1,
    refs: Vec<u64>,
}

impl Writer<'_> {
    fn put_series(&mut self, series: &[u8]) -> Result<(), DecodeError> {
        let open = begin_message(&mut self.out.bytes, 1);
        self.put_labels(series)?;
        let mut fields = Fields::new(series);
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => {
                    put_bytes_field(&mut self.out.bytes, 2, field.bytes()?);
                    self.out.samples += 1;
                }
                3 => {
                    put_bytes_field(&mut self.out.bytes, 4, field.bytes()?);
                    self.out.histograms += 1;
                }
                4 => {
                    let open = begin_message(&mut self.out.bytes, 3);
                    self.put_exemplar(field.bytes()?)?;
                    open.end(&mut self.out.bytes);
                    self.out.exemplars += 1;
                }
                _ => {}
            }
        }
        open.end(&mut self.out.bytes);
        Ok(())
    }

    fn put_exemplar(&mut self, exemplar: &[u8]) -> Result<(), DecodeError> {
        self.put_labels(exemplar)?;
        let mut fields = Fields::new(exemplar);
        while let Some(field) = fields.next_field()? {
            match field.number {
                2 => put_double_field(&mut self.out.bytes, 2, field.double()?),
                3 => put_varint_field(&mut self.out.bytes, 3, field.varint()?),
                _ => {}
            }
        }
        Ok(())
    }

    /// The labels behind the symbols in the fields 1 of a message.
    fn put_labels(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        self.refs.clear();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.next_field()? {
            if field.number == 1 {
                field.varints(|number| self.refs.push(number))?;
            }
        }
        if !self.refs.len().is_multiple_of(2) {
            return Err(DecodeError::invalid(format!("invalid labels_refs length {}", self.refs.len())));
        }
        let Self { symbols, bytes_max, out, refs } = self;
        let symbol = |number: u64| {
            let found = usize::try_from(number).ok().and_then(|number| symbols.get(number));
            found.copied().ok_or_else(|| {
                let size = symbols.len();
                DecodeError::invalid(format!("symbol {number} is outside of the symbols table (size {size})"))
            })
        };
        for &[name, value] in refs.as_chunks::<2>().0 {
            let open = begin_message(&mut out.bytes, 1);
            put_bytes_field(&mut out.bytes, 1, symbol(name)?.as_bytes());
            put_bytes_field(&mut out.bytes, 2, symbol(value)?.as_bytes());
            open.end(&mut out.bytes);
            if out.bytes.len() > *bytes_max {
                let text = format!("the request has more than {bytes_max} bytes with its labels written out");
                return Err(DecodeError::invalid(text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
