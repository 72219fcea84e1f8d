// What the processor can do at best, to judge the kernel by. Included once per instruction set.
#pragma once

#include <chrono>
#include <vector>

#include "product.h"

namespace HUOZI_ISA {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Floating-point operations a second of a product of matrices within the first cache, the kernel's
// own, all threads together; the best of several rounds.
double multiplication_rate(int threads) {
  constexpr int outer = 10 * HUOZI_TILE, inner = 64, rounds = 4000;
  double best = 0;
  for (int trial = 0; trial < 8; trial++) {
    const double begun = seconds();
#pragma omp parallel num_threads(threads)
    {
      std::vector<float> weight(outer * inner, 1e-3f);
      std::vector<Vec> in(inner * kVecs, splat(1.0f)), out(outer * kVecs, Vec{});
      for (int r = 0; r < rounds; r++)
        accumulate(outer, inner, kVecs, weight.data(), 1, outer, in.data(), kVecs, out.data(),
                   kVecs);
      volatile float kept = out[0][0];
      (void)kept;
    }
    const double work = 2.0 * threads * rounds * outer * inner * kBlock;
    best = std::max(best, work / (seconds() - begun));
  }
  return best;
}

}  // namespace HUOZI_ISA
