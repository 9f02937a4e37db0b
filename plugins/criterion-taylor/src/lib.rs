//! Criteria by how much the loss changes, to the first order or by squared gradients, when a channel goes: `taylor` and `hessian-diagonal`.
//!
//! The loss is the mean cross-entropy in evaluation mode, of clean or of attacked training images: a channel that attacked images need may
//! be one that clean ones do not.

mod gate;
mod gradients;
mod images;

use mrpf_api::prelude::*;

pub use images::{ImageSettings, Input};

use gradients::{mean_gradients, squared_gradients};

/// Settings of `taylor`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct TaylorSettings {
    /// What is computed from weights and gradients.
    pub form: Form,
    /// How the numbers of the tensors that belong to one channel become one score.
    pub reduction: Reduction,
    /// Whether scales of batch norms count beside the weights of convolutions and linear layers; `gate` is not asked. Torch-Pruning 1.6
    /// means to count them, but compares with the function of group norms and never does.
    pub norms: bool,
    /// Whether weights of depthwise convolutions count; not in Torch-Pruning. `gate` is not asked.
    pub depthwise: bool,
    /// The images whose loss is looked at.
    #[serde(flatten)]
    pub images: ImageSettings,
}

/// What is computed from a channel's weights w and the gradients g of the mean loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
pub enum Form {
    /// `sum |w g|` over the channel's part of each tensor (Torch-Pruning's default); g is the gradient over all images.
    #[default]
    Absolute,
    /// `|sum w g|`: the change of the loss itself, where weights may make up for one another (Torch-Pruning's `multivariable`).
    Signed,
    /// The squared gradient of a gate of 1 that multiplies the channel after its batch norm, averaged over mini-batches (Molchanov et al.
    /// 2019). Where several layers produce the channel each has its own gate, and `mean` divides by their number, as the
    /// authors do at skip connections.
    Gate,
}

impl Default for TaylorSettings {
    fn default() -> Self {
        let (form, reduction, images) = (Form::default(), Reduction::default(), ImageSettings::default());
        Self { form, reduction, norms: true, depthwise: true, images }
    }
}

register_plugin! {
    kind: Criterion,
    name: "taylor",
    summary: "first-order change of the loss of clean or attacked images without the channel",
    source: "Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, arXiv 1906.10771; over coupled tensors as in Torch-Pruning (Fang et al. 2023, arXiv 2301.12900)",
    settings: TaylorSettings,
    make: |settings| {
        settings.images.check()?;
        Ok(Box::new(Taylor { settings, seen: None }))
    },
}

/// Settings of `hessian-diagonal`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
pub struct HessianSettings {
    /// How the numbers of the tensors that belong to one channel become one score.
    pub reduction: Reduction,
    /// Whether scales of batch norms count beside the weights of convolutions and linear layers.
    pub norms: bool,
    /// Whether weights of depthwise convolutions count; not in Torch-Pruning.
    pub depthwise: bool,
    /// The images whose loss is looked at; each has a backward pass of its own.
    #[serde(flatten)]
    pub images: ImageSettings,
}

impl Default for HessianSettings {
    fn default() -> Self {
        let images = ImageSettings { images: 128, ..ImageSettings::default() };
        Self { reduction: Reduction::default(), norms: true, depthwise: true, images }
    }
}

register_plugin! {
    kind: Criterion,
    name: "hessian-diagonal",
    summary: "squared weights times squared gradients of single images, which stand for the Hessian's diagonal",
    source: "LeCun et al. 1989, Optimal Brain Damage, with the empirical Fisher information for the Hessian; over coupled tensors as in Torch-Pruning (Fang et al. 2023, arXiv 2301.12900), whose code keeps the last image's gradient only",
    settings: HessianSettings,
    make: |settings| {
        settings.images.check()?;
        Ok(Box::new(Hessian { settings, seen: None }))
    },
}

struct Taylor {
    settings: TaylorSettings,
    seen: Option<Seen>,
}

/// What the images have shown.
enum Seen {
    /// Gradient of the mean loss, by parameter.
    Gradients(Weights),
    /// For each mini-batch the gradient of every filter's gate, by layer.
    Gates(Vec<gate::Gates>),
}

impl Criterion for Taylor {
    fn prepare(&mut self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<()> {
        let batches = self.settings.images.batches(cx, network, data)?;
        self.seen = Some(match self.settings.form {
            Form::Absolute | Form::Signed => Seen::Gradients(mean_gradients(cx, network, &batches)?),
            Form::Gate => Seen::Gates(gate::of_batches(cx, network, &batches)?),
        });
        Ok(())
    }

    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let TaylorSettings { form, reduction, norms, depthwise, .. } = self.settings;
        let coupled = CoupledWeights { norms, depthwise, biases: false };
        match self.seen.as_ref().ok_or_else(not_prepared)? {
            Seen::Gates(batches) => gate::scores(group, batches, reduction),
            Seen::Gradients(gradients) => {
                let rows = coupled.of(network, group)?.into_iter().map(|member| {
                    let weight = network.parameter(&member.tensor)?.as_detached_tensor().in_f64()?;
                    let change = (weight * gradients::of(gradients, &member.tensor)?)?;
                    match form {
                        Form::Signed => {
                            Ok(member.sums(&change)?.into_iter().map(|change| change.map(f64::abs)).collect())
                        }
                        _ => member.sums(&change.abs()?),
                    }
                });
                Ok(reduction.reduce(&rows.collect::<Result<Vec<_>>>()?, group.channels))
            }
        }
    }
}

struct Hessian {
    settings: HessianSettings,
    /// Mean over the images of the squared gradient of the image's loss, by parameter.
    seen: Option<Weights>,
}

impl Criterion for Hessian {
    fn prepare(&mut self, cx: &CallContext<'_>, network: &Network, data: &LoadedData) -> Result<()> {
        let batches = self.settings.images.batches(cx, network, data)?;
        self.seen = Some(squared_gradients(cx, network, &batches)?);
        Ok(())
    }

    fn scores(&self, _cx: &CallContext<'_>, network: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        let HessianSettings { reduction, norms, depthwise, .. } = self.settings;
        let squares = self.seen.as_ref().ok_or_else(not_prepared)?;
        let coupled = CoupledWeights { norms, depthwise, biases: false };
        coupled.scores(network, group, reduction, |name, weight| Ok((weight.sqr()? * gradients::of(squares, name)?)?))
    }
}

fn not_prepared() -> Error {
    Error::new(ErrorKind::Plugin, "scores were asked for before any image was shown").hint("call `prepare` first")
}

#[cfg(test)]
mod tests;
