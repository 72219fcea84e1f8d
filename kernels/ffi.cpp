// The kernel as a custom call of XLA, so that compiled JAX loops run it without Python.
#include <omp.h>

#include "api.h"
#include "dispatch.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

static ffi::Error evaluate(ffi::Buffer<ffi::F64> positions, ffi::Buffer<ffi::F64> cell,
                           ffi::Buffer<ffi::S32> kinds, ffi::Buffer<ffi::S32> index,
                           ffi::Buffer<ffi::S32> shift, ffi::ResultBuffer<ffi::F64> energy,
                           ffi::ResultBuffer<ffi::F64> forces, ffi::ResultBuffer<ffi::F64> virial,
                           std::int64_t model) {
  const int atoms = static_cast<int>(positions.dimensions()[0]);
  const int width = static_cast<int>(index.dimensions()[1]);
  const huozi::DenseList list{width,
                              positions.typed_data(),
                              cell.typed_data(),
                              index.typed_data(),
                              shift.typed_data(),
                              kinds.typed_data()};
  double* const f = forces->typed_data();
  double* const v = virial->typed_data();
  double sums[6] = {};
  std::fill_n(f, 3 * static_cast<std::size_t>(atoms), 0.0);
  *energy->typed_data() = 0.0;
  const huozi_output out{energy->typed_data(), nullptr, f, sums, nullptr};
  try {
    huozi::compute(*reinterpret_cast<const huozi_model*>(model)->model, list, kinds.typed_data(),
                   atoms, atoms, out, omp_get_max_threads());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
  v[0] = sums[0], v[4] = sums[1], v[8] = sums[2];
  v[5] = v[7] = sums[3], v[2] = v[6] = sums[4], v[1] = v[3] = sums[5];
  return ffi::Error::Success();
}

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(HuoziEvaluate, evaluate,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::Buffer<ffi::F64>>()
                                  .Arg<ffi::Buffer<ffi::F64>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Ret<ffi::Buffer<ffi::F64>>()
                                  .Ret<ffi::Buffer<ffi::F64>>()
                                  .Ret<ffi::Buffer<ffi::F64>>()
                                  .Attr<std::int64_t>("model"));
#pragma GCC visibility pop
