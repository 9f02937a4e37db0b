//! Outputs that are composed of Candle's operations, with gradients that are written down instead of traced.
//!
//! Traced, a composition keeps every value on the way, goes back through each of its operations, and computes the gradients of
//! constants as well. For devices without kernels of our own.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape, Storage, Tensor,
};

/// Gradients by `N` arguments from the arguments, the output and the gradient by it; what nobody asks for is left out.
type Gradients<const N: usize> =
    Box<dyn Fn([&Tensor; N], &Tensor, &Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync>;

/// An output that is there already.
struct Attached<const N: usize> {
    name: &'static str,
    out: Tensor,
    gradients: Gradients<N>,
}

impl<const N: usize> Attached<N> {
    fn new(
        name: &'static str,
        out: &Tensor,
        gradients: impl Fn([&Tensor; N], &Tensor, &Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
    ) -> Result<Self> {
        // The operation copies the storage as a whole, which must hold this and nothing else.
        Ok(Self { name, out: out.detach().force_contiguous()?, gradients: Box::new(gradients) })
    }

    fn copied<S>(&self, of: impl Fn(&Storage, &Layout) -> Option<Result<S>>) -> Result<(S, Shape)> {
        let (storage, layout) = self.out.storage_and_layout();
        match of(&storage, layout) {
            Some(copy) => Ok((copy?, layout.shape().clone())),
            None => candle_core::bail!("{}: the output is on another device than the arguments", self.name),
        }
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        self.copied(|storage, layout| match storage {
            Storage::Cpu(storage) => Some(storage.try_clone(layout)),
            _ => None,
        })
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.copied(|storage, layout| match storage {
            Storage::Cuda(storage) => Some(storage.try_clone(layout)),
            _ => None,
        })
    }

    fn on_metal(&self) -> Result<(MetalStorage, Shape)> {
        self.copied(|storage, layout| match storage {
            Storage::Metal(storage) => Some(storage.try_clone(layout)),
            _ => None,
        })
    }
}

/// `out`, computed from the value of `x`, with its gradient.
pub(super) fn attach1(
    name: &'static str,
    x: &Tensor,
    out: Tensor,
    gradients: impl Fn([&Tensor; 1], &Tensor, &Tensor) -> Result<[Option<Tensor>; 1]> + Send + Sync + 'static,
) -> Result<Tensor> {
    match x.track_op() {
        false => Ok(out),
        true => x.apply_op1(Attached::new(name, &out, gradients)?),
    }
}

/// `out`, computed from the values of two arguments, with its gradients.
pub(super) fn attach2(
    name: &'static str,
    of: [&Tensor; 2],
    out: Tensor,
    gradients: impl Fn([&Tensor; 2], &Tensor, &Tensor) -> Result<[Option<Tensor>; 2]> + Send + Sync + 'static,
) -> Result<Tensor> {
    match of.iter().any(|argument| argument.track_op()) {
        false => Ok(out),
        true => of[0].apply_op2(of[1], Attached::new(name, &out, gradients)?),
    }
}

/// `out`, computed from the values of three arguments, with its gradients.
pub(super) fn attach3(
    name: &'static str,
    of: [&Tensor; 3],
    out: Tensor,
    gradients: impl Fn([&Tensor; 3], &Tensor, &Tensor) -> Result<[Option<Tensor>; 3]> + Send + Sync + 'static,
) -> Result<Tensor> {
    match of.iter().any(|argument| argument.track_op()) {
        false => Ok(out),
        true => of[0].apply_op3(of[1], of[2], Attached::new(name, &out, gradients)?),
    }
}

impl CustomOp1 for Attached<1> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, x: &Tensor, out: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [by_x] = (self.gradients)([x], &out.detach(), gradient)?;
        Ok(by_x)
    }
}

impl CustomOp2 for Attached<2> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, out: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [by_a, by_b] = (self.gradients)([a, b], &out.detach(), gradient)?;
        Ok((by_a, by_b))
    }
}

impl CustomOp3 for Attached<3> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [by_a, by_b, by_c] = (self.gradients)([a, b, c], &out.detach(), gradient)?;
        Ok((by_a, by_b, by_c))
    }
}
