// Moments of the neighbours by Chebyshev polynomials of the switched inverse distance, in which the
// embedding of DeepPot-SE and of DPA-1 without attention is expanded (deeppot_table.py).
//
//     P[m][n] = sum_j s T_n(x) h_m     s = w(r) / r   x = 2 s / end - 1   h = (1, unit vector)
//
// and, where types fade in at the cutoff, a second set with one more factor w.
#pragma once

#include "neighbourhood.h"
#include "product.h"

namespace HUOZI_ISA {

using huozi::Model;

// Of 16 neighbours; slopes are by the distance.
struct Switched {
  Vec x, y, z, inverse;  // unit vector, 1 / distance
  Vec s, s_slope;
  Vec w, w_slope;
  Vec argument, argument_slope;
};

inline Switched switched(const float* dx, const float* dy, const float* dz, const Model& model) {
  const float onset = static_cast<float>(model.onset), cutoff = static_cast<float>(model.cutoff);
  const float end = static_cast<float>(model.end), range = 1.0f / (cutoff - onset);
  Switched g;
  const Vec x = load(dx), y = load(dy), z = load(dz);
  const Vec square = x * x + y * y + z * z;
  g.inverse = 1.0f / square_root(square);
  g.x = x * g.inverse, g.y = y * g.inverse, g.z = z * g.inverse;
  // The distance to the cutoff, so that nothing cancels where the switch is small.
  const Vec v = at_most(at_least((cutoff - square * g.inverse) * range, 0.0f), 1.0f), u = 1.0f - v;
  g.w = v * v * v * (10.0f - 15.0f * v + 6.0f * v * v);
  g.w_slope = (-30.0f * range) * u * u * v * v;
  g.s = g.w * g.inverse;
  g.s_slope = (g.w_slope - g.s) * g.inverse;
  g.argument = at_most((2.0f / end) * g.s - 1.0f, 1.0f);
  g.argument_slope = (2.0f / end) * g.s_slope;
  for (int q = 0; q < kParts; q++) g.argument_slope.part[q] =
      g.argument.part[q] < 1.0f ? g.argument_slope.part[q] : Register{};
  return g;
}

// row[m][n] of one atom: four harmonics, functions by element, set and degree.
inline void chebyshev_sum(const Model& model, const Neighbourhood& near, Vec* row) {
  const int elements = static_cast<int>(model.elements.size()), groups = model.nodes / kLanes;
  const int length = model.functions() / kLanes;
  std::fill_n(row, 4 * length, Vec{});
  alignas(64) float unit[3][kLanes];
  for (int e = 0; e < elements; e++)
    for (int block = near.first[e]; block < near.first[e + 1]; block++) {
      const int at = block * kLanes;
      const Switched g = switched(&near.x[at], &near.y[at], &near.z[at], model);
      store(unit[0], g.x), store(unit[1], g.y), store(unit[2], g.z);
      const Vec twice = 2.0f * g.argument;
      for (int set = 0; set < model.sets; set++) {
        Vec t0 = set ? g.w * g.s : g.s, t1 = t0 * g.argument;
        Vec* to = row + (e * model.sets + set) * groups;
        for (int group = 0; group < groups; group++, to++) {
          Vec functions[kLanes];
#pragma GCC unroll 16
          for (int n = 0; n < kLanes; n++) {
            functions[n] = t0;
            const Vec t2 = twice * t1 - t0;
            t0 = t1, t1 = t2;
          }
          transpose(functions);  // now one vector of functions per neighbour
          Vec sum[4];
          for (int m = 0; m < 4; m++) sum[m] = to[m * length];
#pragma GCC unroll 16
          for (int q = 0; q < kLanes; q++) {
            sum[0] += functions[q];
#pragma GCC unroll 3
            for (int m = 0; m < 3; m++) add_product(sum[m + 1], splat(unit[m][q]), functions[q]);
          }
          for (int m = 0; m < 4; m++) to[m * length] = sum[m];
        }
      }
    }
}

// Sums over n of four coefficients, and of four of the derivatives, times T_n(x).
inline void chebyshev_series(int nodes, const float* coefficients, std::ptrdiff_t stride,
                             const Vec& x, Vec (&values)[8]) {
  for (int p = 0; p < kParts; p++) {
    const Register twice = 2.0f * x.part[p];
    Register t0 = 1.0f - Register{}, t1 = x.part[p], sum[8] = {};
    for (int n = 0; n < nodes; n++) {
#pragma GCC unroll 8
      for (int m = 0; m < 8; m++) sum[m] += coefficients[m * stride + n] * t0;
      const Register t2 = twice * t1 - t0;
      t0 = t1, t1 = t2;
    }
    for (int m = 0; m < 8; m++) values[m].part[p] = sum[m];
  }
}

inline void chebyshev_pull(const Model& model, const Neighbourhood& near, const Vec* row,
                           PairForces& forces) {
  const int elements = static_cast<int>(model.elements.size());
  const float* gradient = reinterpret_cast<const float*>(row);
  for (int e = 0; e < elements; e++)
    for (int block = near.first[e]; block < near.first[e + 1]; block++) {
      const int at = block * kLanes;
      const Switched g = switched(&near.x[at], &near.y[at], &near.z[at], model);
      Vec value[4] = {}, slope[4] = {}, sums[8];
      for (int set = 0; set < model.sets; set++) {
        chebyshev_series(model.nodes, gradient + (e * model.sets + set) * model.nodes,
                         model.functions(), g.argument, sums);
        const Vec f = set ? g.w * g.s : g.s;
        const Vec df = set ? g.w * g.s_slope + g.w_slope * g.s : g.s_slope;
        for (int m = 0; m < 4; m++) {
          value[m] += f * sums[m];
          slope[m] += df * sums[m] + f * g.argument_slope * sums[m + 4];
        }
      }
      const Vec radial = slope[0] + slope[1] * g.x + slope[2] * g.y + slope[3] * g.z;
      const Vec inward = value[1] * g.x + value[2] * g.y + value[3] * g.z;
      const Vec along = radial - inward * g.inverse;
      forces.add(at, along * g.x + value[1] * g.inverse, along * g.y + value[2] * g.inverse,
                 along * g.z + value[3] * g.inverse);
    }
  forces.finish();
}

// What block() asks of a set of functions. A row of gradients holds four harmonics, then four of
// the derivatives by x, as coefficients of the same polynomials.
struct ChebyshevFunctions {
  static std::size_t row_size(const Model& model) { return 8 * model.functions() / kLanes; }

