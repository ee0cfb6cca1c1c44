//! AdamW over all parameters, with clipping by the global norm.

use std::collections::HashMap;
use std::sync::Mutex;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

use crate::student::ops::Ops;
use crate::student::ops::cuda::{self, Update as Kernel};
use crate::student::ops::kernels::{self, AdamW as Step};
use crate::student::ops::with_slice;

/// Elements updated by one task.
const CHUNK: usize = 1 << 15;

/// Settings that hold for a whole run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Decoupled decay, on matrices and tables only: decaying a norm's scale or a bias pulls towards nothing useful.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global L2 norm; 0 for no clipping.
    pub clip: f64,
}

/// The optimiser with its moments.
pub struct AdamW {
    pub(super) settings: AdamWSettings,
    pub(super) steps: usize,
    pub(super) parameters: Vec<Parameter>,
    /// On a GPU, where its kernels are used.
    pub(super) update: Option<Kernel>,
}

pub(super) struct Parameter {
    name: String,
    pub(super) variable: Var,
    pub(super) decays: bool,
    pub(super) moments: Moments,
}

/// Running means of the gradient and of its square.
pub(super) enum Moments {
    /// Updated in place, in one pass.
    Host(Mutex<(Vec<f32>, Vec<f32>)>),
    Device(Tensor, Tensor),
}

impl AdamW {
    pub fn new(parameters: &[(String, Var)], settings: AdamWSettings) -> Result<Self> {
        let parameters = parameters
            .iter()
            .map(|(name, variable)| {
                let n = variable.elem_count();
                let is_host = variable.device().is_cpu() && variable.dtype() == DType::F32;
                let moments = if is_host && !cuda::serves(variable.device(), variable.dtype()) {
                    Moments::Host(Mutex::new((vec![0.0; n], vec![0.0; n])))
                } else {
                    Moments::Device(variable.zeros_like()?, variable.zeros_like()?)
                };
                let decays = variable.rank() > 1;
                Ok(Parameter { name: name.clone(), variable: variable.clone(), decays, moments })
            })
            .collect::<Result<_>>()?;
        Ok(Self { settings, steps: 0, parameters, update: None })
    }

    /// The same with kernels of our own where the operations are those and the parameters lie on a GPU.
    pub fn with_ops(mut self, ops: Ops) -> Result<Self> {
        self.update = if ops == Ops::Fused { self.plan()? } else { None };
        Ok(self)
    }

    pub(super) fn correction(&self, beta: f64) -> f64 {
        1.0 / (1.0 - beta.powi(self.steps as i32))
    }

    /// The numbers of this step, for what decays.
    pub(super) fn at(&self, learning_rate: f64, gradient_scale: f64) -> Step {
        let AdamWSettings { beta1, beta2, epsilon, weight_decay, .. } = self.settings;
        Step {
            learning_rate: learning_rate as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            epsilon: epsilon as f32,
            keep: (1.0 - learning_rate * weight_decay) as f32,
            correction1: self.correction(beta1) as f32,
            correction2: self.correction(beta2) as f32,
            gradient_scale: gradient_scale as f32,
        }
    }

    /// One step along `gradients`, which are in the order of the parameters and have the global norm `norm`.
    pub fn step(&mut self, gradients: &[Tensor], norm: f64, learning_rate: f64) -> Result<()> {
        self.steps += 1;
        let clip = self.settings.clip;
        let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
        let decaying = self.at(learning_rate, scale);
        let step = |decays: bool| if decays { decaying } else { Step { keep: 1.0, ..decaying } };
        // All tensors in one go: most of a small student's are too small to be shared out.
        self.parameters.par_iter().zip(gradients).try_for_each(|(parameter, gradient)| match &parameter.moments {
            Moments::Host(moments) => {
                let update = Update { step: step(parameter.decays), moments };
                parameter.variable.inplace_op2(&gradient.contiguous()?, &update)
            }
            Moments::Device(..) => bail!("adamw: what lies on a device takes its steps there"),
        })?;
        Ok(())
    }

