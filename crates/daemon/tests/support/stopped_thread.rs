//! One thread of another process that stands still, as on a host that gives it no time, while all others go on.

use std::fs;

/// A thread that does not run until this is dropped. Stopped, and let go, by one thread of the test.
pub struct StoppedThread {
    id: libc::pid_t,
}

impl StoppedThread {
    /// Stops the thread of this name in a process that this one has started. It stands still when this returns.
    #[track_caller]
    pub fn of(process: u32, name: &str) -> Self {
        let id = find(process, name).unwrap();
        trace(libc::PTRACE_SEIZE, id);
        trace(libc::PTRACE_INTERRUPT, id);
        let mut status = 0;
        // SAFETY: `status` is an integer that the call may write.
        let waited = unsafe { libc::waitpid(id, &raw mut status, libc::__WALL) };
        assert!(waited == id && libc::WIFSTOPPED(status), "{name}: {status:#x}");
        Self { id }
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        trace(libc::PTRACE_DETACH, self.id);
    }
}

fn find(process: u32, name: &str) -> Option<libc::pid_t> {
    let mut tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.find_map(|task| {
        let task = task.unwrap();
        let found = fs::read_to_string(task.path().join("comm")).is_ok_and(|it| it.trim() == name);
        found.then(|| task.file_name().to_str().unwrap().parse().unwrap())
    })
}

#[track_caller]
fn trace(request: libc::c_uint, thread: libc::pid_t) {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests read and write no memory of ours.
    let done = unsafe { libc::ptrace(request, thread, nothing, nothing) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}
