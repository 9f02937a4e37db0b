//! The stage that measures sensitivities.

use mrpf_api::network::Network;
use mrpf_api::sensitivity::{ModuleSensitivity, SensitivityMetric};
use mrpf_api::{Context, Error, ErrorKind, Result};

use super::keys::network_digest;
use super::session::Session;
use crate::event::{Event, EventSink};
use crate::experiment::PluginChoice;

impl Session<'_> {
    /// The sensitivity of every module of `network` under the name `label`, measured or taken from an earlier session of this run.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] if the metric does not give one finite number for each module.
    pub fn sensitivities(
        &self,
        label: &str,
        metric: &PluginChoice,
        network: &Network,
    ) -> Result<Vec<ModuleSensitivity>> {
        self.stage(&format!("measure {label}"), || {
            let key = self.measuring_key(metric)?.with_input("network", network_digest(network)?);
            let stage = format!("measure {label}");
            if self.dir.is_done(&stage, &key)?
                && let Some(modules) = self.dir.read_sensitivity(label)?
            {
                return Ok((modules, true));
            }
            let about = || format!("sensitivity metric `{}`", metric.name);
            let cx = self.context("sensitivity").child(&metric.name);
            let modules = metric.make::<dyn SensitivityMetric>()?.measure(&cx, network, &self.data).context(about)?;
            check(network, &modules).context(about)?;
            // Whoever comes next needs other passes than those that are ready now.
            network.release_memory()?;
            self.dir.write_sensitivity(label, &modules)?;
            self.dir.write_done(&stage, &key, &[self.dir.sensitivity(label)])?;
            let shown = modules.iter().map(|module| (module.module.clone(), module.value)).collect();
            self.send(Event::SensitivityMeasured { metric: metric.name.clone(), modules: shown });
            Ok((modules, false))
        })
    }
}

fn check(network: &Network, modules: &[ModuleSensitivity]) -> Result<()> {
    let expected: Vec<&str> = network.declaration().modules().map(|layer| layer.name.as_str()).collect();
    let found: Vec<&str> = modules.iter().map(|module| module.module.as_str()).collect();
    if expected != found {
        let message = format!("gave values for {} modules, expected one for each of {}", found.len(), expected.len());
        return Err(Error::new(ErrorKind::Plugin, message));
    }
    match modules.iter().find(|module| !module.value.is_finite()) {
        None => Ok(()),
        Some(module) => {
            let message = format!("gave {} for module `{}`, expected a finite number", module.value, module.module);
            Err(Error::new(ErrorKind::Numeric, message))
        }
    }
}
