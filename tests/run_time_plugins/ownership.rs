//! Who else can change a library, or put another in its place.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crates::{library, patched};
use crate::support::{Playground, Ran};

/// A user and a group that are nobody's on most machines.
const STRANGER: u32 = 54_321;

fn set(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

/// Whether the tests may give files to others.
fn is_root(playground: &Playground) -> bool {
    playground.path("").metadata().expect("a folder").uid() == 0
}

/// A library two folders deep: `outer/inner/copy.so`.
fn copied(playground: &Playground) -> [PathBuf; 3] {
    let inner = playground.path("outer/inner");
    std::fs::create_dir_all(&inner).expect("folders");
    let copy = inner.join("copy.so");
    std::fs::copy(library("redundancy"), &copy).expect("a copy");
    set(&copy, 0o644);
    let all = [copy.clone(), inner, playground.path("outer")];
    all[1..].iter().for_each(|folder| set(folder, 0o755));
    all.map(|path| path.canonicalize().expect("a path"))
}

fn list(playground: &Playground, library: &Path) -> Ran {
    playground.mrpf(&["plugins", "list", "--plugin", &library.display().to_string()])
}

#[track_caller]
fn refused(playground: &Playground, library: &Path, told: &str) {
    list(playground, library).fails(4, &[told, "--allow-writable-plugins"]);
    let path = library.display().to_string();
    playground.mrpf(&["plugins", "list", "--plugin", &path, "--allow-writable-plugins"]).ok();
}

#[test]
fn everybody_may_write_to_the_file_or_to_a_folder_above_it() {
    let playground = Playground::new();
    let all = copied(&playground);
    list(&playground, &all[0]).ok();
    for path in &all {
        let before = path.metadata().expect("a file").permissions().mode();
        set(path, before | 0o002);
        let told = format!("{} can be changed by every user of this machine", path.display());
        refused(&playground, &all[0], &told);
        set(path, before);
    }
    list(&playground, &all[0]).ok();
    // In a sticky folder nobody can replace what another owns.
    set(&all[1], 0o1777);
    list(&playground, &all[0]).ok();
}

#[test]
fn a_group_with_others_in_it_may_write() {
    let playground = Playground::new();
    if !is_root(&playground) {
        return;
    }
    let all = copied(&playground);
    for path in &all {
        let before = path.metadata().expect("a file").permissions().mode();
        set(path, before | 0o020);
        // The owner's own group, with nobody else in it.
        list(&playground, &all[0]).ok();
        chown(path, None, Some(STRANGER)).expect("a group");
        refused(
            &playground,
            &all[0],
            &format!("{} can be changed by all members of the group {STRANGER}", path.display()),
        );
        set(path, before);
        list(&playground, &all[0]).ok();
    }
}

#[test]
fn what_belongs_to_others_is_theirs_to_change() {
    let playground = Playground::new();
    if !is_root(&playground) {
        return;
    }
    let all = copied(&playground);
    for path in &all {
        chown(path, Some(STRANGER), None).expect("an owner");
        let told = format!("{} belongs to user {STRANGER}, who can change it; expected you or root", path.display());
        refused(&playground, &all[0], &told);
        chown(path, Some(0), None).expect("an owner");
    }
    // Dropped by another user into a folder like /tmp that is searched.
    set(&all[1], 0o1777);
    chown(&all[0], Some(STRANGER), None).expect("an owner");
    let arguments = ["plugins", "list"];
    let ran = playground.command(&arguments).env("MRPF_PLUGIN_PATH", &all[1]).output().expect("it starts");
    let ran = Ran::new(&arguments, ran).ok();
    assert!(ran.stdout.contains("not loaded\n") && ran.stdout.contains("belongs to user 54321"), "{}", ran.stdout);
}

/// Who can change a link chooses among all files of the user.
#[test]
fn every_link_on_the_way_counts_as_well() {
    let playground = Playground::new();
    let all = copied(&playground);
    std::fs::create_dir(playground.path("open")).expect("a folder");
    let [open, link] = ["open", "open/link.so"].map(|name| playground.path(name));
    let relative = Path::new("../outer/inner/../inner/copy.so");
    std::os::unix::fs::symlink(relative, &link).expect("a link");
    set(&open, 0o755);
    list(&playground, &link).ok();
    set(&open, 0o777);
    refused(&playground, &link, "/open can be changed by every user of this machine");
    list(&playground, &all[0]).ok();
    set(&open, 0o1777);
    list(&playground, &link).ok();
    if is_root(&playground) {
        std::os::unix::fs::lchown(&link, Some(STRANGER), None).expect("an owner");
        refused(&playground, &link, "link.so belongs to user 54321");
    }
}

/// A bad library changes places with a good one all the time; what was checked is what is opened.
#[test]
fn a_file_that_is_swapped_after_it_was_checked_never_runs() {
    let playground = Playground::new();
    let good = library("redundancy");
    let acts = library("acts-when-opened");
    let bad = patched(&playground, &acts, "\nfeatures=none\n", "\nfeatures=evil\n");
    let (place, mark, done) = (playground.path("place.so"), playground.path("mark"), AtomicBool::new(false));
    std::fs::copy(&good, &place).expect("a copy");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let next = playground.path("next.so");
            for file in [&bad, &good].into_iter().cycle() {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                std::fs::copy(file, &next).expect("a copy");
                std::fs::rename(&next, &place).expect("it is swapped");
            }
        });
        let mut outcomes = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut command: Command = playground.command(&["plugins", "list", "--plugin", "place.so"]);
            let ran = command.env("MRPF_TEST_ACT", format!("mark:{}", mark.display())).output().expect("it starts");
            outcomes.insert(ran.status.code());
            if mark.exists() {
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
        // Taken, refused for what is in it, or refused because it was replaced.
        assert!(outcomes.iter().all(|code| [Some(0), Some(4), Some(6)].contains(code)), "{outcomes:?}");
    });
    assert!(!mark.exists(), "the bad library ran");
}

/// The loader is given a copy; messages name the user's file.
#[test]
fn what_the_loader_says_is_told_of_the_users_file() {
    let playground = Playground::new();
    let source = "mrpf_api::export_plugin!();\n\
                  #[allow(unused)] unsafe extern \"C\" { fn nowhere_to_be_found(); }\n\
                  #[used]\nstatic CALL: unsafe extern \"C\" fn() = nowhere_to_be_found;\n";
    let made = crate::crates::PluginCrate::of_source(&playground, "unbound", source);
    let library = made.build(&playground);
    let told = format!("refuses it: {}: undefined symbol: nowhere_to_be_found", library.display());
    let ran = list(&playground, &library).fails(6, &[&told]);
    assert!(!ran.stderr.contains("/proc/self"), "{}", ran.stderr);
}
