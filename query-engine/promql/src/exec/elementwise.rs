//! Functions of one float: math, rounding, clamping, dates.

use super::Evaluator;
use super::calendar::Civil;
use super::column::{ABSENT, Column, Key, is_float};
use super::grid::Grid;
use super::merge::Duplicates;
use super::scalar::{go_max, go_min};
use super::source::Source;
use crate::error::PromqlResult;
use crate::syntax::Call;

type FloatFunction = fn(f64) -> f64;

/// The functions that need nothing but the value.
const FUNCTIONS: [(&str, FloatFunction); 24] = [
    ("abs", f64::abs),
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("ceil", f64::ceil),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("deg", |v| v * 180.0 / std::f64::consts::PI),
    ("exp", f64::exp),
    ("floor", f64::floor),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("rad", |v| v * std::f64::consts::PI / 180.0),
    ("sgn", |v| {
        if v < 0.0 {
            -1.0
        } else if v > 0.0 {
            1.0
        } else {
            v
        }
    }),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("round", |v| (v + 0.5).floor()),
];

const DATE_FUNCTIONS: [(&str, FloatFunction); 8] = [
    ("day_of_month", |v| civil(v).day as f64),
    ("day_of_week", |v| civil(v).weekday as f64),
    ("day_of_year", |v| civil(v).year_day as f64),
    ("days_in_month", |v| civil(v).days_in_month() as f64),
    ("hour", |v| civil(v).hour as f64),
    ("minute", |v| civil(v).minute as f64),
    ("month", |v| civil(v).month as f64),
    ("year", |v| civil(v).year as f64),
];

/// The date of a float in seconds. Go turns what does not fit into the smallest integer on amd64.
fn civil(seconds: f64) -> Civil {
    let fits = (i64::MIN as f64..i64::MAX as f64).contains(&seconds);
    Civil::from_unix_seconds(if fits { seconds as i64 } else { i64::MIN })
}

impl<'q> Evaluator<'q> {
    /// Evaluates a function over floats, if `call` is one.
    pub(super) fn elementwise(&self, call: &'q Call, grid: Grid) -> PromqlResult<Option<Source<'q>>> {
        let name = call.function.name;
        let args = &call.args;
        if let Some((_, function)) = DATE_FUNCTIONS.iter().find(|(n, _)| *n == name) {
            return Ok(Some(match args.first() {
                Some(arg) => self.map_floats(self.source(arg, grid)?, grid, *function)?,
                None => of_time(grid, *function),
            }));
        }
        match name {
            "round" if args.len() == 2 => {
                let source = self.source(&args[0], grid)?;
                let nearest = self.scalar(&args[1], grid)?;
                self.map_steps(source, grid, move |step, value| {
                    let inverse = 1.0 / nearest[step];
                    (value * inverse + 0.5).floor() / inverse
                })
                .map(Some)
            }
            "clamp" | "clamp_min" | "clamp_max" => {
                let source = self.source(&args[0], grid)?;
                let (low, high) = match name {
                    "clamp" => (self.scalar(&args[1], grid)?, self.scalar(&args[2], grid)?),
                    "clamp_min" => (self.scalar(&args[1], grid)?, vec![f64::INFINITY; grid.steps]),
                    _ => (vec![f64::NEG_INFINITY; grid.steps], self.scalar(&args[1], grid)?),
                };
                self.map_steps(source, grid, move |step, value| {
                    if high[step] < low[step] {
                        return ABSENT;
                    }
                    go_max(low[step], go_min(high[step], value))
                })
                .map(Some)
            }
            _ => match FUNCTIONS.iter().find(|(n, _)| *n == name) {
                Some((_, function)) => {
                    let source = self.source(&args[0], grid)?;
                    self.map_floats(source, grid, *function).map(Some)
                }
                None => Ok(None),
            },
        }
    }

    fn map_floats(
        &self,
        source: Source<'q>,
        grid: Grid,
        function: FloatFunction,
    ) -> PromqlResult<Source<'q>> {
        let source = source.map_columns(move |column| column.map_floats(function));
        self.without_names(source, grid, Duplicates::Merge)
    }

    fn map_steps(
        &self,
        source: Source<'q>,
        grid: Grid,
        function: impl Fn(usize, f64) -> f64 + Send + Sync + 'q,
    ) -> PromqlResult<Source<'q>> {
        let source = source.map_columns(move |column| {
            for (step, value) in column.values.iter_mut().enumerate() {
                *value = if is_float(*value) { function(step, *value) } else { ABSENT };
            }
            column.histograms.clear();
        });
        self.without_names(source, grid, Duplicates::Merge)
    }
}

/// A date function without argument: of the time of each step.
fn of_time<'q>(grid: Grid, function: FloatFunction) -> Source<'q> {
    let key = Key { labels: model::Labels::empty(), drop_name: false };
    Source::new(vec![key], move |_, _, out: &mut Column| {
        for (step, value) in out.values.iter_mut().enumerate() {
            *value = function((grid.time(step) / 1000) as f64);
        }
        Ok(())
    })
}
