// Attention between a few electrons, with derivatives by all their coordinates and the Laplacian.
// Included once per instruction set.
//
// Weights w_ij = softmax_j(s_ij), s_ij = q_i . k_j, have for every coordinate
//   dw_ij = w_ij (ds_ij - sum_l w_il ds_il) = w_ij l_ij,
//   Lw_ij = w_ij (t_ij - sum_l w_il t_il),  t_ij = Ls_ij + sum_d l_ij^2,
// and what they mix, o_i = sum_j w_ij v_j, follows by the rules of products. Sixteen coordinates
// are in a vector; scores are made and used without leaving the first cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "jets.h"
#include "vector.h"

namespace HUOZI_ISA {

inline void add_product(Vec& sum, const Vec& a, float b) { add_product(sum, a, splat(b)); }

inline float sum_of(const Vec& v) {
  float sum = 0;
  for (int lane = 0; lane < kLanes; lane++) sum += v[lane];
  return sum;
}

// Transposes `rows` x `columns` floats into rows of `room` floats, zero beyond `rows`.
inline void turn(const float* from, int from_stride, int rows, int columns, float* to, int to_stride,
                 int room) {
  for (int r = 0; r < room; r += kLanes)
    for (int c = 0; c < columns; c += kLanes) {
      const int wide = std::min(kLanes, columns - c);
      Vec block[kLanes] = {};
      for (int i = 0; i < std::min(kLanes, rows - r); i++)
        std::memcpy(&block[i], from + (r + i) * from_stride + c, wide * sizeof(float));
      transpose(block);
      for (int i = 0; i < wide; i++)
        std::memcpy(to + (c + i) * to_stride + r, &block[i],
                    std::min(kLanes, room - r) * sizeof(float));
    }
}

// Buffers of one thread for one walker: derivatives as (electron, head, channel, coordinate).
struct AttentionBuffers {
  int stride, vecs;  // of a row of derivatives: floats, vectors
  std::vector<Vec> room;
  Vec *q, *k, *v, *out, *row, *squares, *cross, *mixed;
  std::vector<float> weights, curvatures;

