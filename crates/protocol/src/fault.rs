//! Named points before and after each change of state, at which tests kill the process. Builds for users have none of them.

/// What is done at a point.
pub type Hook = Box<dyn Fn(&str) + Send + Sync>;

#[cfg(debug_assertions)]
static HOOK: std::sync::OnceLock<Hook> = std::sync::OnceLock::new();

/// All points, for those who try each.
pub const HUB_POINTS: [&str; 14] = [
    "submit.before",
    "submit.after",
    "grant.before",
    "grant.after",
    "expand.before",
    "expand.after",
    "complete.before",
    "complete.after",
    "gate.before",
    "gate.after",
    "publish.before",
    "publish.after",
    "finish.before",
    "finish.after",
];

/// Those of a hub that watches a folder.
pub const FOLDER_POINTS: [&str; 5] =
    ["folder.noted", "folder.submitted", "replace.checked", "replace.kept", "replace.placed"];

/// Those of a worker.
pub const WORKER_POINTS: [&str; 4] = ["work.before", "result.before", "result.after", "told.after"];

/// Says what is done at points; only the first call counts.
pub fn at_points(hook: Hook) {
    #[cfg(debug_assertions)]
    {
        let _ = HOOK.set(hook);
    }
    #[cfg(not(debug_assertions))]
    drop(hook);
}

/// A point is passed.
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    if let Some(hook) = HOOK.get() {
        hook(name);
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
