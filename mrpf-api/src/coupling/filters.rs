//! From a number per filter to a number per channel.

use candle_core::Tensor;

use super::ChannelGroup;
use crate::network::Network;
use crate::{Context, Error, ErrorKind, Result};

impl ChannelGroup {
    /// For each channel the sum over the filters that make it, in all layers that produce the group.
    ///
    /// `of_filters` is given a producer's weight, `[out, in, height, width]` or `[out, in]` without gradients, and returns a number for
    /// each of its `out` filters.
    ///
    /// # Errors
    /// Those of `of_filters`, and [`ErrorKind::Plugin`] if it returns another count.
    pub fn sum_over_filters(
        &self,
        network: &Network,
        of_filters: impl Fn(&Tensor) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; self.channels];
        for member in self.producers() {
            let weight = network.parameter(&member.tensor)?.as_detached_tensor();
            let values = of_filters(&weight).context(|| format!("`{}`", member.tensor))?;
            if values.len() != weight.dim(0)? {
                let message = format!("{} numbers for {} filters of `{}`", values.len(), weight.dim(0)?, member.tensor);
                return Err(Error::new(ErrorKind::Plugin, message));
            }
            for (sum, filters) in sums.iter_mut().zip(member.positions.iter()) {
                *sum += filters.iter().map(|&filter| values[filter]).sum::<f64>();
            }
        }
        Ok(sums)
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

    #[test]
    fn layers_that_are_added_up_make_one_channel_together() -> Result<()> {
        let mut net = Builder::new("test", ImageShape { channels: 1, height: 2, width: 2 }, 2);
        net.conv("a", 3, ConvGeometry::square(1), true);
        net.from("input").conv("b", 3, ConvGeometry::square(1), false);
        net.add("sum", "a").global_avg_pool("pool").linear("out", 2);
        let network = Network::initialise(net.finish()?, &Streams::new(0), DType::F64, &Device::Cpu)?;
        for (name, values) in [("a.weight", [1.0, 2.0, 3.0]), ("b.weight", [10.0, 20.0, 30.0])] {
            network.parameter(name)?.set(&Tensor::from_vec(values.to_vec(), (3, 1, 1, 1), &Device::Cpu)?)?;
        }
        let group = &channel_groups(network.declaration())?[0];
        let values = |weight: &Tensor| Ok(weight.flatten_all()?.to_vec1::<f64>()?);
        assert_eq!(group.sum_over_filters(&network, values)?, [11.0, 22.0, 33.0]);
        let error = group.sum_over_filters(&network, |_| Ok(vec![1.0])).expect_err("three are wanted");
        assert_eq!(error.to_string(), "1 numbers for 3 filters of `a.weight`");
        Ok(())
    }
}
