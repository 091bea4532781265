//! Whether somebody may read or write a file, by its permissions and those of the folders above it.
//!
//! Access control lists and security modules are not looked at; where the somebody is this process, the file is tried as well.

use super::process::Process;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Read,
    Write,
    /// Into a folder.
    Search,
}

impl Want {
    pub const fn name(self) -> &'static str {
        match self {
            Want::Read => "readable",
            Want::Write => "writable",
            Want::Search => "searchable",
        }
    }

    const fn bit(self) -> u32 {
        match self {
            Want::Read => 4,
            Want::Write => 2,
            Want::Search => 1,
        }
    }
}

/// What was found about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Yes,
    /// With the path that stands in the way: itself or a folder above.
    No(PathBuf),
    Missing,
}

/// For a process other than this one, `try_it` has to be false.
pub fn access(path: &Path, who: &Process, want: Want, try_it: bool) -> Access {
    for folder in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
        if folder.as_os_str().is_empty() {
            continue;
        }
        match fs::metadata(folder) {
            Ok(found) if !allowed(&found, who, Want::Search) => return Access::No(folder.to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Access::Missing,
            _ => {}
        }
    }
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Access::Missing,
        Err(_) => return Access::No(path.to_owned()),
    };
    if !allowed(&found, who, want) || (want == Want::Write && is_read_only(path)) {
        return Access::No(path.to_owned());
    }
    if try_it && found.is_file() && !opens(path, want) {
        return Access::No(path.to_owned());
    }
    Access::Yes
}

fn opens(path: &Path, want: Want) -> bool {
    let opened = match want {
        Want::Write => OpenOptions::new().append(true).open(path),
        _ => File::open(path),
    };
    !opened.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

fn allowed(found: &Metadata, who: &Process, want: Want) -> bool {
    let mode = found.permissions().mode();
    if who.is_root() {
        return true;
    }
    if who.effective.has("CAP_DAC_OVERRIDE") {
        return true;
    }
    let shift = if found.uid() == who.uid {
        6
    } else if found.gid() == who.gid || who.groups.contains(&found.gid()) {
        3
    } else {
        0
    };
    (mode >> shift) & want.bit() != 0
}

/// Whether the file system is mounted so that nobody writes to it, as systemd's ProtectSystem= does.
fn is_read_only(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    read_only_in(&mounts, path)
}

fn read_only_in(mounts: &str, path: &Path) -> bool {
    let mut best: Option<(usize, bool)> = None;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (Some(point), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
        if path.starts_with(point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), options.split(',').any(|o| o == "ro")));
        }
    }
    best.is_some_and(|(_, read_only)| read_only)
}

/// `mode 0600, owner waypost, group waypost`
pub fn described(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(found) => format!(
            "mode {:04o}, owner {}, group {}",
            found.permissions().mode() & 0o7777,
            super::process::user_name(found.uid()),
            super::process::group_name(found.gid())
        ),
        Err(e) => e.to_string(),
    }
}

/// The permission bits of group and others on a file; `None` where it cannot be looked at.
pub fn open_to_others(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o077)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_of_owner_group_and_others() {
        let folder = std::env::temp_dir().join(format!("waypost-access-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("f");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let found = fs::metadata(&file).unwrap();
        let who =
            |uid, gid, groups: &[u32]| Process { uid, gid, groups: groups.to_vec(), ..Process::default() };
        let owner = who(found.uid().max(1), found.gid(), &[]);
        let stranger = who(64_001, 64_001, &[]);
        let member = who(64_001, 64_001, &[found.gid()]);
        assert_eq!(access(&file, &stranger, Want::Read, false), Access::No(file.clone()));
        assert_eq!(access(&file, &member, Want::Read, false), Access::Yes);
        assert_eq!(access(&file, &member, Want::Write, false), Access::No(file.clone()));
        if found.uid() == owner.uid {
            assert_eq!(access(&file, &owner, Want::Write, false), Access::Yes);
        }
        assert_eq!(access(&file, &who(0, 0, &[]), Want::Write, false), Access::Yes);
        assert_eq!(access(&folder.join("none"), &stranger, Want::Read, false), Access::Missing);
        // A closed folder above stands in the way of an open file.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(access(&file, &stranger, Want::Read, false), Access::No(folder.clone()));
        assert_eq!(open_to_others(&file), Some(0o044));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_mount_that_is_nearest_counts() {
        let mounts = "22 1 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 ro\n\
                      30 22 8:1 /x /var/lib/waypost rw,nosuid shared:2 - ext4 /dev/sda1 rw\n";
        assert!(read_only_in(mounts, Path::new("/etc")));
        assert!(!read_only_in(mounts, Path::new("/var/lib/waypost/store")));
        assert!(!read_only_in("", Path::new("/etc")));
    }
}
