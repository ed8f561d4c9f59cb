//! The tree of a template.

use super::patterns::takes_pattern;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`; prints unless it declares or assigns.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// `if`, `with` or `range` with its two lists.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$x := a b | c`
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// `=` rather than `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// One command of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    pub(super) place: Place,
}

/// Where a command stands, for messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// As written.
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
    /// Bytes from the start of the line.
    pub(super) column: usize,
}

/// A word of a command.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a`; the name without `$`, "" for `$` itself.
    Variable(String, Vec<String>),
    Function(String),
    /// `(pipeline).a`
    Parenthesized(Box<Pipeline>, Vec<String>),
}

/// Adds the names of the fields that nodes read from the labels.
pub(super) fn collect_fields(nodes: &[Node], fields: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => collect_from_pipeline(pipeline, fields),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                collect_from_pipeline(&branch.pipeline, fields);
                collect_fields(&branch.body, fields);
                collect_fields(&branch.otherwise, fields);
            }
        }
    }
}

/// Adds the patterns that nodes write out.
pub(super) fn collect_patterns(nodes: &[Node], patterns: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => patterns_of_pipeline(pipeline, patterns),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                patterns_of_pipeline(&branch.pipeline, patterns);
                collect_patterns(&branch.body, patterns);
                collect_patterns(&branch.otherwise, patterns);
            }
        }
    }
}

fn patterns_of_pipeline(pipeline: &Pipeline, patterns: &mut Vec<String>) {
    for Command { operands, .. } in &pipeline.commands {
        if let [Operand::Function(name), Operand::Text(pattern), ..] = &operands[..]
            && takes_pattern(name)
        {
            patterns.push(pattern.clone());
        }
        for operand in operands {
            if let Operand::Parenthesized(inner, _) = operand {
                patterns_of_pipeline(inner, patterns);
            }
        }
    }
}

fn collect_from_pipeline(pipeline: &Pipeline, fields: &mut Vec<String>) {
    for Command { operands, .. } in &pipeline.commands {
        let indexes = matches!(&operands[..], [Operand::Function(name), ..] if name == "index");
        for operand in operands {
            match operand {
                Operand::Field(names) | Operand::Variable(_, names) => fields.extend(names.iter().cloned()),
                Operand::Parenthesized(inner, names) => {
                    collect_from_pipeline(inner, fields);
                    fields.extend(names.iter().cloned());
                }
                Operand::Text(text) if indexes => fields.push(text.clone()),
                _ => {}
            }
        }
    }
}
