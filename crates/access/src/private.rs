//! Files that nobody else may read: where keys and secrets lie.

use std::io::Write as _;
use std::path::Path;

/// Writes a file that nobody else can read; the one before it is replaced as a whole.
///
/// # Errors
/// When the folder cannot be written to.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> std::io::Result<()> {
    let mut growing = path.as_os_str().to_owned();
    growing.push(".new");
    let growing = Path::new(&growing);
    let _ = std::fs::remove_file(growing);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(growing)?;
    file.write_all(content.as_ref())?;
    file.sync_all()?;
    std::fs::rename(growing, path)?;
    // The rename itself has to survive a power cut, too.
    #[cfg(unix)]
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Makes a folder, if it is not there, for this user alone.
///
/// # Errors
/// When it cannot be made.
pub fn folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
