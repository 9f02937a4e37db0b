//! Every operation that networks and losses are made of, on small inputs.

use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_api::numeric::{
    ConvGeometry, PoolGeometry, attention, avg_pool2d, batch_norm_eval, batch_norm_train, conv2d, fold, gelu,
    global_avg_pool, layer_norm, linear, loss, max_pool2d, normalize, pad_shortcut, relu, relu6, resize, silu, unfold,
};
use mrpf_api::random::Streams;

/// What an operation does with its inputs.
pub(super) type Work = Box<dyn Fn(&[Tensor]) -> Result<Tensor>>;

/// An operation with the shapes of its inputs.
pub(super) struct Operation {
    /// What it is called.
    pub name: &'static str,
    /// Shapes of the inputs, which are standard normal numbers.
    pub inputs: Vec<Vec<usize>>,
    /// What it does.
    pub work: Work,
}

impl Operation {
    /// Its inputs in f64 on the CPU.
    pub fn numbers(&self) -> Result<Vec<Tensor>> {
        let streams = Streams::new(0).child("doctor").child(self.name);
        let inputs = self.inputs.iter().enumerate();
        inputs.map(|(at, shape)| streams.child(at).stream().normal(shape, DType::F64, &Device::Cpu)).collect()
    }
}

fn operation(
    name: &'static str,
    inputs: &[&[usize]],
    work: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
) -> Operation {
    Operation { name, inputs: inputs.iter().map(|shape| shape.to_vec()).collect(), work: Box::new(work) }
}

fn convolution(name: &'static str, [inputs, outputs, side]: [usize; 3], geometry: ConvGeometry) -> Operation {
    let [height, width] = geometry.kernel;
    let weight = [outputs, inputs / geometry.groups, height, width];
    operation(name, &[&[4, inputs, side, side], &weight, &[outputs]], move |x| {
        conv2d(&x[0], &x[1], Some(&x[2]), &geometry)
    })
}

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let map: &[usize] = &[4, 6, 8, 8];
    let pool = PoolGeometry { kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
    vec![
        convolution("conv2d 3x3", [16, 24, 12], ConvGeometry::same3()),
        convolution("conv2d 3x3, stride 2", [16, 24, 13], ConvGeometry::same3().stride(2)),
        convolution("conv2d 1x1", [16, 24, 12], ConvGeometry::square(1)),
        convolution("conv2d, 4 groups", [16, 24, 12], ConvGeometry::same3().groups(4)),
        convolution("conv2d, depthwise", [16, 16, 12], ConvGeometry::same3().groups(16)),
        operation("linear", &[&[16, 64], &[10, 64], &[10]], |x| linear(&x[0], &x[1], Some(&x[2]))),
        operation("batch_norm, training", &[map, &[6], &[6]], |x| Ok(batch_norm_train(&x[0], &x[1], &x[2], 1e-5)?.0)),
        operation("batch_norm, evaluation", &[map, &[6], &[6]], |x| {
            let (mean, variance) = (Tensor::full(0.5f32, 6, x[0].device())?, Tensor::full(2.0f32, 6, x[0].device())?);
            let (mean, variance) = (mean.to_dtype(x[0].dtype())?, variance.to_dtype(x[0].dtype())?);
            batch_norm_eval(&x[0], &x[1], &x[2], &mean, &variance, 1e-5)
        }),
        operation("layer_norm", &[&[4, 4, 16, 12], &[12], &[12]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5)),
        operation("normalize", &[&[4, 3, 8, 8]], |x| normalize(&x[0], &[0.4, 0.5, 0.6], &[0.2, 0.25, 0.3])),
        operation("relu", &[map], |x| relu(&x[0])),
        operation("relu6", &[map], |x| relu6(&(&x[0] * 4.0)?)),
        operation("silu", &[map], |x| silu(&x[0])),
        operation("gelu", &[map], |x| gelu(&x[0])),
        operation("max_pool2d", &[map], move |x| max_pool2d(&x[0], &pool)),
        operation("avg_pool2d", &[map], move |x| avg_pool2d(&x[0], &pool)),
        operation("global_avg_pool", &[map], |x| global_avg_pool(&x[0])),
        operation("pad_shortcut", &[map], |x| pad_shortcut(&x[0], 2, 9)),
        operation("resize", &[map], |x| resize(&x[0], [5, 11])),
        operation("unfold", &[map], |x| unfold(&x[0], [2, 2])),
        operation("fold", &[&[4, 4, 16, 6]], |x| fold(&x[0], [2, 2], [8, 8])),
        operation("attention", &[&[2, 4, 9, 12], &[2, 4, 9, 12], &[2, 4, 9, 6]], |x| {
            attention([&x[0], &x[1], &x[2]], 3, 0.5)
        }),
        operation("cross_entropy", &[&[8, 10]], |x| {
            let labels = Tensor::from_iter((0..8u32).map(|image| image * 7 % 10), x[0].device())?;
            loss::cross_entropy(&x[0], &labels, 0.1)
        }),
        operation("kl_divergence", &[&[8, 10], &[8, 10]], |x| loss::kl_divergence_per_image(&x[0], &x[1])),
    ]
}
