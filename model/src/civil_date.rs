//! Dates of the proleptic Gregorian calendar in UTC (Howard Hinnant, "chrono-compatible low-level date algorithms").

/// Year, month (1–12) and day (1–31) of a day counted from 1970-01-01.
pub fn civil_date(day: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01, in eras of 400 years.
    let shifted = day.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::civil_date;

    #[test]
    fn days_are_the_dates_of_the_calendar() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (20_000, (2024, 10, 4)),
            (-719_468, (0, 3, 1)),
            (-719_162, (1, 1, 1)),
        ] {
            assert_eq!(civil_date(day), date, "{day}");
        }
    }
}
