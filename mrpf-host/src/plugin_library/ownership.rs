//! Who else can change a file, or put another one in its place: nobody but the user and root may.

use std::fs::Metadata;
use std::path::Path;

use super::refusal::Refusal;

/// Checks an opened file, and every folder and link on the way to it from the root, by which `path` names it.
#[cfg(all(unix, feature = "dynamic-plugins"))]
pub(super) fn check(path: &Path, file: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::MetadataExt;
    let there = unix::walk(&std::path::absolute(path).map_err(Refusal::Unreadable)?)?;
    // Nobody else can change what is on the way, so what the path leads to now stays there; it must be the file that was opened.
    match (there.dev(), there.ino()) == (file.dev(), file.ino()) {
        true => unix::judge(path, file),
        false => Err(Refusal::Replaced),
    }
}

#[cfg(not(all(unix, feature = "dynamic-plugins")))]
pub(super) fn check(_: &Path, _: &Metadata) -> Result<(), Refusal> {
    Ok(())
}

#[cfg(all(unix, feature = "dynamic-plugins"))]
mod unix {
    use nix::unistd::{Gid, Group, Uid, User};
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    use crate::plugin_library::refusal::{Refusal, WritableBy};
    use crate::plugin_library::system;

    const GROUP_WRITES: u32 = 0o020;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;

    /// So many links the system follows itself.
    const MOST_LINKS: usize = 40;

    /// Follows an absolute path from the root and judges everything on the way; what the path leads to.
    pub(super) fn walk(path: &Path) -> Result<Metadata, Refusal> {
        let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
        // The next part is the last of the list.
        let (mut left, mut here, mut links) = (parts(path), PathBuf::from("/"), 0);
        let mut found = here.symlink_metadata().map_err(Refusal::Unreadable)?;
        judge(&here, &found)?;
        while let Some(part) = left.pop() {
            match part.to_str() {
                Some(".") => continue,
                Some("..") => {
                    here.pop();
                    continue;
                }
                Some(_) | None => {}
            }
            let next = here.join(&part);
            found = next.symlink_metadata().map_err(Refusal::Unreadable)?;
            if found.is_symlink() {
                // A link cannot be written to, only be replaced by its owner and by who can write to its folder.
                judge_owner(&next, &found)?;
                links += 1;
                if links > MOST_LINKS {
                    return Err(Refusal::Unreadable(std::io::ErrorKind::NotFound.into()));
                }
                left.extend(parts(&next.read_link().map_err(Refusal::Unreadable)?));
                continue;
            }
            judge(&next, &found)?;
            here = next;
        }
        here.symlink_metadata().map_err(Refusal::Unreadable)
    }

    fn judge_owner(path: &Path, found: &Metadata) -> Result<(), Refusal> {
        let owner = Uid::from_raw(found.uid());
        match owner.is_root() || owner == Uid::effective() {
            true => Ok(()),
            false => Err(Refusal::Foreign { path: path.into(), owner: user_name(owner) }),
        }
    }

    /// One file or folder.
    pub(super) fn judge(path: &Path, found: &Metadata) -> Result<(), Refusal> {
        judge_owner(path, found)?;
        let (owner, mode) = (Uid::from_raw(found.uid()), found.mode());
        // In a sticky folder such as /tmp only the owner of a file can replace it, and the owner of what lies below is checked as well.
        if found.is_dir() && mode & STICKY != 0 {
            return Ok(());
        }
        let by = if mode & OTHERS_WRITE != 0 {
            WritableBy::Everybody
        } else if mode & GROUP_WRITES != 0 && !is_private(owner, Gid::from_raw(found.gid())) {
            WritableBy::Group(group_name(Gid::from_raw(found.gid())))
        } else if mode & GROUP_WRITES != 0 && system::has_access_list(path) {
            // With such a list the group's bits stand for everybody in it.
            WritableBy::AccessList
        } else {
            return Ok(());
        };
        Err(Refusal::Writable { path: path.into(), by })
    }

    /// Many systems give each user a group of that user's own, and let the group write what the user makes (umask 002).
    fn is_private(owner: Uid, group: Gid) -> bool {
        let (Ok(Some(user)), Ok(Some(group))) = (User::from_uid(owner), Group::from_gid(group)) else { return false };
        user.gid == group.gid && user.name == group.name && group.mem.iter().all(|member| *member == user.name)
    }

    fn user_name(user: Uid) -> String {
        User::from_uid(user).ok().flatten().map_or_else(|| format!("user {user}"), |found| found.name)
    }

    fn group_name(group: Gid) -> String {
        Group::from_gid(group).ok().flatten().map_or_else(|| group.to_string(), |found| found.name)
    }
}
