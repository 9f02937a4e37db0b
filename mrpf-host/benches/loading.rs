//! How fast images are decoded, read back, and made into batches: to be set beside the images a second of a training epoch.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use image::{Rgb, RgbImage};
use mrpf_api::Result;
use mrpf_api::candle_core::{DType, Device};
use mrpf_api::data::{DataSource, ImageSet, ImageShape};
use mrpf_api::random::Streams;
use mrpf_api::registry;
use mrpf_host::training::{Augment, augment};
use serde_json::json;
use std::hint::black_box;
use std::path::Path;

/// Images in each of two classes, half of them to train with.
const FILES: u32 = 500;

/// JPEG files of 64x64 pixels with as much detail as photographs, roughly.
fn pictures(folder: &Path) {
    for class in 0..2u32 {
        let place = folder.join(class.to_string());
        std::fs::create_dir_all(&place).expect("a folder");
        for at in 0..FILES {
            let mut state = at * 2 + class;
            let picture = RgbImage::from_fn(64, 64, |x, y| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 27) as u8;
                Rgb([(x * 3 + at) as u8, (y * 3 + at) as u8, ((x * y) / 16) as u8]
                    .map(|value| value.wrapping_add(noise)))
            });
            picture.save(place.join(format!("{at}.jpg"))).expect("a picture");
        }
    }
}

fn decoding(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path());
    let mut group = criterion.benchmark_group("loading");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(2 * FILES)));
    for (name, cache) in [("JPEG files of 64x64 decoded", false), ("the same as kept decoded", true)] {
        let settings = json!({ "size": 64, "cache": cache });
        let load = || -> Result<usize> {
            let source = registry::make::<dyn DataSource>("image-folder", settings.clone())?;
            Ok(source.load(Some(folder.path()))?.train.len())
        };
        group.bench_function(name, |bencher| bencher.iter(|| black_box(load().expect("it loads"))));
    }
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let shape = ImageShape { channels: 3, height: 32, width: 32 };
    let pixels = (0..shape.len() * 1024).map(|at| (at % 256) as u8).collect();
    let set = ImageSet::new(shape, pixels, 255, vec![0; 1024], 10).expect("a set");
    let indices: Vec<usize> = (0..128).map(|at| at * 7 % 1024).collect();
    let mut group = criterion.benchmark_group("batches of 128 images of 32x32");
    group.throughput(Throughput::Elements(128));
    let batch = || set.batch(&indices, DType::F32, &Device::Cpu).expect("a batch");
    group.bench_function("taken", |bencher| bencher.iter(|| black_box(batch())));
    let settings = Augment { cutout: 8, ..Augment::default() };
    let streams = Streams::new(0);
    group.bench_function("taken and augmented", |bencher| {
        bencher.iter(|| black_box(augment(&batch(), &settings, true, &[0.5; 3], &streams).expect("augmented")));
    });
    group.finish();
}

criterion_group!(benches, decoding, batches);
criterion_main!(benches);
