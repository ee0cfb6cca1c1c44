//! How far two tensors are apart.

use candle_core::{DType, Tensor};

pub fn largest(tensor: &Tensor) -> f64 {
    let all = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    all.to_vec1::<f64>().unwrap().into_iter().fold(0.0, |max, value| max.max(value.abs()))
}

/// Largest difference over the largest reference value.
pub fn gap(got: &Tensor, want: &Tensor) -> f64 {
    let got = got.to_dtype(DType::F64).unwrap().reshape(want.dims()).unwrap();
    largest(&(got - want.to_dtype(DType::F64).unwrap()).unwrap()) / largest(want)
}
