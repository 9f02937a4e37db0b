//! What would be many small operations of Candle's, each as one kernel, on tensors in f32 on an NVIDIA GPU.
//!
//! Everything here gives none for tensors that are elsewhere or of another type: callers then compute by single operations.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Storage, Tensor};
use std::sync::Arc;

use super::gpu::Argument::{Address, Float, Int, Long};
use super::gpu::{Gpu, Grid, address, with_address};
use crate::Result;
use crate::numeric::{SgdParameter, SgdStep};

/// Cross-entropy of each image, `[batch]`, from logits `[batch, class]` and labels `[batch]` u32, with its gradient by the logits.
pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Option<Tensor>> {
    let is_known =
        labels.dtype() == DType::U32 && labels.device().is_cuda() && labels.is_contiguous() && logits.rank() == 2;
    let Some(gpu) = Gpu::of_tensors(&[logits])?.filter(|_| is_known) else { return Ok(None) };
    Ok(Some(logits.apply_op1(CrossEntropy { gpu, labels: labels.clone() })?))
}

struct CrossEntropy {
    gpu: Arc<Gpu>,
    labels: Tensor,
}

impl CrossEntropy {
    fn launch(
        &self,
        kernel: &str,
        logits: u64,
        by_loss: Option<u64>,
        out: u64,
        [batch, classes]: [usize; 2],
    ) -> Result<()> {
        with_labels(&self.labels, |labels| {
            let mut arguments = vec![Address(logits), Address(labels)];
            arguments.extend(by_loss.map(Address));
            arguments.extend([Address(out), Int(classes as i32), Long(batch as i64)]);
            self.gpu.launch(kernel, Grid::of_warps(batch), &arguments)
        })
    }
}

/// Hands `work` the address of labels, which are contiguous.
fn with_labels<R>(labels: &Tensor, work: impl FnOnce(u64) -> Result<R>) -> Result<R> {
    let (storage, layout) = labels.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(crate::Error::new(crate::ErrorKind::Tensor, "labels that are not on the GPU"));
    };
    work(address(storage.as_cuda_slice::<u32>()?) + (layout.start_offset() * size_of::<u32>()) as u64)
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        candle_core::bail!("cross-entropy as one kernel is computed on NVIDIA GPUs only")
    }

    fn cuda_fwd(&self, logits: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let (batch, classes) = layout.shape().dims2()?;
        // SAFETY: the kernel writes the loss of every image.
        let out = unsafe { logits.device().alloc::<f32>(batch)? };
        let from = address(logits.as_cuda_slice::<f32>()?) + (layout.start_offset() * size_of::<f32>()) as u64;
        self.launch("cross_entropy", from, None, address(&out), [batch, classes]).map_err(candle_core::Error::wrap)?;
        Ok((CudaStorage::wrap_cuda_slice(out, logits.device().clone()), Shape::from(batch)))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, by_loss: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (batch, classes) = logits.dims2()?;
        let by_loss = by_loss.contiguous()?;
        let gradient = || -> Result<Tensor> {
            let out = self.gpu.room(&[batch, classes])?;
            with_address(logits, |logits| {
                with_address(&by_loss, |by_loss| {
                    with_address(&out, |out| {
                        self.launch("cross_entropy_gradient", logits, Some(by_loss), out, [batch, classes])
                    })
                })
            })?;
            Ok(out)
        };
        gradient().map(Some).map_err(candle_core::Error::wrap)
    }
}

/// Divergence KL(p || q) of each image, `[batch]`, from logits `[batch, class]`, with its gradients by both.
pub(crate) fn kl_divergence(p: &Tensor, q: &Tensor) -> Result<Option<Tensor>> {
    let is_known = p.rank() == 2 && p.dims() == q.dims();
    let Some(gpu) = Gpu::of_tensors(&[p, q])?.filter(|_| is_known) else { return Ok(None) };
    Ok(Some(p.apply_op2(q, KlDivergence { gpu })?))
}

struct KlDivergence {
    gpu: Arc<Gpu>,
}

