//! What the control socket needs from a running switch.

use helio_api::{
    ConfigInfo, FdbEntryInfo, FdbFilter, FlushReply, MirrorInfo, PortConfig, PortInfo,
    PortSettings, QemuArgs, QemuRequest, SessionConfig, SessionSettings, WorkerInfo,
};

use crate::ControlError;

/// A running switch. Every method may block for a moment, and several run at the same time.
///
/// A change has taken effect when its method returns: the workers act on it from then on.
pub trait Switch: Send + Sync + 'static {
    /// All ports, in the order of their names or of their making.
    ///
    /// # Errors
    ///
    /// The switch cannot tell.
    fn ports(&self) -> Result<Vec<PortInfo>, ControlError>;

    /// The port `name`.
    ///
    /// # Errors
    ///
    /// There is no such port.
    fn port(&self, name: &str) -> Result<PortInfo, ControlError>;

    /// Adds a port and serves it.
    ///
    /// # Errors
    ///
    /// It does not fit beside the others, or its socket cannot be opened.
    fn add_port(&self, port: PortConfig) -> Result<PortInfo, ControlError>;

    /// Changes settings of the port `name`.
    ///
    /// # Errors
    ///
    /// There is no such port, or the settings do not fit it.
    fn set_port(&self, name: &str, settings: PortSettings) -> Result<PortInfo, ControlError>;

    /// Takes the port `name` out of service and forgets it.
    ///
    /// # Errors
    ///
    /// There is no such port.
    fn remove_port(&self, name: &str) -> Result<(), ControlError>;

    /// All mirror sessions: those with a number that have a port or a setting, then those with a name.
    ///
    /// # Errors
    ///
    /// The switch cannot tell.
    fn mirrors(&self) -> Result<Vec<MirrorInfo>, ControlError>;

    /// The mirror session of this name, or of this number.
    ///
    /// # Errors
    ///
    /// There is no such session.
    fn mirror(&self, name: &str) -> Result<MirrorInfo, ControlError> {
        let found = self.mirrors()?.into_iter().find(|mirror| mirror.title() == name);
        found.ok_or_else(|| ControlError::no_such_mirror(name))
    }

    /// Adds a named mirror session.
    ///
    /// # Errors
    ///
    /// It does not fit beside the others, names ports that are not there, or its filter cannot be used.
    fn add_mirror(&self, session: SessionConfig) -> Result<MirrorInfo, ControlError>;

    /// Changes settings of the named mirror session `name`. What it counts goes on.
    ///
    /// # Errors
    ///
    /// There is no such session, or the settings do not fit it.
    fn set_mirror(&self, name: &str, settings: SessionSettings)
    -> Result<MirrorInfo, ControlError>;

    /// Ends the named mirror session `name` and forgets it.
    ///
    /// # Errors
    ///
    /// There is no such session.
    fn remove_mirror(&self, name: &str) -> Result<(), ControlError>;

    /// All entries of the FDB.
    ///
    /// # Errors
    ///
    /// The switch cannot tell.
    fn fdb(&self) -> Result<Vec<FdbEntryInfo>, ControlError>;

    /// Forgets the learned addresses that `filter` means; static ones stay.
    ///
    /// # Errors
    ///
    /// The filter names a port that does not exist.
    fn flush_fdb(&self, filter: &FdbFilter) -> Result<FlushReply, ControlError>;

    /// The configuration as it is now.
    ///
    /// # Errors
    ///
    /// The switch cannot tell.
    fn config(&self) -> Result<ConfigInfo, ControlError>;

    /// All workers, in the order of the configuration.
    ///
    /// # Errors
    ///
    /// The switch cannot tell.
    fn workers(&self) -> Result<Vec<WorkerInfo>, ControlError>;

    /// The QEMU options for a guest on the port `name`.
    ///
    /// # Errors
    ///
    /// There is no such port, or it cannot give what is asked for.
    fn qemu_args(&self, name: &str, request: &QemuRequest) -> Result<QemuArgs, ControlError> {
        QemuArgs::for_port(&self.port(name)?, request).map_err(ControlError::invalid)
    }
}
