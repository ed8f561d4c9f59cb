//! Following a path: the nodes that it selects, in document order.

use super::path::{Axis, Expr, Function, Operator, Path, Start, Step, Test};
use super::{Document, Found, Id, NodeKind, ROOT, local, prefix};
use crate::error::{Eval, RunError};

/// Steps that one evaluation may take: a path over a large document can ask for each pair of its nodes.
const WORK_MAX: usize = 20_000_000;

/// What an expression gives.
#[derive(Clone, Debug)]
enum Value {
    Nodes(Vec<Found>),
    Text(String),
    Number(f64),
    Bool(bool),
}

/// Where an expression is looked at.
#[derive(Clone, Copy)]
struct Here {
    node: Found,
    position: usize,
    last: usize,
}

impl Document {
    /// The nodes and attributes that a path selects.
    pub(crate) fn select(&self, path: &Path) -> Eval<Vec<Found>> {
        let mut select = Select { document: self, work: 0 };
        match select.eval(&path.0, Here { node: Found::Node(ROOT), position: 1, last: 1 })? {
            Value::Nodes(nodes) => Ok(nodes),
            _ => Err(RunError::new("expression must evaluate to a node-set")),
        }
    }
}

struct Select<'d> {
    document: &'d Document,
    work: usize,
}

fn boolean(value: &Value) -> bool {
    match value {
        Value::Nodes(nodes) => !nodes.is_empty(),
        Value::Text(text) => !text.is_empty(),
        Value::Number(number) => *number != 0.0 && !number.is_nan(),
        Value::Bool(flag) => *flag,
    }
}

fn number_of(text: &str) -> f64 {
    text.trim().parse().unwrap_or(f64::NAN)
}

