//! Files that only their owner may read: secrets and tokens.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

/// What [`create_once`] found.
pub(crate) struct Once {
    /// What the file holds now.
    pub(crate) text: String,
    /// Whether this call made it.
    pub(crate) created: bool,
}

/// Makes a 0600 file with what `fresh` returns, unless there is one: then that one counts.
///
/// The file appears with its content or not at all, so of two processes starting at once one
/// makes it and both read the same.
pub(crate) fn create_once(path: &Path, fresh: impl FnOnce() -> String) -> io::Result<Once> {
    match fs::read_to_string(path) {
        Ok(text) => {
            return Ok(Once {
                text,
                created: false,
            });
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let text = fresh();
    match staged(path, &text)?.persist_noclobber(path) {
        Ok(_) => sync_folder(path).map(|()| Once {
            text,
            created: true,
        }),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).map(|text| Once {
                text,
                created: false,
            })
        }
        Err(failed) => Err(failed.error),
    }
}

/// Writes a 0600 file in one step, in place of an older one.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    staged(path, text)?
        .persist(path)
        .map_err(|failed| failed.error)?;
    sync_folder(path)
}

/// Copies a file to a 0600 one, in place of whatever is there.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut copy = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// Gives a file the owner and mode of another that it is to replace. Where there is none, a file that
/// root made goes to the owner of its folder: to whoever runs the server there.
pub(crate) fn inherit(file: &Path, replaced: &Path) -> io::Result<()> {
    let own = fs::metadata(file)?;
    let (model, mode) = match fs::metadata(replaced) {
        Ok(model) => {
            let mode = model.permissions();
            (model, Some(mode))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && own.uid() == 0 => {
            (fs::metadata(file.parent().unwrap_or(Path::new(".")))?, None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
        chown(file, Some(model.uid()), Some(model.gid()))?;
    }
    match mode {
        Some(mode) => fs::set_permissions(file, mode),
        None => Ok(()),
    }
}

/// Renames a file within its folder, for good when this returns.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(to)
}

fn staged(path: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".decnet-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn many_at_once_agree_and_only_one_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let barrier = Barrier::new(8);
        let found: Vec<Once> = thread::scope(|scope| {
            let tasks: Vec<_> = (0..8)
                .map(|number| {
                    let (path, barrier) = (&path, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        create_once(path, || format!("secret {number}")).unwrap()
                    })
                })
                .collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert!(found.iter().all(|once| once.text == found[0].text));
        assert_eq!(found.iter().filter(|once| once.created).count(), 1);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn replacing_keeps_it_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "old").unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
