//! Which context statements are for, told from the paths, functions and symbols in them (context_inferrer.go).

use crate::ast::Uses;
use crate::context::Context;
use crate::error::ParseError;
use crate::functions::Functions;

/// The context of texts that use `uses`, among `candidates`.
pub(crate) fn infer(
    uses: &Uses,
    candidates: &[Context],
    functions: &Functions,
) -> Result<Context, ParseError> {
    let names: Vec<&str> = candidates.iter().map(|context| context.name()).collect();
    let rank = |name: &String| Context::ALL.iter().position(|context| context.name() == name);
    let old_scope = "instrumentation_scope".to_owned();
    let best = uses
        .contexts
        .iter()
        .map(|name| if *name == old_scope { "scope".to_owned() } else { name.clone() })
        .min_by_key(|name| rank(name).unwrap_or(usize::MAX));
    let Some(best) = best.filter(|name| !name.is_empty()) else {
        return Err(ParseError::new(format!(
            "unable to infer context from statements, path's first segment must be a valid context name {names:?}, \
             and at least one context must be capable of parsing all statements"
        )));
    };
    let Some(best) = Context::named(&best).filter(|context| candidates.contains(context)) else {
        return Err(ParseError::new(format!(
            "context {best:?} inferred from the statements is not a supported context: {names:?}"
        )));
    };
    let lacks = |context: Context| {
        let function = uses.functions.iter().find(|name| functions.find(name, context).is_err());
        if let Some(name) = function {
            return Some(format!(
                "inferred context {:?} does not support the function {name:?}",
                context.name()
            ));
        }
        let symbol = uses.enums.iter().find(|symbol| context.symbol(symbol).is_none());
        symbol.map(|symbol| {
            format!("inferred context {:?} does not support the enum symbol {symbol:?}", context.name())
        })
    };
    let Some(reason) = lacks(best) else { return Ok(best) };
    let lower = candidates.iter().copied().filter(|context| *context != best && best.reaches(*context));
    let mut lower: Vec<Context> = lower.collect();
    lower.sort_by_key(|context| Context::ALL.iter().position(|known| known == context));
    match lower.into_iter().find(|context| lacks(*context).is_none()) {
        Some(context) => Ok(context),
        // A function that nobody knows is better named as such.
        None => {
            for name in &uses.functions {
                functions.find(name, best)?;
            }
            Err(ParseError::new(reason))
        }
    }
}