    /// The moments as tensors, for a checkpoint: `NAME.mean` and `NAME.square`.
    pub fn state(&self) -> Result<HashMap<String, Tensor>> {
        let mut state = HashMap::new();
        for parameter in &self.parameters {
            let (mean, square) = match &parameter.moments {
                Moments::Host(moments) => {
                    let (mean, square) = &*moments.lock().unwrap_or_else(|poison| poison.into_inner());
                    let tensor = |values: &[f32]| {
                        Tensor::from_slice(values, parameter.variable.shape(), parameter.variable.device())
                    };
                    (tensor(mean)?, tensor(square)?)
                }
                Moments::Device(mean, square) => (mean.clone(), square.clone()),
            };
            state.insert(format!("{}.mean", parameter.name), mean);
            state.insert(format!("{}.square", parameter.name), square);
        }
        Ok(state)
    }

    /// Takes over the moments of a checkpoint that was written after `steps` steps.
    pub fn restore(&mut self, mut state: HashMap<String, Tensor>, steps: usize) -> Result<()> {
        for parameter in &mut self.parameters {
            let mut take = |moment: &str| match state.remove(&format!("{}.{moment}", parameter.name)) {
                Some(tensor) if tensor.shape() == parameter.variable.shape() => Ok(tensor),
                _ => bail!("the optimizer's state of `{}` is missing or has another shape", parameter.name),
            };
            let (mean, square) = (take("mean")?, take("square")?);
            parameter.moments = match parameter.moments {
                Moments::Host(_) => {
                    Moments::Host(Mutex::new((mean.flatten_all()?.to_vec1()?, square.flatten_all()?.to_vec1()?)))
                }
                // Copies: they are changed where they lie.
                Moments::Device(..) => Moments::Device(mean.copy()?, square.copy()?),
            };
        }
        self.steps = steps;
        Ok(())
    }
}

/// The update of one tensor where it lies.
struct Update<'a> {
    step: Step,
    moments: &'a Mutex<(Vec<f32>, Vec<f32>)>,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, p_layout: &Layout, g: &CpuStorage, g_layout: &Layout) -> Result<()> {
        let (Some((p_from, p_to)), Some((g_from, g_to))) =
            (p_layout.contiguous_offsets(), g_layout.contiguous_offsets())
        else {
            bail!("adamw: parameters and gradients must be contiguous")
        };
        let CpuStorage::F32(p) = p else { bail!("adamw: parameters must be f32") };
        let (p, g) = (&mut p[p_from..p_to], &g.as_slice::<f32>()?[g_from..g_to]);
        let (mean, square) = &mut *self.moments.lock().unwrap_or_else(|poison| poison.into_inner());
        p.par_chunks_mut(CHUNK)
            .zip(g.par_chunks(CHUNK))
            .zip(mean.par_chunks_mut(CHUNK))
            .zip(square.par_chunks_mut(CHUNK))
            .for_each(|(((p, g), mean), square)| kernels::adamw(p, g, mean, square, self.step));
        Ok(())
    }
}

