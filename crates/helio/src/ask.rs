//! The commands that ask a running switch: one request each, and the answer printed.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};

use helio_api::{
    ConfigInfo, FdbEntryInfo, FlushReply, MirrorInfo, PortEntry, PortInfo, QemuArgs, SessionEntry,
    SessionSettings, SettingsEntry, WorkerInfo,
};
use hyper::Method;
use serde::Serialize;

use crate::args::{
    AddArgs, ConfigRequest, FdbArgs, FdbRequest, Form, PortRequest, QemuArgsArgs, Request, SetArgs,
    WorkerRequest, default_control,
};
use crate::client::Client;
use crate::failure::Failure;
use crate::mirror_args::{MirrorRequest, words};
use crate::print::{self, LineEnd};
use crate::print_mirror;
use crate::vlan_arg::vlan_setting;
use crate::wording::Typed;

/// Sends `request` and prints the answer.
pub(crate) fn ask(request: Request, control: Option<PathBuf>, form: Form) -> Result<(), Failure> {
    let client = Client::new(control.unwrap_or_else(default_control));
    match request {
        Request::Port(request) => ask_port(&client, request, form),
        Request::Mirror(request) => ask_mirror(&client, request, form),
        Request::Fdb(FdbRequest::List(args)) => {
            let entries: Vec<FdbEntryInfo> = client.ask(Method::GET, &fdb_path(&args))?;
            show(form, &entries, |out| print::fdb(out, &entries))
        }
        Request::Fdb(FdbRequest::Flush(args)) => {
            let reply: FlushReply = client.ask(Method::DELETE, &fdb_path(&args))?;
            let word = if reply.removed == 1 { "address" } else { "addresses" };
            show(form, &reply, |out| writeln!(out, "{} {word} forgotten", reply.removed))
        }
        Request::Config(ConfigRequest::Show) => {
            let config: ConfigInfo = client.ask(Method::GET, "/v1/config")?;
            show_config(&config, form)
        }
        Request::Worker(WorkerRequest::List) => {
            let workers: Vec<WorkerInfo> = client.ask(Method::GET, "/v1/workers")?;
            show(form, &workers, |out| print::workers(out, &workers))
        }
        Request::QemuArgs(args) => {
            let options: QemuArgs = client.ask(Method::GET, &qemu_path(&args))?;
            show_qemu_args(&options, form)
        }
    }
}

fn ask_port(client: &Client, request: PortRequest, form: Form) -> Result<(), Failure> {
    match request {
        PortRequest::List => {
            let ports: Vec<PortInfo> = client.ask(Method::GET, "/v1/ports")?;
            show(form, &ports, |out| print::ports(out, &ports))
        }
        PortRequest::Show(port) => {
            let port: PortInfo = client.ask(Method::GET, &port_path(&port.name))?;
            show(form, &port, |out| print::port(out, &port))
        }
        PortRequest::Add(args) => {
            let entry = port_entry(*args)?;
            let added = client.tell(Method::POST, "/v1/ports", &entry);
            let port: PortInfo = added.map_err(|failure| failure.of(&Typed::of_port()))?;
            show(form, &port, |out| print::port_line(out, &port))
        }
        PortRequest::Set(args) => {
            let settings = settings_entry(&args);
            if settings == SettingsEntry::default() {
                return Err(changes_nothing("port"));
            }
            let path = port_path(&args.port.name);
            let changed = client.tell(Method::PATCH, &path, &settings);
            let port: PortInfo = changed.map_err(|failure| failure.of(&Typed::of_port()))?;
            show(form, &port, |out| print::port_line(out, &port))
        }
        PortRequest::Remove(port) => client.order(Method::DELETE, &port_path(&port.name)),
    }
}

fn ask_mirror(client: &Client, request: MirrorRequest, form: Form) -> Result<(), Failure> {
    let path = |name: &str| format!("/v1/mirrors/{name}");
    match request {
        MirrorRequest::List => {
            let mirrors: Vec<MirrorInfo> = client.ask(Method::GET, "/v1/mirrors")?;
            show(form, &mirrors, |out| print_mirror::mirrors(out, &mirrors))
        }
        MirrorRequest::Show(mirror) => {
            let mirror: MirrorInfo = client.ask(Method::GET, &path(&mirror.name))?;
            show(form, &mirror, |out| print_mirror::mirror(out, &mirror))
        }
        MirrorRequest::Add(args) => {
            let typed = args.live.typed();
            let entry = SessionEntry::from(*args);
            let added = client.tell(Method::POST, "/v1/mirrors", &entry);
            let mirror: MirrorInfo = added.map_err(|failure| failure.of(&typed))?;
            show(form, &mirror, |out| print_mirror::mirror_line(out, &mirror))
        }
        MirrorRequest::Set(args) => {
            let settings = SessionSettings::from(&*args);
            if settings.is_empty() {
                return Err(changes_nothing("mirror"));
            }
            let path = path(&args.session.name);
            let changed = client.tell(Method::PATCH, &path, &settings);
            let mirror: MirrorInfo = changed.map_err(|failure| failure.of(&args.live.typed()))?;
            show(form, &mirror, |out| print_mirror::mirror_line(out, &mirror))
        }
        MirrorRequest::Remove(mirror) => client.order(Method::DELETE, &path(&mirror.name)),
    }
}

