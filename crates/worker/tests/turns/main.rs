//! What the workers promise, shown with ports that have no guest: each module is one theme.

#[cfg(test)]
mod allocation;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod collectors;
#[cfg(test)]
mod exact_sessions;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod fragments;
#[cfg(test)]
mod handed;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod mirroring;
#[cfg(test)]
mod own_copies;
#[cfg(test)]
mod passed_on;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod returned_copies;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sessions_exact;
#[cfg(test)]
mod sessions_limits;
#[cfg(test)]
mod sessions_model;
#[cfg(test)]
mod sessions_reference;
#[cfg(test)]
mod sessions_refused;
mod sessions_runs;
#[cfg(test)]
mod sessions_view;
#[cfg(test)]
mod sessions_workers;
#[cfg(test)]
mod several_workers;
#[cfg(test)]
mod silent_ports;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tags;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod underlay;
#[cfg(test)]
mod underlay_shared;

#[global_allocator]
static ALLOCATOR: helio_testkit::CountingAllocator = helio_testkit::CountingAllocator;
