"""Errors of PyTorch that say that the memory of a device is exhausted, also those of other types."""

import pytest
import torch

from maskstream.errors import OutOfMemory
from maskstream.models.out_of_memory import memory_errors

EXHAUSTED = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB"),
    torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in ..."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, other allocations: 8.88 MB, max allowed: 9.07 GB)."),
    RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1154, please report'),
)


@pytest.mark.parametrize("error", EXHAUSTED, ids=lambda error: str(error)[:30])
def test_exhausted_memory_is_one_error(error: RuntimeError) -> None:
    with pytest.raises(OutOfMemory, match=r"^out of memory: ") as raised, memory_errors():
        raise error
    assert raised.value.__cause__ is error
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), ValueError("out of memory")]
)
def test_other_errors_stay(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, memory_errors():
        raise error
    assert raised.value is error
