//! The registry: which plugins there are, what their settings are, and how one is made.

mod guard;
mod limits;
mod origin;
mod plugin;
mod settings;

pub use guard::{catch, plugins_being_called, tell_plugin_panics_as_errors};
pub use limits::check_limits;
pub use origin::{Origin, PluginLibrary};
pub use plugin::{Kind, Make, MakeFn, PluginKind, Registration, find, make, objects, registrations};
pub use settings::{Settings, default_settings, overlay, parse_settings, resolve_settings, settings_schema};

/// Announces a plugin.
///
/// `settings` is a type with `Default`, `Serialize`, `Deserialize` and `JsonSchema`; its documentation comments become the help
/// of each setting. `make` turns checked settings into the plugin, and may refuse them.
///
/// ```
/// use mrpf_api::prelude::*;
///
/// /// Removes as much as is asked for at once.
/// struct AtOnce;
///
/// impl PruningSchedule for AtOnce {
///     fn ratio(&self, _progress: f64, final_ratio: f64) -> f64 {
///         final_ratio
///     }
/// }
///
/// #[derive(Default, Serialize, Deserialize, JsonSchema)]
/// struct NoSettings {}
///
/// register_plugin! {
///     kind: Schedule,
///     name: "at-once",
///     summary: "the whole ratio in the first round",
///     source: "the example of mrpf-api's documentation",
///     settings: NoSettings,
///     make: |_settings| Ok(Box::new(AtOnce)),
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! register_plugin {
    (
        kind: $kind:ident,
        name: $name:expr,
        summary: $summary:expr,
        source: $source:expr,
        settings: $settings:ty,
        make: $make:expr $(,)?
    ) => {
        const _: () = {
            fn make(settings: $crate::serde_json::Value) -> $crate::Result<Box<$crate::registry::objects::$kind>> {
                let make: fn($settings) -> $crate::Result<Box<$crate::registry::objects::$kind>> = $make;
                make($crate::registry::parse_settings::<$settings>(settings)?)
            }
            static ORIGIN: $crate::registry::Origin = $crate::registry::Origin::built_in();
            $crate::inventory::submit! {
                $crate::registry::Registration {
                    name: $name,
                    summary: $summary,
                    source: $source,
                    package: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    defaults: $crate::registry::default_settings::<$settings>,
                    schema: $crate::registry::settings_schema::<$settings>,
                    resolve: $crate::registry::resolve_settings::<$settings>,
                    make: $crate::registry::Make::$kind(make),
                    origin: &ORIGIN,
                }
            }
        };
    };
}
