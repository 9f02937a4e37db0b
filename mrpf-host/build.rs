//! Lets the program find the shared library and the standard library beside itself, from a build folder or an installed one.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_DYNAMIC_PLUGINS").is_none() {
        return;
    }
    let target_os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let origin = match target_os.as_str() {
        "macos" => "@loader_path",
        "windows" => return,
        _ => "$ORIGIN",
    };
    for place in ["", "/deps", "/../lib"] {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{origin}{place}");
    }
    // On a developer's machine the shared standard library lies with the compiler.
    let (Ok(rustc), Ok(target)) = (std::env::var("RUSTC"), std::env::var("TARGET")) else { return };
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", &target]).output();
    if let Ok(output) = output
        && let Ok(folder) = String::from_utf8(output.stdout)
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{}", folder.trim());
    }
}
