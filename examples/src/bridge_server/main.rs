//! The whole integration as one program.
fn main() {}
