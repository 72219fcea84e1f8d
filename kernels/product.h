// Products of weights with vectors of atoms.
#pragma once

#include <algorithm>
#include <cstddef>

#include "vector.h"

namespace HUOZI_ISA {

constexpr int kVecs = 2;  // vectors of atoms in a block
constexpr int kBlock = kVecs * kLanes;

// out[i][v] += sum_j weight[i * step_i + j * step_j] * in[j][v], for I rows i and 2 vectors v.
template <int I>
inline void tile(int inner, const float* weight, std::ptrdiff_t step_i, std::ptrdiff_t step_j,
                 const Vec* in, int in_stride, Vec* out, int out_stride) {
  Vec sum[I][kVecs];
#pragma GCC unroll 32
  for (int i = 0; i < I; i++)
    for (int v = 0; v < kVecs; v++) sum[i][v] = out[i * out_stride + v];
  for (int j = 0; j < inner; j++) {
    const Vec x0 = in[j * in_stride], x1 = in[j * in_stride + 1];
#pragma GCC unroll 32
    for (int i = 0; i < I; i++) {
      const Vec w = splat(weight[i * step_i + j * step_j]);
      add_product(sum[i][0], w, x0);
      add_product(sum[i][1], w, x1);
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < I; i++)
    for (int v = 0; v < kVecs; v++) out[i * out_stride + v] = sum[i][v];
}

// The same for `outer` rows i and `width` vectors, a multiple of 2. HUOZI_TILE rows at a time keep
// their sums in registers; `in` is taken by portions that stay in the first cache.
inline void accumulate(int outer, int inner, int width, const float* weight, std::ptrdiff_t step_i,
                       std::ptrdiff_t step_j, const Vec* in, int in_stride, Vec* out,
                       int out_stride) {
  constexpr int portion = 96;
  for (int j = 0; j < inner; j += portion) {
    const int size = std::min(portion, inner - j);
    const float* w = weight + j * step_j;
    const Vec* from = in + static_cast<std::ptrdiff_t>(j) * in_stride;
    int i = 0;
    const auto rows = [&](auto tile_size) {
      constexpr int I = decltype(tile_size)::value;
      for (; i + I <= outer; i += I)
        for (int v = 0; v < width; v += kVecs)
          tile<I>(size, w + i * step_i, step_i, step_j, from + v, in_stride,
                  out + i * out_stride + v, out_stride);
    };
    rows(std::integral_constant<int, HUOZI_TILE>{});
    rows(std::integral_constant<int, 4>{});
    rows(std::integral_constant<int, 1>{});
  }
}

}  // namespace HUOZI_ISA