impl Select<'_> {
    fn text_of(&self, found: Found) -> String {
        match found {
            Found::Node(id) => match &self.document.node(id).kind {
                NodeKind::Comment(text) => text.clone(),
                _ => self.document.inner_text(id),
            },
            Found::Attribute(id, index) => {
                let attribute = self.document.element(id).and_then(|element| element.attributes.get(index));
                attribute.map_or_else(String::new, |(_, value)| value.clone())
            }
        }
    }

    fn name_of(&self, found: Found) -> &str {
        match (found, self.document.element(found.id())) {
            (Found::Node(_), Some(element)) => &element.name,
            (Found::Attribute(_, index), Some(element)) => {
                element.attributes.get(index).map_or("", |(name, _)| name)
            }
            _ => "",
        }
    }

    fn text(&self, value: Value) -> String {
        match value {
            Value::Nodes(nodes) => nodes.first().map_or_else(String::new, |node| self.text_of(*node)),
            Value::Text(text) => text,
            Value::Number(number) => format!("{number}"),
            Value::Bool(flag) => flag.to_string(),
        }
    }

    fn number(&self, value: Value) -> f64 {
        match value {
            Value::Number(number) => number,
            Value::Bool(flag) => f64::from(u8::from(flag)),
            other => number_of(&self.text(other)),
        }
    }

    fn spend(&mut self, work: usize) -> Eval<()> {
        self.work += work;
        match self.work > WORK_MAX {
            true => Err(RunError::new("the xpath takes too long on this document")),
            false => Ok(()),
        }
    }

    fn eval(&mut self, expr: &Expr, here: Here) -> Eval<Value> {
        self.spend(1)?;
        Ok(match expr {
            Expr::Number(number) => Value::Number(*number),
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Negative(inner) => {
                let value = self.eval(inner, here)?;
                Value::Number(-self.number(value))
            }
            Expr::Call(function, args) => self.call(*function, args, here)?,
            Expr::Binary(left, operator, right) => self.binary(left, *operator, right, here)?,
            Expr::Steps(start, steps) => {
                let mut nodes = match start {
                    Start::Root => vec![Found::Node(ROOT)],
                    Start::Here => vec![here.node],
                    Start::Value(value, predicates) => match self.eval(value, here)? {
                        Value::Nodes(nodes) => self.filter(nodes, predicates)?,
                        _ => return Err(RunError::new("expression must evaluate to a node-set")),
                    },
                };
                for step in steps {
                    nodes = self.step(&nodes, step)?;
                }
                Value::Nodes(nodes)
            }
        })
    }

    fn binary(&mut self, left: &Expr, operator: Operator, right: &Expr, here: Here) -> Eval<Value> {
        let left = self.eval(left, here)?;
        match operator {
            Operator::Or if boolean(&left) => return Ok(Value::Bool(true)),
            Operator::And if !boolean(&left) => return Ok(Value::Bool(false)),
            _ => {}
        }
        let right = self.eval(right, here)?;
        let numbers = |select: &Self, apply: fn(f64, f64) -> f64, left, right| {
            Value::Number(apply(select.number(left), select.number(right)))
        };
        Ok(match operator {
            Operator::Or | Operator::And => Value::Bool(boolean(&right)),
            Operator::Union => match (left, right) {
                (Value::Nodes(mut nodes), Value::Nodes(more)) => {
                    nodes.extend(more);
                    nodes.sort_unstable();
                    nodes.dedup();
                    Value::Nodes(nodes)
                }
                _ => return Err(RunError::new("expression must evaluate to a node-set")),
            },
            Operator::Add => numbers(self, |a, b| a + b, left, right),
            Operator::Subtract => numbers(self, |a, b| a - b, left, right),
            Operator::Multiply => numbers(self, |a, b| a * b, left, right),
            Operator::Divide => numbers(self, |a, b| a / b, left, right),
            Operator::Modulo => numbers(self, |a, b| a % b, left, right),
            comparison => Value::Bool(self.compare(left, comparison, right)?),
        })
    }

    /// A comparison: of a set of nodes it is enough that one fits.
    fn compare(&mut self, left: Value, operator: Operator, right: Value) -> Eval<bool> {
        let each = |select: &Self, value: Value| -> Vec<Value> {
            match value {
                Value::Nodes(nodes) => nodes.iter().map(|node| Value::Text(select.text_of(*node))).collect(),
                other => vec![other],
            }
        };
        if matches!((&left, &right), (Value::Bool(_), _) | (_, Value::Bool(_))) {
            let (left, right) = (Value::Bool(boolean(&left)), Value::Bool(boolean(&right)));
            return Ok(self.fits(&left, operator, &right));
        }
        let (left, right) = (each(self, left), each(self, right));
        self.spend(left.len().saturating_mul(right.len()))?;
        Ok(left.iter().any(|left| right.iter().any(|right| self.fits(left, operator, right))))
    }

    fn fits(&self, left: &Value, operator: Operator, right: &Value) -> bool {
        let is_text = matches!((left, right), (Value::Text(_), Value::Text(_)));
        match operator {
            Operator::Equal if is_text => self.text(left.clone()) == self.text(right.clone()),
            Operator::NotEqual if is_text => self.text(left.clone()) != self.text(right.clone()),
            _ => {
                let (left, right) = (self.number(left.clone()), self.number(right.clone()));
                match operator {
                    Operator::Equal => left == right,
                    Operator::NotEqual => left != right,
                    Operator::Less => left < right,
                    Operator::LessOrEqual => left <= right,
                    Operator::Greater => left > right,
                    _ => left >= right,
                }
            }
        }
    }

    fn step(&mut self, nodes: &[Found], step: &Step) -> Eval<Vec<Found>> {
        let mut out = Vec::new();
        for node in nodes {
            let mut found = self.axis(*node, step.axis)?;
            found.retain(|found| self.passes(*found, &step.test, step.axis));
            out.extend(self.filter(found, &step.predicates)?);
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    fn filter(&mut self, mut nodes: Vec<Found>, predicates: &[Expr]) -> Eval<Vec<Found>> {
        for predicate in predicates {
            let last = nodes.len();
            let mut kept = Vec::new();
            for (index, node) in nodes.into_iter().enumerate() {
                let position = index + 1;
                let is_kept = match self.eval(predicate, Here { node, position, last })? {
                    Value::Number(number) => number == position as f64,
                    value => boolean(&value),
                };
                if is_kept {
                    kept.push(node);
                }
            }
            nodes = kept;
        }
        Ok(nodes)
    }

    fn passes(&self, found: Found, test: &Test, axis: Axis) -> bool {
        let is_named = match found {
            Found::Attribute(..) => axis == Axis::Attribute,
            Found::Node(id) => self.document.element(id).is_some(),
        };
        let kind = &self.document.node(found.id()).kind;
        match test {
            Test::Node => true,
            Test::Any(None) => is_named,
            Test::Any(Some(wanted)) => is_named && prefix(self.name_of(found)) == wanted,
            // A name without a prefix is that of an element with any, as the collector's library reads it.
            Test::Name(wanted) if wanted.contains(':') => is_named && self.name_of(found) == wanted,
            Test::Name(wanted) => is_named && local(self.name_of(found)) == wanted,
            Test::Text => matches!((found, kind), (Found::Node(_), NodeKind::Text(_) | NodeKind::Cdata(_))),
            Test::Comment => matches!((found, kind), (Found::Node(_), NodeKind::Comment(_))),
        }
    }

    /// Children; blank texts between other nodes are passed over, as the collector's library does.
    fn children(&self, id: Id) -> Vec<Found> {
        let is_blank = |id: Id| match &self.document.node(id).kind {
            NodeKind::Text(text) => text.trim().is_empty(),
            _ => false,
        };
        let children = self.document.node(id).children.iter().copied().enumerate();
        children
            .filter(|(index, child)| *index == 0 || !is_blank(*child))
            .map(|(_, child)| Found::Node(child))
            .collect()
    }

    fn put_below(&mut self, id: Id, out: &mut Vec<Found>) -> Eval<()> {
        for child in self.children(id) {
            self.spend(1)?;
            out.push(child);
            self.put_below(child.id(), out)?;
        }
        Ok(())
    }

    /// What an axis reaches from a node, the nearest first.
    fn axis(&mut self, from: Found, axis: Axis) -> Eval<Vec<Found>> {
        let id = from.id();
        let is_attribute = matches!(from, Found::Attribute(..));
        let parent = if is_attribute { Some(id) } else { self.document.node(id).parent };
        let mut out = Vec::new();
        match axis {
            Axis::Itself => out.push(from),
            Axis::Parent => out.extend(parent.map(Found::Node)),
            Axis::Ancestor | Axis::AncestorOrSelf => {
                if axis == Axis::AncestorOrSelf {
                    out.push(from);
                }
                let mut next = parent;
                while let Some(id) = next {
                    out.push(Found::Node(id));
                    next = self.document.node(id).parent;
                }
            }
            _ if is_attribute => {
                if axis == Axis::DescendantOrSelf {
                    out.push(from);
                }
            }
            Axis::Attribute => {
                let count = self.document.element(id).map_or(0, |element| element.attributes.len());
                out.extend((0..count).map(|index| Found::Attribute(id, index)));
            }
            Axis::Child => out = self.children(id),
            Axis::Descendant => self.put_below(id, &mut out)?,
            Axis::DescendantOrSelf => {
                out.push(from);
                self.put_below(id, &mut out)?;
            }
            Axis::FollowingSibling | Axis::PrecedingSibling => {
                let siblings = parent.map(|parent| self.children(parent)).unwrap_or_default();
                let place = siblings.iter().position(|sibling| *sibling == from).unwrap_or(siblings.len());
                match axis {
                    Axis::FollowingSibling => out.extend(siblings.into_iter().skip(place + 1)),
                    _ => out.extend(siblings[..place].iter().rev()),
                }
            }
            Axis::Following | Axis::Preceding => {
                let mut all = Vec::new();
                self.put_below(ROOT, &mut all)?;
                let ancestors = self.axis(from, Axis::Ancestor)?;
                let mut below = Vec::new();
                self.put_below(id, &mut below)?;
                self.spend(all.len().saturating_mul(below.len() + ancestors.len()))?;
                all.retain(|other| match axis {
                    Axis::Following => *other > from && !below.contains(other),
                    _ => *other < from && !ancestors.contains(other),
                });
                if axis == Axis::Preceding {
                    all.reverse();
                }
                out = all;
            }
        }
        self.spend(out.len())?;
        Ok(out)
    }

    fn call(&mut self, function: Function, args: &[Expr], here: Here) -> Eval<Value> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.eval(arg, here)?);
        }
        let own = || Value::Nodes(vec![here.node]);
        let first = values.first().cloned();
        let mut texts: Vec<String> = values.into_iter().map(|value| self.text(value)).collect();
        let nodes = |value: Option<Value>| match value {
            Some(Value::Nodes(nodes)) => Ok(nodes),
            _ => Err(RunError::new("expression must evaluate to a node-set")),
        };
        let text = |index: usize| texts.get(index).map_or("", String::as_str);
        Ok(match function {
            Function::Position => Value::Number(here.position as f64),
            Function::Last => Value::Number(here.last as f64),
            Function::True => Value::Bool(true),
            Function::False => Value::Bool(false),
            Function::Boolean => Value::Bool(first.as_ref().is_some_and(boolean)),
            Function::Not => Value::Bool(!first.as_ref().is_some_and(boolean)),
            Function::Count => Value::Number(nodes(first)?.len() as f64),
            Function::Sum => {
                Value::Number(nodes(first)?.iter().map(|node| number_of(&self.text_of(*node))).sum())
            }
            Function::Name | Function::LocalName => {
                let nodes = nodes(Some(first.unwrap_or_else(own)))?;
                let name = nodes.first().map_or("", |node| self.name_of(*node));
                Value::Text(if function == Function::Name { name } else { local(name) }.to_owned())
            }
            Function::StringOf => Value::Text(self.text(first.unwrap_or_else(own))),
            Function::StringLength => {
                Value::Number(self.text(first.unwrap_or_else(own)).chars().count() as f64)
            }
            Function::NormalizeSpace => {
                let text = self.text(first.unwrap_or_else(own));
                Value::Text(text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            Function::Number => Value::Number(self.number(first.unwrap_or_else(own))),
            Function::Ceiling => Value::Number(self.number(first.unwrap_or_else(own)).ceil()),
            Function::Floor => Value::Number(self.number(first.unwrap_or_else(own)).floor()),
            Function::Round => Value::Number((self.number(first.unwrap_or_else(own)) + 0.5).floor()),
            Function::Concat => Value::Text(texts.concat()),
            Function::Contains => Value::Bool(text(0).contains(text(1))),
            Function::StartsWith => Value::Bool(text(0).starts_with(text(1))),
            Function::EndsWith => Value::Bool(text(0).ends_with(text(1))),
            Function::LowerCase => Value::Text(text(0).to_lowercase()),
            Function::SubstringBefore => {
                Value::Text(text(0).split_once(text(1)).map_or("", |(before, _)| before).to_owned())
            }
            Function::SubstringAfter => {
                Value::Text(text(0).split_once(text(1)).map_or("", |(_, after)| after).to_owned())
            }
            Function::Substring => Value::Text(substring(text(0), text(1), texts.get(2))),
            Function::Translate => {
                let to: Vec<char> = text(2).chars().collect();
                let map = |c: char| match text(1).chars().position(|from| from == c) {
                    Some(place) => to.get(place).copied(),
                    None => Some(c),
                };
                let translated = text(0).chars().filter_map(map).collect();
                texts.clear();
                Value::Text(translated)
            }
        })
    }
}

/// Characters from a position, counted from 1, and at most so many.
fn substring(text: &str, start: &str, len: Option<&String>) -> String {
    let start = number_of(start).round();
    let end = len.map_or(f64::INFINITY, |len| start + number_of(len).round());
    let is_in = |position: f64| position >= start && position < end;
    text.chars().enumerate().filter(|(index, _)| is_in((index + 1) as f64)).map(|(_, c)| c).collect()
}

impl Found {
    /// The node, for an attribute that of its element.
    pub(crate) fn id(self) -> Id {
        match self {
            Self::Node(id) | Self::Attribute(id, _) => id,
        }
    }
}