  static void sum(const Model& model, const Neighbourhood& near, Vec* row) {
    chebyshev_sum(model, near, row);
  }

  static void to_lanes(const Model& model, const Vec* rows, Vec* lanes) {
    const int length = model.functions() / kLanes;
    const std::size_t size = row_size(model);
    for (int v = 0; v < kVecs; v++)
      for (int m = 0; m < 4; m++)
        for (int group = 0; group < length; group++) {
          Vec square[kLanes];
          for (int a = 0; a < kLanes; a++)
            square[a] = rows[(v * kLanes + a) * size + m * length + group];
          transpose(square);
          for (int n = 0; n < kLanes; n++)
            lanes[((group * kLanes + n) * 4 + m) * kVecs + v] = square[n];
        }
  }

  static void to_rows(const Model& model, const Vec* lanes, Vec* rows) {
    const int length = model.functions() / kLanes, per_series = model.nodes / kLanes;
    const std::size_t size = row_size(model);
    for (int v = 0; v < kVecs; v++)
      for (int m = 0; m < 4; m++)
        for (int last = length - 1; last >= 0; last -= per_series) {
          // d[n - 1] = d[n + 1] + 2 n c[n], downwards; half of it for n = 1
          Vec upper = Vec{}, lower = Vec{};  // d[n + 1], d[n]
          for (int i = 0; i < per_series; i++) {
            Vec values[kLanes], slopes[kLanes];
            const int group = last - i;
            for (int n = kLanes - 1; n >= 0; n--) {
              const float order = static_cast<float>((per_series - 1 - i) * kLanes + n);
              values[n] = lanes[((group * kLanes + n) * 4 + m) * kVecs + v];
              slopes[n] = order == 0 ? 0.5f * lower : lower;
              const Vec next = upper + 2.0f * order * values[n];
              upper = lower, lower = next;
            }
            transpose(values), transpose(slopes);
            for (int a = 0; a < kLanes; a++) {
              Vec* row = rows + (v * kLanes + a) * size + group;
              row[m * length] = values[a], row[(m + 4) * length] = slopes[a];
            }
          }
        }
  }

  static void pull(const Model& model, const Neighbourhood& near, const Vec* row,
                   PairForces& forces) {
    chebyshev_pull(model, near, row, forces);
  }
};

}  // namespace HUOZI_ISA
