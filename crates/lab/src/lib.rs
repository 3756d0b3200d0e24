//! The lab: a real switch process with real guests around it, for the demo and for the tests of the whole.
//!
//! Everything here starts processes and talks to them from the outside, as an operator would; nothing here is part of
//! the switch. Every process is killed by the kernel when the thread that started it ends, so an aborted test leaves
//! none behind. Start things from a thread that outlives them.
#![forbid(unsafe_code)]

mod child_process;
mod console;
mod echo;
mod echo_frame;
mod error;
mod guest_image;
mod guest_kernel;
mod hugepages;
mod initramfs;
mod interrupt;
mod lab_dir;
mod machine_lock;
mod net_namespace;
mod qemu;
mod qemu_stage;
mod qmp;
mod story;
mod switch;
mod switch_config;
mod switch_figures;
mod testpmd;
mod testpmd_plan;
mod testpmd_stats;
mod transcript;
mod transfer;
mod user_space_stage;
mod vnic;

pub use child_process::{ChildProcess, Output};
pub use echo::{Echo, EchoKind, each_once};
pub use error::LabError;
pub use guest_image::GuestImage;
pub use interrupt::clean_up_when_interrupted;
pub use lab_dir::LabDir;
pub use machine_lock::MachineLock;
pub use net_namespace::NetNamespace;
pub use qemu::{GuestJob, GuestPlan, Outcome, Qemu};
pub use qemu_stage::QemuStage;
pub use story::{PINGS, Stage, Verdict, play};
pub use switch::Switch;
pub use switch_config::{Mode, Polling, PortPlan, SwitchPlan};
pub use switch_figures::{DestinationFigures, MirrorFigures, PortFigures, UplinkFigures};
pub use testpmd::Testpmd;
pub use testpmd_plan::{Feature, ForwardMode, TestpmdPlan, VirtioUser};
pub use testpmd_stats::{ForwardStats, PortStats};
pub use transfer::transfer;
pub use user_space_stage::UserSpaceStage;
pub use vnic::{SocketRole, Vnic};