  void fit(const huozi::AttentionShape& s) {
    vecs = (s.coordinates + kLanes - 1) / kLanes;
    stride = vecs * kLanes;
    const std::size_t all = static_cast<std::size_t>(s.electrons) * s.heads * s.channels * vecs;
    room.resize(4 * all + 3 * s.electrons + s.channels);
    q = room.data(), k = q + all, v = k + all, out = v + all;
    row = out + all, squares = row + s.electrons, cross = squares + s.electrons;
    mixed = cross + s.electrons;
    weights.resize(s.electrons), curvatures.resize(s.electrons);
  }
};

// What `Count` channels from `c` on receive of electrons j: dw_j v_j + w_j dv_j, for one vector of
// coordinates; the products dw_j dv_j are for the Laplacian.
template <int Count>
inline void mix(const huozi::AttentionShape& s, AttentionBuffers& b, const float* values, int base,
                int step, int c, int part, Vec* out) {
  Vec sum[Count] = {}, mixed[Count];
  for (int a = 0; a < Count; a++) mixed[a] = b.mixed[c + a];
  for (int j = 0; j < s.electrons; j++) {
    const Vec change = b.row[j];
    const float weight = b.weights[j];
#pragma GCC unroll 4
    for (int a = 0; a < Count; a++) {
      const int at = j * step + base + c + a;
      const Vec slope = b.v[at * b.vecs + part];
      add_product(sum[a], change, values[at]);
      add_product(sum[a], slope, weight);
      add_product(mixed[a], change, slope);
    }
  }
  for (int a = 0; a < Count; a++) {
    b.mixed[c + a] = mixed[a];
    out[(c + a) * b.vecs + part] = sum[a];
  }
}

// Electron i in one head; `base` is the head's first channel.
inline void attend_one(const huozi::AttentionShape& s, AttentionBuffers& b, const float* q,
                       const float* k, const float* v, float* out, int i, int base) {
  const int n = s.electrons, step = s.heads * s.channels, last = (s.coordinates + 1) * n * step;
  const int own = i * step + base;
  float largest = -INFINITY, total = 0;
  for (int j = 0; j < n; j++) {
    float score = 0, curvature = 0;
    for (int c = 0; c < s.channels; c++) {
      const int at = j * step + base + c;
      score += q[own + c] * k[at];
      curvature += q[last + own + c] * k[at] + q[own + c] * k[last + at];
    }
    b.weights[j] = score, b.curvatures[j] = curvature;
    largest = std::max(largest, score);
  }
  for (int j = 0; j < n; j++) total += b.weights[j] = std::exp(b.weights[j] - largest);
  for (int j = 0; j < n; j++) b.weights[j] /= total;

  std::fill_n(b.squares, n, Vec{}), std::fill_n(b.cross, n, Vec{});
  std::fill_n(b.mixed, s.channels, Vec{});
  for (int part = 0; part < b.vecs; part++) {
    Vec mean{};
    for (int j = 0; j < n; j++) {
      Vec slope{}, cross = b.cross[j];
      for (int c = 0; c < s.channels; c++) {
        const int at = j * step + base + c;
        const Vec left = b.q[(own + c) * b.vecs + part], right = b.k[at * b.vecs + part];
        add_product(slope, left, k[at]);
        add_product(slope, right, q[own + c]);
        add_product(cross, left, right);
      }
      b.cross[j] = cross, b.row[j] = slope;
      add_product(mean, slope, b.weights[j]);
    }
    for (int j = 0; j < n; j++) {
      const Vec apart = b.row[j] - mean;
      add_product(b.squares[j], apart, apart);
      b.row[j] = apart * b.weights[j];
    }
    int c = 0;
    for (; c + 4 <= s.channels; c += 4)
      mix<4>(s, b, v, base, step, c, part, b.out + own * b.vecs);
    for (; c < s.channels; c++) mix<1>(s, b, v, base, step, c, part, b.out + own * b.vecs);
  }

  float mean = 0;
  for (int j = 0; j < n; j++) {
    b.curvatures[j] += 2 * sum_of(b.cross[j]) + sum_of(b.squares[j]);
    mean += b.weights[j] * b.curvatures[j];
  }
  for (int c = 0; c < s.channels; c++) {
    float value = 0, laplacian = 2 * sum_of(b.mixed[c]);
    for (int j = 0; j < n; j++) {
      const int at = j * step + base + c;
      value += b.weights[j] * v[at];
      laplacian += b.weights[j] * ((b.curvatures[j] - mean) * v[at] + v[last + at]);
    }
    out[own + c] = value, out[last + own + c] = laplacian;
  }
}

// Walkers from `first` to before `last`.
void attend(const huozi::AttentionShape& s, const float* q, const float* k, const float* v,
            float* out, int first, int last) {
  const int columns = s.electrons * s.heads * s.channels;
  const std::size_t size = static_cast<std::size_t>(s.coordinates + 2) * columns;
  thread_local AttentionBuffers b;
  b.fit(s);
  for (int walker = first; walker < last; walker++) {
    const std::size_t at = walker * size;
    const auto in = [&](const float* from, Vec* to) {
      turn(from + at + columns, columns, s.coordinates, columns, reinterpret_cast<float*>(to),
           b.stride, b.stride);
    };
    in(q, b.q), in(k, b.k), in(v, b.v);
    for (int i = 0; i < s.electrons; i++)
      for (int head = 0; head < s.heads; head++)
        attend_one(s, b, q + at, k + at, v + at, out + at, i, head * s.channels);
    turn(reinterpret_cast<float*>(b.out), b.stride, columns, s.coordinates, out + at + columns,
         columns, columns);
  }
}

}  // namespace HUOZI_ISA
