//! In the place of `calls` on processors whose system calls are not known by number.

pub(crate) fn restrict(_hardware: bool) -> Result<(), String> {
    Err(format!("there is no list for processors of the kind {}", std::env::consts::ARCH))
}

pub(crate) fn close_inherited() -> Result<(), String> {
    Err(format!("there is no call for processors of the kind {}", std::env::consts::ARCH))
}
