//! Compares gradients with central differences, in f64.

use candle_core::{DType, Device, Tensor, Var};

use crate::random::Streams;
use crate::{Error, ErrorKind, Result};

/// Half the distance of the two points of a difference. The error of the difference is about `STEP^2` times the third
/// derivative plus `1e-16 / STEP` times the value.
const STEP: f64 = 1e-5;
/// Allowed difference, relative to the larger of 1 and the gradient.
const TOLERANCE: f64 = 2e-6;

/// Reproducible normal values in f64.
pub(super) fn normal(name: &str, shape: &[usize]) -> Result<Tensor> {
    Streams::new(7).child(name).stream().normal(shape, DType::F64, &Device::Cpu)
}

/// Checks the gradient of the sum of `operation`, weighted by fixed random numbers, by every element of every input.
pub(super) fn check(inputs: &[Tensor], operation: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let out = operation(inputs)?;
    let weights = normal("weights of the sum", out.dims())?;
    let weighted = |out: &Tensor| -> Result<Tensor> { Ok((out * &weights)?.sum_all()?) };
    let variables = inputs.iter().map(|input| Ok(Var::from_tensor(input)?)).collect::<Result<Vec<_>>>()?;
    let tracked: Vec<_> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
    let gradients = weighted(&operation(&tracked)?)?.backward()?;
    for (at, (input, variable)) in inputs.iter().zip(&variables).enumerate() {
        let Some(gradient) = gradients.get(variable) else { return Err(failed(format!("input {at} has no gradient"))) };
        let gradient = gradient.flatten_all()?.to_vec1::<f64>()?;
        let values = input.flatten_all()?.to_vec1::<f64>()?;
        for element in 0..values.len() {
            let moved = |by: f64| -> Result<f64> {
                let mut values = values.clone();
                values[element] += by;
                let mut inputs = inputs.to_vec();
                inputs[at] = Tensor::from_vec(values, input.shape(), &Device::Cpu)?;
                Ok(weighted(&operation(&inputs)?)?.to_scalar::<f64>()?)
            };
            let difference = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
            let found = gradient[element];
            let wrong = (found - difference).abs() / difference.abs().max(1.0);
            if wrong > TOLERANCE || wrong.is_nan() {
                return Err(failed(format!(
                    "input {at}, element {element}: gradient {found}, difference {difference}"
                )));
            }
        }
    }
    Ok(())
}

/// Turns the outcome of a check into that of a property.
pub(super) fn check_passed(outcome: Result<()>) -> Result<(), proptest::test_runner::TestCaseError> {
    outcome.map_err(|error| proptest::test_runner::TestCaseError::fail(error.to_string()))
}

fn failed(message: String) -> Error {
    Error::new(ErrorKind::Numeric, message)
}
