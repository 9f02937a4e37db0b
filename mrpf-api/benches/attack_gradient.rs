//! What one attack step costs: the gradient by the images alone, against the gradient by images and weights of the
//! same loss.
//!
//! `frozen` is what attacks call; `tracked` is the same loss on the trainable weights, batch norm in evaluation mode.
//! The smaller the first against the second, the more of an attack is spared; without weight gradients about two
//! thirds are left of a convolution's work. `conv` times the convolution alone: forward, and with each gradient.
//!
//! `cargo bench -p mrpf-api --bench attack_gradient`

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
    group.finish();
    Ok(())
}

fn convolution(criterion: &mut Criterion) -> Result<()> {
    let geometry = ConvGeometry::same3();
    for (channels, size) in [(64, 32), (256, 8)] {
        let images = normal("images", &[BATCH, channels, size, size])?;
        let weight = normal("weight", &[channels, channels, 3, 3])?;
        let gradient = normal("gradient", &[BATCH, channels, size, size])?;
        let mut group = criterion.benchmark_group(format!("conv {channels}x{size}x{size}"));
        // Multiply-adds of one of the three products.
        group.throughput(Throughput::Elements((BATCH * channels * size * size * channels * 9) as u64));
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
