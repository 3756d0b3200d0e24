//! What ports on interfaces of the host have in common: a control thread each, which opens the interface, lends what it
//! opened to the worker, watches the interface, and takes back what it lent when that goes away.

mod control_thread;
mod event;
mod interface;
mod link_events;
mod mailbox;
mod stage;

pub use control_thread::{ControlThread, FirstTry, Senses, Stop, Worker, keep_open};
pub use event::PortEvent;
pub use interface::{Interface, InterfaceRequest, Interfaces, Link};
pub use link_events::LinkEvents;
pub use mailbox::{Answer, Mailbox, Order, Reply, ask};
pub use stage::{Gravity, PortState, Stage, StateWord};
