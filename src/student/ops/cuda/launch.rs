//! A kernel's launch as data: its name, how many blocks of how many threads, and what it is given. Whoever decides these
//! is compiled on every machine; only what hands a launch to NVIDIA's driver needs one. The tests hand it to the same
//! kernels compiled for the processor.

#[cfg(test)]
use std::ffi::c_void;
use std::sync::Mutex;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Result, Shape, Storage, Tensor, bail};

/// Threads in a block. The kernels' sums over a block are written for this number.
pub const THREADS: u32 = 256;

/// What a kernel is given.
pub enum Argument<'a> {
    /// A tensor without gaps that the kernel reads.
    Read(&'a Tensor),
    /// A tensor that it writes, and may read. No other tensor of the launch may lie in the same memory.
    Write(&'a Tensor),
    /// A table of such tensors' addresses, in the memory of the device.
    ReadAll(Vec<&'a Tensor>),
    WriteAll(Vec<&'a Tensor>),
    /// No tensor where there could be one.
    Absent,
    U32(u32),
    U64(u64),
    F32(f32),
}

/// One launch.
pub struct Launch<'a> {
    pub kernel: String,
    /// Blocks, in two dimensions. The first may be large; the second is limited to 65,535.
    pub grid: (u32, u32),
    pub arguments: Vec<Argument<'a>>,
}

/// An argument as a driver takes it: an address or a number, by its place in memory.
pub(super) enum Value {
    Address(u64),
    U32(u32),
    F32(f32),
}

impl<'a> Launch<'a> {
    pub fn new(kernel: impl Into<String>, grid: (u32, u32), arguments: Vec<Argument<'a>>) -> Self {
        Self { kernel: kernel.into(), grid, arguments }
    }

    /// One thread for each of `n` numbers.
    pub fn over(kernel: impl Into<String>, n: usize, arguments: Vec<Argument<'a>>) -> Result<Self> {
        Ok(Self::new(kernel, (blocks(n)?, 1), arguments))
    }

    /// Starts the kernel where the tensors are. On a GPU nobody waits for it.
    pub fn run(self, device: &Device) -> Result<()> {
        if self.grid.0 == 0 || self.grid.1 == 0 {
            return Ok(());
        }
        if self.grid.1 > 65_535 {
            bail!("{}: {} blocks in the second dimension", self.kernel, self.grid.1)
        }
        // The tables live until the launch has been handed over; a device lets go of memory in the order of its work.
        let mut tables = Vec::new();
        let mut values = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            values.push(match argument {
                Argument::Read(tensor) => Value::Address(address(tensor)?),
                Argument::Write(tensor) => Value::Address(address_to_write(tensor)?),
                Argument::ReadAll(tensors) => {
                    let addresses = tensors.iter().map(|tensor| address(tensor)).collect::<Result<Vec<u64>>>()?;
                    table(&addresses, device, &mut tables)?
                }
                Argument::WriteAll(tensors) => {
                    let addresses =
                        tensors.iter().map(|tensor| address_to_write(tensor)).collect::<Result<Vec<u64>>>()?;
                    table(&addresses, device, &mut tables)?
                }
                Argument::Absent => Value::Address(0),
                Argument::U32(value) => Value::U32(*value),
                Argument::U64(value) => Value::Address(*value),
                Argument::F32(value) => Value::F32(*value),
            });
        }
        start(&self.kernel, self.grid, &values, device)
    }
}

impl Value {
    /// One letter for what it is, which the kernels in the tests compare.
    #[cfg(test)]
    pub(super) fn kind(&self) -> char {
        match self {
            Self::Address(_) => 'a',
            Self::U32(_) => 'u',
            Self::F32(_) => 'f',
        }
    }

    /// Where the value lies.
    #[cfg(test)]
    pub(super) fn pointer(&self) -> *mut c_void {
        match self {
            Self::Address(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::F32(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

#[cfg(all(feature = "cuda", not(test)))]
fn start(kernel: &str, grid: (u32, u32), values: &[Value], device: &Device) -> Result<()> {
    super::device::start(kernel, grid, values, device)
}

#[cfg(test)]
fn start(kernel: &str, grid: (u32, u32), values: &[Value], device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return super::device::start(kernel, grid, values, device);
    }
    let _ = device;
    super::emulator::start(kernel, grid, values)
}

#[cfg(not(any(feature = "cuda", test)))]
fn start(kernel: &str, grid: (u32, u32), values: &[Value], device: &Device) -> Result<()> {
    let values = values.iter().map(|value| match value {
        Value::Address(value) => format!("{value:#x}"),
        Value::U32(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
    });
    let values = values.collect::<Vec<_>>().join(", ");
    bail!("{kernel} on {device:?}, {grid:?} blocks, ({values}): this binary was built without CUDA")
}

/// Blocks of threads for `n` numbers.
pub fn blocks(n: usize) -> Result<u32> {
    narrow(n.div_ceil(THREADS as usize))
}

/// A size as kernels take it.
pub fn narrow(n: usize) -> Result<u32> {
    match u32::try_from(n) {
        Ok(n) if n <= i32::MAX as u32 => Ok(n),
        _ => bail!("{n} is more than a kernel can count"),
    }
}

/// The ending of a kernel's name.
pub fn suffix(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("f32"),
        DType::BF16 => Ok("bf16"),
        other => bail!("there are no kernels for {other:?}"),
    }
}

/// A tensor for a kernel to fill: zeros on the CPU, whatever was there before on a GPU.
pub fn fresh(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    if device.is_cpu() || shape.elem_count() == 0 {
        return Tensor::zeros(shape, dtype, device);
    }
    // SAFETY: every number is written by the launch that this tensor is made for before anything reads it.
    unsafe { Tensor::empty(shape, dtype, device) }
}

fn table(addresses: &[u64], device: &Device, tables: &mut Vec<Tensor>) -> Result<Value> {
    // Candle has no unsigned numbers of 64 bits; the bits are what counts.
    let bits: Vec<i64> = addresses.iter().map(|address| address.cast_signed()).collect();
    let table = Tensor::from_vec(bits, addresses.len(), device)?;
    let value = Value::Address(address(&table)?);
    tables.push(table);
    Ok(value)
}

/// Where a tensor's first number lies, to be read.
fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((from, _)) = layout.contiguous_offsets() else { bail!("a kernel needs a tensor without gaps") };
    match &*storage {
        Storage::Cpu(storage) => Ok(match storage {
            CpuStorage::U32(values) => values[from..].as_ptr().expose_provenance() as u64,
            CpuStorage::I64(values) => values[from..].as_ptr().expose_provenance() as u64,
            CpuStorage::F32(values) => values[from..].as_ptr().expose_provenance() as u64,
            CpuStorage::F64(values) => values[from..].as_ptr().expose_provenance() as u64,
            CpuStorage::BF16(values) => values[from..].as_ptr().expose_provenance() as u64,
            _ => bail!("no kernel reads {:?}", tensor.dtype()),
        }),
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => super::device::address(storage, from),
        _ => bail!("kernels run on NVIDIA GPUs"),
    }
}

/// The same to be written. Nobody else may use the tensor's memory until the kernel has been started.
fn address_to_write(tensor: &Tensor) -> Result<u64> {
    let found = Address(Mutex::new(0));
    tensor.inplace_op1(&found)?;
    Ok(found.0.into_inner().unwrap_or_else(|poison| poison.into_inner()))
}

/// Asks a tensor for its address in the way that candle gives it out for writing.
struct Address(Mutex<u64>);

impl Address {
    fn found(&self, address: u64) {
        *self.0.lock().unwrap_or_else(|poison| poison.into_inner()) = address;
    }
}

impl InplaceOp1 for Address {
    fn name(&self) -> &'static str {
        "address"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((from, _)) = layout.contiguous_offsets() else { bail!("a kernel needs a tensor without gaps") };
        self.found(match storage {
            CpuStorage::F32(values) => values[from..].as_mut_ptr().expose_provenance() as u64,
            CpuStorage::F64(values) => values[from..].as_mut_ptr().expose_provenance() as u64,
            CpuStorage::BF16(values) => values[from..].as_mut_ptr().expose_provenance() as u64,
            _ => bail!("no kernel writes numbers of this type"),
        });
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let Some((from, _)) = layout.contiguous_offsets() else { bail!("a kernel needs a tensor without gaps") };
        self.found(super::device::address(storage, from)?);
        Ok(())
    }
}

/// Moves a tensor's memory out of it, as what an operation of candle's returns. The tensor is of no use afterwards.
pub fn moved_out(tensor: &Tensor) -> Result<Storage> {
    let taken = Taken(Mutex::new(None));
    tensor.inplace_op1(&taken)?;
    match taken.0.into_inner().unwrap_or_else(|poison| poison.into_inner()) {
        Some(storage) => Ok(storage),
        None => bail!("a result that isn't there"),
    }
}

struct Taken(Mutex<Option<Storage>>);

impl Taken {
    fn keep(&self, storage: Storage) {
        *self.0.lock().unwrap_or_else(|poison| poison.into_inner()) = Some(storage);
    }
}

impl InplaceOp1 for Taken {
    fn name(&self) -> &'static str {
        "move-out"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        self.keep(Storage::Cpu(std::mem::replace(storage, CpuStorage::F32(vec![]))));
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, _: &Layout) -> Result<()> {
        let emptied = super::device::placeholder(storage)?;
        self.keep(Storage::Cuda(std::mem::replace(storage, emptied)));
        Ok(())
    }
}
