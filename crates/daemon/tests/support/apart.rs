//! A switch in a process of its own, to be killed: the test program again, with only the test that wants it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use helio_config::Config;
use helio_daemon::Daemon;

/// Names the configuration to whoever shall be such a process.
const SERVE: &str = "HELIO_TEST_SERVE";

/// The file in the folder of the switch.
pub fn config_file(folder: &Path) -> PathBuf {
    folder.join("test.toml")
}

/// In the process that is to be the switch: serves until it is killed. Elsewhere it returns at once. A test that wants such a
/// switch begins with it.
pub fn serve_if_asked() {
    let Some(file) = std::env::var_os(SERVE) else { return };
    let text = std::fs::read_to_string(&file).unwrap();
    let _daemon = Daemon::start(Config::from_str(&text, "test.toml").unwrap()).unwrap();
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Starts the process, for the test of this name. The kernel kills it when the calling thread ends.
pub fn start(folder: &Path, test: &str) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(SERVE, config_file(folder))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}
