// The kernels as custom calls of XLA, so that compiled JAX loops run it without Python.
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>

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

// Runs function(first, last) over parts of 0..count, on the caller and on XLA's idle threads. The
// caller waits only for parts that have begun: all other threads may be waiting, too.
template <class Function>
static void share(ffi::ThreadPool& pool, int count, const Function& function) {
  struct Progress {
    std::atomic<int> next{0}, done{0};
  };
  const int threads = std::max<int>(1, static_cast<int>(pool.num_threads()));
  const int grain = std::max(1, count / (4 * threads));
  const auto progress = std::make_shared<Progress>();
  const auto work = [progress, count, grain, &function] {
    for (int first; (first = progress->next.fetch_add(grain)) < count;) {
      const int last = std::min(first + grain, count);
      function(first, last);
      progress->done.fetch_add(last - first);
      progress->done.notify_one();
    }
  };
  for (int helper = 1; helper < std::min(threads, count); helper++)
    pool.Schedule(std::function<void()>(work));
  work();
  for (int done; (done = progress->done.load()) < count;) progress->done.wait(done);
}

static ffi::Error attend(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> q, ffi::Buffer<ffi::F32> k,
                         ffi::Buffer<ffi::F32> v, ffi::ResultBuffer<ffi::F32> out) {
  const auto sizes = q.dimensions();
  if (sizes.size() < 4 || k.dimensions() != sizes || v.dimensions() != sizes)
    return ffi::Error::InvalidArgument("attention needs three arrays of one shape (..., D, N, H, c)");
  const auto size = [&](std::size_t from_last) {
    return static_cast<int>(sizes[sizes.size() - from_last]);
  };
  const huozi::AttentionShape shape{size(4) - 2, size(3), size(2), size(1)};
  const auto each = static_cast<std::size_t>(size(4)) * size(3) * size(2) * size(1);
  if (each == 0) return ffi::Error::Success();
  share(pool, static_cast<int>(q.element_count() / each), [&](int first, int last) {
    huozi::attend(shape, q.typed_data(), k.typed_data(), v.typed_data(), out->typed_data(), first,
                  last);
  });
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
XLA_FFI_DEFINE_HANDLER_SYMBOL(HuoziAttend, attend,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
#pragma GCC visibility pop
