//! Masked equals cut, for every architecture, criterion and ratio.

use mrpf_api::coupling::{PruningPlan, channel_groups, cost, cut, mask};
use mrpf_api::prelude::*;
use mrpf_host::experiment::PluginChoice;
use mrpf_test_support::largest_difference;

/// A network of each architecture, small enough to be tried often, with statistics that are not the fresh ones.
fn networks() -> Result<Vec<(String, Network)>> {
    let choices = [
        PluginChoice::named("resnet").with("depth", 8).with("width", 6),
        PluginChoice::named("resnet").with("depth", 20).with("width", 4),
        PluginChoice::named("resnet").with("depth", 8).with("width", 6).with("shortcut", "padding"),
        PluginChoice::named("resnet").with("depth", 18).with("width", 4),
        PluginChoice::named("resnet").with("depth", 34).with("width", 3),
        PluginChoice::named("vgg").with("depth", 11).with("width", 5),
        PluginChoice::named("vgg").with("depth", 13).with("width", 5).with("conv_bias", false),
        PluginChoice::named("vgg").with("depth", 16).with("width", 4),
        PluginChoice::named("vgg").with("depth", 19).with("width", 3),
    ];
    let input = ImageShape { channels: 3, height: 16, width: 16 };
    let request = ArchitectureRequest { input, classes: 7, mean: vec![0.5; 3], std: vec![0.25; 3] };
    let mut networks = Vec::new();
    for (number, choice) in choices.iter().enumerate() {
        let declaration = choice.make::<dyn Architecture>()?.declare(&request)?;
        let streams = Streams::new(number as u64);
        let network = Network::initialise(declaration, &streams, DType::F32, &Device::Cpu)?;
        for (name, variable) in network.parameters() {
            if variable.rank() == 1 {
                let noise = streams.child(name).stream().normal(variable.dims(), DType::F32, &Device::Cpu)?;
                variable.set(&(variable.as_tensor() + (noise * 0.2)?)?)?;
            }
        }
        let mut statistics = network.statistics();
        for (name, tensor) in &mut statistics {
            let noise = streams.child(name).stream().uniform(tensor.dims(), 0.0, 0.5, DType::F32, &Device::Cpu)?;
            *tensor = (&*tensor + noise)?;
        }
        network.set_statistics(statistics)?;
        networks.push((mrpf_api::serde_json::json!(choice).to_string(), network));
    }
    Ok(networks)
}

#[test]
fn masked_equals_cut_for_every_architecture_criterion_and_ratio() -> Result<()> {
    let images = Streams::new(99).stream().uniform(&[3, 3, 16, 16], 0.0, 1.0, DType::F32, &Device::Cpu)?;
    let cx = CallContext::unwatched(Streams::new(7));
    for (name, network) in networks()? {
        let groups = channel_groups(network.declaration())?;
        let dense = cost(network.declaration())?;
        for criterion in ["l1-norm", "l2-norm", "random"] {
            let scorer = PluginChoice::named(criterion).make::<dyn Criterion>()?;
            let scores: Vec<Vec<f64>> =
                groups.iter().map(|group| scorer.scores(&cx, &network, group)).collect::<Result<_>>()?;
            for tenths in 1..=9 {
                let ratio = f64::from(tenths) / 10.0;
                let keep: Vec<usize> = groups
                    .iter()
                    .map(|group| match group.frozen {
                        Some(_) => group.channels,
                        None => ((group.channels as f64 * (1.0 - ratio)).round() as usize).max(1),
                    })
                    .collect();
                let plan = PruningPlan::keep_highest(&groups, &scores, &keep);
                let (small, masked) = (cut(&network, &plan)?, mask(&network, &plan)?);
                let about = format!("{name} {criterion} {ratio}");
                assert!(cost(small.declaration())?.macs < dense.macs, "{about}");
                let counted: u64 = small.weights().values().map(|tensor| tensor.elem_count() as u64).sum();
                assert_eq!(cost(small.declaration())?.params, counted, "{about}");
                // Statistics of a batch of three 1x1 maps make rounding errors large: that mode is compared in f64.
                let f64s = (small.to_dtype(DType::F64)?, masked.to_dtype(DType::F64)?, images.to_dtype(DType::F64)?);
                for (small, masked, images, mode, tolerance) in [
                    (&small, &masked, &images, Mode::Evaluate, 1e-4),
                    (&f64s.0, &f64s.1, &f64s.2, Mode::TrainKeepingStatistics, 1e-9),
                ] {
                    let (a, b) = (small.forward(images, mode)?, masked.forward(images, mode)?);
                    let scale = 1.0 + b.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
                    let off = largest_difference(&a, &b)? / scale;
                    assert!(off < tolerance, "{about} {mode:?}: off by {off:e}");
                }
                let again = Network::from_bytes(&small.to_bytes()?, &Device::Cpu)?;
                let off = largest_difference(
                    &again.forward(&images, Mode::Evaluate)?,
                    &small.forward(&images, Mode::Evaluate)?,
                )?;
                assert_eq!(off, 0.0, "{about}: saved and loaded");
            }
        }
    }
    Ok(())
}
