//! What only the system can answer: which file an address lies in, open a library, where a symbol is; whether a file has an access
//! control list; and to be called when the process ends.
//!
//! The one place of plugin libraries with `unsafe` in it. With the feature `dynamic-plugins` off, or on a system other than Unix, each
//! call answers that there is nothing.

use mrpf_api::export::{Anchor, Exported};
use std::path::{Path, PathBuf};

/// A library that stays open until the process ends.
pub(super) struct Open {
    #[cfg(all(unix, feature = "dynamic-plugins"))]
    library: libloading::os::unix::Library,
}

/// The file whose code or data holds the anchor, as the loader knows it.
#[cfg(all(unix, feature = "dynamic-plugins"))]
pub(super) fn file_of(anchor: &'static Anchor) -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` only looks the address up and writes to `info`; an info of zeros is valid should it write nothing.
    let info = unsafe {
        match libc::dladdr(std::ptr::from_ref(anchor).cast(), info.as_mut_ptr()) {
            0 => return None,
            _ => info.assume_init(),
        }
    };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: after a successful `dladdr` the name is a string that lives as long as the file stays open, which is forever.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Path::new(OsStr::from_bytes(name.to_bytes())).canonicalize().ok()
}

/// Opens a library with all its symbols bound, so that one that is missing is told now and not in the middle of a run.
#[cfg(all(unix, feature = "dynamic-plugins"))]
pub(super) fn open(path: &Path) -> Result<Open, String> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    use std::error::Error;
    // SAFETY: opening runs the library's initialisers. Its manifest says that it was compiled against this very shared library by
    // this very compiler, so they agree on every type; what a library does on its own account is its user's trust.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    // The loader's own words are the cause; libloading only says which call failed.
    let why = |error: libloading::Error| error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Ok(Open { library: library.map_err(why)? })
}

impl Open {
    /// What the plugin shows of itself under `symbol`.
    #[cfg(all(unix, feature = "dynamic-plugins"))]
    pub fn exported(&self, symbol: &str) -> Option<&'static Exported> {
        // SAFETY: `export_plugin!` puts a static `Exported` under this symbol, of a C layout, and the library is never closed.
        unsafe {
            self.library
                .get::<*const Exported>(symbol)
                .ok()
                .and_then(|found| found.into_raw().cast::<Exported>().as_ref())
        }
    }

    #[cfg(not(all(unix, feature = "dynamic-plugins")))]
    pub fn exported(&self, _: &str) -> Option<&'static Exported> {
        None
    }

    /// Keeps the library open for good: what it registered, its vtables and its thread-locals are used until the end.
    pub fn keep(self) {
        #[cfg(all(unix, feature = "dynamic-plugins"))]
        std::mem::forget(self.library);
    }
}

/// Whether a file has a list of further users and groups that may write to it.
#[cfg(all(target_os = "linux", feature = "dynamic-plugins"))]
pub(super) fn has_access_list(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return true };
    // SAFETY: both names end with a zero, and a size of 0 asks for the length alone, so that nothing is written.
    unsafe { libc::lgetxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

#[cfg(all(unix, not(target_os = "linux"), feature = "dynamic-plugins"))]
pub(super) fn has_access_list(_: &Path) -> bool {
    false
}

/// Has a function called when the process ends by `exit`; whether the system agreed.
#[cfg(all(unix, feature = "dynamic-plugins"))]
pub(super) fn at_exit(call: extern "C" fn()) -> bool {
    // SAFETY: the function is part of the program, so that it is there until the end, and it does not unwind.
    unsafe { libc::atexit(call) == 0 }
}

/// Ends the process without calling anything else.
#[cfg(all(unix, feature = "dynamic-plugins"))]
pub(super) fn end_at_once(code: u8) -> ! {
    // SAFETY: `_exit` has no conditions.
    unsafe { libc::_exit(code.into()) }
}

#[cfg(not(all(unix, feature = "dynamic-plugins")))]
pub(super) fn file_of(_: &'static Anchor) -> Option<PathBuf> {
    None
}

#[cfg(not(all(unix, feature = "dynamic-plugins")))]
pub(super) fn open(_: &Path) -> Result<Open, String> {
    Err("run-time plugins are not part of this build".into())
}

#[cfg(not(all(unix, feature = "dynamic-plugins")))]
pub(super) fn at_exit(_: extern "C" fn()) -> bool {
    false
}

#[cfg(not(all(unix, feature = "dynamic-plugins")))]
pub(super) fn end_at_once(code: u8) -> ! {
    std::process::exit(code.into())
}
