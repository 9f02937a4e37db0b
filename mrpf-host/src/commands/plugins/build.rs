//! `mrpf plugins build` and `mrpf plugins test`: cargo, told to use this very program's shared library.

use mrpf_api::Result;

use crate::cli::CrateArgs;
use crate::commands::Console;
use crate::plugin_sdk::PluginCrate;

/// Compiles a crate into a library and says where it lies.
pub fn build(args: &CrateArgs, console: &Console<'_>) -> Result<()> {
    let built = PluginCrate::open(&args.dir)?.build(&args.cargo)?;
    let library = built.library.display();
    (console.print)(&format!(
        "built {library}\n  {} {}, against this mrpf\nput it to the test:  mrpf plugins check {library}\nsee what is in it:   mrpf plugins list --plugin {library}",
        built.package, built.version
    ));
    Ok(())
}

/// Runs the crate's own tests.
pub fn test(args: &CrateArgs) -> Result<()> {
    PluginCrate::open(&args.dir)?.test(&args.cargo)
}