impl CustomOp2 for KlDivergence {
    fn name(&self) -> &'static str {
        "divergence"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        candle_core::bail!("a divergence as one kernel is computed on NVIDIA GPUs only")
    }

    fn cuda_fwd(
        &self,
        p: &CudaStorage,
        p_layout: &Layout,
        q: &CudaStorage,
        q_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (batch, classes) = p_layout.shape().dims2()?;
        // SAFETY: the kernel writes the divergence of every image.
        let out = unsafe { p.device().alloc::<f32>(batch)? };
        let place = |of: &CudaStorage, layout: &Layout| -> candle_core::Result<u64> {
            Ok(address(of.as_cuda_slice::<f32>()?) + (layout.start_offset() * size_of::<f32>()) as u64)
        };
        let places = [Address(place(p, p_layout)?), Address(place(q, q_layout)?), Address(address(&out))];
        let [p_place, q_place, to] = places;
        let arguments = [p_place, q_place, to, Int(classes as i32), Long(batch as i64)];
        let launched = self.gpu.launch("kl_divergence", Grid::of_warps(batch), &arguments);
        launched.map_err(candle_core::Error::wrap)?;
        Ok((CudaStorage::wrap_cuda_slice(out, p.device().clone()), Shape::from(batch)))
    }

    fn bwd(
        &self,
        p: &Tensor,
        q: &Tensor,
        _: &Tensor,
        by_loss: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (batch, classes) = p.dims2()?;
        let by_loss = by_loss.contiguous()?;
        let gradients = || -> Result<[Option<Tensor>; 2]> {
            let room = |of: &Tensor| of.track_op().then(|| self.gpu.room(&[batch, classes])).transpose();
            let found = [room(p)?, room(q)?];
            let place = |of: &Option<Tensor>| of.as_ref().map_or(Ok(0), |tensor| with_address(tensor, Ok));
            let given = [p, q, &by_loss].map(|tensor| with_address(tensor, Ok));
            let [p, q, by_loss] = given;
            let arguments = [
                Address(p?),
                Address(q?),
                Address(by_loss?),
                Address(place(&found[0])?),
                Address(place(&found[1])?),
                Int(classes as i32),
                Long(batch as i64),
            ];
            self.gpu.launch("kl_divergence_gradient", Grid::of_warps(batch), &arguments)?;
            Ok(found)
        };
        let [by_p, by_q] = gradients().map_err(candle_core::Error::wrap)?;
        Ok((by_p, by_q))
    }
}

/// A step of so much along the gradient's sign, put back into the ball of radius `epsilon` around the clean images and into [0, 1].
pub(crate) fn ascend_linf(
    images: &Tensor,
    clean: &Tensor,
    gradient: &Tensor,
    step: f64,
    epsilon: f64,
) -> Result<Option<Tensor>> {
    let has_same_shape = images.shape() == clean.shape() && images.shape() == gradient.shape();
    let Some(gpu) = Gpu::of_tensors(&[images, clean, gradient])?.filter(|_| has_same_shape) else { return Ok(None) };
    let out = gpu.room(images.dims())?;
    let [from, around, along, to] = [images, clean, gradient, &out].map(|tensor| with_address(tensor, Ok));
    let count = images.elem_count();
    let numbers = [Float(step as f32), Float(epsilon as f32)];
    let places =
        [Address(from?), Address(around?), Address(along?), numbers[0], numbers[1], Address(to?), Long(count as i64)];
    gpu.launch("ascend_linf", Grid::of(count), &places)?;
    Ok(Some(out))
}

/// Words of a parameter's entry in the kernel's list.
const ENTRY: usize = 12;

/// Moves all parameters, and gives their new velocities; empty without momentum.
pub(crate) fn sgd(parameters: &[SgdParameter<'_>], step: SgdStep) -> Result<Option<Vec<Tensor>>> {
    let all = parameters.iter().flat_map(|one| [one.weight.as_tensor(), one.gradient].into_iter().chain(one.velocity));
    let Some(gpu) = Gpu::of_tensors(&all.collect::<Vec<_>>())? else { return Ok(None) };
    let total = parameters.iter().map(|one| one.weight.elem_count()).sum();
    let velocities = if step.momentum == 0.0 { None } else { Some(gpu.room(&[total])?) };
    let base = velocities.as_ref().map(|all| with_address(all, Ok)).transpose()?;
    let (mut entries, mut new, mut start) = (Vec::with_capacity(parameters.len() * ENTRY), Vec::new(), 0);
    for one in parameters {
        let count = one.weight.elem_count();
        let places = [
            with_address(one.weight.as_tensor(), Ok)?,
            with_address(one.gradient, Ok)?,
            one.velocity.map_or(Ok(0), |velocity| with_address(velocity, Ok))?,
            base.map_or(0, |base| base + (start * size_of::<f32>()) as u64),
            count as u64,
        ];
        let halves = places.into_iter().flat_map(|place| [place as u32, (place >> 32) as u32]);
        entries.extend(halves.chain([(one.decay as f32).to_bits(), 0]).map(f32::from_bits));
        if let Some(all) = &velocities {
            new.push(all.narrow(0, start, count)?.reshape(one.weight.shape())?);
        }
        start += count;
    }
    let list = gpu.upload(&entries)?;
    let numbers = [
        Float(step.gradient_scale as f32),
        Float(step.momentum as f32),
        Int(step.nesterov.into()),
        Float(step.learning_rate as f32),
    ];
    let [scale, momentum, nesterov, rate] = numbers;
    // Few blocks for each, which go on until its end: most parameters are small.
    let grid = Grid { blocks: [64, parameters.len() as u32] };
    gpu.launch("sgd", grid, &[Address(list.address()), scale, momentum, nesterov, rate])?;
    Ok(Some(new))
}
