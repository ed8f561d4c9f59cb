//! The `tidegate-loadtest` binary.
fn main() {}