/// The L2 norm of all gradients together.
pub fn global_norm(gradients: &[Tensor]) -> Result<f64> {
    // Each tensor's sum is of chunks of a fixed size, in order: the same on any number of threads.
    let on_host: Vec<f64> = gradients
        .par_iter()
        .filter(|gradient| gradient.device().is_cpu() && gradient.dtype() == DType::F32)
        .map(|gradient| {
            with_slice(gradient, |values| {
                let parts: Vec<f64> = values.par_chunks(CHUNK).map(kernels::sum_of_squares).collect();
                parts.iter().sum::<f64>()
            })
        })
        .collect::<Result<_>>()?;
    let mut sum: f64 = on_host.iter().sum();
    let mut on_device: Option<Tensor> = None;
    for gradient in gradients.iter().filter(|gradient| !gradient.device().is_cpu() || gradient.dtype() != DType::F32) {
        // Summed on the device and read once: each read would wait for everything before it.
        let square = gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?;
        on_device = Some(match on_device {
            Some(total) => (total + square)?,
            None => square,
        });
    }
    if let Some(total) = on_device {
        sum += f64::from(total.to_scalar::<f32>()?);
    }
    Ok(sum.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// torch.optim.AdamW's update, written out in double precision.
    fn reference(p: &mut [f64], m: &mut [f64], v: &mut [f64], g: &[f64], step: i32, lr: f64, decay: f64) {
        for i in 0..p.len() {
            p[i] *= 1.0 - lr * decay;
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.98 * v[i] + 0.02 * g[i] * g[i];
            let denominator = (v[i] / (1.0 - 0.98f64.powi(step))).sqrt() + 1e-8;
            p[i] -= lr * (m[i] / (1.0 - 0.9f64.powi(step))) / denominator;
        }
    }

    fn settings(clip: f64) -> AdamWSettings {
        AdamWSettings { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weight_decay: 0.5, clip }
    }

    fn variables(dtype: DType) -> Vec<(String, Var)> {
        let tensor = |n: usize, shape: &[usize]| {
            let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.9).sin()).collect();
            Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()).unwrap()
        };
        vec![("w".into(), tensor(12, &[3, 4])), ("b".into(), tensor(4, &[4]))]
    }

    fn gradients(step: usize, dtype: DType) -> Vec<Tensor> {
        let tensor = |n: usize, shape: &[usize]| {
            let values: Vec<f32> = (0..n).map(|i| ((i + step) as f32 * 1.3).cos()).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
        };
        vec![tensor(12, &[3, 4]), tensor(4, &[4])]
    }

    fn values(variable: &Var) -> Vec<f64> {
        variable.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn both_forms_do_what_torch_does() {
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-9)] {
            let variables = variables(dtype);
            let mut optimizer = AdamW::new(&variables, settings(1.0)).unwrap();
            let mut want: Vec<Vec<f64>> = variables.iter().map(|(_, variable)| values(variable)).collect();
            let mut moments: Vec<_> = want.iter().map(|p| (vec![0.0; p.len()], vec![0.0; p.len()])).collect();
            for step in 1..=5 {
                let gradients = gradients(step, dtype);
                let raw: Vec<Vec<f64>> = gradients
                    .iter()
                    .map(|g| g.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap())
                    .collect();
                let norm = raw.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
                let got = global_norm(&gradients).unwrap();
                assert!((got - norm).abs() < 1e-5);
                if dtype == DType::F32 {
                    optimizer.step(&gradients, got, 0.01).unwrap();
                } else {
                    on_device(&mut optimizer, &gradients);
                }
                for (place, p) in want.iter_mut().enumerate() {
                    let clipped: Vec<f64> = raw[place].iter().map(|g| g / norm.max(1.0)).collect();
                    let (m, v) = &mut moments[place];
                    // The bias does not decay.
                    reference(p, m, v, &clipped, step as i32, 0.01, if place == 0 { 0.5 } else { 0.0 });
                }
            }
            for ((_, variable), want) in variables.iter().zip(&want) {
                for (got, want) in values(variable).iter().zip(want) {
                    assert!((got - want).abs() < tolerance, "{got} for {want}");
                }
            }
        }
    }

    /// Five steps along the same gradients, by one way of taking them.
    fn five_steps(dtype: DType, step: impl Fn(&mut AdamW, &[Tensor]), spoiled: Option<usize>) -> Vec<Vec<f64>> {
        let variables = variables(dtype);
        let mut optimizer = AdamW::new(&variables, settings(1.0)).unwrap().with_ops(Ops::Fused).unwrap();
        for number in 1..=5 {
            if spoiled == Some(number) {
                // A step whose gradient is no number changes nothing.
                let all = |optimizer: &AdamW| {
                    let state = optimizer.state().unwrap();
                    let moments = ["w.mean", "w.square", "b.mean", "b.square"].map(|name| state[name].clone());
                    let numbers = variables.iter().map(|(_, variable)| variable.as_tensor().clone()).chain(moments);
                    numbers.map(|tensor| values(&Var::from_tensor(&tensor).unwrap())).collect::<Vec<_>>()
                };
                let before = all(&optimizer);
                let nothing: Vec<Tensor> =
                    gradients(number, dtype).iter().map(|gradient| (gradient * f64::NAN).unwrap()).collect();
                let verdict = optimizer.step_on_device(&nothing, &Tensor::new(&[1f32], &Device::Cpu).unwrap(), 0.01);
                assert_eq!(verdict.unwrap().to_vec1::<f32>().unwrap()[2], 0.0);
                let losses = Tensor::new(&[1f32, f32::INFINITY], &Device::Cpu).unwrap();
                let verdict = optimizer.step_on_device(&gradients(number, dtype), &losses, 0.01).unwrap();
                assert_eq!(verdict.to_vec1::<f32>().unwrap()[2], 0.0);
                optimizer.take_back();
                optimizer.take_back();
                assert_eq!(before, all(&optimizer), "weights and moments");
            }
            step(&mut optimizer, &gradients(number, dtype));
        }
        let state = optimizer.state().unwrap();
        let all = variables.iter().map(|(_, variable)| values(variable));
        all.chain(
            ["w.mean", "w.square", "b.mean"]
                .map(|name| state[name].flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()),
        )
        .collect()
    }

    fn on_device(optimizer: &mut AdamW, gradients: &[Tensor]) {
        let losses = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let verdict = optimizer.step_on_device(gradients, &losses, 0.01).unwrap().to_vec1::<f32>().unwrap();
        let norm = global_norm(gradients).unwrap();
        assert!((f64::from(verdict[0]) / norm - 1.0).abs() < 1e-6 && verdict[2] == 1.0, "{verdict:?} {norm}");
    }

    fn on_host(optimizer: &mut AdamW, gradients: &[Tensor]) {
        optimizer.step(gradients, global_norm(gradients).unwrap(), 0.01).unwrap();
    }

    fn differ(got: &[Vec<f64>], want: &[Vec<f64>]) -> f64 {
        let each = got.iter().flatten().zip(want.iter().flatten()).map(|(got, want)| (got - want).abs());
        // `f64::max` would pass over what is no number.
        each.fold(0.0, |most, far| if far > most || far.is_nan() { far } else { most })
    }

    #[test]
    fn a_step_that_is_not_waited_for_is_the_same_step() {
        let want = five_steps(DType::F32, on_host, None);
        let got = five_steps(DType::F64, on_device, Some(3));
        assert!(differ(&got, &want) < 1e-6, "{:e}", differ(&got, &want));
    }

    #[test]
    fn the_kernel_takes_the_same_step() {
        let want = five_steps(DType::F32, on_host, None);
        cuda::with_kernels(|| {
            let got = five_steps(DType::F32, on_device, Some(3));
            assert!(differ(&got, &want) < 1e-6, "{:e}", differ(&got, &want));
        });
    }

    #[test]
    fn a_restored_optimizer_goes_on_bit_for_bit() {
        let run = |interrupted: bool| {
            let variables = variables(DType::F32);
            let mut optimizer = AdamW::new(&variables, settings(0.0)).unwrap();
            for step in 1..=6 {
                if interrupted && step == 4 {
                    let state = optimizer.state().unwrap();
                    optimizer = AdamW::new(&variables, settings(0.0)).unwrap();
                    optimizer.restore(state, 3).unwrap();
                }
                optimizer.step(&gradients(step, DType::F32), 1.0, 0.01).unwrap();
            }
            variables.iter().map(|(_, variable)| values(variable)).collect::<Vec<_>>()
        };
        assert_eq!(run(false), run(true));
    }
}