/// The switch would say so, too, in the words of JSON.
fn changes_nothing(what: &str) -> Failure {
    Failure::Refused {
        error: "the command changes nothing".to_owned(),
        hint: format!("write at least one option of those that \"helio {what} set --help\" names"),
        faults: Vec::new(),
    }
}

/// Prints `value` as JSON, or as `human` does.
fn show(
    form: Form,
    value: &impl Serialize,
    human: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if form.json {
        serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        human(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

/// What keeps it from being loaded goes to stderr, so that the text can be put into a file.
fn show_config(config: &ConfigInfo, form: Form) -> Result<(), Failure> {
    show(form, config, |out| out.write_all(config.toml.as_bytes()))?;
    if !form.json {
        for problem in &config.problems {
            let _ = writeln!(io::stderr(), "note: \"helio run\" would refuse this: {problem}");
        }
    }
    Ok(())
}

/// The notes go to stderr, so that the options can be taken by a script.
fn show_qemu_args(options: &QemuArgs, form: Form) -> Result<(), Failure> {
    let lines = if io::stdout().is_terminal() { LineEnd::Continued } else { LineEnd::Joined };
    show(form, options, |out| print::qemu_args(out, options, lines))?;
    if !form.json {
        for note in &options.notes {
            let _ = writeln!(io::stderr(), "note: {note}");
        }
    }
    Ok(())
}

/// Names have been checked: they need no escaping.
fn port_path(name: &str) -> String {
    format!("/v1/ports/{name}")
}

fn fdb_path(args: &FdbArgs) -> String {
    let port = args.port.as_ref().map(|port| format!("port={port}"));
    let vlan = args.vlan.map(|vlan| format!("vlan={vlan}"));
    with_query("/v1/fdb", [port, vlan])
}

fn qemu_path(args: &QemuArgsArgs) -> String {
    let pairs = args.queue_pairs.map(|pairs| format!("queue_pairs={pairs}"));
    let memory = args.memory.map(|mib| format!("memory_mib={mib}"));
    with_query(&format!("/v1/ports/{}/qemu-args", args.port.name), [pairs, memory])
}

fn with_query(path: &str, terms: [Option<String>; 2]) -> String {
    let terms: Vec<_> = terms.into_iter().flatten().collect();
    if terms.is_empty() { path.to_owned() } else { format!("{path}?{}", terms.join("&")) }
}

fn port_entry(args: AddArgs) -> Result<PortEntry, Failure> {
    Ok(PortEntry {
        socket: args.socket.as_deref().map(absolute).transpose()?.unwrap_or_default(),
        interface: args.interface,
        tap: args.tap,
        queues: args.queues,
        pass: args.pass,
        mode: args.mode,
        vlan: vlan_setting(&args.live.vlan),
        mirroring: args.live.mirroring,
        session: args.live.session.map(u64::from),
        mtu: args.live.mtu.map(u64::from),
        receive_only: args.receive_only.then_some(true),
        worker: args.worker,
        queue_pairs: args.queue_pairs,
        mac_limit: args.mac_limit,
        static_mac: args.static_mac,
        decap: args.decap,
        labels: args.label,
        name: args.port.name,
    })
}

/// The switch works in another directory than the person who types the path.
fn absolute(socket: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(socket).map_err(|cause| Failure::Refused {
        error: format!("the path {:?} of --socket cannot be used: {cause}", socket.display()),
        hint: String::new(),
        faults: Vec::new(),
    })?;
    Ok(path.to_string_lossy().into_owned())
}

fn settings_entry(args: &SetArgs) -> SettingsEntry {
    SettingsEntry {
        mirroring: args.live.mirroring.clone(),
        session: args.live.session.map(u64::from),
        vlan: vlan_setting(&args.live.vlan),
        mtu: args.live.mtu.map(u64::from),
        receive_only: args.receive_only,
        labels: words(&args.label),
    }
}
