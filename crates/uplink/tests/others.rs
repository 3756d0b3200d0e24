//! Others who use the interface: another program, another socket, a process that was killed, an operator with a tool.
#![cfg(test)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use helio_types::UplinkMode;
use helio_uplink::{StateWord, UplinkEvent};
use support::{FarEnd, Rig, Setting, Wire, frame, ip};

fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{fd}");
    // SAFETY: the library has just opened it and keeps no copy.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn index_of_near() -> i32 {
    // SAFETY: the name ends with a zero.
    i32::try_from(unsafe { libc::if_nametoindex(c"near".as_ptr()) }).unwrap()
}

/// A program that lets everything pass.
fn other_program() -> OwnedFd {
    // return XDP_PASS
    let code = [0xb7_u64 | 2 << 32, 0x95];
    // SAFETY: the code has two instructions, and no options are passed.
    owned(unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_XDP,
            c"other".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr().cast(),
            2,
            std::ptr::null_mut(),
        )
    })
}

fn attach(program: i32, flags: u32) {
    // SAFETY: no options are passed.
    let done =
        unsafe { libbpf_sys::bpf_xdp_attach(index_of_near(), program, flags, std::ptr::null()) };
    assert_eq!(done, 0);
}

fn carries_frames(rig: &mut Rig) {
    let far = FarEnd::new();
    rig.until_state(StateWord::Up);
    far.send(&frame(700, 1));
    assert_eq!(rig.receive(1), [frame(700, 1)]);
}

#[test]
fn another_program_is_named_and_when_it_goes_the_uplink_comes_by_itself() {
    for flags in [libbpf_sys::XDP_FLAGS_DRV_MODE, libbpf_sys::XDP_FLAGS_SKB_MODE] {
        for mode in [UplinkMode::Auto, UplinkMode::Copy, UplinkMode::Skb] {
            let _wire = Wire::new(1500);
            let other = other_program();
            attach(other.as_raw_fd(), flags);
            let mut rig = Rig::started(Setting { mode, ..Setting::default() });
            rig.until("it was refused", |rig| !rig.events().is_empty());
            let detail = rig.state().detail;
            let begin = "another XDP program is attached to near (other, number ";
            assert!(detail.starts_with(begin), "{mode}: {detail}");
            assert!(ip("link show near").contains("name other"), "{mode}: it was left alone");
            let is_promiscuous = !ip("-d link show near").contains("promiscuity 0");
            assert!(strips_tags("near") && !is_promiscuous, "{mode}: nor is anything else changed");
            // As the sentence says.
            let (_, advice) = detail.split_once("take it away by ip ").unwrap();
            ip(advice);
            carries_frames(&mut rig);
        }
    }
}

/// A socket on the second queue of the near end, without a program.
fn other_socket() -> impl Sized {
    use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig, UmemConfig};
    let umem = UmemConfig::builder().build().unwrap();
    let (umem, _) = xsk_rs::Umem::new(umem, 64.try_into().unwrap(), false).unwrap();
    let config = SocketConfig::builder()
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(BindFlags::XDP_COPY)
        .build();
    let near = Interface::from_str("near").unwrap();
    // SAFETY: no program is loaded.
    let socket = unsafe { xsk_rs::Socket::new(config, &umem, &near, 1) }.unwrap();
    (socket, umem)
}

