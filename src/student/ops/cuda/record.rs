//! A value that kernels have computed, put on candle's record with a backward pass of its own.

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};

use super::launch::moved_out;

/// The gradients of an operation's inputs, of those that are trained, from the inputs, the result and its gradient.
type Gradients = Vec<Option<Tensor>>;

/// An operation whose value is there already.
struct Recorded<B> {
    name: &'static str,
    /// Moved out when candle asks for it.
    value: Mutex<Option<Tensor>>,
    backward: B,
}

/// `value` as the result of an operation on one to three `inputs`. Where none of them is trained it stays as it is.
pub fn recorded<B>(name: &'static str, inputs: &[&Tensor], value: Tensor, backward: B) -> Result<Tensor>
where
    B: Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Gradients> + Send + Sync + 'static,
{
    if !inputs.iter().any(|input| input.track_op()) {
        return Ok(value);
    }
    let operation = Recorded { name, value: Mutex::new(Some(value)), backward };
    match inputs {
        [x] => x.apply_op1(operation),
        [x, y] => x.apply_op2(y, operation),
        [x, y, z] => x.apply_op3(y, z, operation),
        _ => bail!("{name}: an operation has one to three inputs"),
    }
}

impl<B> Recorded<B> {
    fn take(&self) -> Result<(Storage, Shape)> {
        match self.value.lock().unwrap_or_else(|poison| poison.into_inner()).take() {
            Some(value) => Ok((moved_out(&value)?, value.shape().clone())),
            None => bail!("{}: its value was taken before", self.name),
        }
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: its value is not where its inputs are", self.name),
        }
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => bail!("{}: its value is not where its inputs are", self.name),
        }
    }
}

impl<B: Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Gradients>> Recorded<B> {
    fn gradients<const N: usize>(&self, given: [&Tensor; N], y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; N]> {
        match (self.backward)(&given, y, dy)?.try_into() {
            Ok(gradients) => Ok(gradients),
            Err(_) => bail!("{}: an input has no gradient", self.name),
        }
    }
}

impl<B: Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Gradients>> CustomOp1 for Recorded<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [dx] = self.gradients([x], y, dy)?;
        Ok(dx)
    }
}

impl<B: Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Gradients>> CustomOp2 for Recorded<B> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([a, b], y, dy)?.into())
    }
}

impl<B: Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Gradients>> CustomOp3 for Recorded<B> {
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

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([a, b, c], y, dy)?.into())
    }
}
