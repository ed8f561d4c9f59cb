//! Whether an item stays: thresholds and randomness of 56 bits, and the marks that items carry.
//!
//! Source: opentelemetry-specification trace/tracestate-probability-sampling.md and pkg/sampling of the collector's contrib
//! repository.

/// 2^56: what randomness is below of.
const COUNT: u64 = 1 << 56;
/// Everything stays.
pub(super) const ALWAYS: u64 = 0;
/// Nothing stays.
pub(super) const NEVER: u64 = COUNT;
/// The smallest share.
pub(super) const RATIO_MIN: f64 = 1.0 / COUNT as f64;
/// Hex digits of 56 bits.
const DIGITS: i32 = 14;

/// The threshold for a share, rounded to `precision` significant hex digits; `None` out of range.
pub(super) fn threshold_of(ratio: f64, precision: usize) -> Option<u64> {
    if !(RATIO_MIN..=1.0).contains(&ratio) {
        return None;
    }
    if ratio == 1.0 {
        return Some(ALWAYS);
    }
    // Leading zeros, or f's, of the digits do not count as significant.
    let leading = |share: f64| -exponent(share) / 4;
    let precision = precision as i32;
    let digits = DIGITS.min((precision + leading(ratio)).max(precision + leading(1.0 - ratio)));
    let mut threshold = COUNT - (ratio * COUNT as f64).round() as u64;
    let shift = 4 * (DIGITS - digits);
    if shift > 0 {
        threshold += 1 << (shift - 1);
        threshold = threshold >> shift << shift;
    }
    Some(threshold)
}

/// The exponent of `frexp`: `share` is 2^exponent times a number from 0.5 to 1; at most 0 for shares below 1.
fn exponent(share: f64) -> i32 {
    if share == 0.0 {
        return 0;
    }
    ((share.to_bits() >> 52 & 0x7ff) as i32) - 1022
}

/// A threshold as items carry it: hex digits without trailing zeros.
fn threshold_text(threshold: u64) -> String {
    match threshold {
        ALWAYS => "0".to_owned(),
        NEVER => String::new(),
        other => format!("{other:014x}").trim_end_matches('0').to_owned(),
    }
}

fn parse_threshold(text: &str) -> Option<u64> {
    let is_hex = (1..=14).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = u64::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    Some(digits << (4 * (14 - text.len())))
}

fn parse_randomness(text: &str) -> Option<u64> {
    let is_hex = text.len() == 14 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

/// What an item carries, and what it will carry.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    threshold: Option<u64>,
    randomness: Option<u64>,
    /// The other fields of the `ot` member of a trace state.
    others: Vec<String>,
    /// Marks that cannot be read are left as they are.
    is_broken: bool,
    is_left_alone: bool,
    /// The randomness that counts.
    decisive: Option<u64>,
}

impl Carried {
    /// From the `ot` member of a W3C trace state.
    pub(super) fn of_trace_state(state: &str) -> Self {
        let mut carried = Self::default();
        let member = state.split(',').find_map(|member| member.trim().strip_prefix("ot="));
        for field in member.into_iter().flat_map(|member| member.split(';')).filter(|field| !field.is_empty())
        {
            match field.split_once(':') {
                Some(("th", text)) => {
                    carried.threshold = parse_threshold(text);
                    carried.is_broken |= carried.threshold.is_none();
                }
                Some(("rv", text)) => {
                    carried.randomness = parse_randomness(text);
                    carried.is_broken |= carried.randomness.is_none();
                }
                Some(_) => carried.others.push(field.to_owned()),
                None => carried.is_broken = true,
            }
        }
        carried
    }

    /// From the attributes of a log record.
    pub(super) fn of_attributes(threshold: &str, randomness: &str) -> Self {
        let read = |text: &str, parse: fn(&str) -> Option<u64>| match text {
            "" => (None, false),
            text => (parse(text), parse(text).is_none()),
        };
        let (threshold, threshold_broken) = read(threshold, parse_threshold);
        let (randomness, randomness_broken) = read(randomness, parse_randomness);
        Self { threshold, randomness, is_broken: threshold_broken || randomness_broken, ..Self::default() }
    }

    /// Whether the item stays under a threshold; without randomness it counts as the luckiest.
    pub(super) fn stays(&self, threshold: u64) -> bool {
        threshold <= self.decisive.unwrap_or(COUNT - 1)
    }

    /// Takes a threshold as the item's, unless it has a higher one.
    pub(super) fn raise(&mut self, threshold: u64) {
        if self.threshold.is_none_or(|known| known <= threshold) {
            self.threshold = Some(threshold);
        }
    }

