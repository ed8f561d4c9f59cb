//! Appends to the store.

fn main() {}
