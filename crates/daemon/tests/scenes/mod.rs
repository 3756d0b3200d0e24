//! Scenes that are played with one worker and with two.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "tests, shared by several test programs"
)]

pub mod mirroring;
pub mod monitors;

/// Makes a test of each scene, under the name of the scene.
#[macro_export]
macro_rules! play {
    ($scenes:ident on $placement:expr; $($scene:ident,)*) => {
        $(
            #[test]
            fn $scene() {
                $crate::scenes::$scenes::$scene($placement);
            }
        )*
    };
}
