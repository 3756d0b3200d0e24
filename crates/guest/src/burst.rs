//! The fast way to play a guest: chains and buffers that are written once and used again and again, taken and
//! given in bursts, with one index store for each.
//!
//! For load generators: it keeps the rules of the ring and checks the back-end as [`crate::Guest`] does, but frames
//! stay where they are. Who sends rewrites what has changed in a buffer, who receives reads what it wants to see.
//! One owner, the thread that plays the guests; after set-up nothing allocates and nothing waits.

mod config;
mod guest;
mod receiver;
mod sender;
mod standing_ring;

pub use config::{BurstConfig, Cutting, HeaderPlace, Rewriting};
pub use guest::{BurstGuest, BurstQueues};
pub use receiver::{BurstReceiver, FrameView};
pub use sender::{BurstSender, FrameSlot};
