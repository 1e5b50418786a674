//! What is said to whatever started this process, where it wants to hear that (systemd's `Type=notify`).

/// Work begins: what waits for this process may start.
#[cfg(target_os = "linux")]
pub fn ready(status: &str) {
    say(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(status)]);
}

/// It has been asked to end, and does.
#[cfg(target_os = "linux")]
pub fn stopping() {
    say(&[sd_notify::NotifyState::Stopping]);
}

#[cfg(target_os = "linux")]
fn say(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("what started this process cannot be told: {error}");
    }
}

/// There is nobody to tell.
#[cfg(not(target_os = "linux"))]
pub fn ready(_status: &str) {}

/// There is nobody to tell.
#[cfg(not(target_os = "linux"))]
pub fn stopping() {}
