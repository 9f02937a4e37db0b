//! From the tensors of a group to one number per channel.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChannelGroup, Member, Role};
use crate::network::{LayerKind, Network};
use crate::numeric::InF64;
use crate::{Context, Error, ErrorKind, Result};

/// How the numbers that several tensors have for one channel become one score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// That of the first layer in forward order; the original papers look at one layer only.
    First,
}

impl Reduction {
    /// One number for each of `channels`, from a row for each tensor; tensors that do not have a channel do not count for it, and a
    /// channel that none has gets 0.
    pub fn reduce(self, rows: &[Vec<Option<f64>>], channels: usize) -> Vec<f64> {
        let of_channel = |channel: usize| {
            let values: Vec<f64> = rows.iter().filter_map(|row| row.get(channel).copied().flatten()).collect();
            let sum: f64 = values.iter().sum();
            match self {
                Self::Mean => sum / values.len().max(1) as f64,
                Self::Sum => sum,
                Self::Max => values.into_iter().reduce(f64::max).unwrap_or(0.0),
                Self::First => values.first().copied().unwrap_or(0.0),
            }
        };
        (0..channels).map(of_channel).collect()
    }
}

impl Member {
    /// For each channel the sum of `values`, which have the shape of the member's tensor, over everything that goes with the channel;
    /// none where the tensor does not have the channel.
    ///
    /// # Errors
    /// [`ErrorKind::Plugin`] if `values` are of another shape than the tensor.
    pub fn sums(&self, values: &Tensor) -> Result<Vec<Option<f64>>> {
        let at_positions = self.first_axis(values)?.sum(1)?.to_vec1::<f64>()?;
        let sum = |places: &[usize]| places.iter().map(|&place| at_positions[place]).sum();
        Ok(self.positions.iter().map(|places| (!places.is_empty()).then(|| sum(places))).collect())
    }

    /// For each channel the values that go with it, one position after the other; none where the tensor does not have the channel.
    ///
    /// # Errors
    /// As [`Member::sums`].
    pub fn slices(&self, values: &Tensor) -> Result<Vec<Option<Vec<f64>>>> {
        let at_positions = self.first_axis(values)?.to_vec2::<f64>()?;
        let slice = |places: &[usize]| places.iter().flat_map(|&place| at_positions[place].clone()).collect();
        Ok(self.positions.iter().map(|places| (!places.is_empty()).then(|| slice(places))).collect())
    }

    /// `[position, rest]` in f64.
    fn first_axis(&self, values: &Tensor) -> Result<Tensor> {
        let highest = self.positions.iter().flatten().max().copied().unwrap_or(0);
        if self.axis >= values.rank() || highest >= values.dim(self.axis)? {
            let (found, axis) = (values.dims(), self.axis);
            let message =
                format!("values of shape {found:?} for position {highest} on axis {axis} of `{}`", self.tensor);
            return Err(Error::new(ErrorKind::Plugin, message));
        }
        let first = values.in_f64()?.transpose(0, self.axis)?.contiguous()?;
        Ok(first.reshape((first.dim(0)?, ()))?)
    }
}

/// Which weights of a group a criterion over coupled tensors takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoupledWeights {
    /// Scales of norms, beside the weights of convolutions and linear layers that produce or consume the channels.
    pub norms: bool,
    /// Weights of depthwise convolutions, which produce a channel from itself.
    pub depthwise: bool,
    /// Biases of what produces the channels, and shifts of norms where `norms` are taken in.
    pub biases: bool,
}

