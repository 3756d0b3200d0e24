//! The configuration file of a switch under test, written as an operator would write it.

use std::path::Path;

use helio_types::{Mirroring, SessionId};

/// Which side of its socket a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The switch listens.
    Server,
    /// The switch connects.
    Client,
}

/// What a worker does without frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// It sleeps.
    Adaptive,
    /// It polls on.
    Busy,
}

/// One port.
#[derive(Clone, Debug)]
pub struct PortPlan {
    name: String,
    /// The interface of an uplink; other ports have a socket.
    interface: Option<String>,
    lines: Vec<String>,
}

impl PortPlan {
    /// A port on which the switch listens, with all settings at their defaults.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), interface: None, lines: vec![] }
    }

    /// An uplink on an interface.
    #[must_use]
    pub fn uplink(name: &str, interface: &str) -> Self {
        Self { interface: Some(interface.to_owned()), ..Self::new(name) }
    }

    /// Which side of its socket the port is.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        match mode {
            Mode::Server => self.line("mode = \"server\""),
            Mode::Client => self.line("mode = \"client\""),
        }
    }

    /// Part the port takes in a mirror session.
    #[must_use]
    pub fn mirroring(self, mirroring: Mirroring, session: SessionId) -> Self {
        self.line(&format!("mirroring = \"{mirroring}\"")).line(&format!("session = {session}"))
    }

    /// Any other line of the port's table, for example `vlan = { access = 10 }`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }
}

/// A whole switch.
#[derive(Clone, Debug, Default)]
pub struct SwitchPlan {
    workers: Vec<(usize, Polling)>,
    ports: Vec<PortPlan>,
    tables: String,
}

impl SwitchPlan {
    /// A switch with these ports and, until one is named, one worker where the switch puts it.
    #[must_use]
    pub fn new(ports: Vec<PortPlan>) -> Self {
        Self { ports, ..Self::default() }
    }

    /// Adds a worker on a core.
    #[must_use]
    pub fn worker(mut self, core: usize, polling: Polling) -> Self {
        self.workers.push((core, polling));
        self
    }

    /// Adds any other table, for example `[[mirror]]` with its keys.
    #[must_use]
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// The text of the file, with all sockets in `folder`.
    pub(crate) fn text(&self, folder: &Path) -> String {
        let folder = folder.display();
        let mut text = format!("[switch]\ncontrol = \"{folder}/control.sock\"\n");
        for (core, polling) in &self.workers {
            let poll = match polling {
                Polling::Adaptive => "adaptive",
                Polling::Busy => "busy",
            };
            text.push_str(&format!("\n[[worker]]\ncore = {core}\npoll = \"{poll}\"\n"));
        }
        for PortPlan { name, interface, lines } in &self.ports {
            let far_side = match interface {
                Some(interface) => format!("interface = \"{interface}\""),
                None => format!("socket = \"{folder}/{name}.sock\""),
            };
            text.push_str(&format!("\n[[port]]\nname = \"{name}\"\n{far_side}\n"));
            text.extend(lines.iter().map(|line| format!("{line}\n")));
        }
        text.push('\n');
        text.push_str(&self.tables);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_form_of_the_handbook() {
        let columbia = PortPlan::new("columbia")
            .mode(Mode::Client)
            .mirroring(Mirroring::Source, SessionId::default());
        let text = SwitchPlan::new(vec![columbia]).worker(1, Polling::Busy).text(Path::new("/run"));
        let expected = "[switch]\ncontrol = \"/run/control.sock\"\n\n\
            [[worker]]\ncore = 1\npoll = \"busy\"\n\n\
            [[port]]\nname = \"columbia\"\nsocket = \"/run/columbia.sock\"\nmode = \"client\"\n\
            mirroring = \"source\"\nsession = 0\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_uplink_has_an_interface_and_no_socket() {
        let uplink = PortPlan::uplink("uplink0", "eth1").line("vlan = { trunk = [10] }");
        let text = SwitchPlan::new(vec![uplink]).text(Path::new("/run"));
        let expected = "[switch]\ncontrol = \"/run/control.sock\"\n\n\
            [[port]]\nname = \"uplink0\"\ninterface = \"eth1\"\nvlan = { trunk = [10] }\n\n";
        assert_eq!(text, expected);
    }
}
