//! A whole switch in this process, and tasks carried out against it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helio_bench::{
    BenchError, Helpers, Loop, Oddities, Outcome, Progress, RatePlan, Report, StagePlan, Task, run,
    to_markdown, to_svg,
};
use helio_config::Config;
use helio_daemon::Daemon;
use tempfile::TempDir;

/// One switch at a time: its worker and our guests need both cores.
static ONE_SWITCH: Mutex<()> = Mutex::new(());

pub(crate) struct Lab {
    daemon: Option<Daemon>,
    pub(crate) folder: TempDir,
    ports: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// A switch with one port for each entry, which holds more lines of its configuration.
    pub(crate) fn new(ports: &[&str]) -> Self {
        Self::with("", ports)
    }

    /// The same; `switch` holds more lines about the switch itself.
    pub(crate) fn with(switch: &str, ports: &[&str]) -> Self {
        let alone = ONE_SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let mut text = format!("[switch]\ncontrol = \"{path}/control.sock\"\n{switch}\n");
        for (number, lines) in ports.iter().enumerate() {
            let usual = format!("name = \"p{number}\"\nsocket = \"{path}/{number}.sock\"");
            text.push_str(&format!("[[port]]\n{usual}\n{lines}\n"));
        }
        let daemon = Some(Daemon::start(Config::from_str(&text, "test").unwrap()).unwrap());
        Self { daemon, folder, ports: ports.len(), _alone: alone }
    }

    pub(crate) fn plan(&self) -> StagePlan {
        let socket = |number: usize| self.folder.path().join(format!("{number}.sock"));
        let mut plan = StagePlan::new((0..self.ports).map(socket).collect());
        plan.rings.size = 256;
        plan
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.daemon.take().unwrap().stop();
    }
}

pub(crate) fn try_task(plan: &StagePlan, task: &Task) -> Result<Report, BenchError> {
    let kinds = [("test".to_owned(), plan.frames.clone())];
    run(plan, &kinds, task, &mut Helpers::default(), &mut Progress::silent())
}

pub(crate) fn report(plan: &StagePlan, task: &Task) -> Report {
    let report = try_task(plan, task).unwrap();
    assert!(to_markdown(&report).contains("| test"));
    assert!(report.to_json().contains("\"schema\": 1"));
    assert!(to_svg(&report).unwrap().ends_with("</svg>\n"));
    report
}

pub(crate) fn outcome(plan: &StagePlan, task: &Task) -> Outcome {
    report(plan, task).cells.remove(0).outcome
}

pub(crate) fn short_rate(kind: Loop) -> Task {
    let window = Duration::from_millis(50);
    Task::Rate(RatePlan { kind, warm_up: window, windows: 3, window }, None)
}

/// Runs a closed loop; frames sent, and copies that watchers saw.
pub(crate) fn assert_nothing_is_lost(plan: &StagePlan) -> (u64, Vec<u64>) {
    let Outcome::Rate { sustained, drain: None } = outcome(plan, &short_rate(Loop::Closed)) else {
        panic!("another outcome than was asked for")
    };
    assert_eq!(sustained.windows_mpps.len(), 3);
    assert!(sustained.sent > 0);
    assert_eq!((sustained.lost, sustained.oddities), (0, Oddities::default()), "{plan:?}");
    (sustained.sent, sustained.copies)
}
