//! Registrations: a plugin's name, what it is, and how it is made.

use serde_json::Value;

use super::guard::{Guarded, guarded};
use super::limits::check_limits;
use super::origin::Origin;
use crate::{Context, Error, ErrorKind, Result};

/// Makes a plugin from its settings.
pub type MakeFn<T> = fn(Value) -> Result<Box<T>>;

macro_rules! kinds {
    ($($kind:ident, $trait:path, $name:literal, $plural:literal;)*) => {
        /// What a plugin is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $(
            #[doc = concat!("A ", $name, ".")]
            $kind,
        )* }

        impl Kind {
            /// All kinds, in the order of a run.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The word for one of them.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The word for several.
            pub fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }
        }

        /// The maker of a plugin of each kind.
        #[derive(Clone, Copy)]
        pub enum Make { $(
            #[doc = concat!("Makes a ", $name, ".")]
            $kind(MakeFn<dyn $trait>),
        )* }

        impl Make {
            /// The kind that it makes.
            pub fn kind(self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }
        }

        /// For each kind, the trait object that its plugins are.
        pub mod objects { $(
            #[doc = concat!("A ", $name, ".")]
            pub type $kind = dyn $trait;
        )* }

        $(
            impl PluginKind for dyn $trait {
                const KIND: Kind = Kind::$kind;

                fn maker(make: Make) -> Option<MakeFn<Self>> {
                    match make {
                        Make::$kind(make) => Some(make),
                        _ => None,
                    }
                }

                fn guard(plugin: Box<Self>, registration: &'static Registration) -> Box<Self> {
                    Box::new(Guarded { plugin, registration })
                }
            }
        )*
    };
}

kinds! {
    DataSet, crate::data::DataSource, "data set", "data sets";
    Architecture, crate::architecture::Architecture, "architecture", "architectures";
    Trainer, crate::trainer::AdversarialTrainer, "trainer", "trainers";
    Sensitivity, crate::sensitivity::SensitivityMetric, "sensitivity metric", "sensitivity metrics";
    Criterion, crate::criterion::Criterion, "criterion", "criteria";
    Allocation, crate::allocation::Allocation, "allocation", "allocations";
    Schedule, crate::schedule::PruningSchedule, "pruning schedule", "pruning schedules";
    Attack, crate::attack::Attack, "attack", "attacks";
}

/// A trait object that plugins of one kind are.
pub trait PluginKind {
    /// The kind.
    const KIND: Kind;

    /// The maker, if it makes this kind.
    fn maker(make: Make) -> Option<MakeFn<Self>>;

    /// The plugin with every call guarded: a panic inside becomes an error with the plugin's name.
    fn guard(plugin: Box<Self>, registration: &'static Registration) -> Box<Self>;
}

/// A plugin as it announced itself; see [`crate::register_plugin!`].
pub struct Registration {
    /// The name by which users choose it, unique within its kind.
    pub name: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Where it comes from: paper and equation, or "own".
    pub source: &'static str,
    /// The crate that it comes from.
    pub package: &'static str,
    /// Version of that crate.
    pub version: &'static str,
    /// Its settings when nothing is said.
    pub defaults: fn() -> Value,
    /// JSON schema of its settings.
    pub schema: fn() -> Value,
    /// Settings as given in, all settings out; fails as [`super::parse_settings`].
    pub resolve: fn(Value) -> Result<Value>,
    /// Its kind, and how it is made.
    pub make: Make,
    /// Where it comes from.
    pub origin: &'static Origin,
}

inventory::collect!(Registration);

impl Registration {
    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.make.kind()
    }

    /// What people should be told of settings that are within their limits but unusual.
    ///
    /// # Errors
    /// As [`super::parse_settings`].
    pub fn remarks(&'static self, settings: Value) -> Result<Vec<String>> {
        self.ask(|plugin| check_limits(&(plugin.schema)(), &(plugin.resolve)(settings)?))
    }

    /// Calls functions of the plugin that make nothing, such as [`Registration::schema`]; a panic becomes an error.
    pub fn ask<T>(&'static self, question: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        guarded(self, || question(self))
    }
}

/// All plugins, sorted by kind and name: the order of registration never shows.
pub fn registrations() -> Vec<&'static Registration> {
    let admitted = |registration: &&Registration| !registration.origin.is_refused();
    let mut all: Vec<_> = inventory::iter::<Registration>().filter(admitted).collect();
    all.sort_by_key(|registration| (registration.kind(), registration.name, registration.package));
    all
}

/// The plugin of that kind and name.
///
/// # Errors
/// [`crate::ErrorKind::UnknownName`] with the nearest known names, [`crate::ErrorKind::Plugin`] if two claim the name.
pub fn find(kind: Kind, name: &str) -> Result<&'static Registration> {
    let of_kind: Vec<_> = registrations().into_iter().filter(|registration| registration.kind() == kind).collect();
    let mut named = of_kind.iter().filter(|registration| registration.name == name);
    match (named.next(), named.next()) {
        (Some(first), Some(second)) => {
            let message = format!(
                "two plugins are called {} `{name}`: one of {} {}, one of {} {}",
                kind.name(),
                first.package,
                first.version,
                second.package,
                second.version
            );
            Err(Error::new(ErrorKind::Plugin, message).hint("leave one of them out"))
        }
        (Some(registration), None) => Ok(registration),
        (None, _) => Err(Error::unknown_name(kind.name(), name, of_kind.iter().map(|registration| registration.name))),
    }
}

/// Makes the plugin of that name with the given settings, a JSON object; what is not given has its default.
///
/// # Errors
/// As [`find`], and [`crate::ErrorKind::Settings`] if the settings do not fit.
pub fn make<T: PluginKind + ?Sized>(name: &str, settings: Value) -> Result<Box<T>> {
    let registration = find(T::KIND, name)?;
    let maker = T::maker(registration.make)
        .ok_or_else(|| Error::new(ErrorKind::Plugin, format!("`{name}` is not a {}", T::KIND.name())))?;
    let plugin = guarded(registration, || maker(settings)).context(|| format!("{} `{name}`", T::KIND.name()))?;
    Ok(T::guard(plugin, registration))
}
