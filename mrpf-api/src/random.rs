//! Named streams of randomness from one run seed.
//!
//! Every random number of a run comes from a [`Stream`] that is addressed by the run's seed and a path of names, for example
//! `pretrain/epoch/3/augment`. The same address gives the same numbers on every device and at any thread count, and a run
//! that is resumed needs no saved generator state. Candle's own generator cannot be seeded on the CPU and is never used.

#[cfg(any(test, feature = "cudnn"))]
mod ziggurat;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fmt::Display;

use crate::Result;
#[cfg(feature = "cudnn")]
pub(crate) use ziggurat::Ziggurat;

/// An address in the tree of random streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
    path: String,
}

impl Streams {
    /// The root of all streams of a run.
    pub fn new(seed: u64) -> Self {
        Self { seed, path: String::new() }
    }

    /// The run seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The streams below a name.
    #[must_use]
    pub fn child(&self, name: impl Display) -> Self {
        Self { seed: self.seed, path: format!("{}/{name}", self.path) }
    }

    /// The stream at this address; asking twice gives the same numbers twice.
    pub fn stream(&self) -> Stream {
        Stream(ChaCha8Rng::from_seed(self.key()))
    }

    fn key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(self.path.as_bytes());
        hash.finalize().into()
    }

    /// Independent uniform numbers in [low, high) for each image: `[indices.len(), ..shape]`.
    ///
    /// Each image has a stream of its own, addressed by its index, so neither the batch size nor the order of the images
    /// changes what an image gets.
    pub fn uniform_per_image(
        &self,
        indices: &[usize],
        shape: &[usize],
        low: f64,
        high: f64,
        like: &Tensor,
    ) -> Result<Tensor> {
        #[cfg(feature = "cudnn")]
        if let Some(numbers) = crate::engine::cuda::uniform(|| self.keys(indices), shape, low, high, like)? {
            return Ok(numbers);
        }
        self.per_image(indices, shape, like, |stream, out| stream.fill_uniform(out, low, high))
    }

    /// Independent standard normal numbers for each image: `[indices.len(), ..shape]`; as [`Self::uniform_per_image`].
    ///
    /// Where a GPU draws them, its logarithm decides the last digit of those beyond 3.65, about one in 4,000.
    pub fn normal_per_image(&self, indices: &[usize], shape: &[usize], like: &Tensor) -> Result<Tensor> {
        #[cfg(feature = "cudnn")]
        if let Some(numbers) = crate::engine::cuda::normal(|| self.keys(indices), shape, like)? {
            return Ok(numbers);
        }
        self.per_image(indices, shape, like, |stream, out| stream.fill_normal(out))
    }

    #[cfg(feature = "cudnn")]
    fn keys(&self, indices: &[usize]) -> Vec<[u8; 32]> {
        indices.iter().map(|index| self.child(index).key()).collect()
    }

    fn per_image(
        &self,
        indices: &[usize],
        shape: &[usize],
        like: &Tensor,
        fill: impl Fn(&mut Stream, &mut [f64]) + Sync,
    ) -> Result<Tensor> {
        let each: usize = shape.iter().product();
        let mut values = vec![0f64; indices.len() * each];
        let rows = values.par_chunks_mut(each.max(1)).zip(indices);
        rows.for_each(|(row, index)| fill(&mut self.child(index).stream(), row));
        let dims: Vec<usize> = std::iter::once(indices.len()).chain(shape.iter().copied()).collect();
        tensor(values, &dims, like.dtype(), like.device())
    }
}

/// A sequence of random numbers.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// A whole number below `bound`, which must be positive.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound.max(1))
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Fills with uniform numbers in [low, high).
    pub fn fill_uniform(&mut self, out: &mut [f64], low: f64, high: f64) {
        out.iter_mut().for_each(|value| *value = low + (high - low) * self.unit());
    }

    /// Fills with standard normal numbers.
    pub fn fill_normal(&mut self, out: &mut [f64]) {
        out.iter_mut().for_each(|value| *value = StandardNormal.sample(&mut self.0));
    }

    /// A tensor of standard normal numbers.
    pub fn normal(&mut self, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
        let mut values = vec![0f64; shape.iter().product()];
        self.fill_normal(&mut values);
        tensor(values, shape, dtype, device)
    }

    /// A tensor of uniform numbers in [low, high).
    pub fn uniform(&mut self, shape: &[usize], low: f64, high: f64, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut values = vec![0f64; shape.iter().product()];
        self.fill_uniform(&mut values, low, high);
        tensor(values, shape, dtype, device)
    }

    /// The generator itself, for libraries that want one.
    pub fn generator(&mut self) -> &mut impl Rng {
        &mut self.0
    }
}

/// Numbers are drawn in f64 and then rounded, so that every precision sees the same ones.
fn tensor(values: Vec<f64>, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_always_gives_the_same_numbers_and_another_gives_others() {
        let root = Streams::new(7);
        let draw = |streams: &Streams| {
            (0..4).map(|_| 0).scan(streams.stream(), |s, _| Some(s.below(1000))).collect::<Vec<_>>()
        };
        assert_eq!(draw(&root.child("a")), draw(&root.child("a")));
        assert_ne!(draw(&root.child("a")), draw(&root.child("b")));
        assert_ne!(draw(&root.child("a")), draw(&Streams::new(8).child("a")));
    }

    #[test]
    fn an_image_gets_the_same_numbers_in_any_batch() -> Result<()> {
        let (streams, like) = (Streams::new(1), Tensor::zeros(1, DType::F32, &Device::Cpu)?);
        let both = streams.uniform_per_image(&[4, 9], &[3], -1.0, 1.0, &like)?.to_vec2::<f32>()?;
        let alone = streams.uniform_per_image(&[9], &[3], -1.0, 1.0, &like)?.to_vec2::<f32>()?;
        assert_eq!(both[1], alone[0]);
        Ok(())
    }
}