impl CoupledWeights {
    /// The parameters of `group` that are taken in, in forward order; running statistics never are.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] if the group is not one of the network.
    pub fn of<'a>(&self, network: &Network, group: &'a ChannelGroup) -> Result<Vec<&'a Member>> {
        let mut taken = Vec::new();
        for member in &group.members {
            let is_bias = member.tensor.ends_with(".bias");
            let takes_part = match member.role {
                Role::Input => true,
                Role::Norm => self.norms && !member.tensor.contains(".running_"),
                Role::Output => match &network.declaration().layer(&member.layer)?.kind {
                    LayerKind::Conv2d(conv) => self.depthwise || !conv.is_depthwise(),
                    _ => true,
                },
                Role::Attention => false,
            };
            if takes_part && (self.biases || !is_bias) {
                taken.push(member);
            }
        }
        Ok(taken)
    }

    /// One number for each channel: `of_tensor` is given the name and the weight of each tensor that is taken in and returns values of the
    /// same shape, which are summed up over what goes with a channel; `reduction` makes one of several tensors' sums.
    ///
    /// # Errors
    /// Those of `of_tensor` with the tensor's name, and as [`Member::sums`].
    pub fn scores(
        &self,
        network: &Network,
        group: &ChannelGroup,
        reduction: Reduction,
        of_tensor: impl Fn(&str, &Tensor) -> Result<Tensor>,
    ) -> Result<Vec<f64>> {
        let rows = self.of(network, group)?.into_iter().map(|member| {
            let weight = network.parameter(&member.tensor)?.as_detached_tensor().in_f64()?;
            member.sums(&of_tensor(&member.tensor, &weight).context(|| format!("`{}`", member.tensor))?)
        });
        Ok(reduction.reduce(&rows.collect::<Result<Vec<_>>>()?, group.channels))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::coupling::channel_groups;
    use crate::data::ImageShape;
    use crate::network::Builder;
    use crate::numeric::ConvGeometry;
    use crate::random::Streams;

    /// A convolution, its norm, a depthwise convolution with a bias, and a flatten that gives a channel four inputs of the last layer.
    fn network() -> Result<Network> {
        let mut net = Builder::new("test", ImageShape { channels: 1, height: 2, width: 2 }, 2);
        net.conv("a", 3, ConvGeometry::square(1), false).batch_norm("bn");
        net.conv("depth", 3, ConvGeometry::square(1).groups(3), true).flatten("flat").linear("out", 2);
        let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F32, &Device::Cpu)?;
        for (name, values, shape) in [
            ("a.weight", vec![1.0_f32, -2.0, 3.0], vec![3, 1, 1, 1]),
            ("bn.weight", vec![10.0, 20.0, 30.0], vec![3]),
            ("bn.bias", vec![0.5; 3], vec![3]),
            ("depth.weight", vec![100.0, 200.0, 300.0], vec![3, 1, 1, 1]),
            ("depth.bias", vec![0.25; 3], vec![3]),
            ("out.weight", (0..24).map(|at| at as f32).collect(), vec![2, 12]),
        ] {
            network.parameter(name)?.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
        }
        Ok(network)
    }

    #[test]
    fn each_kind_of_tensor_counts_as_it_is_asked_for() -> Result<()> {
        let network = network()?;
        let group = &channel_groups(network.declaration())?[0];
        let sum = |norms, depthwise, biases| {
            CoupledWeights { norms, depthwise, biases }
                .scores(&network, group, Reduction::Sum, |_, weight| Ok(weight.clone()))
        };
        // Columns 0 to 3 of [0..12] and [12..24] belong to the first channel, and so on.
        let consumed = [60.0, 92.0, 124.0];
        assert_eq!(sum(false, false, false)?, [consumed[0] + 1.0, consumed[1] - 2.0, consumed[2] + 3.0]);
        assert_eq!(sum(true, false, false)?, [71.0, 110.0, 157.0]);
        assert_eq!(sum(true, true, false)?, [171.0, 310.0, 457.0]);
        assert_eq!(sum(true, true, true)?, [171.75, 310.75, 457.75]);
        assert_eq!(sum(false, true, true)?, [161.25, 290.25, 427.25]);
        Ok(())
    }

    #[test]
    fn rows_are_reduced_over_the_tensors_that_have_the_channel() {
        let rows = [vec![Some(1.0), None, Some(-4.0)], vec![Some(3.0), None, None]];
        for (reduction, expected) in [
            (Reduction::Mean, [2.0, 0.0, -4.0]),
            (Reduction::Sum, [4.0, 0.0, -4.0]),
            (Reduction::Max, [3.0, 0.0, -4.0]),
            (Reduction::First, [1.0, 0.0, -4.0]),
        ] {
            assert_eq!(reduction.reduce(&rows, 3), expected, "{reduction:?}");
        }
    }

    #[test]
    fn slices_hold_what_goes_with_a_channel() -> Result<()> {
        let network = network()?;
        let group = &channel_groups(network.declaration())?[0];
        let consumer = group.consumers().next().expect("the last layer");
        let weight = network.parameter("out.weight")?.as_detached_tensor();
        let slices = consumer.slices(&weight)?;
        assert_eq!(slices[1], Some(vec![4.0, 16.0, 5.0, 17.0, 6.0, 18.0, 7.0, 19.0]));
        let error = consumer.sums(&Tensor::zeros((2, 5), DType::F32, &Device::Cpu)?).expect_err("five columns");
        assert_eq!(error.to_string(), "values of shape [2, 5] for position 11 on axis 1 of `out.weight`");
        Ok(())
    }
}
