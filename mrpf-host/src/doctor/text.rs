//! The report for people.

use std::fmt::Write;

use super::{Report, Tested};
use crate::output::percent;

/// The report as text, a paragraph for each part.
pub fn report_text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(report, &mut text);
    text.trim_end().to_owned()
}

fn write(report: &Report, text: &mut String) -> std::fmt::Result {
    let (build, processor) = (&report.build, &report.processor);
    writeln!(text, "Built in")?;
    writeln!(text, "  mrpf {}, Candle {}, {}", build.version, build.candle, build.compiler)?;
    writeln!(text, "  for {}, features {}", build.target, words(&build.features))?;
    writeln!(text, "\nProcessor")?;
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    writeln!(
        text,
        "  {} cores, {} threads for computations, {} of memory, {} free",
        processor.cores,
        processor.threads,
        gigabytes(processor.memory),
        gigabytes(processor.memory_free)
    )?;
    writeln!(text, "  instructions: {}", words(&processor.instructions))?;
    writeln!(text, "\nNVIDIA GPUs")?;
    if report.gpus.is_empty() {
        writeln!(text, "  none that the driver tells of")?;
    }
    for gpu in &report.gpus {
        write!(text, "  cuda:{}  {}, compute capability {}", gpu.number, gpu.name, gpu.compute_capability)?;
        gpu.driver.iter().try_for_each(|driver| write!(text, ", driver {driver}"))?;
        write!(text, ", {} of memory", gpu.memory)?;
        gpu.memory_free.iter().try_for_each(|free| write!(text, ", {free} free"))?;
        writeln!(text)?;
    }
    let versions = &report.versions;
    let parts = [
        ("the driver serves CUDA", &versions.driver),
        ("this build is for CUDA", &versions.build),
        ("libnvrtc is of CUDA", &versions.compiler),
        ("cuDNN is", &versions.cudnn),
        ("cuDNN is for CUDA", &versions.cudnn_for),
    ];
    let parts = parts.iter().filter_map(|(what, version)| Some(format!("{what} {}", version.as_ref()?)));
    let parts: Vec<String> = parts.collect();
    if !parts.is_empty() {
        writeln!(text, "  {}", parts.join(", "))?;
    }
    if report.libraries.iter().any(|library| !library.found.is_empty()) {
        writeln!(text, "\nLibraries of CUDA")?;
        for library in &report.libraries {
            writeln!(text, "  {:<11}  {}", library.name, library.purpose)?;
            for place in &library.found {
                let remark = match (place.is_stub, place.is_searched) {
                    (true, _) => "  (a stub, for linking only)",
                    (_, false) => "  (the loader does not look there)",
                    _ => "",
                };
                writeln!(text, "               {}{remark}", place.path.display())?;
            }
        }
    }
    writeln!(text, "\nDevice tried: {}", report.device.asked)?;
    match &report.device.opened {
        Some(name) => writeln!(text, "  opened {name}")?,
        None => writeln!(text, "  cannot be used")?,
    }
    report.device.notes.iter().try_for_each(|note| writeln!(text, "  {note}"))?;
    writeln!(text, "\nSelf-test: f32 against f64 on the CPU; largest difference as a share of the largest value")?;
    for tested in &report.self_test {
        writeln!(text, "  {:<24}  {:<8}  {}", tested.operation, tested.device, outcome(tested))?;
    }
    let failed = report.failed().count();
    let passed = report.self_test.len() - failed;
    writeln!(
        text,
        "  {passed} right, {failed} wrong ({})",
        percent(passed as f64 / report.self_test.len().max(1) as f64)
    )?;
    writeln!(text, "\nThroughput")?;
    for rate in &report.throughput {
        writeln!(text, "  {:<34}  {:<8}  {:>9.1} GFLOP/s", rate.work, rate.device, rate.gflops)?;
    }
    writeln!(text, "\nAdvice")?;
    if report.advice.is_empty() {
        writeln!(text, "  none: everything that is there works")?;
    }
    report.advice.iter().try_for_each(|advice| writeln!(text, "  - {advice}"))
}

fn outcome(tested: &Tested) -> String {
    match (&tested.error, tested.forward, tested.gradients) {
        (Some(error), _, _) => format!("FAILED   {error}"),
        (None, forward, gradients) => {
            let word = if tested.passed { "right" } else { "WRONG" };
            let [forward, gradients] = [forward, gradients].map(|off| off.unwrap_or(f64::NAN));
            format!("{word}    output {forward:.1e}, gradients {gradients:.1e}")
        }
    }
}

fn words(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