#[test]
fn a_queue_that_another_socket_has_is_named_and_when_that_goes_the_uplink_comes() {
    let _wire = Wire::with_queues(1500, 2);
    let other = other_socket();
    let mut rig = Rig::started(Setting::default());
    rig.until("it was refused", |rig| !rig.events().is_empty());
    let detail = rig.state().detail;
    assert!(detail.starts_with("queue 1 of near is in use by another AF_XDP socket"), "{detail}");
    // Over several tries: the card is not told something else with each.
    for _ in 0..30 {
        assert!(!strips_tags("near"));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(other);
    carries_frames(&mut rig);
    drop(rig);
    assert!(strips_tags("near"), "it is allowed again");
}

#[test]
fn an_interface_that_was_refused_and_has_another_name_now_is_as_it_was_before() {
    let _wire = Wire::with_queues(1500, 2);
    let _other = other_socket();
    let mut rig = Rig::started(Setting::default());
    rig.until("it was refused", |rig| !rig.events().is_empty());
    assert!(!strips_tags("near"));
    ip("link set near down");
    ip("link set near name before");
    rig.until("nothing is asked of it any more", |_| {
        strips_tags("before") && ip("-d link show before").contains("promiscuity 0")
    });
}

/// The link of the program on the near end.
fn link_of_near() -> OwnedFd {
    let shown = ip("link show near");
    let number = shown.split("prog/xdp id ").nth(1).unwrap().split(' ').next().unwrap();
    let (mut id, mut next) = (0, 0);
    // SAFETY: the library writes a number to `next`.
    while unsafe { libbpf_sys::bpf_link_get_next_id(id, &raw mut next) } == 0 {
        id = next;
        // SAFETY: only a number is passed.
        let link = unsafe { libbpf_sys::bpf_link_get_fd_by_id(id) };
        if link < 0 {
            continue;
        }
        let link = owned(link);
        let mut info = libbpf_sys::bpf_link_info::default();
        let mut bytes = u32::try_from(size_of_val(&info)).unwrap();
        // SAFETY: the kernel writes at most `bytes` bytes to `info`.
        let done = unsafe {
            libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &raw mut info, &raw mut bytes)
        };
        if done == 0 && info.prog_id.to_string() == number {
            return link;
        }
    }
    panic!("no link has program {number}");
}

#[test]
fn a_program_that_an_operator_forces_off_is_attached_again() {
    let _wire = Wire::new(1500);
    let mut rig = Rig::up(UplinkMode::Auto);
    let link = link_of_near();
    // SAFETY: only a number is passed.
    assert_eq!(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }, 0);
    let closed = UplinkEvent::Closed("the XDP program was taken away from near".to_owned());
    rig.until("that was noticed", |rig| rig.events().contains(&closed));
    carries_frames(&mut rig);
}

/// Whether the driver of an interface takes tags out of frames.
fn strips_tags(interface: &str) -> bool {
    let run = Command::new("ethtool").args(["-k", interface]).output().unwrap();
    String::from_utf8_lossy(&run.stdout).contains("rx-vlan-offload: on")
}

#[test]
fn tags_stay_in_frames_also_when_an_operator_lets_the_driver_take_them_out() {
    let _wire = Wire::new(1500);
    assert!(strips_tags("near"));
    let mut rig = Rig::up(UplinkMode::Auto);
    assert!(!strips_tags("near"));
    let run = Command::new("ethtool").args(["-K", "near", "rxvlan", "on"]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told = |event: &UplinkEvent| matches!(event, UplinkEvent::Note(text) if text.starts_with("near was told again"));
    rig.until("that was noticed", |rig| rig.events().iter().any(told));
    assert!(!strips_tags("near"));
    carries_frames(&mut rig);
    drop(rig);
    assert!(strips_tags("near"), "it is allowed again");
}

const CHILD: &str = "HELIO_UPLINK_CHILD";

#[test]
fn a_process_that_is_killed_leaves_no_program_and_the_next_one_takes_its_place() {
    if std::env::var_os(CHILD).is_some() {
        // In the namespace of who started us.
        let mut rig = Rig::up(UplinkMode::Auto);
        println!("\nready");
        loop {
            let _ = rig.offer(&frame(200, 1));
            rig.turn();
        }
    }
    let _wire = Wire::new(1500);
    let far = FarEnd::new();
    for round in 0..10 {
        let name = "a_process_that_is_killed_leaves_no_program_and_the_next_one_takes_its_place";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "round {round}");
        assert!(ip("link show near").contains("helio_uplink"));
        // Under load in both directions.
        (0..50).for_each(|number| far.send(&frame(500, number)));
        child.kill().unwrap();
        child.wait().unwrap();
        let shown = ip("-d link show near");
        assert!(!shown.contains("xdp") && shown.contains("promiscuity 0"), "{shown}");
        let mut rig = Rig::up(UplinkMode::Auto);
        carries_frames(&mut rig);
    }
}
