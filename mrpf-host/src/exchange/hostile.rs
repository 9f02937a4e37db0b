//! State dictionaries that are damaged or made to do harm: they are refused, or read; nothing panics.

use mrpf_api::candle_core::{DType, Device, Tensor};
use mrpf_test_support::mutated;
use proptest::prelude::*;

use super::StateDict;

fn file() -> mrpf_api::Result<Vec<u8>> {
    let tensors = [
        ("module.conv1.weight", Tensor::ones((2, 3, 3, 3), DType::F32, &Device::Cpu)?),
        ("module.bn1.running_var", Tensor::ones(2, DType::F32, &Device::Cpu)?),
        ("module.bn1.num_batches_tracked", Tensor::ones((), DType::I64, &Device::Cpu)?),
        ("module.fc.weight_orig", Tensor::ones((4, 2), DType::F16, &Device::Cpu)?),
        ("module.fc.weight_mask", Tensor::ones((4, 2), DType::U8, &Device::Cpu)?),
        ("module.fc.popup_scores", Tensor::ones((4, 2), DType::F32, &Device::Cpu)?),
        ("mean", Tensor::ones(3, DType::F64, &Device::Cpu)?),
    ];
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (*name, tensor)), None)
        .map_err(|error| mrpf_api::Error::new(mrpf_api::ErrorKind::Checkpoint, error.to_string()))
}

proptest! {
    #[test]
    fn a_mutated_state_dictionary_is_read_or_refused(seed: u64) {
        let bytes = file().map_err(|error| TestCaseError::fail(error.to_string()))?;
        if let Ok(mut read) = StateDict::from_bytes(&mutated(&bytes, seed)) {
            let _ = (read.wrappings(), read.apply_scores(0.5));
        }
    }
}
