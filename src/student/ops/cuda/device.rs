//! Launches on NVIDIA's driver. The kernels are compiled for the GPU at hand, once for each generation of them, by
//! NVIDIA's run-time compiler.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute as Attribute;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, CudaStorageSlice};
use candle_core::{CudaStorage, Device, Error, Result, bail};

use super::launch::{THREADS, Value};

const SOURCE: &str = include_str!("kernels.cu");
/// The kernels among the modules that candle has loaded on a device.
const MODULE: &str = "afterthought";

/// PTX by compute capability.
static COMPILED: Mutex<BTreeMap<(i32, i32), Arc<str>>> = Mutex::new(BTreeMap::new());

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Msg(format!("{what}: {error}"))
}

/// The kernels for a device, compiled when they are first asked for.
pub fn compiled(device: &CudaDevice) -> Result<Arc<str>> {
    let stream = device.cuda_stream();
    let attribute = |attribute| stream.context().attribute(attribute).map_err(|error| failed("the GPU", error));
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let mut known = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(ptx) = known.get(&(major, minor)) {
        return Ok(ptx.clone());
    }
    let arch = format!("--gpu-architecture=compute_{major}{minor}");
    let options = CompileOptions { options: vec![arch, "--std=c++17".into()], ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(SOURCE, options).map_err(|error| failed("the kernels don't compile", error))?;
    let ptx: Arc<str> = ptx.to_src().into();
    known.insert((major, minor), ptx.clone());
    Ok(ptx)
}

/// Hands a launch to the driver.
pub fn start(kernel: &str, grid: (u32, u32), values: &[Value], device: &Device) -> Result<()> {
    let Device::Cuda(device) = device else { bail!("{kernel}: kernels run on NVIDIA GPUs") };
    let function = device.get_or_load_custom_func(kernel, MODULE, &compiled(device)?)?;
    let mut launch = function.builder();
    for value in values {
        match value {
            Value::Address(value) => launch.arg(value),
            Value::U32(value) => launch.arg(value),
            Value::F32(value) => launch.arg(value),
        };
    }
    let config = LaunchConfig { grid_dim: (grid.0, grid.1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: addresses are those of tensors that live beyond this call, and memory that is let go of later is let go of
    // in the order of the stream's work. That sizes and the order of arguments are right is what the tests compare on
    // the processor, launch by launch.
    unsafe { launch.launch(config) }.map_err(|error| failed(kernel, error))?;
    Ok(())
}

/// Where the number at `from` lies.
pub fn address(storage: &CudaStorage, from: usize) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    // The guard beside an address orders streams; a device has only one here.
    Ok(match &storage.slice {
        CudaStorageSlice::U32(slice) => slice.device_ptr(&stream).0 + 4 * from as u64,
        CudaStorageSlice::I64(slice) => slice.device_ptr(&stream).0 + 8 * from as u64,
        CudaStorageSlice::F32(slice) => slice.device_ptr(&stream).0 + 4 * from as u64,
        CudaStorageSlice::F64(slice) => slice.device_ptr(&stream).0 + 8 * from as u64,
        CudaStorageSlice::BF16(slice) => slice.device_ptr(&stream).0 + 2 * from as u64,
        _ => bail!("no kernel uses numbers of this type"),
    })
}

/// What is left in place of memory that was moved out.
pub fn placeholder(storage: &CudaStorage) -> Result<CudaStorage> {
    // SAFETY: nobody reads it.
    let slice = unsafe { storage.device.alloc::<f32>(1) }?;
    Ok(CudaStorage { slice: CudaStorageSlice::F32(slice), device: storage.device.clone() })
}