    /// The trace state with the marks as they are now; `None` when it is to stay.
    pub(super) fn trace_state(&self, state: &str) -> Option<String> {
        if self.is_broken || self.is_left_alone {
            return None;
        }
        let mut fields = Vec::new();
        fields.extend(self.randomness.map(|randomness| format!("rv:{randomness:014x}")));
        fields.extend(
            self.threshold
                .map(threshold_text)
                .filter(|text| !text.is_empty())
                .map(|text| format!("th:{text}")),
        );
        fields.extend(self.others.iter().cloned());
        let others =
            state.split(',').map(str::trim).filter(|member| !member.is_empty() && !member.starts_with("ot="));
        let own = (!fields.is_empty()).then(|| format!("ot={}", fields.join(";")));
        let members: Vec<String> = own.into_iter().chain(others.map(str::to_owned)).collect();
        Some(members.join(","))
    }

    /// The attributes of a log record with the marks as they are now; `None` when they are to stay.
    pub(super) fn attributes(&self) -> Option<Vec<(&'static str, String)>> {
        if self.is_broken || self.is_left_alone {
            return None;
        }
        let mut marks = Vec::new();
        marks.extend(self.randomness.map(|randomness| ("sampling.randomness", format!("{randomness:014x}"))));
        marks.extend(self.threshold.map(|threshold| ("sampling.threshold", threshold_text(threshold))));
        Some(marks)
    }
}

/// How items are chosen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sampler {
    Never,
    /// By a hash of the trace id or an attribute.
    Hash {
        threshold: u64,
        seed: u32,
    },
    /// To one share, whatever was sampled before.
    Equalizing {
        threshold: u64,
    },
    /// To a share of what was sampled before.
    Proportional {
        ratio: f64,
        precision: usize,
    },
}

impl Sampler {
    pub(super) fn new(mode: &str, percentage: f32, precision: usize, seed: u32) -> Self {
        /// The hash decides by 14 bits.
        const BUCKETS: f32 = 16_384.0;
        let percentage = percentage.min(100.0);
        if percentage == 0.0 {
            return Self::Never;
        }
        let ratio = (f64::from(percentage) / 100.0).max(RATIO_MIN);
        match mode {
            "equalizing" => Self::Equalizing { threshold: threshold_of(ratio, precision).unwrap_or(ALWAYS) },
            "proportional" => Self::Proportional { ratio, precision },
            _ => match (percentage * (BUCKETS / 100.0)) as u64 {
                0 => Self::Never,
                kept => Self::Hash { threshold: (BUCKETS as u64 - kept) << 42, seed },
            },
        }
    }

    pub(super) fn is_hashing(&self) -> bool {
        matches!(self, Self::Hash { .. })
    }

    /// The threshold for an item, and into `carried` the randomness that counts and the marks that come of it.
    pub(super) fn decide(
        &self,
        carried: &mut Carried,
        trace_id: &[u8],
        attribute: Option<&[u8]>,
        fail_closed: bool,
    ) -> u64 {
        let failed = if fail_closed { NEVER } else { ALWAYS };
        let trace_id = Some(trace_id).filter(|id| id.iter().any(|byte| *byte != 0));
        match *self {
            Self::Never => NEVER,
            Self::Hash { threshold, seed } => {
                carried.decisive = trace_id.or(attribute).map(|bytes| hash_randomness(bytes, seed));
                // Marks of consistent sampling are not this mode's to change.
                if carried.is_broken || carried.randomness.is_some() || carried.threshold.is_some() {
                    carried.is_left_alone = true;
                    return failed;
                }
                carried.randomness = carried.decisive;
                if carried.decisive.is_none() { failed } else { threshold }
            }
            Self::Equalizing { .. } | Self::Proportional { .. } => {
                if carried.is_broken {
                    return failed;
                }
                carried.decisive = carried.randomness.or_else(|| trace_id.and_then(trace_randomness));
                let Some(randomness) = carried.decisive else { return failed };
                if carried.threshold.is_some_and(|threshold| threshold > randomness) {
                    // It should not be here; its mark is a lie.
                    carried.threshold = None;
                    return failed;
                }
                self.consistent(carried.threshold)
            }
        }
    }

    fn consistent(&self, carried: Option<u64>) -> u64 {
        match *self {
            Self::Equalizing { threshold } => threshold.max(carried.unwrap_or(ALWAYS)),
            Self::Proportional { ratio, precision } => {
                let before = carried.map_or(1.0, |threshold| (COUNT - threshold) as f64 / COUNT as f64);
                threshold_of(before * ratio, precision).unwrap_or(NEVER)
            }
            Self::Never | Self::Hash { .. } => NEVER,
        }
    }
}

/// The low 56 bits of a trace id.
fn trace_randomness(trace_id: &[u8]) -> Option<u64> {
    let last: [u8; 8] = *trace_id.last_chunk()?;
    Some(u64::from_be_bytes(last) & (COUNT - 1))
}

/// 56 bits out of a 32-bit FNV-1a hash of the seed and the bytes: its low 14 bits, inverted, decide.
fn hash_randomness(bytes: &[u8], seed: u32) -> u64 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
    let hash = seed.to_le_bytes().iter().chain(bytes).fold(2_166_136_261, step);
    let low = u64::from(hash & 0x3fff);
    let high = u64::from(hash >> 18);
    let mixed = high ^ high << 10;
    (0x3fff - low) << 42 | mixed << 14 | low
}
