//! The story.
fn main() {}
