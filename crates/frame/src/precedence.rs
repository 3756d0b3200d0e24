//! Which deliveries have to stand back.

/// Whether somebody waits for a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precedence {
    /// The switch forwards it.
    #[default]
    Production,
    /// It is a mirror copy: where room is short, it leaves some to production.
    Copy,
}
