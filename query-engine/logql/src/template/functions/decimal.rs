//! Decimal numbers for the functions of sprig that compute in them (`execDecimalOp` in its numeric.go).
//!
//! Sums and products are exact, quotients have 16 digits after the point. Whatever does not fit into 128 bits is `None`.

/// `units` / 10^`scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    units: i128,
    scale: u32,
}

/// Digits of a quotient after the point (`DivisionPrecision` of shopspring/decimal).
const QUOTIENT_DIGITS: u32 = 16;

impl Decimal {
    /// The shortest decimal that reads back as `value`.
    pub(super) fn of(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let text = value.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let units = format!("{whole}{fraction}").parse().ok()?;
        Some(Self { units, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// The nearest float.
    pub(super) fn to_float(self) -> Option<f64> {
        format!("{}e-{}", self.units, self.scale).parse().ok()
    }

    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let units = self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?;
        Some(Self { units, scale })
    }

    pub(super) fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self { units: other.units.checked_neg()?, scale: other.scale })
    }

    pub(super) fn times(self, other: Self) -> Option<Self> {
        Some(Self {
            units: self.units.checked_mul(other.units)?,
            scale: self.scale.checked_add(other.scale)?,
        })
    }

    /// Rounded half away from zero; `None` for a division by zero as well.
    pub(super) fn over(self, other: Self) -> Option<Self> {
        let (mut dividend, mut divisor) = (self.units, other.units);
        let up = QUOTIENT_DIGITS.checked_add(other.scale)?;
        if up >= self.scale {
            dividend = dividend.checked_mul(power_of_ten(up - self.scale)?)?;
        } else {
            divisor = divisor.checked_mul(power_of_ten(self.scale - up)?)?;
        }
        let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        let away = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
        let step = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
        Some(Self { units: quotient + if away { step } else { 0 }, scale: QUOTIENT_DIGITS })
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        self.units.checked_mul(power_of_ten(scale - self.scale)?)
    }
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}
