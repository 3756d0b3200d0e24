//! A virtio-net driver and vhost-user front-end in user space: it plays a VM towards any back-end.
//!
//! It writes ring bytes and messages by itself, so that it and the switch check each other. It plays by the
//! rules unless told otherwise, and each layer has a way to break them: [`Connection::send_raw`] for messages,
//! [`RingArea`] for ring bytes, [`GuestMemory::truncate`] for memory, [`Racer`] for changes under way.

mod burst;
mod chain_layout;
mod connection;
mod copy;
mod driver;
mod error;
mod event_fd;
mod fault;
pub mod features;
mod flow;
mod front_end;
mod guest;
mod guest_config;
mod ledger;
mod listener;
mod memory;
mod message;
mod net_header;
mod racer;
mod receive_queue;
mod ring_area;
mod split_ring;
mod test_frame;
mod transmit_queue;
mod waiting;
mod window;

pub use burst::{
    BurstConfig, BurstGuest, BurstQueues, BurstReceiver, BurstSender, Cutting, FrameSlot,
    FrameView, HeaderPlace, Rewriting,
};
pub use chain_layout::{ChainForm, ChainLayout};
pub use connection::{Connection, REPLY_TIMEOUT, Reply};
pub use driver::NetDriver;
pub use error::GuestError;
pub use event_fd::{EventFd, RingEvents};
pub use fault::Faults;
pub use flow::{Checksum, Flow, Numbered};
pub use front_end::{FrontEnd, RingSetup};
pub use guest::Guest;
pub use guest_config::{GuestConfig, ReceiveLayout, Refill, SetupOrder};
pub use ledger::{Ledger, SenderTally};
pub use listener::Listener;
pub use memory::{GuestMemory, MemoryLayout, PAGE_BYTES, Pages, RegionPlan, Sealing};
pub use message::{MemoryRegion, MessageId, RingAddresses, RingState, encode_header};
pub use net_header::{NetHeader, NetHeaderLen};
pub use racer::Racer;
pub use receive_queue::ReceiveQueue;
pub use ring_area::{Descriptor, RingArea, RingPlace, descriptor_flags};
pub use split_ring::{Buffer, BufferAccess, Calls, RingFull, RingMode, SplitRing, Used};
pub use test_frame::{MIN_TEST_FRAME_BYTES, TestFrame};
pub use transmit_queue::{SendError, TransmitQueue};
pub use waiting::Received;
pub use window::Window;
