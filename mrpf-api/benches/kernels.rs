//! The kernels by themselves.
//!
//! `gradient`: what one attack step costs, the gradient by the images alone. `frozen` is what attacks call; `unfolded` and `tracked` are
//! the same loss by the operations layer by layer, without and with the gradients by the weights. `training` is a training pass with all
//! gradients. `conv`: convolutions of several kinds, forward, and with each gradient; the throughput counts the multiply-adds of the plain
//! algorithm in one of the three.
//!
//! `cargo bench -p mrpf-api --bench kernels`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Device, Tensor, Var};
use mrpf_api::data::ImageShape;
use mrpf_api::network::{Builder, Classifier, Declaration, Mode, Network};
use mrpf_api::numeric::{ConvGeometry, conv2d, loss};
use mrpf_api::random::Streams;
use std::hint::black_box;
use std::time::Duration;

const BATCH: usize = 32;

/// A small residual network for 32x32 images: three stages of one block.
fn residual_network() -> Result<Declaration> {
    let mut builder = Builder::new("bench", ImageShape { channels: 3, height: 32, width: 32 }, 10);
    builder.normalize("normalize", &[0.5; 3], &[0.25; 3]);
    builder.conv("stem", 32, ConvGeometry::same3(), false).batch_norm("stem_norm").relu("stem_relu");
    for (stage, channels) in [32, 64, 128].into_iter().enumerate() {
        let input = builder.current();
        let geometry = ConvGeometry::same3().stride(if stage == 0 { 1 } else { 2 });
        let name = |part: &str| format!("stage{stage}_{part}");
        builder.conv(&name("conv1"), channels, geometry, false).batch_norm(&name("norm1")).relu(&name("relu1"));
        builder.conv(&name("conv2"), channels, ConvGeometry::same3(), false).batch_norm(&name("norm2"));
        let shortcut = match stage {
            0 => input,
            _ => {
                let main = builder.current();
                let pointwise = ConvGeometry::square(1).stride(2);
                builder.from(&input).conv(&name("shortcut"), channels, pointwise, false);
                builder.batch_norm(&name("shortcut_norm"));
                let shortcut = builder.current();
                builder.from(&main);
                shortcut
            }
        };
        builder.add(&name("add"), &shortcut).relu(&name("relu2"));
    }
    builder.global_avg_pool("pool").linear("classes", 10);
    builder.finish()
}

fn normal(name: &str, shape: &[usize]) -> Result<Tensor> {
    Streams::new(1).child(name).stream().normal(shape, DType::F32, &Device::Cpu)
}

fn attack_step(criterion: &mut Criterion) -> Result<()> {
    let network = Network::initialise(residual_network()?, &Streams::new(1), DType::F32, &Device::Cpu)?;
    let images = Var::from_tensor(&normal("images", &[BATCH, 3, 32, 32])?)?;
    let labels = Tensor::from_iter((0..BATCH).map(|image| (image % 10) as u32), &Device::Cpu)?;
    let frozen = network.freeze()?;
    let mut group = criterion.benchmark_group("gradient");
    let input_gradient = || frozen.input_gradient(&images, &|logits| loss::cross_entropy_per_image(logits, &labels));
    input_gradient()?;
    group.bench_function("frozen", |bencher| bencher.iter(|| black_box(input_gradient())));
    for (name, weights) in [("unfolded", network.frozen_weights()), ("tracked", network.weights())] {
        let full = || -> Result<_> {
            let logits = network.forward_with(&weights, &images, Mode::Evaluate)?;
            Ok(loss::cross_entropy_per_image(&logits, &labels)?.sum_all()?.backward()?)
        };
        full()?;
        group.bench_function(name, |bencher| bencher.iter(|| black_box(full())));
    }
    let training = || -> Result<_> {
        let logits = network.forward(&images.as_detached_tensor(), Mode::TrainKeepingStatistics)?;
        Ok(loss::cross_entropy(&logits, &labels, 0.0)?.backward()?)
    };
    training()?;
    group.bench_function("training", |bencher| bencher.iter(|| black_box(training())));
    group.finish();
    Ok(())
}

fn convolution(criterion: &mut Criterion) -> Result<()> {
    let same3 = ConvGeometry::same3;
    for (name, channels, size, geometry) in [
        ("3x3", 16, 32, same3()),
        ("3x3", 64, 32, same3()),
        ("3x3", 256, 8, same3()),
        ("3x3 stride 2", 64, 32, same3().stride(2)),
        ("1x1", 64, 32, ConvGeometry::square(1)),
        ("5x5", 64, 32, ConvGeometry::square(5).padding(2)),
        ("3x3 in 4 groups", 64, 32, same3().groups(4)),
        ("3x3 depthwise", 64, 32, same3().groups(64)),
    ] {
        let (height, width) = geometry.output_size(channels, channels, size, size)?;
        let images = normal("images", &[BATCH, channels, size, size])?;
        let weight = normal("weight", &[channels, channels / geometry.groups, geometry.kernel[0], geometry.kernel[1]])?;
        let gradient = normal("gradient", &[BATCH, channels, height, width])?;
        let mut group = criterion.benchmark_group(format!("conv {name}, {channels} channels, {size}x{size}"));
        // Multiply-adds of one of the three products.
        group.throughput(Throughput::Elements((BATCH * height * width * weight.elem_count()) as u64));
        group.bench_function(BenchmarkId::from_parameter("forward"), |bencher| {
            bencher.iter(|| black_box(conv2d(&images, &weight, None, &geometry)));
        });
        for (name, by_images, by_weight) in [("forward and input", true, false), ("forward and weight", false, true)] {
            let run = || -> Result<_> {
                let track = |tensor: &Tensor, tracked| -> Result<Tensor> {
                    Ok(if tracked { Var::from_tensor(tensor)?.into_inner() } else { tensor.clone() })
                };
                let out = conv2d(&track(&images, by_images)?, &track(&weight, by_weight)?, None, &geometry)?;
                Ok((out * &gradient)?.sum_all()?.backward()?)
            };
            run()?;
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| black_box(run())));
        }
        group.finish();
    }
    Ok(())
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = attack_step(criterion).and_then(|()| convolution(criterion)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = all
}
criterion_main!(benches);
