//! Go's regular expressions: the dialect lives in `model`, because processors read patterns in it too.

pub(crate) use model::go_regex::{compile, compile_anchored, translate};
